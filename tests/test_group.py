"""The group level on participants whose figures are known: tables, gates, partial results, the same again."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from group_runs import LABELS, TOOLS, change, make_bids, one, run, table, values
from output_folders import identifiable, shareable
from scipy import stats

from benchmarks.synthetic_outputs import write_output
from bids_refacer.dataset.validation import validate
from bids_refacer.statistics.paired import holm

WHOLE = {"part": "face", "gate": "all", "subgroup_column": "all"}


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bids(tmp_path_factory.mktemp("group") / "bids", (*LABELS, "99"))


@pytest.fixture(scope="module")
def output(bids: Path) -> Path:
    """Twelve participants; niimath left one face, quickshear cut one brain and failed on one."""
    folder = write_output(bids.parent / "out", LABELS, TOOLS, noise_mm=1.0)
    change(folder, "surfacedistance", "masd_mm", "0.2", tool="niimath", participant_id="sub-01", image_type="defaced")
    change(folder, "defacing", "brain_removed_percent", "12", tool="quickshear", participant_id="sub-02")
    rows = [line for line in (shareable(folder) / "surfacedistance.tsv").read_text().splitlines(True)]
    gone = [line for line in rows if not (line.startswith("sub-03\t") and "\tquickshear\t" in line)]
    (shareable(folder) / "surfacedistance.tsv").write_text("".join(gone))
    where = {"tool": "quickshear", "participant_id": "sub-03"}
    change(folder, "status", "message", "The brain is too small: see it.", **where)
    change(folder, "status", "status", "failed", **where)
    with (shareable(folder) / "status.tsv").open("a") as file:  # not to be audited: no audit failed
        file.write("sub-04\tn/a\tsub-04/anat/sub-04_T2w.nii.gz\tn/a\tinput\tskipped\tIt may show the face.\tn/a\n")
    return folder


@pytest.fixture(scope="module")
def said(bids: Path, output: Path) -> list[str]:
    return run(bids, output)


def test_descriptions_agree_with_numpy(said: list[str], output: Path) -> None:
    for tool in TOOLS:
        for image_type in ("defaced", "average", "refaced_mean", "refaced_sample_mean", "refaced_best"):
            known = np.array(list(values(output, tool, image_type, "nose").values()))
            row = one(output, "group_surfacedistance", tool=tool, image_type=image_type, **{**WHOLE, "part": "nose"})
            expected = {"mean_mm": known.mean(), "sd_mm": known.std(ddof=1), "median_mm": np.median(known)}
            expected |= {"q1_mm": np.percentile(known, 25), "q3_mm": np.percentile(known, 75)}
            expected |= {"iqr_mm": stats.iqr(known), "n_participants": len(known), "n_missing": 12 - len(known)}
            for name, value in expected.items():
                assert float(row[name]) == pytest.approx(value, rel=1e-5), name
            half = stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
            assert float(row["ci_high_mm"]) - known.mean() == pytest.approx(half, rel=0.35)


def test_comparisons_find_the_planted_gain(said: list[str], output: Path) -> None:
    p_values = []
    for tool in TOOLS:
        ours, theirs = values(output, tool, "refaced_mean"), values(output, tool, "average")
        difference = np.array([ours[name] - theirs[name] for name in sorted(ours)])
        row = one(output, "group_comparison", tool=tool, image_type="refaced_mean", compared_with="average", **WHOLE)
        assert float(row["mean_difference_mm"]) == pytest.approx(difference.mean(), rel=1e-5)
        assert float(row["mean_difference_mm"]) == pytest.approx(-0.55, abs=0.1)
        assert float(row["ci_low_mm"]) < -0.55 < float(row["ci_high_mm"]) + 0.05
        assert float(row["p_value"]) == pytest.approx(stats.wilcoxon(difference).pvalue, rel=1e-5)
        assert (row["n_closer"], row["rank_biserial"]) == (row["n_pairs"], "-1")
        assert row["n_pairs"] == ("11" if tool == "quickshear" else "12")
        p_values.append((float(row["p_value"]), float(row["p_holm"])))
    np.testing.assert_allclose(holm(np.array([p for p, _ in p_values])), [p for _, p in p_values], rtol=1e-5)


def test_tools_are_compared(said: list[str], output: Path) -> None:
    found = table(output, "group_tools", image_type="defaced", part="face", gate="all")
    assert [row["test"] for row in found] == ["friedman", "wilcoxon", "wilcoxon", "wilcoxon"]
    people = [f"sub-{label}" for label in LABELS if label != "03"]
    columns = [[values(output, tool, "defaced")[name] for name in people] for tool in TOOLS]
    expected = stats.friedmanchisquare(*columns)
    assert float(found[0]["statistic"]) == pytest.approx(expected.statistic, rel=1e-5)
    assert float(found[0]["p_value"]) == pytest.approx(expected.pvalue, rel=1e-5)
    assert (found[0]["n_participants"], found[0]["n_tools"], found[0]["tool"]) == ("11", "3", "n/a")
    assert (found[3]["tool"], found[3]["other_tool"]) == ("pydeface", "quickshear")
    pair = stats.wilcoxon(columns[1], columns[2])
    assert float(found[3]["p_value"]) == pytest.approx(pair.pvalue, rel=1e-5)


def test_gates_count_both_ways(said: list[str], output: Path) -> None:
    place = {"part": "face", "subgroup_column": "all", "image_type": "refaced_mean"}
    for tool, all_of_them in (("niimath", 12), ("pydeface", 12), ("quickshear", 11)):
        count = {
            gate: one(output, "group_surfacedistance", tool=tool, gate=gate, **place)["n_participants"]
            for gate in ("passed", "all")
        }
        assert count == {"passed": str(all_of_them - (tool != "pydeface")), "all": str(all_of_them)}
    excluded = {
        (row["participant_id"], row["tool"], row["reason"])
        for row in table(output, "group_images")
        if row["state"] == "excluded"
    }
    assert excluded == {("sub-01", "niimath", "face left"), ("sub-02", "quickshear", "brain cut")}


def test_limits_are_options(bids: Path, output: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(output, tmp_path / "out")
    run(bids, copy, max_brain_removed=15.0, min_face_change=0.1, rerank=0)
    assert not [row for row in table(copy, "group_images") if row["state"] == "excluded"]
    run(bids, copy, max_brain_removed=15.0, min_face_change=100.0, rerank=0)
    assert {row["reason"] for row in table(copy, "group_images", state="excluded")} == {"face left"}
    assert not table(copy, "group_tools", gate="passed")
    row = one(copy, "group_surfacedistance", tool="niimath", image_type="average", **{**WHOLE, "gate": "passed"})
    assert (row["n_participants"], row["mean_mm"], row["ci_low_mm"]) == ("0", "n/a", "n/a")


def test_verdicts_of_the_participant_level_come_first(bids: Path, output: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(output, tmp_path / "out")
    rows = table(copy, "defacing")
    for row in rows:
        failed = (row["participant_id"], row["tool"]) == ("sub-05", "pydeface")
        row |= {"face_verdict": "fail" if failed else "warn", "brain_verdict": "fail" if failed else "pass"}
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    (shareable(copy) / "defacing.tsv").write_text("\n".join(lines) + "\n")
    run(bids, copy, rerank=0)
    (row,) = table(copy, "group_images", state="excluded")
    assert (row["participant_id"], row["tool"], row["reason"]) == ("sub-05", "pydeface", "face left, brain cut")


def test_what_is_missing_is_said(said: list[str], output: Path) -> None:
    text = "\n".join(said)
    assert "12 participants in" in text
    assert "1 image x tool failed at the participant level: sub-03/anat/sub-03_T1w.nii.gz quickshear" in text
    assert any(line.endswith(" participant --participant-label 99") for line in said), "what to run for them"
    assert "1 participant of the raw dataset without result yet: sub-99" in text
    row = one(output, "group_images", participant_id="sub-03", tool="quickshear")
    assert (row["state"], row["reason"]) == ("failed", "The brain is too small: see it.")
    assert table(output, "group_images", image="sub-04/anat/sub-04_T2w.nii.gz") == []
    report = (shareable(output) / "group.md").read_text()
    assert "closed set" in report and "from the population to the sample" in report and "shape" in report


def test_partial_results_name_what_was_not_run(bids: Path, output: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(output, tmp_path / "out")
    for name in ("surfacedistance", "defacing", "status"):
        lines = (shareable(copy) / f"{name}.tsv").read_text().splitlines(True)
        kept = [line for line in lines if not (line.startswith("sub-07\t") and "\tpydeface\t" in line)]
        (shareable(copy) / f"{name}.tsv").write_text("".join(kept))
    text = "\n".join(run(bids, copy, rerank=0))
    assert "1 image x tool have no result with a tool that others have: sub-07/anat/sub-07_T1w.nii.gz pydeface" in text
    assert one(copy, "group_images", participant_id="sub-07", tool="pydeface")["state"] == "missing"


def test_a_run_that_has_not_ended_is_said_to_be_unfinished(bids: Path, output: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(output, tmp_path / "out")
    for name in ("surfacedistance", "defacing"):
        path = shareable(copy) / f"{name}.tsv"
        lines = path.read_text().splitlines(True)
        path.write_text("".join(line for line in lines if not line.startswith(("sub-07", "sub-08"))))
    change(copy, "status", "status", "running", participant_id="sub-07")
    change(copy, "status", "status", "waiting", participant_id="sub-08")
    said = run(bids, copy, rerank=0)
    text = "\n".join(said)
    assert "6 image x tool are not done yet, and these figures are without them (group_images.tsv names all): " in text
    assert "sub-07/anat/sub-07_T1w.nii.gz niimath" in text and "have no result with a tool" not in text
    assert any(line.endswith(" participant --participant-label 07 08 99") for line in said)
    row = one(copy, "group_images", participant_id="sub-07", tool="pydeface")
    assert row["state"] == "unfinished" and str(row["reason"]).startswith("not done yet")
    summary = one(copy, "group_summary", tool="pydeface")
    assert (summary["n_unfinished"], summary["n_missing"], summary["n_images"]) == ("2", "0", "12")
    page = (shareable(copy) / "group.html").read_text()
    assert "The participant level has not ended: 6 of 36 image x tool are not done yet" in page
    assert "Not done yet: 2 participants." in page and "sub-07" not in page.split("Not done yet: 2")[0][-60:]


def test_subgroups(said: list[str], output: Path) -> None:
    rows = table(output, "group_surfacedistance", tool="pydeface", image_type="average", part="face", gate="all")
    found = {(row["subgroup_column"], row["subgroup"]): row for row in rows}
    groups = {"all": ["all"], "sex": ["F", "M"], "age": ["18-39", "40-59", "60 and over"]}
    expected = {(column, group) for column in groups for group in groups[column]}
    assert set(found) == expected, "a scanner that all share divides no one"
    known = values(output, "pydeface", "average")
    women = [value for name, value in known.items() if int(name[4:]) % 2 == 0]
    assert float(found["sex", "F"]["mean_mm"]) == pytest.approx(np.mean(women), rel=1e-5)
    alone = found["age", "60 and over"]
    assert (alone["n_participants"], alone["mean_mm"]) == ("1", "n/a"), "figures of one person describe that person"


def digests(output: Path) -> dict[str, tuple[int, str]]:
    files = sorted(shareable(output).glob("group*"))
    return {path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}


def test_again_nothing_changes(said: list[str], bids: Path, output: Path) -> None:
    before = digests(output)
    assert len(before) == 20 and run(bids, output) == said
    assert digests(output) == before


def test_the_seed_changes_intervals_alone(said: list[str], bids: Path, output: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(output, tmp_path / "out")
    run(bids, copy, seed=5)
    first, second = (
        one(folder, "group_surfacedistance", tool="niimath", image_type="average", **WHOLE) for folder in (output, copy)
    )
    assert first["ci_low_mm"] != second["ci_low_mm"] and first["mean_mm"] == second["mean_mm"]


def test_the_outputs_are_valid(said: list[str], output: Path) -> None:
    assert validate(shareable(output)) == []
    assert validate(identifiable(output)) == []


def test_texts_that_are_shared_do_not_say_where_folders_lie(bids: Path, tmp_path: Path) -> None:
    whole = write_output(tmp_path / "whole", LABELS, TOOLS[:1])
    filler = write_output(tmp_path / "filler", [f"9{label}" for label in LABELS[:3]], TOOLS[:1], noise_mm=1.0)
    halves = [shutil.copytree(whole, tmp_path / name) for name in ("a", "b")]
    for output, changes, words in (
        (whole, {"filler_dataset": (filler,), "reference_dataset": filler}, ["12 participants", "filled with: filler"]),
        (tmp_path / "group", {"merge_output": tuple(halves)}, ["12 participants in 2 outputs: a, b"]),
    ):
        said = run(bids, output, **changes)
        assert any(str(tmp_path) in line for line in said), "the terminal says it in full"
        for path in shareable(output).glob("group*.*"):
            assert str(tmp_path) not in path.read_text(), path
        for sentence in words:
            assert sentence in (shareable(output) / "group.md").read_text()


def test_a_participant_is_one_however_many_images(bids: Path, tmp_path: Path) -> None:
    """Sessions weigh the same, whatever their number of runs."""
    output = write_output(tmp_path / "out", LABELS[:3], ("niimath",), images=(("a", 1), ("a", 2), ("b", 1)))
    run(bids, output)
    by_image = {
        row["image"]: float(row["masd_mm"])
        for row in table(output, "surfacedistance", image_type="average", part="face")
    }
    means = []
    for label in LABELS[:3]:
        first, second, third = (value for image, value in sorted(by_image.items()) if f"sub-{label}" in image)
        means.append(((first + second) / 2 + third) / 2)
    row = one(output, "group_surfacedistance", image_type="average", **WHOLE)
    assert row["n_participants"] == "3" and float(row["mean_mm"]) == pytest.approx(np.mean(means), rel=1e-5)
    assert (
        one(output, "group_comparison", image_type="refaced_mean", compared_with="average", **WHOLE)["n_pairs"] == "3"
    )


def test_pairs_come_from_the_same_images(bids: Path, tmp_path: Path) -> None:
    """An image without an average face must not enter the participant's mean of the recovered one."""
    output = write_output(tmp_path / "out", LABELS[:4], ("niimath",), images=((None, 1), (None, 2)))
    where = {"image": "sub-01/anat/sub-01_run-2_T1w.nii.gz", "part": "face"}
    change(output, "surfacedistance", "masd_mm", "n/a", image_type="average", **where)
    change(output, "surfacedistance", "masd_mm", "900", image_type="refaced_mean", **where)
    run(bids, output)
    row = one(output, "group_comparison", image_type="refaced_mean", compared_with="average", **WHOLE)
    assert row["n_pairs"] == "4" and float(row["mean_difference_mm"]) == pytest.approx(-0.55, abs=0.15)


