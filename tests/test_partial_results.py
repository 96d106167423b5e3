"""What can be looked at while a run goes on: rows of what ended, the state of what has not, pages of who is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from records_by_hand import add_other_record, add_record, image_of, selection_of
from small_datasets import STAND_IN, settings_for

from bids_refacer.audit.graph.jobs import OtherJob
from bids_refacer.audit.graph.stages import BRAIN, CHECK_FACE, DEFACE, REFACE, TRUTH
from bids_refacer.audit.other_images import Others
from bids_refacer.audit.partial.results import PartialTables, watch_audited, watch_others
from bids_refacer.audit.plan import Plan, make_plan
from bids_refacer.audit.tables import TableWriter
from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.images import HeadImage, ImageProblem
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.other_images import OtherImage
from bids_refacer.dataset.rows.audit import DistanceRow, StatusRow, merge_rows
from bids_refacer.dataset.rows.growing import GrowingTable
from bids_refacer.dataset.rows.table import read_rows, rows_of
from bids_refacer.settings import RunSettings

TOOLS = ("average", "quickshear")
FIRST, SECOND = "sub_01_T1w", "sub_02_T1w"


class Pages:
    """Stands in for `PagesBeside`: notes whose pages are made."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def make(self, label: str) -> None:
        self.made.append(label)

    def outdate(self, label: str) -> None:
        if label in self.made:
            self.made.remove(label)


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return settings_for(tmp_path / "in", tmp_path / "out", deface_tools=TOOLS)


@pytest.fixture
def images(settings: RunSettings) -> list[HeadImage]:
    return [image_of(settings.bids_dir, f"sub-{label}_T1w") for label in ("01", "02")]


@pytest.fixture
def plan(images: list[HeadImage], settings: RunSettings) -> Plan:
    """Two images, two tools; the first image is done with one of them."""
    key = make_plan(selection_of(images[0]), settings, STAND_IN).jobs[0].tools[0].key
    add_record(settings.output_dir, images[0], "average", key)
    return make_plan(selection_of(*images), settings, STAND_IN)


class Run:
    """A graph that is followed."""

    def __init__(self, plan: Plan, settings: RunSettings, crash_dir: Path, others: Others | None = None) -> None:
        self.said: list[str] = []
        self.output, self.pages, self.crash_dir = settings.layout, Pages(), crash_dir
        self.tables = PartialTables(self.output, TableWriter(self.output, Places()), self.said.append)
        given = others or Others()
        self.watcher = watch_audited(plan, given, settings, self.tables, self.pages, crash_dir)

    def states(self) -> list[tuple[str, str | None, str | None]]:
        """Status and stage of each image and tool, in the order of the table."""
        return [(str(row.status), row.stage, row.message) for row in rows_of(self.output, StatusRow)]

    def fail(self, node: str) -> None:
        self.crash_dir.mkdir(exist_ok=True)
        text = (
            f"Node: bids_refacer.{node}\n\nTraceback:\nbids_refacer.volumes.nifti.ImageError: It is damaged: copy it.\n"
        )
        (self.crash_dir / f"crash-{node}.txt").write_text(text)


@pytest.fixture
def run(plan: Plan, settings: RunSettings, tmp_path: Path) -> Run:
    return Run(plan, settings, tmp_path / "crashes")


def test_at_first_everything_waits_that_is_not_done(run: Run) -> None:
    waiting = ("waiting", None, None)
    assert run.states() == [("ok", "output", None), waiting, waiting, waiting]
    assert [row.tool for row in rows_of(run.output, DistanceRow)] == ["average"]


def test_what_has_started_is_running_in_its_stage(run: Run) -> None:
    run.watcher.started(SECOND, None, BRAIN)
    assert run.states()[2:] == [("running", "brain", None)] * 2 and run.states()[1][0] == "waiting"
    run.watcher.started(SECOND, None, CHECK_FACE)  # earlier stages that start later do not turn the clock back
    run.watcher.started(SECOND, "average", DEFACE)
    run.watcher.started(SECOND, None, TRUTH)
    assert run.states()[2:] == [("running", "deface", None), ("running", "brain", None)]
    run.watcher.started(SECOND, "average", REFACE)
    assert run.states()[2] == ("running", "reface", None)


def test_rows_and_page_are_there_as_soon_as_a_participant_ends(run: Run, plan: Plan, settings: RunSettings) -> None:
    _, second = (job.image for job in plan.jobs)
    run.watcher.started(SECOND, None, BRAIN)
    add_record(settings.output_dir, second, "average", {}, warnings=("Look at it.",))
    run.watcher.ended({(SECOND, "average")})
    assert run.states()[2:] == [("ok", "output", "Look at it."), ("running", "brain", None)]
    assert len(rows_of(run.output, DistanceRow)) == 2 and run.pages.made == []
    assert read_rows(OutputNames.of(run.output, second).surfacedistance("average"), DistanceRow)
    add_record(settings.output_dir, second, "quickshear", {})
    run.watcher.ended({(SECOND, "quickshear")})
    assert run.pages.made == ["02"] and run.states()[1][0] == "waiting", "the other participant is not done"
    run.watcher.ended()
    assert run.pages.made == ["02"] and not run.said and run.tables.spent_s > 0


def test_problems_of_a_participant_stay_in_the_table(plan: Plan, settings: RunSettings, tmp_path: Path) -> None:
    problem = ImageProblem(participant="02", session=None, bids_path=None, message="The link is broken.")
    run = Run(replace(plan, problems=(problem,)), settings, tmp_path / "crashes")
    run.watcher.started(SECOND, None, BRAIN)
    add_record(settings.output_dir, plan.jobs[1].image, "average", {})
    run.watcher.ended({(SECOND, "average")})
    assert [state[0] for state in run.states()] == ["ok", "waiting", "failed", "ok", "running"]


