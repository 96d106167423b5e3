"""`bids_refacer simulate`: its dataset, its options, its refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_refacer.__main__ import main
from bids_refacer.cli import simulate_run
from bids_refacer.dataset.validation import validate
from bids_refacer.simulation.acquisition import Protocol
from bids_refacer.simulation.people import RADIODENSITY_HU
from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.surfaces.gifti import read_surface

TRUTH = "sourcedata/truth/truth.tsv"
QUICK = ("--resolution", "4")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "new" / "heads"
    contrasts = ("--contrasts", "FLAIR", "T1w", "T2w")
    assert main(["simulate", str(out), "--participants", "2", "--seed", "3", *contrasts, *QUICK]) == 0
    return out


def test_the_dataset_is_valid_bids_with_its_truth(dataset: Path) -> None:
    assert validate(dataset, warnings=True) == []
    assert sorted(p.name for p in dataset.glob("sub-*/anat/*")) == [
        f"sub-{label}_{suffix}.nii.gz" for label in ("001", "002") for suffix in ("FLAIR", "T1w", "T2w")
    ]
    rows = table(dataset / "participants.tsv")
    described = json.loads((dataset / "participants.json").read_text())
    assert list(rows[0]) == list(described) and {row["sex"] for row in rows} <= {"F", "M"}
    truth = dataset / "sourcedata" / "truth"
    head = json.loads((truth / "sub-001" / "head.json").read_text())
    assert float(table(truth / "truth.tsv")[0]["muscle_density"]) == pytest.approx(head["MuscleDensity"], rel=1e-4)
    settings = json.loads((truth / "simulation.json").read_text())
    assert settings["seed"] == 3 and settings["rho"] == 0.5 and settings["resolution_mm"] == 4


def test_the_truth_lies_in_the_space_of_the_images(dataset: Path) -> None:
    truth = dataset / "sourcedata" / "truth" / "sub-001"
    image = nib.load(dataset / "sub-001" / "anat" / "sub-001_T1w.nii.gz")
    brain = nib.load(truth / "brain.nii.gz")
    assert np.allclose(brain.affine, image.affine) and image.shape == brain.shape == (48, 64, 64)
    skin, other = (read_surface(truth.parent / f"sub-00{n}" / "skin.surf.gii") for n in (1, 2))
    centre = nib.affines.apply_affine(brain.affine, np.argwhere(np.asarray(brain.dataobj))).mean(axis=0)
    assert signed_distances(centre[None], skin)[0] < -30
    assert np.array_equal(skin.faces, other.faces) and not np.allclose(skin.vertices, other.vertices)


def test_the_same_seed_makes_the_same_heads_for_any_number(dataset: Path, tmp_path: Path) -> None:
    main(["simulate", str(tmp_path / "one"), "--participants", "1", "--seed", "3", *QUICK])
    place = Path("sub-001", "anat", "sub-001_T1w.nii.gz")
    assert (tmp_path / "one" / place).read_bytes() == (dataset / place).read_bytes()
    assert table(tmp_path / "one" / "participants.tsv") == table(dataset / "participants.tsv")[:1]


def test_options_reach_the_images(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Protocol] = []
    real = simulate_run.acquire

    def watched(model, anatomy, session, protocol, *rest):
        seen.append(protocol)
        return real(model, anatomy, session, protocol, *rest)

    monkeypatch.setattr(simulate_run, "acquire", watched)
    image_options = "--resolution 3.5 --field-of-view 140 245 210 --noise 0 --bias 0.3"
    options = f"{image_options} --rho -1 --participants 1 --seed 4".split()
    assert main(["simulate", str(tmp_path / "out"), *options]) == 0
    image = nib.load(tmp_path / "out" / "sub-001" / "anat" / "sub-001_T1w.nii.gz")
    assert image.shape == (40, 70, 60) and image.header.get_zooms() == (3.5, 3.5, 3.5)
    assert seen[0] == Protocol(3.5, (140.0, 245.0, 210.0), 0.0, 0.3)
    assert np.asarray(image.dataobj)[:2, :2].max() == 0  # no noise in the air
    (person,), (truth,) = (table(tmp_path / "out" / name) for name in ("participants.tsv", TRUTH))
    assert person["age"] != table(dataset / "participants.tsv")[0]["age"]  # another seed
    mean, spread = RADIODENSITY_HU["thigh"]
    beyond = float(person["muscle_radiodensity_thigh"]) - mean + 0.25 * (float(person["age"]) - 50)
    beyond -= 3 * (person["sex"] == "M")
    assert beyond == pytest.approx(-spread * float(truth["muscle_density"]), abs=0.01)  # rho is -1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--participants", "0"], "--participants is 0: give a number from 1 to 99999."),
        (["--seed", "-1"], "--seed is -1: give 0 or a larger whole number."),
        (["--rho", "1.5"], "--rho is 1.5: a correlation lies between -1 and 1."),
        (["--muscle-effect", "-1"], "--muscle-effect is -1: give 0 (none) to 4."),
        (["--muscle-effect", "nan"], "--muscle-effect is nan: give 0 (none) to 4."),
        (["--resolution", "0.3"], "--resolution is 0.3 mm: give 0.7 to 4 mm."),
        (["--field-of-view", "192", "256", "50"], "--field-of-view holds 50 mm: give 100 to 320 mm for each side."),
        (["--noise", "-0.1"], "--noise is -0.1: give 0 (none) to 0.5, or no head is left in the image."),
        (["--bias", "2"], "--bias is 2: give 0 (none) to 0.5, or no head is left in the image."),
        (["--rho", "nan"], "--rho is nan: a correlation lies between -1 and 1."),
        (["--contrasts", "PDw"], "invalid choice: 'PDw'"),
        (["participant"], "unrecognized arguments: participant"),
    ],
)
def test_settings_that_cannot_be_used(options: list[str], words: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["simulate", str(tmp_path / "out"), *options])
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main(["simulate", str(tmp_path)])
    assert f"The output {tmp_path} is not empty, and nothing in it is replaced" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(SystemExit, match="2"):
        main(["simulate", str(tmp_path / "mine.txt")])
    assert "is a file: give a folder" in capsys.readouterr().err


def test_a_run_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "x"))

    monkeypatch.setattr(simulate_run, "write_volume", full)
    assert main(["simulate", str(tmp_path / "out"), *QUICK]) == 1
    assert f"{tmp_path / 'x'} cannot be written (No space left on device)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_filled_meanwhile_is_left_alone(tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(simulate_run, "_write", lambda settings, root: (out / "theirs").write_text("x"))
    assert main(["simulate", str(out)]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["out"] and [p.name for p in out.iterdir()] == ["theirs"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))
