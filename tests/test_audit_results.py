"""From records, written by hand, to rows of the dataset's tables and the words at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from output_folders import layout_of
from records_by_hand import add_other_record, add_record, image_of, selection_of
from small_datasets import STAND_IN, settings_for

from bids_refacer.audit.citation import tools_of
from bids_refacer.audit.crash_files import Crash
from bids_refacer.audit.other_images import Others, other_rows
from bids_refacer.audit.plan import Plan, make_plan
from bids_refacer.audit.results import Result, read_results
from bids_refacer.audit.status import status_rows, summary, tool_findings
from bids_refacer.audit.tables import VerdictLimits, tables_of, write_image_tables, write_tables
from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.images import HeadImage, ImageProblem
from bids_refacer.dataset.names import OutputNames, dataset_table
from bids_refacer.dataset.other_images import OtherImage
from bids_refacer.dataset.rows.audit import DefacingRow, DistanceRow, StatusRow
from bids_refacer.dataset.rows.table import read_rows, rows_of
from bids_refacer.files import write_json
from bids_refacer.settings import RunSettings

TOOLS = ("average", "niimath", "quickshear")
CRASH = Crash(image="sub_01_T1w", tool="niimath", stage="reface", message="It failed; do this.")


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return settings_for(tmp_path / "in", tmp_path / "out", deface_tools=TOOLS)


@pytest.fixture
def image(tmp_path: Path) -> HeadImage:
    return image_of(tmp_path / "in", "sub-01_T1w")


@pytest.fixture
def plan(image: HeadImage, settings: RunSettings) -> Plan:
    """Three tools were to be run; one was done, one stopped after its verdict, one left nothing."""
    plan = make_plan(selection_of(image), settings, STAND_IN)
    add_record(settings.output_dir, image, "average", {}, warnings=("The face was small.",))
    details = {"Version": "2", "QualityControl": {"brain_removed_percent": 60.0}, "RunTime": 2.0}
    write_json(OutputNames.of(settings.layout, image).verdict("niimath"), details)
    return plan


@pytest.fixture
def results(plan: Plan) -> list[Result]:
    return read_results(plan)


def test_results_are_read_once_for_all(results: list[Result]) -> None:
    assert [(result.tool, bool(result.record), bool(result.deface)) for result in results] == [
        ("average", True, True),
        ("niimath", False, True),
        ("quickshear", False, False),
    ]


def test_every_image_and_tool_has_a_row(plan: Plan, results: list[Result]) -> None:
    rows = status_rows(plan, results, [CRASH])
    assert [(row.tool, row.stage, row.status, row.run_time_s) for row in rows] == [
        ("average", "output", "ok", 3.5),
        ("niimath", "reface", "failed", None),
        ("quickshear", "input", "skipped", None),
    ]
    assert [str(row.message).split(",")[0] for row in rows] == [
        "The face was small.",
        "It failed; do this.",
        "The run ended before this image and tool were done",
    ]


def test_a_crash_before_tools_is_that_of_all(plan: Plan, results: list[Result]) -> None:
    crash = Crash(image="sub_01_T1w", tool=None, stage="brain", message="No brain.")
    other = Crash(image="sub_02_T1w", tool=None, stage="brain", message="Another image.")
    rows = status_rows(plan, results, [other, crash])
    assert [row.message for row in rows[1:]] == ["No brain."] * 2


def test_a_finished_image_without_its_record_has_no_row(plan: Plan, image: HeadImage) -> None:
    """Another run may have removed the record since; that one writes the row."""
    gone = Plan(jobs=(), finished=((image, "quickshear"),), problems=(), layout=plan.layout)
    assert status_rows(gone, read_results(gone), []) == []


def test_tables(plan: Plan, results: list[Result], settings: RunSettings) -> None:
    other = DefacingRow(participant_id="sub-01", image="i", tool="t")
    tables = tables_of(results, status_rows(plan, results, [CRASH]), [other], VerdictLimits.of(settings))
    assert [(row.tool, row.masd_mm) for row in tables.distances] == [("average", 1.5)] and not tables.calibration
    assert [(row.tool, row.version, row.brain_verdict) for row in tables.defacing] == [
        ("t", None, None),
        ("average", "1", None),
        ("niimath", "2", "fail"),
    ]


def test_rows_do_not_outlive_their_image(plan: Plan, results: list[Result], settings: RunSettings) -> None:
    output = settings.output_dir
    tables = tables_of(results, status_rows(plan, results, [CRASH]), [], VerdictLimits.of(settings))
    write_tables(tables, settings.layout, Places())
    write_image_tables(results, layout_of(output))
    paths = [dataset_table(layout_of(output), table) for table in ("surfacedistance", "status")]
    first = [path.read_bytes() for path in paths]
    write_tables(tables, settings.layout, Places())
    assert first == [path.read_bytes() for path in paths]
    own = OutputNames.of(layout_of(output), plan.jobs[0].image).surfacedistance("average")
    assert read_rows(own, DistanceRow) == rows_of(layout_of(output), DistanceRow)
    OutputNames.of(layout_of(output), plan.jobs[0].image).record("average").unlink()
    failed = read_results(plan)
    write_tables(
        tables_of(failed, status_rows(plan, failed, []), [], VerdictLimits.of(settings)), settings.layout, Places()
    )
    assert rows_of(layout_of(output), DistanceRow) == []
    assert {row.status for row in rows_of(layout_of(output), StatusRow)} == {"skipped"}
    assert dataset_table(layout_of(output), "participants").read_text() == "participant_id\nsub-01\n"


def test_the_summary_has_failures_first(plan: Plan, results: list[Result], settings: RunSettings) -> None:
    rows = status_rows(plan, results, [CRASH])
    lines = summary(rows, plan)
    path = plan.jobs[0].image.bids_path
    assert lines[0] == "2 failed or were not done:"
    assert lines[1] == f"  {path} niimath (reface): It failed; do this."
    assert lines[3] == f"  Warning: {path} average: The face was small."
    assert lines[4] == f"1 image x tool done; results in {settings.layout.shareable}"


def test_the_finding_of_each_tool_has_failures_first() -> None:
    about = {"participant_id": "sub-1"}
    verdicts = {"a": ("pass", "pass"), "b": ("fail", "warn")}
    defacing = [
        DefacingRow(**about, image=f"{number}", tool=tool, face_verdict=verdict)
        for tool, both in verdicts.items()
        for number, verdict in enumerate(both)
    ]
    distances = [
        DistanceRow(**about, image="0", tool="a", image_type=kind, part="face", masd_mm=mm)
        for kind, mm in (("refaced_sample_mean", 0.9), ("average", 1.4), ("refaced", 0.1))
    ]
    assert tool_findings(defacing, distances) == [
        "b: the face is still there in 1 of 2 images, skin is left, to look at, in 1 of 2 images.",
        "a: face removed from 2 images; the attack came nearer than an average face in 1 of 1.",
    ]


def test_a_participant_without_images_has_a_row(plan: Plan, results: list[Result]) -> None:
    problem = ImageProblem(participant="09", session=None, bids_path=None, message="No image.")
    with_problem = Plan(jobs=plan.jobs, finished=(), problems=(problem,), layout=plan.layout)
    row = status_rows(with_problem, results, [])[-1]
    assert (row.participant_id, row.image, row.tool, row.status) == ("sub-09", None, None, "failed")
    assert "  sub-09 (input): No image." in summary([row], with_problem)


def test_tools_are_cited_as_their_last_record_says(plan: Plan, results: list[Result]) -> None:
    (used,) = tools_of([result.record for result in results if result.record])
    assert (used.name, used.version, used.registration) == ("average", "1", None)


def test_other_images_have_rows_too(plan: Plan, image: HeadImage, settings: RunSettings, tmp_path: Path) -> None:
    """One that was done, and one whose registration failed with its leader's."""
    first, second = (image_of(tmp_path / "in", f"sub-01_echo-{number}_T2w") for number in (1, 2))
    others = Others(
        images=tuple(OtherImage(image=one, leader=first, reference=image, parts=2) for one in (first, second))
    )
    add_other_record(settings.output_dir, first, "average", {})
    crash = Crash(image="sub_01_echo_1_T2w", tool=None, stage="brain", message="Not one head.")
    status, defacing = other_rows(others, [crash], settings)
    assert (status[0].status, status[0].message) == (
        "ok",
        "Defaced with the mask of sub-01/anat/sub-01_T1w.nii.gz, rigidly registered.",
    )
    assert {(row.status, row.message) for row in status[1:]} == {("failed", "Not one head.")}
    assert [(row.image, row.version) for row in defacing] == [(first.bids_path, "1")]
