"""The page of a group: its numbers and curves are those of the tables, and what is missing is a sentence."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from group_page_outputs import LABELS, add_phenotypes, calibrate, judge
from group_runs import TOOLS, make_bids, run, table
from output_folders import layout_of, shareable
from page_reader import assert_self_contained, read_page

from benchmarks.synthetic_outputs import write_output
from bids_refacer.cli.run import rebuild_pages
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.rows.group_people import PhenotypeRow
from bids_refacer.dataset.tables import read_table, write_table
from bids_refacer.dataset.validation import validate
from bids_refacer.group.report import make_group_page
from bids_refacer.group.run import run_group
from bids_refacer.reports.group_plots import group_plots
from bids_refacer.reports.group_tables import read_group_tables, shown_phenotypes
from bids_refacer.reports.theme import Plot
from bids_refacer.settings import RunSettings


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables and page of 8 participants with three tools, two samples, face maps, verdicts and a phenotype."""
    root = tmp_path_factory.mktemp("group page")
    bids = make_bids(root / "bids", (*LABELS, "09"))  # 09 was never run
    output = write_output(root / "out", LABELS, TOOLS, noise_mm=2.0)
    judge(output)
    calibrate(output)
    said = run(bids, output)
    assert said[-1] == f"Open first: {shareable(output) / 'group.html'}"
    add_phenotypes(output)
    make_group_page(layout_of(output))
    return output


def test_phenotypes_are_ridge_regressions_or_the_networks_where_it_is_alone() -> None:
    kinds = [(roi, model) for roi in ("head", "face") for model in ("cnn", "pls", "ridge")]
    rows = [PhenotypeRow(suffix="T1w", roi=roi, model=model) for roi, model in kinds]
    assert shown_phenotypes(rows) == [PhenotypeRow(suffix="T1w", roi="face", model="ridge")]
    assert shown_phenotypes(rows[:5]) == [PhenotypeRow(suffix="T1w", roi="face", model="cnn")]
    assert shown_phenotypes(rows[:3]) == []


def test_the_page_loads_nothing(output: Path) -> None:
    assert_self_contained(shareable(output) / "group.html")
    assert validate(shareable(output)) == []


def test_numbers_are_those_of_the_tables(output: Path) -> None:
    numbers = read_page(shareable(output) / "group.html").numbers
    summary = {f"{row['suffix']}|{row['tool']}": row for row in read_table(shareable(output) / "group_summary.tsv")}
    people = {
        f"{row['participant_id']}|{row['suffix']}|{row['tool']}": row
        for row in read_table(shareable(output) / "group_participants.tsv")
    }
    rhos = {(row["tool"], row["spearman_rho"]) for row in read_table(shareable(output) / "group_phenotype.tsv")}
    seen = set()
    for n in numbers:
        if n.column == "spearman_rho":
            assert (n.row.split("|")[1], n.value) in rhos or (None, n.value) in rhos
            continue
        rows = {"group_summary": summary, "group_participants": people}[n.table]
        assert rows[n.row][n.column] == n.value, n
        seen.add((n.table, n.row, n.column))
    for tool in TOOLS:
        for column in ("recovered_mm", "average_mm", "difference_mm", "rank1", "rank5_chance", "n_brain_fail", "auc"):
            assert ("group_summary", f"T1w|{tool}", column) in seen
    assert {row for name, row, _ in seen if name == "group_participants"} == set(people)


def test_the_summary_agrees_with_the_other_tables(output: Path) -> None:
    for row in table(output, "group_summary"):
        own = {"tool": row["tool"], "suffix": "T1w", "gate": "passed"}
        test = table(
            output,
            "group_comparison",
            image_type="refaced_mean",
            compared_with="average",
            part="face",
            subgroup_column="all",
            **own,
        )[0]
        assert row["difference_mm"] == test["mean_difference_mm"] and row["difference_p_holm"] == test["p_holm"]
        difference = float(row["recovered_mm"]) - float(row["average_mm"])
        assert difference == pytest.approx(float(row["difference_mm"]), abs=2e-5)
        people = [p for p in table(output, "group_participants", tool=row["tool"]) if p["recovered_mm"] != "n/a"]
        assert len(people) == int(row["n_pairs"])
        mean = np.mean([float(p["recovered_mm"]) for p in people])
        assert mean == pytest.approx(float(row["recovered_mm"]), rel=1e-5)
        known = table(output, "group_identification", image_type="refaced_mean", scan="same", **own)[0]
        assert (row["rank1"], row["auc"], row["n_looked_up"]) == (known["rank1"], known["auc"], known["n_participants"])


