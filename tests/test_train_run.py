"""A whole training on seven small heads: what it leaves out, writes, resumes and refuses."""

from __future__ import annotations

import csv
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_datasets import add_image, average_head, head_without_face, start_dataset
from training_heads import TINY_COARSE, TINY_FINE

from bids_refacer.__main__ import main
from bids_refacer.refacing.weights import load_model
from bids_refacer.settings import TrainSettings
from bids_refacer.training import run as train_run
from bids_refacer.training.checkpoint import checkpoints, read
from bids_refacer.training.data import cache as train_data
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.templates import asset

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear

OPTIONS = (
    "--coarse-steps 2 --fine-steps 1 --batch 1 --noises 1 --crop 32 --modes 2 --warmup 1 --checkpoint-every 1 "
    "--validate-items 1 --workers 0 --threads 1"
).split()


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Tiny networks, few heads, and brains that need no network to be found."""
    with pytest.MonkeyPatch.context() as patch:
        brain = asset("average_brain_mask.nii.gz")[0] > 0
        patch.setattr(train_run, "STAGES", {"coarse": TINY_COARSE, "fine": TINY_FINE})
        patch.setattr(train_data, "LEAST_HEADS", 6)
        patch.setattr(train_data, "extract_brain", lambda values, affine, name: brain)
        patch.setattr(train_data, "align_brain", lambda *_: Alignment(np.eye(4), np.eye(4)))
        threads = torch.get_num_threads()
        yield
        torch.set_num_threads(threads)


def dimmed(percent: int) -> np.ndarray:
    """The average head, as another image."""
    return (average_head() * (percent / 100)).astype(np.uint8)


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = start_dataset(tmp_path_factory.mktemp("in") / "bids")
    rows = [("participant_id", "split", "nose_in_fov")]
    for number in range(1, 7):
        add_image(root, f"sub-{number:02}_T1w", dimmed(100 - 3 * number))
        rows.append((f"sub-{number:02}", "train", "n/a"))
    add_image(root, "sub-07_ses-a_T1w", dimmed(70))
    add_image(root, "sub-07_ses-b_T1w", dimmed(68))
    for name, data in (("cut", dimmed(66)), ("nobody", head_without_face()), ("twin", dimmed(97))):
        add_image(root, f"sub-{name}_T1w", data)
    broken = add_image(root, "sub-trunc_T1w")
    broken.write_bytes(broken.read_bytes()[:9000])
    (root / "sub-empty").mkdir()
    rows += [("sub-07", "val", "1"), ("sub-cut", "train", "0")]
    rows += [(f"sub-{name}", "train", "1") for name in ("nobody", "twin", "trunc", "empty")]
    (root / "participants.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="module")
def done(bids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training."""
    out = tmp_path_factory.mktemp("out") / "training"
    assert main(["train", str(bids), str(out), *OPTIONS]) == 0
    return out


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    """A copy of it to do damage to."""
    return Path(shutil.copytree(done, tmp_path / "training"))


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


def test_a_lost_checkpoint_is_made_again_with_the_settings_of_the_file(out: Path) -> None:
    last = checkpoints(out / "coarse")[-1]
    whole = read(last)
    last.unlink()
    assert main(["train", "gone", str(out), "--config-file", str(out / "train.toml")]) == 0
    for name, value in whole["ema"].items():
        assert torch.equal(read(last)["ema"][name], value), name


def test_another_training_in_the_same_folder_is_refused_before_it_changes_anything(
    out: Path, bids: Path, capsys: pytest.CaptureFixture
) -> None:
    before = (out / "train.toml").read_bytes()
    assert main(["train", str(bids), str(out), *OPTIONS, "--fine-steps", "9"]) == 1
    said = capsys.readouterr().err
    assert "fine/checkpoint-00000001.pt is of another training: steps is 1 there and 9 here." in said
    assert (out / "train.toml").read_bytes() == before


def test_shipped_weights_are_where_a_fine_tuning_starts(out: Path, bids: Path, tmp_path: Path) -> None:
    for stage in ("coarse", "fine"):
        shutil.rmtree(out / stage)
    model = Path(shutil.move(out / "model", tmp_path / "model"))
    assert main(["train", str(bids), str(out), *OPTIONS, "--init-from", str(model), "--rate", "1e-12"]) == 0
    there, here = (load_model(str(m), torch.device("cpu")).stages for m in (model, out / "model"))
    for (_, a), (_, b) in zip(there, here, strict=True):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-2)


def test_weights_of_another_architecture_are_refused(
    done: Path, bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(done / "cache", tmp_path / "o" / "cache")
    shutil.copy(done / "heads.json", tmp_path / "o")
    assert main(["train", str(bids), str(tmp_path / "o"), *OPTIONS, "--init-from", "default"]) == 1
    said = capsys.readouterr().err
    channels = load_model("default", torch.device("cpu")).stages[0][0].network.channels
    assert "The model default is built differently at 4 mm (" in said
    assert f"network.channels is {channels} there and (8, 16) here" in said
    assert "so the coarse stage cannot start from it" in said


def test_a_model_that_is_not_there_is_named(out: Path, bids: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", str(bids), str(out), *OPTIONS, "--init-from", "nowhere"]) == 1
    assert "No attack model 'nowhere'" in capsys.readouterr().err


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
    measure = train_data._measure
    monkeypatch.setattr(
        train_data, "_measure", lambda image, *rest: measured.append(image.name) or measure(image, *rest)
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


def test_too_few_heads_are_refused(
    bids: Path, out: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_data, "LEAST_HEADS", 10)
    assert main(["train", str(bids), str(out), *OPTIONS, "--prepare-only"]) == 1
    assert capsys.readouterr().err.strip() == (
        "6 heads of 6 participants to train on, and at least 10 heads of 2 are needed: "
        f"{out / 'dropped.tsv'} says why the others are left out."
    )


def test_a_folder_in_use_is_refused(bids: Path, out: Path, capsys: pytest.CaptureFixture) -> None:
    with (out / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["train", str(bids), str(out), *OPTIONS]) == 1
    said = capsys.readouterr().err.strip()
    assert said == f"Another training is writing to {out}: wait for it, or give another folder."


def test_an_input_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", str(tmp_path / "gone"), str(tmp_path / "o"), *OPTIONS]) == 1
    assert f"The input {tmp_path / 'gone'} is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "Interrupted. The same command goes on from the last checkpoint."),
        (OSError(28, "No space left on device", "/x/y.pt"), 1, "/x/y.pt: No space left on device; check the disk,"),
    ],
)
def test_what_stops_it_from_outside_is_a_sentence(
    error: BaseException,
    code: int,
    words: str,
    out: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(train_run, "_run", stop)
    assert main(["train", "gone", str(out)]) == code
    assert words in capsys.readouterr().err


def test_float16_on_a_cpu_is_refused(bids: Path, out: Path, capsys: pytest.CaptureFixture) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["train", str(bids), str(out), *OPTIONS, "--precision", "float16"]) == 1
    assert "float16 needs a CUDA GPU" in capsys.readouterr().err


def test_kept_examples_are_found_again_by_what_they_depend_on(bids: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = [*OPTIONS, "--examples", "2"]
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