def test_calibration(bids: Path, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", LABELS[:3], ("niimath",))
    header = "participant_id image tool part bin_low_mm area_mm2 predicted_mm error_mm covered_50 covered_90".split()
    lines = ["\t".join(header)]
    for label, area in (("01", 10.0), ("02", 1000.0)):
        subject = [f"sub-{label}", f"sub-{label}/anat/sub-{label}_T1w.nii.gz", "niimath", "face"]
        lines.append("\t".join([*subject, "0", str(area), "0.2", "0.4", "0.4", "0.8"]))
    lines.append("\t".join([*subject, "1", "3000", "1.2", "1.2", "0.6", "1.0"]))
    (shareable(output) / "calibration.tsv").write_text("\n".join(lines) + "\n")
    run(bids, output)
    whole = one(output, "group_calibration", kind="all", gate="all")
    # sub-01: 0.4 everywhere; sub-02: a quarter of 0.4, three of 0.6: participants weigh the same, whatever their area
    assert float(whole["covered_50"]) == pytest.approx((0.4 + 0.55) / 2)
    assert float(whole["error_mm"]) == pytest.approx(np.sqrt((0.16 + 0.25 * 0.16 + 0.75 * 1.44) / 2), rel=1e-5)
    assert float(whole["area_share"]) == pytest.approx(1.0) and whole["n_participants"] == "2"
    low, high = table(output, "group_calibration", kind="bin", gate="all")
    assert (float(low["bin_low_mm"]), float(low["area_share"])) == (0.0, 0.625)
    assert (float(high["area_share"]), float(high["predicted_mm"]), high["n_participants"]) == (0.375, 1.2, "1")