def test_a_failure_is_a_row_once_it_is_known_why(run: Run) -> None:
    """Nipype tells of a failure before it writes why."""
    run.watcher.started(SECOND, None, BRAIN)
    run.watcher.ended({(SECOND, tool) for tool in TOOLS})
    assert {state for state, _, _ in run.states()[2:]} == {"running"} and run.pages.made == []
    run.fail(f"{SECOND}.brain")
    run.watcher.ended()
    assert run.states()[2:] == [("failed", "brain", "It is damaged: copy it.")] * 2 and run.pages.made == ["02"]


def test_rows_of_what_is_done_again_go_first(plan: Plan, settings: RunSettings, images: list[HeadImage]) -> None:
    """A run that is killed must leave no figures of files that it removed."""
    output = settings.layout
    first = Run(plan, settings, output.output_dir / "crashes")
    assert len(rows_of(output, DistanceRow)) == 1
    OutputNames.of(settings.layout, images[0]).record("average").unlink()
    anew = make_plan(selection_of(*images), settings, STAND_IN)
    Run(anew, settings, output.output_dir / "crashes")
    assert rows_of(output, DistanceRow) == [] and {state for state, _, _ in first.states()} == {"waiting"}


def test_a_full_disk_is_said_once_and_ends_no_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "status.tsv")

    monkeypatch.setattr(TableWriter, "write_status", full)
    run.watcher.started(SECOND, None, BRAIN)
    run.watcher.started(SECOND, "average", DEFACE)
    assert run.said == ["Warning: tables are not up to date until the run ends (status.tsv: No space left on device)."]


def test_other_images_wait_and_run_too(plan: Plan, settings: RunSettings, images: list[HeadImage]) -> None:
    image = image_of(settings.bids_dir, "sub-01_T2w")
    alone = image_of(settings.bids_dir, "sub-03_T2w")
    others = Others(
        images=(
            OtherImage(image=image, reference=images[0], leader=image, in_register=False, parts=1),
            OtherImage(image=alone, reference=None, leader=alone, in_register=False, parts=1),
        )
    )
    run = Run(plan, settings, settings.output_dir / "crashes", others)
    of_other = [row.status for row in rows_of(run.output, StatusRow) if row.image == image.bids_path]
    assert of_other == ["waiting"] * 2
    assert [row.status for row in rows_of(run.output, StatusRow) if row.image == alone.bids_path] == ["skipped"] * 2
    names = [OutputNames.of(run.output, one) for one in (image, images[0])]
    job = OtherJob(
        image=image,
        leader=image,
        reference=images[0],
        in_register=False,
        names=names[0],
        reference_names=names[1],
        tools=plan.jobs[1].tools[:1],
        shown_by=image,
        most_left=20.0,
    )
    run.pages.made = ["01", "02"]
    watcher = watch_others([job], others, settings, run.tables, run.pages, run.crash_dir)
    assert run.pages.made == ["02"], "the page of who has other images is old"
    add_other_record(settings.output_dir, image, "average", {})
    watcher.ended({(job.node_name, "average")})
    rows = [(row.tool, row.status) for row in rows_of(run.output, StatusRow) if row.image == image.bids_path]
    assert rows == [("average", "ok"), ("quickshear", "skipped")], "there is no mask of quickshear to carry"
    assert run.pages.made == ["02"]


def row(participant: str, tool: str | None, masd: float) -> DistanceRow:
    return DistanceRow(
        participant_id=participant, image=f"{participant}.nii" if tool else None, tool=tool, masd_mm=masd
    )


def test_a_table_that_grows_is_the_table_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, reads = tmp_path / "t.tsv", []

    def counted(path: Path, kind: type[DistanceRow]) -> list[DistanceRow]:
        reads.append(path)
        return read_rows(path, kind)

    monkeypatch.setattr("bids_refacer.dataset.rows.growing.read_rows", counted)
    table = GrowingTable(path, DistanceRow, lambda one: one)
    first = [row("sub-2", "t", 1.5), row("sub-1", "t", 2.0), row("sub-1", "t", 1.0), row("sub-1", None, 9.0)]
    table.merge(first, ())
    assert read_rows(path, DistanceRow) == merge_rows([], first)
    table.merge([row("sub-1", "u", 3.0)], {("sub-2", "sub-2.nii", "t")})
    kept = [row("sub-1", "t", 2.0), row("sub-1", "t", 1.0), row("sub-1", "u", 3.0)]
    assert read_rows(path, DistanceRow) == kept, "rows of the run's images, and those without tool, make way"
    assert len(reads) == 1, "what this run wrote is not read again"
    GrowingTable(path, DistanceRow, lambda one: one).merge([row("sub-3", "t", 4.0)], ())  # another run
    table.merge([row("sub-4", "t", 5.0)], ())
    assert read_rows(path, DistanceRow) == [*kept, row("sub-3", "t", 4.0), row("sub-4", "t", 5.0)] and len(reads) == 3


def test_rows_of_one_participant_are_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    GrowingTable(path, DistanceRow, lambda one: one).merge([row("sub-1", "t", 1.0), row("sub-2", "t", 2.0)], ())
    assert read_rows(path, DistanceRow, "sub-2") == [row("sub-2", "t", 2.0)]
    path.write_text(path.read_text().replace("\t2\t", "\tx\t"))
    assert read_rows(path, DistanceRow, "sub-1") == [row("sub-1", "t", 1.0)]
    with pytest.raises(ValueError, match="line 3, column 'masd_mm'"):
        read_rows(path, DistanceRow, "sub-2")
