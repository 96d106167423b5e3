"""A whole training on seven small heads: what it leaves out, writes and resumes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from small_datasets import add_image
from train_runs import OPTIONS, dimmed

from bids_refacer.__main__ import main
from bids_refacer.refacing.weights import load_model
from bids_refacer.settings import TrainSettings
from bids_refacer.training.checkpoint import checkpoints, read
from bids_refacer.training.data import measurements

pytest_plugins = ["train_runs"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors"),  # in quickshear
    pytest.mark.usefixtures("small"),
]


def test_the_model_is_written_with_the_best_weights_and_can_be_loaded(done: Path) -> None:
    model = load_model(str(done / "model"), torch.device("cpu"))
    assert [config.spacing for config, _ in model.stages] == [4, 2]
    best = read(done / "coarse" / "best.pt")
    for name, value in model.stages[0][1].state_dict().items():
        assert torch.equal(value, best["ema"][name].to(torch.bfloat16).float()), name
    assert set(model.ranges) == {"brain_scale", "shape", "misfit"} and all(
        low <= high for low, high in model.ranges.values()
    )
    card = json.loads((done / "model" / "model.json").read_text())["card"]
    assert card["heads"] == 6 and card["best"]["coarse"]["name"] == "edm_loss"
    assert card["settings"]["participants"] == [f"{n:02}" for n in range(1, 7)], "no held-out participant is trained on"
    assert str(done) not in json.dumps(card), "a card names no folder of the machine"


def test_what_is_left_out_stands_in_the_table_with_its_reason(done: Path) -> None:
    with (done / "dropped.tsv").open() as file:
        reasons = {row["participant_id"]: row["reason"] for row in csv.DictReader(file, delimiter="\t")}
    assert list(reasons) == ["sub-cut", "sub-empty", "sub-nobody", "sub-trunc", "sub-twin"]
    assert "nose_in_fov in participants.tsv" in reasons["sub-cut"]
    assert "has no T1w image" in reasons["sub-empty"]
    assert "has no face" in reasons["sub-nobody"]
    assert "is truncated or damaged" in reasons["sub-trunc"]
    assert "the same person under two labels" in reasons["sub-twin"]


def test_sessions_of_a_participant_stay_together(done: Path) -> None:
    heads = json.loads((done / "heads.json").read_text())["heads"]
    splits = {head["name"]: head["split"] for head in heads}
    assert splits == {**{f"sub-{n:02}": "train" for n in range(1, 7)}, "sub-07_ses-a": "val", "sub-07_ses-b": "val"}


def test_nobody_else_may_look_at_the_faces_of_the_cache(done: Path) -> None:
    assert (done / "cache").stat().st_mode & 0o777 == 0o700


def test_nothing_temporary_is_left(done: Path) -> None:
    assert not [path for path in done.rglob("*") if "tmp" in path.name]


def test_settings_are_saved_and_read_back(done: Path, bids: Path) -> None:
    settings = TrainSettings.from_toml(done / "train.toml")
    assert (settings.bids_dir, settings.out, settings.coarse_steps, settings.crop) == (bids, done, 2, 32)


def test_called_again_it_does_nothing_again_not_even_where_the_dataset_is_gone(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = {
        path: path.stat().st_mtime_ns for folder in ("cache", "coarse", "fine") for path in (out / folder).iterdir()
    }
    assert main(["train", str(tmp_path / "gone"), str(out), *OPTIONS]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.usefixtures("steps_alone")
def test_a_lost_checkpoint_is_made_again_with_the_settings_of_the_file(out: Path) -> None:
    last = checkpoints(out / "coarse")[-1]
    whole = read(last)
    last.unlink()
    assert main(["train", "gone", str(out), "--config-file", str(out / "train.toml")]) == 0
    for name, value in whole["ema"].items():
        assert torch.equal(read(last)["ema"][name], value), name


@pytest.mark.usefixtures("steps_alone")
def test_shipped_weights_are_where_a_fine_tuning_starts(out: Path, bids: Path, tmp_path: Path) -> None:
    for stage in ("coarse", "fine"):
        shutil.rmtree(out / stage)
    model = Path(shutil.move(out / "model", tmp_path / "model"))
    assert main(["train", str(bids), str(out), *OPTIONS, "--init-from", str(model), "--rate", "1e-12"]) == 0
    there, here = (load_model(str(m), torch.device("cpu")).stages for m in (model, out / "model"))
    for (_, a), (_, b) in zip(there, here, strict=True):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-2)


def test_a_damaged_cached_head_is_made_anew(out: Path, bids: Path, capsys: pytest.CaptureFixture) -> None:
    path = out / "cache" / "sub-03.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    assert main(["train", str(bids), str(out), *OPTIONS]) == 1
    assert f"The cached head {path} cannot be read" in capsys.readouterr().err
    assert main(["train", str(bids), str(out), *OPTIONS, "--prepare-only"]) == 0
    assert main(["train", str(bids), str(out), *OPTIONS]) == 0


def test_preparation_trains_nothing_and_takes_up_what_a_killed_one_has_done(
    done: Path, bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Path(shutil.copytree(done / "cache", tmp_path / "o" / "cache"))
    (cache / "sub-04.json").unlink()  # killed between the two files of a head
    (cache / "sub-05.npy").unlink()
    measured: list[str] = []
    measure = measurements._measure
    monkeypatch.setattr(
        measurements, "_measure", lambda image, *rest: measured.append(image.name) or measure(image, *rest)
    )
    assert main(["train", str(bids), str(tmp_path / "o"), *OPTIONS, "--prepare-only"]) == 0
    assert measured == ["sub-04", "sub-05"]
    assert (tmp_path / "o" / "heads.json").read_text() == (done / "heads.json").read_text()
    assert not (tmp_path / "o" / "coarse").exists()


def test_an_image_that_was_replaced_is_measured_again(
    bids: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = Path(shutil.copytree(bids, tmp_path / "bids"))
    add_image(other, "sub-03_T1w", dimmed(60))
    assert main(["train", str(other), str(out), *OPTIONS, "--prepare-only"]) == 0
    assert main(["train", str(other), str(out), *OPTIONS]) == 1
    assert "heads_sha256 is " in capsys.readouterr().err, "other heads are another training"


@pytest.mark.usefixtures("steps_alone")
def test_kept_examples_are_found_again_by_what_they_depend_on(out: Path, bids: Path) -> None:
    options = [*OPTIONS, "--examples", "2"]
    for stage in ("coarse", "fine"):
        shutil.rmtree(out / stage)
    assert main(["train", str(bids), str(out), *options]) == 0
    folders = sorted((out / "examples").iterdir())
    assert len(folders) == 2, "one for each stage"
    assert {file.name for folder in folders for file in folder.iterdir()} == {"0.pt", "1.pt"}
    before = {file: file.stat().st_mtime_ns for folder in folders for file in folder.iterdir()}
    for stage in ("coarse", "fine"):
        shutil.rmtree(out / stage)
    assert main(["train", str(bids), str(out), *options, "--rate", "1e-4"]) == 0
    assert {file: file.stat().st_mtime_ns for folder in folders for file in folder.iterdir()} == before
    for stage in ("coarse", "fine"):
        shutil.rmtree(out / stage)
    assert main(["train", str(bids), str(out), *OPTIONS, "--examples", "3"]) == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before, "more examples are these and others"
    for stage in ("coarse", "fine"):
        shutil.rmtree(out / stage)
    assert main(["train", str(bids), str(out), *options, "--seed", "5"]) == 0
    assert len(list((out / "examples").iterdir())) == 4, "other examples lie elsewhere"
