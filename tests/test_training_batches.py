"""Examples that are made once and used again."""

from __future__ import annotations

import stat
from dataclasses import astuple
from pathlib import Path

import pytest
import torch
from training_loose import Loose, stage_plan

from bids_refacer.training.data.batches import KeptItems
from bids_refacer.training.data.examples import Item
from bids_refacer.training.loop import train_stage


class Counted(Loose):
    """Counts how often an item is made."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __getitem__(self, index: int) -> Item:
        self.made.append(index)
        return super().__getitem__(index)


def tensors(item: Item) -> list[torch.Tensor]:
    return [part for part in astuple(item) if isinstance(part, torch.Tensor)]


def test_an_example_is_made_once_and_is_the_same_when_it_is_read_again(tmp_path: Path) -> None:
    items = Counted()
    first = [KeptItems(items, 3, tmp_path)[number] for number in (0, 1, 2)]
    again = [KeptItems(items, 3, tmp_path)[number] for number in (0, 1, 2)]
    assert items.made == [0, 1, 2]
    for one, other, fresh in zip(first, again, map(Loose().__getitem__, range(3)), strict=True):
        assert one.augmentation == other.augmentation == fresh.augmentation
        for a, b, c in zip(tensors(one), tensors(other), tensors(fresh), strict=True):
            assert torch.equal(a, b) and a.dtype == torch.float32
            torch.testing.assert_close(a, c, atol=1e-3, rtol=1e-3)


def test_every_other_time_an_example_is_mirrored(tmp_path: Path) -> None:
    items = KeptItems(Loose(), 2, tmp_path)
    for a, b, c in zip(tensors(items[1]), tensors(items[3]), tensors(items[5]), strict=True):
        assert torch.equal(b, a.flip(2)) and torch.equal(c, a) and not torch.equal(a, b)


@pytest.mark.parametrize("name", ["0.123", "0.123.tmp", "0.pt"])
def test_what_was_not_written_to_its_end_is_no_example(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"half")
    items = Counted()
    assert KeptItems(items, 1, tmp_path)[0].target.shape == Loose()[0].target.shape
    assert items.made == [0]


def test_examples_show_faces_and_are_their_owners_alone(tmp_path: Path) -> None:
    KeptItems(Loose(), 1, tmp_path / "examples" / "abc")
    assert stat.S_IMODE((tmp_path / "examples" / "abc").stat().st_mode) == 0o700


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_on_kept_examples_is_the_same_whoever_made_them(tmp_path: Path, workers: int) -> None:
    weights = []
    for number, count in enumerate((0, workers)):
        items = KeptItems(Loose(), 3, tmp_path / f"examples-{number}")
        plan = stage_plan(tmp_path / f"run-{number}", 4, batch=2, workers=count)
        weights.append(train_stage(items, plan).state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
