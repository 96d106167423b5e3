"""What a plan says of itself, how it attacks, and the words at the end of a run: from plain values, without a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from records_by_hand import add_record, image_of, selection_of
from small_datasets import STAND_IN, settings_for

from bids_refacer import __version__
from bids_refacer.audit import plan as plan_module
from bids_refacer.audit.plan import (
    Plan,
    describe,
    header_key,
    make_attack,
    make_plan,
    memory_warning,
    missing_tools,
    places_of,
    tasks_of,
    tool_warnings,
)
from bids_refacer.audit.status import next_lines, not_done_row, problem_row, summary, tool_findings
from bids_refacer.dataset.images import HeadImage, ImageProblem
from bids_refacer.dataset.rows.audit import DefacingRow, DistanceRow, StatusRow
from bids_refacer.defacers import DEFACERS
from bids_refacer.settings import RunSettings

PROBLEM = ImageProblem(participant="09", session="a", bids_path="sub-09/x.nii.gz", message="sub-09/x.nii.gz is empty.")


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return settings_for(tmp_path / "in", tmp_path / "out", deface_tools=("quickshear", "average"), num_samples=2)


@pytest.fixture
def image(tmp_path: Path) -> HeadImage:
    return image_of(tmp_path / "in", "sub-01_T1w")


def plan_of(image: HeadImage, settings: RunSettings) -> Plan:
    return replace(make_plan(selection_of(image), settings, STAND_IN), problems=(PROBLEM,))


def test_a_plan_is_described_participant_by_participant(image: HeadImage, settings: RunSettings) -> None:
    plan = plan_of(image, settings)
    assert describe(plan, settings) == [
        "sub-01: 1 image to do with quickshear and average",
        PROBLEM.message,
        "2 image x tool to do, 0 finished. Nothing was written.",
    ]
    add_record(settings.output_dir, image, "average", dict(plan.jobs[0].tools[1].key))
    second = image_of(settings.bids_dir, "sub-01_run-2_T1w")
    both = make_plan(selection_of(image, second), settings, STAND_IN)
    assert describe(both, settings) == [
        "sub-01: 2 images to do with quickshear and average; 1 image x tool finished by an earlier run",
        "3 image x tool to do, 1 finished. Nothing was written.",
    ]
    assert [(task.image.path.name, task.tool) for task in tasks_of(both)] == [
        ("sub-01_T1w.nii.gz", "average"),
        ("sub-01_T1w.nii.gz", "quickshear"),
        ("sub-01_run-2_T1w.nii.gz", "average"),
        ("sub-01_run-2_T1w.nii.gz", "quickshear"),
    ]
    done = Plan(jobs=(), finished=((image, "average"),), problems=(), layout=settings.layout)
    assert describe(done, settings)[0] == "sub-01: 1 image x tool finished by an earlier run"


@pytest.mark.parametrize(
    ("changes", "faces"),
    [
        ({}, ["Refaced1", "Refaced2", "RefacedMean", "AverageFace"]),
        ({"num_samples": 1}, ["Refaced1", "AverageFace"]),
        ({"keep_refaced": False}, []),
    ],
)
def test_with_v_every_output_is_named(image: HeadImage, settings: RunSettings, changes: dict, faces: list[str]) -> None:
    settings = replace(settings, verbose=1, deface_tools=("quickshear",), **changes)
    said = describe(plan_of(image, settings), settings)[1:-2]
    assert said[0] == "sub-01/anat/sub-01_T1w.nii.gz: would be defaced and refaced with quickshear, writing"
    assert [path.rpartition("/")[2] for path in said[1:]] == [
        "sub-01_desc-brain_mask.nii.gz",
        "sub-01_desc-quickshearDefaced_T1w.nii.gz",
        "sub-01_mod-T1w_desc-quickshear_defacemask.nii.gz",
        "sub-01_mod-T1w_desc-quickshear_surfacedistance.tsv",
        *(f"sub-01_desc-quickshear{face}_T1w.nii.gz" for face in faces),
    ]
    assert all(path.startswith("  ") and "sub-01/anat/" in path for path in said[1:])


def test_tools_that_cannot_run_are_named_each() -> None:
    said = missing_tools(["nobody", "average", "afni_deface"], {**DEFACERS})
    assert said[0] == "The tool nobody is not part of this version: leave it out of --deface-tools."
    assert said[1:] == [sentence for sentence in [DEFACERS["afni_deface"].missing()] if sentence]


def test_warnings_of_tools_are_said_once(settings: RunSettings) -> None:
    settings = replace(settings, deface_tools=("pydeface",))
    images = [image_of(settings.bids_dir, f"sub-0{number}_T2w") for number in (1, 2)]
    (said,) = tool_warnings(make_plan(selection_of(*images), settings, STAND_IN))
    assert said in DEFACERS["pydeface"].warnings("T2w")


@pytest.mark.parametrize(("limit", "said"), [(3.0, False), (2.99, True)])
def test_three_gigabytes_are_enough(monkeypatch: pytest.MonkeyPatch, limit: float, said: bool) -> None:
    monkeypatch.setattr(plan_module, "memory_limit_gb", lambda: limit)
    found = memory_warning()
    assert len(found) == said and all("may use 3.0 GB of memory, and one image takes up to 3 GB" in s for s in found)


@pytest.mark.parametrize(
    ("gpu", "gpus", "used", "processes"),
    [("none", 2, False, 2), ("try", 0, False, 2), ("try", 1, True, 1), ("require", 2, True, 1)],
)
def test_a_gpu_is_used_where_there_is_one(
    settings: RunSettings, gpu: str, gpus: int, used: bool, processes: int
) -> None:
    machine = replace(STAND_IN, gpus=gpus)
    attack = make_attack(replace(settings, gpu=gpu, nprocs=3, omp_nthreads=2), machine)
    assert (attack.use_gpu, attack.processes, attack.threads, attack.gpu) == (used, processes, 2, gpu)
    assert make_attack(replace(settings, gpu="none", nprocs=2, omp_nthreads=4), machine).processes == 2


def test_progress_is_shown_where_nothing_else_is_printed(settings: RunSettings, tmp_path: Path) -> None:
    assert make_attack(settings, STAND_IN).progress
    assert not make_attack(replace(settings, nprocs=2), STAND_IN).progress
    assert not make_attack(replace(settings, nipype_plugin_file=tmp_path / "p.yml"), STAND_IN).progress


def test_an_attack_is_what_was_asked_for(settings: RunSettings) -> None:
    asked = replace(settings, sampler="heun", steps=9, model="linear", keep_refaced=False, attack="secondary")
    attack = make_attack(asked, STAND_IN)
    assert (attack.num_samples, attack.sampler, attack.steps, attack.model) == (2, "heun", 9, "linear")
    assert (attack.keep, attack.level, attack.weights) == (False, "secondary", STAND_IN.weights)


def test_a_key_says_what_results_depend_on(image: HeadImage, settings: RunSettings) -> None:
    removes, replaces = (tool.key for tool in plan_of(image, settings).jobs[0].tools)
    assert removes == {
        "Tool": "quickshear",
        "ToolVersion": DEFACERS["quickshear"].version(),
        "NumSamples": 2,
        "Sampler": settings.sampler,
        "Steps": None,
        "Seed": 0,
        "Model": "stand-in",
        "WeightsSHA256": STAND_IN.weights,
        "AppVersion": __version__,
    }
    assert replaces["Attack"] == settings.attack
    assert header_key(settings) == {} and header_key(replace(settings, keep_header_text=True)) == {"HeaderText": "kept"}


def test_a_job_says_how_its_tool_is_run(image: HeadImage, settings: RunSettings) -> None:
    quickshear, average = plan_of(image, replace(settings, tool_timeout=60.0, keep_header_text=True)).jobs[0].tools
    assert (quickshear.replaces, average.replaces) == (False, True)
    assert (quickshear.timeout_s, quickshear.keep_header_text, quickshear.definition) == (60.0, True, None)
    assert quickshear.memory_gb == DEFACERS["quickshear"].memory_gb
    assert quickshear.input is not None and quickshear.input.size == image.path.stat().st_size


def test_places_of_a_run_are_its_folders(settings: RunSettings) -> None:
    places = places_of(settings)
    assert (places.bids_dir, places.layout) == (settings.bids_dir, settings.layout)
    assert settings.work_dir in places.hidden


# the end of a run -------------------------------------------------------------------------------------------------


def status(participant: str, state: str, tool: str | None = "t", **cells: str) -> StatusRow:
    return StatusRow(participant_id=participant, image=f"{participant}.nii.gz", tool=tool, status=state, **cells)


@pytest.mark.parametrize(("states", "again", "onwards"), [("", 0, 0), ("o", 0, 1), ("f", 1, 0), ("of", 1, 1)])
def test_the_next_command(settings: RunSettings, states: str, again: int, onwards: int) -> None:
    rows = [status(f"sub-{number}", {"o": "ok", "f": "failed"}[state]) for number, state in enumerate(states)]
    lines = next_lines(rows, settings)
    assert lines == [
        *["The same command again does what failed or was not done, and nothing else."] * again,
        *[f"Next: bids_refacer {settings.bids_dir} {settings.output_dir} group"] * onwards,
    ]


def test_a_summary_without_failures_or_without_results(image: HeadImage, settings: RunSettings) -> None:
    plan = Plan(jobs=(), finished=((image, "t"),), problems=(), layout=settings.layout)
    ok = status("sub-01", "ok")
    assert summary([ok], plan) == [
        f"1 image x tool done, 1 of them by an earlier run; results in {settings.layout.shareable}",
        f"Recovered faces are identifiable data: {settings.layout.identifiable} is not for sharing.",
    ]
    rows = [status("sub-01", "failed", tool, stage="deface", message="No.") for tool in ("a", "b")]
    nothing = replace(plan, finished=())
    assert summary(rows, nothing) == [
        "2 failed or were not done:",
        "  sub-01.nii.gz a, b (deface): No.",
        f"0 image x tool done; results in {settings.layout.shareable}",
    ]


def test_a_problem_of_a_session_names_it() -> None:
    row = problem_row(PROBLEM)
    assert (row.participant_id, row.session_id, row.image) == ("sub-09", "ses-a", "sub-09/x.nii.gz")
    assert problem_row(replace(PROBLEM, session=None)).session_id is None


def test_what_no_tool_was_run_on_is_skipped(image: HeadImage) -> None:
    row = not_done_row(image, None, "input", "It was passed over.")
    assert (row.participant_id, row.tool, row.stage, row.status) == ("sub-01", None, "input", "skipped")


def test_findings_compare_the_mean_of_the_samples_where_skin_was_removed() -> None:
    """A single sample counts for nothing, and an image without both distances is not counted."""
    about = {"participant_id": "sub-1", "tool": "t", "part": "removed"}
    distances = [
        DistanceRow(**about, image=image, image_type=kind, masd_mm=mm)
        for image, kind, mm in (
            ("1", "refaced_mean", 1.0),
            ("1", "refaced_sample_mean", 9.0),
            ("1", "average", 2.0),
            ("2", "refaced_sample_mean", 2.0),
            ("2", "average", 1.0),
            ("3", "refaced", 0.1),
            ("3", "average", 2.0),
            ("4", "refaced_mean", None),
            ("4", "average", 2.0),
        )
    ]
    whole = [replace(row, part="face", masd_mm=9.0 if row.image_type == "average" else 0.0) for row in distances]
    defacing = [DefacingRow(participant_id="sub-1", image="1", tool="t", face_verdict="pass")]
    assert tool_findings(defacing, [*whole, *distances]) == [
        "t: face removed from 1 image; the attack came nearer than an average face in 1 of 2."
    ]
    other = DefacingRow(participant_id="sub-1", image="1", tool="u", face_verdict="fail")
    assert tool_findings([*defacing, other], []) == [
        "u: the face is still there in 1 of 1 image.",
        "t: face removed from 1 image.",
    ]
