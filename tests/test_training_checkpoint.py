"""Checkpoints: whole or absent, checked, rotated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bids_refacer.training.checkpoint import CheckpointError, as_text, checkpoints, digest, newest, read, save, write


def state(step: int) -> dict:
    weights = {"a": torch.arange(6.0).reshape(2, 3) + step, "b": torch.tensor(1.5)}
    return {"step": step, "model": weights, "groups": [{"lr": 0.1, "betas": (0.9, 0.98)}], "fingerprint": "{}"}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "x.pt", state(3))
    got = read(tmp_path / "x.pt")
    assert digest(got) == digest(state(3)) and list(got) == list(state(3))
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["model"]["a"].__setitem__((1, 2), 5.5),
        lambda s: s["model"].__setitem__("c", s["model"].pop("b")),
        lambda s: s["model"].__setitem__("a", s["model"]["a"].reshape(3, 2)),
        lambda s: s["groups"][0].__setitem__("lr", 0.2),
    ],
)
def test_the_digest_sees_every_change(change) -> None:
    changed = state(3)
    change(changed)
    assert digest(changed) != digest(state(3)) == digest(state(3))


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    write(path, state(1))
    content = bytearray(path.read_bytes())
    place = content.index(state(1)["model"]["a"].numpy().tobytes())
    content[place + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="x.pt is damaged"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a", b"text"])
def test_a_file_cut_short_is_noticed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x.pt is damaged \(.+\)\."):
        read(tmp_path / "x.pt")


def test_a_file_of_other_content_is_noticed(tmp_path: Path) -> None:
    torch.save({"step": 1}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="x.pt is damaged"):
        read(tmp_path / "x.pt")


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    for step in (2, 10, 100):
        save(tmp_path, state(step), keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-00000010.pt", "checkpoint-00000100.pt"]
    assert newest(tmp_path) == checkpoints(tmp_path)[-1]


def test_damaged_ones_are_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (1, 2, 3):
        save(tmp_path, state(step), keep=3)
    for path in checkpoints(tmp_path)[1:]:
        path.write_bytes(path.read_bytes()[:-200])
    found = newest(tmp_path)
    assert found is not None and read(found)["step"] == 1
    assert caplog.text.count("It was renamed; training goes on from the checkpoint before it.") == 2
    assert len(list(tmp_path.glob("*.damaged"))) == 2


def test_when_none_can_be_read_nothing_is_started_anew_unasked(tmp_path: Path) -> None:
    save(tmp_path, state(1), keep=3)
    checkpoints(tmp_path)[0].write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        newest(tmp_path)
    assert str(caught.value).startswith(f"No checkpoint in {tmp_path} can be read; they were renamed to *.damaged.")
    assert newest(tmp_path) is None, "the second call was asked"


def test_tuples_and_lists_are_the_same_in_a_fingerprint() -> None:
    assert as_text({"a": (1, 2)}) == as_text({"a": [1, 2]})
