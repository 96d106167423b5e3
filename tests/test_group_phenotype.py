"""Phenotypes at the group level: tables, comparisons, missing people, and bad input told in sentences."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from group_runs import change, make_bids, run, table
from output_folders import identifiable, shareable

from benchmarks.phenotype import write_phenotypes, write_voxel_files
from benchmarks.synthetic_outputs import write_output
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.rows.group_people import PhenotypeRow
from bids_refacer.dataset.validation import validate
from bids_refacer.group import models as group_models
from bids_refacer.group import phenotypes as group_phenotype
from bids_refacer.group import run as group
from bids_refacer.group.phenotype_rows import phenotype_lines
from bids_refacer.group.phenotype_tables import DEFAULT_TARGETS, PhenotypeError, read_phenotypes
from bids_refacer.group.phenotypes import NOTHING
from bids_refacer.phenotypes import network

LABELS = tuple(f"{number:02}" for number in range(1, 25))
TOOL = ("quickshear",)
TARGET = DEFAULT_TARGETS[0]
MUSCLE = np.linspace(-2, 2, 24)[np.random.default_rng(0).permutation(24)]


@pytest.fixture(scope="module", autouse=True)
def few_permutations() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group, "phenotype_tables", partial(group_phenotype.phenotype_tables, permutations=19))
        yield


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_bids(tmp_path_factory.mktemp("phenotype") / "bids", LABELS)
    people = [f"sub-{label}\t{'FM'[number % 2]}" for number, label in enumerate(LABELS)]
    (root / "participants.tsv").write_text("\n".join(["participant_id\tsex", *people]) + "\n")
    write_phenotypes(root / "phenotype" / "ct.tsv", MUSCLE, LABELS, rho=0.9)
    return root


@pytest.fixture(scope="module")
def output(bids: Path) -> Path:
    """Twenty-four participants; the face of one was left, one has no facial voxels."""
    folder = write_output(bids.parent / "out", LABELS, TOOL)
    write_voxel_files(folder, MUSCLE, LABELS, TOOL, ("defaced",))
    change(folder, "surfacedistance", "masd_mm", "0.2", participant_id="sub-05", image_type="defaced")
    for path in (identifiable(folder) / "sub-07").rglob("*_facialvoxels.npz"):
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def said(bids: Path, output: Path) -> list[str]:
    return run(bids, output, target=(TARGET,))


def test_what_defacing_takes_is_in_the_table(said: list[str], output: Path) -> None:
    rows = table(output, "group_phenotype", target=TARGET)
    assert [(row["roi"], row["model"], row["image_type"]) for row in rows] == [
        (roi, model, kind) for roi in ("face", "head") for model in ("ridge", "pls") for kind in ("original", "defaced")
    ]
    original, defaced = rows[:2]
    assert float(original["rho_ci_low"]) > 0 and float(original["p_permutation"]) == 0.05
    assert float(original["rho_ci_low"]) <= float(original["spearman_rho"]) <= float(original["rho_ci_high"])
    assert [defaced[name] for name in ("spearman_rho", "rho_ci_low", "rho_ci_high", "p_permutation")] == list("0001"), (
        "where the face was, everyone looks the same"
    )
    assert (original["rho_calibrated_low"], original["rho_calibrated_high"]) == ("n/a", "n/a"), "19 permutations"
    assert float(defaced["p_holm"]) == 0.05 and float(defaced["rho_difference"]) > 0.3
    assert max(float(defaced["p_meng"]), float(defaced["p_permutation_difference"])) == float(defaced["p_value"])
    assert float(defaced["p_wilcoxon_replicates"]) < 1e-10 and float(original["rho_null_sd"]) > 0.05
    assert original["p_holm"] == "n/a" and original["tool"] == "n/a" and defaced["units"] == "HU"
    assert (original["n_participants"], defaced["n_participants"], defaced["n_pairs"]) == ("23", "22", "22")


def test_who_is_missing_is_said(said: list[str]) -> None:
    text = "\n".join(said)
    assert f"T1w {TARGET}: 23 participants; with a value but without facial voxels: 1 (sub-07)" in text
    assert f"{TARGET} from the face, T1w original: rho" in text and ", bootstrap), permutation p" in text
    assert any("original minus this" in line and "T1w quickshear defaced" in line for line in said)
    assert f"Phenotypes and covariates: {TARGET} (ct.tsv), age (ct.tsv), sex (participants.tsv)." in text


def test_predictions_are_those_of_the_figures(said: list[str], output: Path) -> None:
    from scipy.stats import spearmanr

    row = table(output, "group_phenotype", roi="face", model="ridge", image_type="original")[0]
    rows = table(output, "group_phenotype_predictions", roi="face", model="ridge", image_type="original")
    observed, predicted = ([float(row[f"{name}_residual"]) for row in rows] for name in ("observed", "predicted"))
    assert float(row["spearman_rho"]) == pytest.approx(spearmanr(observed, predicted).statistic, abs=1e-4)
    assert float(row["mae"]) == pytest.approx(np.abs(np.subtract(observed, predicted)).mean(), rel=1e-4)
    r2 = 1 - np.sum(np.subtract(observed, predicted) ** 2) / np.sum(np.square(observed))
    assert float(row["r2"]) == pytest.approx(r2, abs=1e-4)
    source = {
        line.split("\t")[0]: line.split("\t")[3]
        for line in (output.parent / "bids" / "phenotype" / "ct.tsv").read_text().splitlines()
    }
    assert {row["participant_id"]: float(row["observed"]) for row in rows} == {
        row["participant_id"]: float(source[row["participant_id"]]) for row in rows
    }
    assert len(rows) == 23 and "sub-07" not in {row["participant_id"] for row in rows}


def test_the_output_is_valid_and_the_same_again(said: list[str], bids: Path, output: Path) -> None:
    names = ("group_phenotype", "group_phenotype_predictions")
    before = [(shareable(output) / f"{name}.tsv").read_bytes() for name in names]
    assert all((shareable(output) / f"{name}.json").is_file() for name in names)
    assert validate(shareable(output)) == []
    run(bids, output, target=(TARGET,))
    assert [(shareable(output) / f"{name}.tsv").read_bytes() for name in names] == before
    assert "permutation p" in (shareable(output) / "group.md").read_text()


def test_without_a_phenotype_it_is_one_line(tmp_path: Path) -> None:
    raw = make_bids(tmp_path / "bids", LABELS[:3])
    folder = write_output(tmp_path / "out", LABELS[:3], TOOL)
    said = run(raw, folder)
    assert said.count(NOTHING) == 1
    assert not (shareable(folder) / "group_phenotype.tsv").exists()


def test_usual_targets_without_voxels_are_no_failure(bids: Path, tmp_path: Path) -> None:
    folder = write_output(tmp_path / "out", LABELS[:3], TOOL)
    assert any(
        "has facial voxels, from which phenotypes are predicted: run the participant" in line
        for line in run(bids, folder)
    )
    assert not (shareable(folder) / "group_phenotype.tsv").exists()


def test_the_network_stands_beside_the_linear_models(
    said, bids: Path, output: Path, tmp_path: Path, monkeypatch
) -> None:
    """On every 64th voxel, for two epochs: test_muscle_network.py says what it finds; here it is asked rightly."""
    monkeypatch.setattr(network, "EPOCHS", (0, 2))
    coarse = group_models.to_lattice
    monkeypatch.setattr(group_models, "to_lattice", lambda voxels, region: coarse(voxels, region)[:, ::4, ::4, ::4])
    folder = copytree(output, tmp_path / "out")
    words = run(
        bids,
        folder,
        target=(TARGET,),
        phenotype_models=("linear", "cnn"),
        cnn_permutations=1,
        gpu="none",
        omp_nthreads=1,
    )
    assert any(
        line.startswith(
            "The network is trained 20 times for each phenotype, region and type of image, on 1 CPU "
            "thread: this takes long"
        )
        for line in words
    )
    assert any(line.startswith(f"{TARGET} from the face, T1w quickshear defaced by the network: rho") for line in words)
    rows = table(folder, "group_phenotype", target=TARGET, model="cnn")
    assert [(row["roi"], row["image_type"]) for row in rows] == [
        (roi, kind) for roi in ("face", "head") for kind in ("original", "defaced")
    ]
    original, defaced = rows[:2]
    assert (original["n_permutations"], original["n_participants"], defaced["n_pairs"]) == ("1", "23", "22")
    assert defaced["spearman_rho"] == "0", "where the face was, everyone looks the same"
    before = table(output, "group_phenotype", target=TARGET)
    assert [row for row in table(folder, "group_phenotype") if row["model"] != "cnn"] == before, "others are as before"
    assert validate(shareable(folder)) == []


def test_a_gpu_that_is_required_and_absent_is_said(bids: Path, output: Path, monkeypatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = "--gpu require: torch finds no CUDA GPU here"
    assert words in refusal(bids, output, target=(TARGET,), phenotype_models=("cnn",), gpu="require")


# --- bad input -----------------------------------------------------------------------------------------------------


def write(path: Path, **columns: object) -> Path:
    """A table of all participants; a column is one text for all, or a function of their number."""
    lines = ["\t".join(["participant_id", *columns])]
    for number, label in enumerate(LABELS):
        cells = [str(value(number)) if callable(value) else str(value) for value in columns.values()]
        lines.append("\t".join([f"sub-{label}", *cells]))
    path.write_text("\n".join(lines) + "\n")
    return path


def refusal(bids: Path, output: Path, **changes: object) -> str:
    with pytest.raises(DatasetError) as caught:
        run(bids, output, **changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("column", "covariates", "words"),
    [
        (
            lambda n: n if n < 9 else "n/a",
            (),
            "Only 8 participants have a value in the column 'fat', all covariates and"
            " a T1w image with results (9 with a value): at least 10 are needed; run the participant level for more",
        ),
        (7, (), "The column 'fat' is 7 for all 23 participants with a T1w image: nothing can be predicted; choose"),
        (lambda n: "low" if n == 3 else n, (), "p.tsv: 'low' of sub-04 in the column 'fat' is no number: correct it"),
        (lambda n: "inf" if n == 3 else n, (), "p.tsv: 'inf' of sub-04 in the column 'fat' is no number"),
        (lambda n: 2 * n, ("twin",), "The covariates (twin) explain the column 'fat' completely: nothing is left"),
        (lambda n: n, ("site",), "No column 'site' in "),
        (lambda n: n, ("note",), "p.tsv: the covariate 'note' has 24 different texts, such as 'n0': correct it if it"),
        (lambda n: n, ("hole",), "Only 0 participants have a value in the column 'fat', all covariates and"),
    ],
)
def test_columns_that_cannot_be_used(bids, output, tmp_path: Path, column, covariates, words: str) -> None:
    others = {"twin": lambda n: n, "note": lambda n: f"n{n}", "hole": "n/a"}
    path = write(tmp_path / "p.tsv", fat=column, **others)
    assert words in refusal(bids, output, phenotype=path, target=("fat",), covariates=covariates)


def test_tables_that_cannot_be_used(bids: Path, output: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "p.tsv", fat=lambda n: n)
    assert "No column 'bone' in" in (text := refusal(bids, output, phenotype=path, target=("bone",)))
    assert "p.tsv" in text and "ct.tsv: correct --target, or give the table that has it with --phenotype" in text
    assert "gone.tsv is no table that can be read" in refusal(bids, output, phenotype=tmp_path / "gone.tsv")
    path.write_text("subject\tfat\n1\t2\n")
    assert "p.tsv has no column 'participant_id': add it" in refusal(bids, output, phenotype=path, target=("fat",))
    empty = make_bids(tmp_path / "raw", LABELS[:2])
    (empty / "participants.tsv").unlink()
    path = write(tmp_path / "p.tsv", fat=lambda n: n)
    assert "name the columns to predict with --target" in refusal(empty, output, phenotype=path)
    with pytest.raises(PhenotypeError, match="which has neither participants.tsv nor phenotype/"):
        read_phenotypes(empty, None, ("fat",), ())


def test_a_damaged_file_of_voxels_is_named(bids: Path, tmp_path: Path) -> None:
    folder = write_output(tmp_path / "out", LABELS[:12], TOOL)
    write_voxel_files(folder, MUSCLE[:12], LABELS[:12], TOOL, ())
    (path,) = (identifiable(folder) / "sub-03").rglob("*_facialvoxels.npz")
    path.write_bytes(b"")
    said = run(bids, folder, target=(TARGET,))
    (line,) = [line for line in said if path.name in line]
    assert "holds no readable facial voxels" in line and line.endswith("sub-03 is left out.")
    (row,) = table(folder, "group_phenotype", roi="face", model="ridge", image_type="original")
    assert row["n_participants"] == "11"


def test_rows_and_codes_of_participants(tmp_path: Path) -> None:
    """Several rows are averaged, labels do without sub-, 89+ is 89, texts are categories, gaps stay gaps."""
    root = tmp_path
    (root / "participants.tsv").write_text("participant_id\tage\tsex\nsub-1\t89+\tF\nsub-2\t30\tM\nsub-3\tn/a\tn/a\n")
    (root / "p.tsv").write_text("participant_id\tsession_id\tfat\n1\ta\t2\n1\tb\t4\n2\ta\t7\nsub-3\ta\tn/a\n")
    found = read_phenotypes(root, root / "p.tsv", ("fat",), ())
    assert found is not None
    assert found.targets["fat"].tolist()[:2] == [3, 7] and np.isnan(found.targets["fat"].tolist()[2])
    assert list(found.covariates) == ["age", "sex=M"] and found.names == ("age", "sex")
    assert found.covariates.loc[["sub-1", "sub-2"]].to_numpy().tolist() == [[89, 0], [30, 1]]
    assert found.covariates.loc["sub-3"].isna().all()
    none = read_phenotypes(root, root / "p.tsv", ("fat",), ("none",))
    assert none is not None and none.covariates.shape == (3, 0)
    (root / "p.json").write_text('{"fat": {"Units": "kg"}}')
    again = read_phenotypes(root, root / "p.tsv", ("fat",), ())
    assert again is not None and again.units == {"fat": "kg"} and found.units == {"fat": ""}
    (root / "participants.tsv").write_text("participant_id\tsex\nsub-1\tF\nsub-1\tM\n")
    with pytest.raises(PhenotypeError, match="says different things about 'sex' of sub-1: keep one row"):
        read_phenotypes(root, root / "p.tsv", ("fat",), ("sex",))


def test_lines_are_for_the_face_and_ridge_alone() -> None:
    rows = [PhenotypeRow(suffix="T1w", roi=roi, model="ridge") for roi in ("head", "face")]
    assert phenotype_lines([replace(rows[0], spearman_rho=0.5), rows[1]]) == []
