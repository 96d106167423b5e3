"""Linear priors for training: what they are fitted on, whom they have not seen, and how they are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from training_heads import average_heads

from bids_refacer.refacing.fields import SKIN_LIMIT, skin_certain, skin_field, tissue_field
from bids_refacer.refacing.prior import BLOCKS, LinearPrior
from bids_refacer.training.data import priors as module
from bids_refacer.training.data.priors import FOLDS, cross_fitted_priors, folds_of, load_priors, save_priors
from bids_refacer.volumes.grid import pool

SHAPE = (6, 5, 4)
Quantities = dict[str, np.ndarray]


def test_skin_is_certain_where_it_lies_nearer_than_the_border_of_the_view() -> None:
    """A view that starts at slice 5; the n-th voxel in it lies 4 n mm from what is not seen."""
    seen = np.zeros((4, 4, 15), bool)
    seen[:, :, 5:] = True
    depth = 4.0 * np.arange(1, 11)
    for skin_mm, sign in ((1.0, 1), (9.0, -1), (0.0, 1)):
        got = skin_certain(np.full(seen.shape, sign * skin_mm / 8, np.float32), seen, 4)
        assert not got[~seen].any()
        np.testing.assert_array_equal(got[2, 2, 5:], skin_mm + 4 <= depth)


def test_a_surface_beyond_the_view_is_no_skin() -> None:
    """Tissue all along: the lid 2 mm behind the border is the nearest surface, and of no voxel the certain skin."""
    seen = np.zeros((4, 4, 12), bool)
    seen[:, :, 5:] = True
    lid = -(4.0 * np.arange(12) - 16) / 8
    skin = np.broadcast_to(lid, seen.shape)
    assert not skin_certain(skin, seen, 4).any()
    clipped = skin_certain(np.clip(skin, -SKIN_LIMIT, SKIN_LIMIT), seen, 4)
    np.testing.assert_array_equal(clipped[2, 2], seen[2, 2] & (np.arange(12) >= 9))  # farther than the field reaches


def test_the_lid_of_a_cut_head_is_nowhere_certain_skin() -> None:
    """The view ends where slice 10 begins. In the middle of the neck, the surface is the lid and nothing else."""
    head = average_heads()[1]
    _, seen = pool(head.values, head.seen)
    skin_mm = head.skin_mm.astype(np.float32)
    assert not seen[:, :, 9].any() and seen[20:28, 28:36, 10:].all()
    lid = np.abs(skin_mm[20:28, 28:36, 10:13] + 4 * np.arange(3) + 1.7) < 0.5
    assert lid.mean() > 0.9
    assert not skin_certain(skin_field(skin_mm), seen, 4)[20:28, 28:36, 10:13][lid].any()


def test_in_a_whole_view_all_skin_is_certain() -> None:
    seen = np.ones(SHAPE, bool)
    assert skin_certain(np.full(SHAPE, SKIN_LIMIT), seen, 4).all()


def quantities(label: int) -> Quantities:
    """Those of a head that shows all of itself but one corner, and its skin less than that."""
    rng = np.random.default_rng(label)
    volumes = {name: rng.normal(0, 0.3, SHAPE).astype(np.float32) for name in BLOCKS}
    seen, certain = np.ones(SHAPE, bool), np.ones(SHAPE, bool)
    seen[0, 0, label % 4], certain[0, :2, label % 4] = False, False
    return {**volumes, "seen": seen, "certain": certain}


@pytest.fixture
def labelled(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], list]:
    """Stand-ins for heads whose quantities are a function of a label."""
    monkeypatch.setattr(module, "_quantities", lambda head: quantities(head.label))
    return lambda labels: [SimpleNamespace(label=n, participant=f"sub-{place}") for place, n in enumerate(labels)]


def same(one: LinearPrior, other: LinearPrior) -> bool:
    return all(np.array_equal(one.blocks[n].modes, other.blocks[n].modes) for n in BLOCKS)


@pytest.mark.parametrize("changed", [1, 6])
def test_a_prior_never_saw_the_heads_of_its_fold(labelled, changed: int) -> None:
    """Head 1 and head 6 share a fold: when one of them is another person, that fold's prior alone stays as it was."""
    before = cross_fitted_priors(labelled(list(range(8))), 3, 0.1)
    after = cross_fitted_priors(labelled([99 if n == changed else n for n in range(8)]), 3, 0.1)
    assert len(before) == FOLDS + 1
    assert [same(a, b) for a, b in zip(before, after, strict=True)] == [False, True, False, False, False, False]


