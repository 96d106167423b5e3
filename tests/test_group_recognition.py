"""Who is found again by recognisers at the group level: what was planted, what chance gives, and what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from group_runs import LABELS, make_bids, one, run, table
from output_folders import identifiable, layout_of, shareable
from recognised_people import write_people

from benchmarks.synthetic_outputs import write_output
from bids_refacer.dataset.rows.group import SummaryRow
from bids_refacer.dataset.rows.recognition import RecognitionRow
from bids_refacer.dataset.rows.table import write_rows
from bids_refacer.reports.group_plots import group_plots
from bids_refacer.reports.group_tables import read_group_tables
from bids_refacer.reports.notes.recognition import recognised_lines, recognition_line, town_lines

GATE = {"gate": "passed"}


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bids(tmp_path_factory.mktemp("recognised") / "bids")


@pytest.fixture(scope="module")
def fillers(bids: Path) -> Path:
    """Twenty people of another dataset, with the labels of this one."""
    return write_people(bids.parent / "fill", [f"{number:02}" for number in range(1, 21)], (), seed=9)


@pytest.fixture(scope="module")
def output(bids: Path, fillers: Path) -> Path:
    folder = write_people(bids.parent / "out", LABELS, ("niimath",))
    run(bids, folder, filler_dataset=(fillers,))
    return folder


def found(output: Path, **wanted: str) -> dict[str, str]:
    return one(output, "group_recognition", **{"recogniser": "dlib", "scan": "same", **GATE, **wanted})


def test_an_original_is_found_under_another_light(output: Path) -> None:
    row = found(output, image_type="original")
    assert (row["rank1"], row["mean_rank"], row["n_found"], row["tool"]) == ("1", "1", "12", "n/a")
    assert (row["n_gallery"], row["n_fillers"], row["detected"], row["n_without_face"]) == ("32", "20", "1", "0")
    assert float(row["rank1_exact_low"]) == pytest.approx(0.7354, abs=1e-3) and row["rank1_exact_high"] == "1"
    assert float(row["similarity"]) > 0.99


def test_exchanged_labels_are_chance(output: Path) -> None:
    row = found(output, image_type="shuffled")
    assert float(row["auc"]) == pytest.approx(0.5, abs=0.03) and float(row["rank1"]) < 0.1
    assert row["n_gallery"] == "31", "the right one is barred"


def test_what_was_planted_is_found_and_what_was_not_is_not(output: Path) -> None:
    assert found(output, tool="niimath", image_type="refaced")["rank1"] == "1"
    for kind in ("average", "average-fitted"):
        assert float(found(output, tool="niimath", image_type=kind)["rank1"]) < 0.3


def test_heads_without_a_face_are_counted_and_never_found(output: Path) -> None:
    row = found(output, tool="niimath", image_type="defaced")
    assert (row["n_probes"], row["n_without_face"], row["detected"]) == ("12", "12", "0")
    assert (row["rank1"], row["mean_rank"], row["similarity"]) == ("0", "16.5", "n/a")
    rates = table(output, "group_crowd", tool="niimath", image_type="defaced", recogniser="dlib", **GATE)
    assert {row["rank1"] for row in rates} == {"0"}


def test_shapes_stand_beside_recognisers(output: Path) -> None:
    whole = found(output, tool="niimath", image_type="refaced", recogniser="shape")
    painted = found(output, tool="niimath", image_type="refaced", recogniser="shape-painted")
    assert float(whole["rank1"]) > 0.8 and float(painted["rank1"]) > 0.8, "here all of the face is painted"
    assert whole["detected"] == whole["similarity"] == "n/a"
    assert not table(output, "group_recognition", recogniser="shape-painted", image_type="defaced")


def test_pairs_of_faces_are_tested_with_holm(output: Path) -> None:
    pair = {"tool": "niimath", "recogniser": "dlib", "image_type": "refaced", "compared_with": "average", **GATE}
    rank = one(output, "group_recognition_comparison", figure="rank", **pair)
    alike = one(output, "group_recognition_comparison", figure="similarity", **pair)
    assert float(rank["mean_difference"]) < 0 < float(alike["mean_difference"]) and alike["n_larger"] == "12"
    assert float(alike["p_value"]) < float(alike["p_holm"]) < 0.05
    assert not table(output, "group_recognition_comparison", compared_with="defaced", figure="similarity"), "no face"


def test_the_crowd_is_measured_up_to_the_gallery_and_marked_beyond(output: Path) -> None:
    rows = table(output, "group_crowd", tool="niimath", image_type="refaced", recogniser="dlib", **GATE)
    assert [row["gallery"] for row in rows] == "10 32 100 1000 10000 100000 1000000 10000000".split()
    assert [row["source"] for row in rows] == ["measured"] * 2 + ["extrapolated"] * 6
    assert all(float(row["rank1_low"]) <= float(row["rank1"]) <= float(row["rank1_high"]) for row in rows)


def test_the_page_tells_of_a_town(output: Path) -> None:
    row = one(output, "group_summary", tool="niimath")
    assert (row["recogniser"], row["recogniser_rank1"], row["recogniser_gallery"]) == ("dlib", "1", "32")
    page = (shareable(output) / "group.html").read_text()
    assert (
        "Found by face recognition" in page
        and "In a town of 10,000" in page
        and "projection, not a measurement" in page
    )
    assert "Would a face-recognition program find people again?" in page and "And in how large a crowd?" in page
    report = (shareable(output) / "group.md").read_text()
    assert "In a town of 10,000 people, an attacker with face-recognition programs would find" in report


def test_a_projection_that_says_nothing_is_no_sentence() -> None:
    """Five people give 31 % with an interval from 0 to 99 %: a reader would keep the 31."""
    told = SummaryRow(
        suffix="T1w", tool="a", recogniser="dlib", recogniser_rank1=0.5, recogniser_gallery=36, town_rank1=0.3
    )
    sure = replace(told, town_rank1_low=0.1, town_rank1_high=0.6)
    vague = replace(told, tool="b", town_rank1_low=0.0, town_rank1_high=0.99)
    (line,) = town_lines([sure, vague])
    assert "after a about 30 % (10 % to 60 %)." in line and "after b" not in line
    (line,) = town_lines([vague, replace(told, tool="c")])
    assert "cannot be told" in line and "30 %" not in line and "--filler-dataset" in line
    assert recognition_line(vague).endswith("What that means for a town cannot be told from so few people.")
    assert "about 30 % (10 % to 60 %)" in recognition_line(sure)
    assert town_lines([replace(told, town_rank1=None)]) == []


def test_figures_show_the_tables(output: Path) -> None:
    drawn = {plot.name: plot for plot in group_plots(read_group_tables(layout_of(output)), "T1w")}
    (panel,) = drawn["crowd"].panels
    rows = table(output, "group_crowd", recogniser="dlib", image_type="refaced", **GATE)
    (curve,) = [line for line in panel[0].axes[0].lines if line.get_gid() == "recovered"]
    assert curve.get_ydata().tolist() == [float(row["rank1"]) for row in rows]
    assert "among 10,000,000" in panel[1] and "projection" in drawn["crowd"].caption
    (panel,) = drawn["recognition"].panels
    known = [row for row in table(output, "group_recognition", scan="same", tool="niimath", **GATE) if row["rank1"]]
    assert f"dlib refaced {float(found(output, image_type='refaced', tool='niimath')['rank1']):.2f}" in panel[1]
    assert panel[1].count(";") == len([row for row in known if row["image_type"] != "average-fitted"]) - 1


def test_ranks_of_a_participant(output: Path) -> None:
    row = one(output, "group_participants", participant_id="sub-01", tool="niimath")
    assert row["recogniser_ranks"] == "dlib 1 of 32"


def test_a_participants_page_says_what_programs_see() -> None:
    about = {"participant_id": "sub-01", "image": "a", "tool": "t", "view": "mean", "n_views": 6}
    rows = [
        RecognitionRow(**about, image_type="original", recogniser="dlib", n_detected=6, similarity=0.98),
        RecognitionRow(**about, image_type="refaced", sample=1, recogniser="dlib", n_detected=5, similarity=0.912),
        RecognitionRow(**about, image_type="refaced", sample=1, recogniser="sface", n_detected=0),
    ]
    first, second = recognised_lines(rows, "dlib 1 of 32")
    assert first == (
        "Face recognition, by the recovered face: dlib sees a face in 5 of 6 views, 0.91 alike to the original (the "
        "original under another light: 0.98); sface sees a face in 0 of 6 views."
    )
    assert second == "Rank of the own original among all originals of the group, by the recovered face: dlib 1 of 32."
    assert recognised_lines([], None) == []
    note = RecognitionRow(participant_id="sub-01", note="No disk.")
    assert recognised_lines([note], None) == ["Face recognition was not measured: No disk."]


def test_without_recognition_nothing_is_told(bids: Path, tmp_path: Path) -> None:
    folder = write_people(tmp_path / "out", LABELS[:2], ("niimath",))
    run(bids, folder)
    assert table(folder, "group_recognition")
    run(bids, folder, recognition=False)
    for name in ("group_recognition", "group_recognition_comparison", "group_crowd"):
        assert not (shareable(folder) / f"{name}.tsv").exists()
    assert one(folder, "group_summary")["recogniser"] == "n/a"


def test_an_output_without_descriptors_has_no_tables(bids: Path, tmp_path: Path) -> None:
    folder = write_output(tmp_path / "out", LABELS[:2], ("niimath",), noise_mm=1.0)
    run(bids, folder)
    assert not (shareable(folder) / "group_recognition.tsv").exists()
    assert "Nobody was recognised: that needs the descriptors" in (shareable(folder) / "group.html").read_text()


def test_one_participant_is_too_few(bids: Path, tmp_path: Path) -> None:
    said = run(bids, write_people(tmp_path / "out", LABELS[:1], ("niimath",)))
    assert any("Recognition of T1w by dlib: 1 originals have descriptors, and it needs two or more" in x for x in said)


def test_damaged_and_missing_descriptors_are_named_and_counted(bids: Path, tmp_path: Path) -> None:
    folder = write_people(tmp_path / "out", LABELS[:4], ("niimath",))
    files = sorted(identifiable(folder).rglob("*niimathRefaced1_descriptors.npz"))
    files[0].write_bytes(b"no archive")
    files[1].unlink()
    next(identifiable(folder).rglob("sub-04*desc-original_descriptors.npz")).unlink()
    said = run(bids, folder)
    assert any("holds no readable descriptors" in line and "Its face is left out." in line for line in said)
    assert any("Recognition by dlib: 1 originals have no descriptors, and are not in the gallery." in x for x in said)
    row = found(folder, tool="niimath", image_type="refaced")
    assert (row["n_participants"], row["n_missing"], row["n_gallery"]) == ("1", "3", "3")


def test_why_heads_could_not_be_described_is_told(bids: Path, tmp_path: Path) -> None:
    folder = write_people(tmp_path / "out", LABELS[:2], ("niimath",))
    path = shareable(folder) / "recognition.tsv"
    row = RecognitionRow(
        participant_id="sub-01", image="sub-01/anat/sub-01_T1w.nii.gz", tool="niimath", note="No disk."
    )
    write_rows(path, RecognitionRow, [row])
    said = run(bids, folder)
    assert "Recognition: 1 image x tool could not be described (No disk.)" in said
