"""What a run has to do, by selections and records that were written by hand: planning reads, and changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from records_by_hand import add_other_record, add_record, image_of, selection_of
from small_datasets import STAND_IN, settings_for

from bids_refacer.audit.cleaning import clear_stale, withdraw
from bids_refacer.audit.machine import Machine
from bids_refacer.audit.other_images import OtherPlan, Others, plan_others
from bids_refacer.audit.plan import describe, make_plan, sample_seeds, tasks_of, tool_warnings, unit1_notes
from bids_refacer.audit.run import _is_work_left, _run_others
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.other_images import OtherImage
from bids_refacer.dataset.seeds import seed_for
from bids_refacer.settings import RunSettings

TOOLS = ("quickshear", "average")  # one that removes, one that puts another face there


def files_of(root: Path) -> dict[str, int]:
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return settings_for(tmp_path / "in", tmp_path / "out", deface_tools=TOOLS, apply_to_others=True)


@pytest.fixture
def image(tmp_path: Path) -> HeadImage:
    return image_of(tmp_path / "in", "sub-01_T1w")


@pytest.fixture
def finished(image: HeadImage, settings: RunSettings) -> HeadImage:
    """An image whose records say that both tools are done."""
    (job,) = make_plan(selection_of(image), settings, STAND_IN).jobs
    for tool in job.tools:
        add_record(settings.output_dir, image, tool.tool, tool.key)
    return image


def left_to_do(image: HeadImage, settings: RunSettings, machine: Machine = STAND_IN) -> list[str]:
    return [tool.tool for job in make_plan(selection_of(image), settings, machine).jobs for tool in job.tools]


def test_a_plan_writes_nothing_and_knows_what_is_done(image: HeadImage, settings: RunSettings) -> None:
    assert left_to_do(image, settings) == list(TOOLS)
    assert not settings.output_dir.exists()


def test_what_is_finished_is_not_done_again(finished: HeadImage, settings: RunSettings) -> None:
    before = files_of(settings.output_dir)
    plan = make_plan(selection_of(finished), settings, STAND_IN)
    assert plan.jobs == () and plan.finished == tuple((finished, tool) for tool in TOOLS)
    assert [task.tool for task in tasks_of(plan)] == sorted(TOOLS)
    assert files_of(settings.output_dir) == before


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"attack": "naive"}, ["average"]),  # a face that a tool removed is attacked at one level alone
        ({"seed": 1}, list(TOOLS)),
        ({"num_samples": 3}, list(TOOLS)),
        ({"sampler": "ddpm"}, list(TOOLS)),
        ({"steps": 7}, list(TOOLS)),
        ({"nprocs": 3}, []),
        ({"omp_nthreads": 3}, []),
        ({"keep_refaced": False}, []),
    ],
)
def test_results_are_made_again_with_other_settings(
    finished: HeadImage, settings: RunSettings, change: dict, again: list[str]
) -> None:
    assert left_to_do(finished, replace(settings, **change)) == again


@pytest.mark.parametrize("change", [{"card": "another model"}, {"weights": {"prior.safetensors": "1" * 64}}])
def test_results_are_made_again_with_another_model(finished: HeadImage, settings: RunSettings, change: dict) -> None:
    assert left_to_do(finished, settings, replace(STAND_IN, **change)) == list(TOOLS)


def test_results_are_made_again_for_another_image(finished: HeadImage, settings: RunSettings) -> None:
    finished.path.write_bytes(b"another head")
    assert left_to_do(finished, settings) == list(TOOLS)


def test_clearing_leaves_the_brain_mask_that_tools_share(finished: HeadImage, settings: RunSettings) -> None:
    names = OutputNames.of(settings.layout, finished)
    plan = make_plan(selection_of(finished), replace(settings, attack="naive"), STAND_IN)
    clear_stale(plan)
    assert names.brain_mask().is_file() and names.defaced("quickshear").is_file()
    for path in (names.record("average"), names.defaced("average"), names.refaced("average", 1)):
        assert not path.exists()


def test_samples_come_in_pairs_of_one_seed(image: HeadImage, settings: RunSettings) -> None:
    seeds = sample_seeds(replace(settings, num_samples=3), image, "average")
    assert seeds == tuple(seed_for(settings.seed, image.bids_path, "average", pair) for pair in (1, 1, 2))


# the other images of a session ------------------------------------------------------------------------------------


@pytest.fixture
def others(finished: HeadImage, tmp_path: Path) -> Others:
    """A T2w in two echoes, beside the T1w that is done, and an image of a session without an audited one."""
    echoes = [image_of(tmp_path / "in", f"sub-01_echo-{number}_T2w") for number in (1, 2)]
    alone = image_of(tmp_path / "in", "sub-02_T2w")
    images = [OtherImage(image=echo, leader=echoes[0], reference=finished, parts=2) for echo in echoes]
    return Others(images=(*images, OtherImage(image=alone, leader=alone, reference=None)))


def finish(plan: OtherPlan, output: Path) -> list[Path]:
    """Records that say that all of a plan is done; the files that show a head."""
    todo = [(job.image, tool) for job in plan.jobs for tool in job.tools]
    return [file for image, tool in todo for file in add_other_record(output, image, tool.tool, tool.key)]


def test_other_images_are_planned_and_nothing_is_touched(others: Others, settings: RunSettings) -> None:
    before = files_of(settings.output_dir)
    plan = plan_others(others, settings)
    assert [(job.image.entities["echo"], [tool.tool for tool in job.tools]) for job in plan.jobs] == [
        ("1", list(TOOLS)),
        ("2", list(TOOLS)),
    ]
    assert "its place was zeroed" in plan.jobs[0].tools[1].warnings[-1] and plan.jobs[0].native == frozenset()
    finish(plan, settings.output_dir)
    assert plan_others(others, settings) == OtherPlan(jobs=(), stale=())
    assert set(before) < set(files_of(settings.output_dir))


def test_a_leader_is_registered_again_for_its_parts(others: Others, settings: RunSettings) -> None:
    finish(plan_others(others, settings), settings.output_dir)
    second = others.images[1].image
    OutputNames.of(settings.layout, second).defaced("quickshear").unlink()
    plan = plan_others(others, settings)
    assert [[tool.tool for tool in job.tools] for job in plan.jobs] == [[], ["quickshear"]]
    assert plan.stale == (OutputNames.of(settings.layout, second).other_record("quickshear"),)


def test_a_stricter_limit_withdraws_what_shows_more(others: Others, settings: RunSettings) -> None:
    """A looser one does nothing."""
    finish(plan_others(others, settings), settings.output_dir)
    path = OutputNames.of(settings.layout, others.images[0].image).other_record("quickshear")
    content = json.loads(path.read_text())
    content["Deface"]["Verdict"] = {"FaceLeft": {"nose": 1.0, "eyes": 12.0, "chin": None}}
    path.write_text(json.dumps(content))
    assert plan_others(others, replace(settings, face_left_limits=(5.0, 90.0))) == OtherPlan(jobs=(), stale=())
    stricter = plan_others(others, replace(settings, face_left_limits=(5.0, 10.0)))
    assert stricter.stale == (path,) and stricter.jobs[0].most_left == 10.0


@pytest.mark.parametrize("change", ["another mask", "no mask"])
def test_what_an_older_mask_left_is_withdrawn(others: Others, settings: RunSettings, change: str) -> None:
    """Images that were defaced by a mask that no longer holds may show a face: they must not stay in the output."""
    files = finish(plan_others(others, settings), settings.output_dir)
    for tool in TOOLS:
        mask = OutputNames.of(settings.layout, others.images[0].reference).defacemask(tool)
        mask.write_bytes(b"4321") if change == "another mask" else mask.unlink()
    plan = plan_others(others, settings)
    assert len(plan.stale) == 4 and bool(plan.jobs) == (change == "another mask")
    assert all(file.is_file() for file in files), "a plan removes nothing"
    withdraw(plan.stale, settings.layout)
    assert not any(path.exists() for path in (*files, *plan.stale))


@pytest.mark.parametrize("when", ["nothing is left to audit", "audited images are done"])
def test_a_run_withdraws_what_it_cannot_put_right(others: Others, settings: RunSettings, when: str) -> None:
    """The reference's masks are gone, so that no image of its session can be defaced: none of the old ones stays."""
    files = finish(plan_others(others, settings), settings.output_dir)
    audited = others.images[0].reference
    plan = make_plan(selection_of(audited), settings, STAND_IN)
    for tool in TOOLS:
        OutputNames.of(settings.layout, audited).defacemask(tool).unlink()
    if when == "nothing is left to audit":
        assert not _is_work_left(plan, others, settings)
    else:
        _run_others(others, cast(Any, SimpleNamespace(settings=settings)))  # no job is left that needs more
    assert not any(file.exists() for file in files)


def test_unit1_images_that_nobody_asked_for_are_said(tmp_path: Path) -> None:
    images = [image_of(tmp_path / "in", name) for name in ("sub-01_UNIT1", "sub-02_T1w")]
    settings = settings_for(tmp_path / "in", tmp_path / "out")
    plan = make_plan(selection_of(*images), settings, STAND_IN)
    (line,) = unit1_notes(images, settings)
    assert line.startswith("1 session without a T1w image: the UNIT1 image is audited in its place (sub-01/anat/")
    assert line in describe(plan, settings) and not tool_warnings(plan)
    assert unit1_notes(images, replace(settings, suffix=("T1w", "UNIT1"))) == []