def test_sessions_of_a_participant_share_a_fold() -> None:
    """They share the face: an estimate that saw one session would know the other."""
    names = ["sub-1_ses-a", "sub-2", "sub-1_ses-b", "sub-3_ses-a_run-1", "sub-3_ses-a_run-2", "sub-4", "sub-5", "sub-6"]
    heads = [replace(average_heads()[0], name=name) for name in names]
    assert folds_of(heads).tolist() == [0, 1, 0, 2, 2, 3, 4, 0]
    assert folds_of([replace(heads[0], name=f"sub-{n}") for n in range(7)]).tolist() == [0, 1, 2, 3, 4, 0, 1]


def test_every_head_is_there_with_its_mirror_image_and_each_quantity_with_its_own_view(
    labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Quantities, Quantities, int, float]] = []
    monkeypatch.setattr(module, "fit_prior", lambda *arguments: given.append(arguments))
    cross_fitted_priors(labelled(list(range(6))), 3, 0.1)
    assert [arguments[2:] for arguments in given] == [(3, 0.1)] * 6
    members = [[0, 1, 2, 3, 4, 5] if fold == 5 else [n for n in range(6) if n % 5 != fold] for fold in range(6)]
    for (data, views, *_), labels in zip(given, members, strict=True):
        assert sorted(data) == sorted(views) == sorted(BLOCKS)
        for place, label in enumerate(labels):
            wanted = quantities(label)
            for name, view in (("intensity", "seen"), ("skin", "certain"), ("tissue", "seen")):
                np.testing.assert_array_equal(data[name][2 * place], wanted[name])
                np.testing.assert_array_equal(data[name][2 * place + 1], wanted[name][::-1])
                np.testing.assert_array_equal(views[name][2 * place], wanted[view])
                np.testing.assert_array_equal(views[name][2 * place + 1], wanted[view][::-1])
            assert len(data["skin"]) == len(views["skin"]) == 2 * len(labels)


def test_the_quantities_of_a_head_are_its_fields_and_where_they_are_sure() -> None:
    for head in average_heads():
        got = module._quantities(head)
        values, seen = pool(head.values, head.seen)
        skin = skin_field(head.skin_mm.astype(np.float32))
        np.testing.assert_array_equal(got["intensity"], values)
        np.testing.assert_array_equal(got["seen"], seen)
        np.testing.assert_array_equal(got["skin"], skin)
        np.testing.assert_array_equal(got["tissue"], tissue_field(values, skin, seen))
        np.testing.assert_array_equal(got["certain"], skin_certain(skin, seen, 4))
    assert not got["certain"][~seen].any() and 0.5 < got["certain"][seen].mean() < 1


def test_priors_survive_the_disk(labelled, tmp_path: Path) -> None:
    priors = cross_fitted_priors(labelled(list(range(6))), 3, 0.1)
    priors[2] = LinearPrior(priors[2].blocks, 0.7)
    save_priors(priors, tmp_path / "priors.npz")
    again = load_priors(tmp_path / "priors.npz")
    assert [p.noise for p in again] == [0.1, 0.1, 0.7, 0.1, 0.1, 0.1]
    assert [path.name for path in tmp_path.iterdir()] == ["priors.npz"]
    for got, wanted in zip(again, priors, strict=True):
        assert list(got.blocks) == list(BLOCKS)
        for name in BLOCKS:
            for part in ("mean", "modes", "support"):
                a, b = getattr(got.blocks[name], part), getattr(wanted.blocks[name], part)
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype


def test_half_written_priors_leave_the_old_ones(labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "priors.npz"
    save_priors(cross_fitted_priors(labelled(list(range(6))), 3, 0.1), target)
    before = target.read_bytes()

    def full_disk(file, **arrays: np.ndarray) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_priors([], target)
    assert target.read_bytes() == before