def test_roc_curves_have_the_area_that_the_table_says(output: Path) -> None:
    for known in table(output, "group_identification", scan="same", gate="passed"):
        curve = table(
            output, "group_roc", tool=known["tool"], image_type=known["image_type"], scan="same", gate="passed"
        )
        false, true = (np.array([float(row[name]) for row in curve]) for name in ("false_accept", "true_accept"))
        assert np.all(np.diff(true) >= 0) and true[-1] == 1
        assert np.trapezoid(true, false) == pytest.approx(float(known["auc"]), abs=0.03)


def plots(output: Path) -> dict[str, Plot]:
    return {plot.name: plot for plot in group_plots(read_group_tables(layout_of(output)), "T1w")}


def line(figure, gid: str) -> np.ndarray:
    """Points of the line with this name: (n, 2)."""
    (found,) = [artist for artist in figure.axes[0].lines if artist.get_gid() == gid]
    return np.column_stack([found.get_xdata(), found.get_ydata()]).astype(float)


def column(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def test_plots_show_the_tables(output: Path) -> None:
    drawn = plots(output)
    assert not [plot.name for plot in drawn.values() if plot.missing]
    for number, tool in enumerate(TOOLS):
        people = [p for p in table(output, "group_participants", tool=tool) if p["recovered_mm"] != "n/a"]
        lines = line(drawn["paired"].panels[number][0], "participants")[:, 1].reshape(-1, 3)
        assert lines[:, 0].tolist() == column(people, "average_mm")
        assert lines[:, 1].tolist() == column(people, "recovered_mm")
        row = table(output, "group_summary", tool=tool)[0]
        means = line(drawn["paired"].panels[number][0], "means")[:, 1]
        assert means == pytest.approx([float(row["average_mm"]), float(row["recovered_mm"])], rel=1e-5)
        assert line(drawn["differences"].panels[0][0], f"estimate-{number}")[0, 0] == float(row["difference_mm"])
        for plot, x, y in (("cmc", "rank", "rate"), ("roc", "false_accept", "true_accept")):
            curve = table(output, f"group_{plot}", tool=tool, image_type="refaced_mean", scan="same", gate="passed")
            points = line(drawn[plot].panels[number][0], "recovered")
            assert points[:, 0].tolist() == column(curve, x) and points[:, 1].tolist() == column(curve, y)
        bins = table(output, "group_calibration", tool=tool, kind="bin", part="face", gate="passed")
        (dots,) = [artist for artist in drawn["calibration"].panels[number][0].axes[0].collections]
        assert dots.get_offsets().tolist() == [
            list(pair) for pair in zip(column(bins, "predicted_mm"), column(bins, "error_mm"), strict=True)
        ]
        strip = line(drawn["brain"].panels[0][0], f"tool-{number}")[:, 0]
        assert strip.tolist() == column(table(output, "group_participants", tool=tool), "brain_removed_percent")
    summary = table(output, "group_summary")
    points = line(drawn["trade"].panels[0][0], "tools")
    defaced = table(output, "group_phenotype", image_type="defaced")
    assert points[:, 0].tolist() == column(defaced, "spearman_rho")
    assert points[:, 1].tolist() == column(summary, "recovered_mm")
    rhos = [line(drawn["phenotypes"].panels[0][0], f"estimate-{n}")[0, 0] for n in range(4)]
    assert rhos == column(table(output, "group_phenotype"), "spearman_rho")
    intervals = [line(drawn["phenotypes"].panels[0][0], f"interval-{n}")[:, 0].tolist() for n in range(4)]
    assert intervals == [[0.25, 0.85], *[[0.3, 0.8]] * 3], "calibrated, but bootstrap where permutations were too few"


def test_failures_come_first_and_nobody_is_left_out(output: Path) -> None:
    page = read_page(shareable(output) / "group.html")
    assert "2 of 9 participants, with one tool or more: sub-02, sub-09. Somebody should look at 1 more." in page.text
    text = (shareable(output) / "group.html").read_text()
    places = [text.index(f'data-state="{state}"') for state in ("excluded", "absent", "look", "used")]
    assert places == sorted(places)
    assert text.count("<tr data-state=") == 8 * 3 + 1
    assert "no result yet: run the participant level" in page.text


def test_questions_have_answers(output: Path) -> None:
    """Which tool and why, how sure, who again, what the attack assumes."""
    text = read_page(shareable(output) / "group.html").text
    for words in (
        "Distance of the recovered face from the true one, where the skin was removed:",
        "Friedman p",
        "Images to do again: niimath 0 of 8",
        "The figures rest on 7 to 8 participants",
        "What the attack assumes",
        "closed set",
        "Not the original",
        "Signal is lost: rho 0.61 from originals, 0.22 from defaced",
        "No loss was shown",
    ):
        assert words in text, words
    links = {target for _, target in read_page(shareable(output) / "group.html").links}
    assert {path.name for path in shareable(output).glob("*.tsv")} <= links


def test_pages_again_change_nothing(output: Path, tmp_path: Path) -> None:
    before = (shareable(output) / "group.html").read_bytes()
    (shareable(output) / "group.html").unlink()
    settings = {"bids_dir": output.parent / "bids", "output_dir": output, "work_dir": tmp_path, "reports_only": True}
    said: list[str] = []
    assert rebuild_pages(RunSettings(analysis_level="group", **settings), said.append) == 0
    assert (shareable(output) / "group.html").read_bytes() == before
    empty = {**settings, "output_dir": tmp_path}
    for level, name in (("group", "group_images"), ("participant", "status")):
        with pytest.raises(DatasetError, match=f"{name}.tsv is missing.*run the level '{level}' first"):
            rebuild_pages(RunSettings(analysis_level=level, **empty))
    write_table(shareable(tmp_path) / "group_images.tsv", "group_images", [])
    with pytest.raises(DatasetError, match="group_images.tsv has no rows: run the level 'group' first"):
        make_group_page(layout_of(tmp_path))


@pytest.mark.parametrize(
    ("count", "tools", "samples", "words"),
    [
        (
            1,
            ("niimath",),
            1,
            [
                "One participant: no test.",
                "it is the only tool that leaves a head",
                "One face was drawn for each image",
                "no phenotype was predicted",
                "There is no defacing.tsv",
                "Nobody was looked up",
                "face is left was not judged for niimath",
            ],
        ),
        (
            3,
            ("niimath", "pydeface"),
            1,
            ["With 3 participants and 2 tools this test cannot reach p < 0.05", "with fewer than 6 participants"],
        ),
    ],
)
def test_missing_pieces_are_sentences(
    count: int, tools: tuple[str, ...], samples: int, words: list[str], tmp_path: Path
) -> None:
    bids = make_bids(tmp_path / "bids", LABELS[:count])
    output = write_output(tmp_path / "out", LABELS[:count], tools, samples=samples)
    (shareable(output) / "defacing.tsv").unlink()
    run(bids, output)
    assert_self_contained(shareable(output) / "group.html")
    text = read_page(shareable(output) / "group.html").text
    assert [sentence for sentence in words if sentence not in text] == []


def test_failures_only(output: Path, tmp_path: Path) -> None:
    """Every image is kept out: there is a page, and it recommends nothing."""
    copy = tmp_path / "out"
    shutil.copytree(output, copy)
    for path in shareable(copy).glob("group*"):
        path.unlink()
    with (shareable(copy) / "defacing.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    known = [{k: v for k, v in row.items() if v != "n/a"} | {"face_verdict": "fail"} for row in rows]
    write_table(shareable(copy) / "defacing.tsv", "defacing", known)
    run(output.parent / "bids", copy)
    text = read_page(shareable(copy) / "group.html").text
    assert "No tool has a recovered face that counts, so none can be recommended." in text
    assert "In 8 of 8 images a face was left: to do again." in text
    assert "9 of 9 participants" in text
    (shareable(copy) / "group.md").write_text("## What was found\n\n- sub-<script>alert(1)</script>\n\n## Made with\n")
    assert "<li>sub-&lt;script&gt;alert(1)&lt;/script&gt;</li>" in make_group_page(layout_of(copy)).read_text()


def test_nothing_but_failures(tmp_path: Path) -> None:
    """No image has a result: the page says so and lists why, and the exit code is not 0."""
    bids = make_bids(tmp_path / "bids", LABELS[:3])
    output = write_output(tmp_path / "out", LABELS[:2], TOOLS[:2], records=False)
    for name in ("surfacedistance", "defacing", "calibration"):
        write_table(shareable(output) / f"{name}.tsv", name, [])
    rows = [{k: v for k, v in row.items() if v is not None} for row in read_table(shareable(output) / "status.tsv")]
    failed = {"stage": "deface", "status": "failed", "message": "The tool ended with code 3."}
    write_table(
        shareable(output) / "status.tsv",
        "status",
        [
            *[row | failed for row in rows[:2]],
            {
                "participant_id": "sub-02",
                "stage": "input",
                "status": "failed",
                "message": "sub-02_T1w.nii.gz is damaged.",
            },
        ],
    )
    said: list[str] = []
    settings = {"bids_dir": bids, "output_dir": output, "work_dir": tmp_path, "analysis_level": "group"}
    assert run_group(RunSettings(**settings), said.append) == 1
    assert said[-1].startswith("No image has a result with any tool: see why in the page")
    assert_self_contained(shareable(output) / "group.html")
    page = read_page(shareable(output) / "group.html")
    for words in (
        "No tool has a recovered face that counts",
        "The tool ended with code 3.",
        "Not sure at all",
        "sub-02_T1w.nii.gz is damaged.",
        "no result yet: run the participant level",
        "3 of 3 participants",
        "Nobody was looked up",
    ):
        assert words in page.text, words
    assert not page.images and "<svg" not in (shareable(output) / "group.html").read_text(), "no empty plot"
