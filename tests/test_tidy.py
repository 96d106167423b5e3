"""What becomes of intermediate images: of what is done, nothing is left; of what failed, all is, and a sentence."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from output_folders import layout_of
from records_by_hand import add_record, image_of, selection_of
from small_datasets import STAND_IN, settings_for

from bids_refacer.audit.cleaning import DoneImages, tidy
from bids_refacer.audit.graph.stages import RECORD, Stage
from bids_refacer.audit.plan import Plan, make_plan
from bids_refacer.dataset.rows.audit import StatusRow
from bids_refacer.files import claimed, one_writer
from bids_refacer.settings import RunSettings
from bids_refacer.work_folder import default_work_dir

TOOLS = ("quickshear", "skullstrip")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    (tmp_path / "scratch").mkdir()
    work = default_work_dir(layout_of(tmp_path / "out"))
    settings = settings_for(tmp_path / "in", tmp_path / "out", work_dir=work, deface_tools=TOOLS)
    for label in ("01", "02"):
        (work / "bids_refacer-1" / "bids_refacer" / f"sub_{label}_T1w" / "head").mkdir(parents=True)
    for name in ("tmp", "matplotlib", "nipype", "crashes", "running"):
        (work / name).mkdir()
    return settings


def row(label: str, status: str, tool: str = "quickshear") -> StatusRow:
    image = f"sub-{label}/anat/sub-{label}_T1w.nii.gz"
    return StatusRow(participant_id=f"sub-{label}", image=image, tool=tool, stage="output", status=status)


def nodes(settings: RunSettings) -> list[str]:
    return sorted(path.name for path in settings.work_dir.glob("*/*/sub_*"))


def test_when_all_went_well_nothing_is_left(settings: RunSettings) -> None:
    with claimed(settings.work_dir / "running", frozenset({"sub-01"}), pytest.fail):
        assert tidy([row("01", "ok"), row("02", "ok")], settings) == []
        assert not settings.work_dir.exists() and settings.work_dir.parent.is_dir()


def test_a_folder_that_was_asked_for_stays_and_what_is_not_ours_in_it(settings: RunSettings, tmp_path: Path) -> None:
    place = settings.work_dir.rename(tmp_path / "mine")
    (place / "notes").write_text("x")
    own = RunSettings(**{**vars(settings), "work_dir": place})
    assert tidy([row("01", "ok"), row("02", "ok")], own) == []
    assert sorted(path.name for path in place.iterdir()) == ["notes", "running"]


@pytest.mark.parametrize("failed", [[row("02", "failed")], [row("02", "ok"), row("02", "failed", "skullstrip")]])
def test_what_failed_keeps_what_was_computed(failed: list[StatusRow], settings: RunSettings) -> None:
    (sentence,) = tidy([row("01", "ok"), *failed], settings)
    assert sentence == (f"Intermediate images of what failed, which show faces, are kept in {settings.work_dir}.")
    assert nodes(settings) == ["sub_02_T1w"] and (settings.work_dir / "crashes").is_dir()


def test_another_run_in_the_same_folder_is_left_alone(settings: RunSettings) -> None:
    register = settings.work_dir / "running"
    with claimed(register, frozenset({"sub-01"}), pytest.fail), claimed(register, frozenset({"sub-02"}), pytest.fail):
        assert tidy([row("01", "ok"), row("02", "ok")], settings) == []
        assert nodes(settings) == [] and (settings.work_dir / "tmp").is_dir()


def test_a_run_that_begins_meanwhile_finds_a_register_of_its_own(settings: RunSettings) -> None:
    """It waits for the lock of a folder that is removed, and takes the one that has the name by then."""
    lock = settings.work_dir / "running" / "lock"
    begun = threading.Event()
    found: list[bool] = []

    def begin() -> None:
        begun.set()
        with one_writer(lock):
            found.append(lock.is_file() and os.path.samestat(lock.stat(), lock.stat()))

    with one_writer(lock):
        other = threading.Thread(target=begin)
        other.start()
        begun.wait()
        lock.unlink()
        lock.parent.rmdir()
    other.join(timeout=20)
    assert found == [True]


class Told:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.stages: list[Stage] = []

    def started(self, image: str, tool: str | None, stage: Stage) -> None:
        self.stages.append(stage)

    def ended(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs += pairs


@pytest.fixture
def plan(settings: RunSettings) -> Plan:
    images = [image_of(settings.bids_dir, f"sub-{label}_T1w") for label in ("01", "02")]
    return make_plan(selection_of(*images), settings, STAND_IN)


def test_an_image_is_forgotten_when_its_last_tool_is_done(plan: Plan, settings: RunSettings) -> None:
    told = Told()
    watcher = DoneImages(plan.jobs, settings.work_dir / "bids_refacer-1", told)
    watcher.started("sub_01_T1w", "quickshear", RECORD)
    for tool in TOOLS:
        assert nodes(settings) == ["sub_01_T1w", "sub_02_T1w"]
        add_record(settings.output_dir, plan.jobs[0].image, tool, {})
        watcher.ended([("sub_01_T1w", tool)])
    assert nodes(settings) == ["sub_02_T1w"]
    add_record(settings.output_dir, plan.jobs[1].image, "quickshear", {})
    watcher.ended([("sub_02_T1w", tool) for tool in TOOLS])
    assert nodes(settings) == ["sub_02_T1w"], "one tool failed"
    assert len(told.pairs) == 4 and told.stages == [RECORD]
