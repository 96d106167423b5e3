"""Training heads: in the canonical frame, on disk, and how far their skin is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_heads import FIELD_SHAPE, SHAPE, average_heads

from bids_refacer.surfaces.skin_distance import FAR_MM, near_skin_distance, skin_distance
from bids_refacer.training.data.heads import Head, head_file, load_head, save_head
from bids_refacer.volumes.grid import CANONICAL, pool
from bids_refacer.volumes.templates import asset

VOLUMES = ("stored", "seen", "brain", "skin_mm")


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return average_heads()


def test_a_head_in_the_frame_is_stored_within_a_grey_level(heads: list[Head]) -> None:
    values = asset("average_head.nii.gz").values.astype(np.float32)
    scale = np.median(values[heads[0].brain])
    expected = np.clip(values / scale, 0, 2.5) / 1.25 - 1
    assert heads[0].seen.all()
    np.testing.assert_allclose(heads[0].values, expected, atol=1 / 255 + 1e-6)
    np.testing.assert_array_equal(heads[0].brain, asset("average_brain_mask.nii.gz").values > 0)


def test_a_cut_field_of_view_is_not_seen_and_holds_air(heads: list[Head]) -> None:
    head = heads[1]
    z = (CANONICAL[2].affine[2, 3] + 2 * np.arange(SHAPE[2]))[None, None]
    assert not head.seen[:, :, :20].any() and head.seen[8:-8, 1:-1, 21:-1].all()
    assert (head.values[~head.seen] == -1).all()
    assert z[0, 0, 20] == pytest.approx(-111.0)


def test_a_head_survives_the_disk(heads: list[Head], tmp_path: Path) -> None:
    save_head(heads[1], tmp_path)
    again = load_head(head_file(tmp_path, "narrow"))
    assert again.name == "narrow" and [p.name for p in tmp_path.iterdir()] == ["narrow.npy"]
    for name in VOLUMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(heads[1], name))
        assert getattr(again, name).dtype == getattr(heads[1], name).dtype
    np.testing.assert_array_equal(again.alignment.affine, heads[1].alignment.affine)
    np.testing.assert_array_equal(again.alignment.rigid, heads[1].alignment.rigid)


def test_a_cached_head_is_mapped_into_memory_and_cannot_be_changed(heads: list[Head], tmp_path: Path) -> None:
    save_head(heads[1], tmp_path)
    head = load_head(head_file(tmp_path, "narrow"))
    for name in VOLUMES:
        volume = getattr(head, name)
        assert isinstance(volume, np.memmap) and not volume.flags.writeable
    assert head_file(tmp_path, "narrow").stat().st_size < 5.2e6, "three bytes a voxel of 2 mm"


def test_another_file_is_no_cached_head(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match="no cached head of this version"):
        load_head(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError):
        load_head(tmp_path / "b.npy")


def test_the_skin_of_a_ball_is_where_it_is() -> None:
    """Positive outside, exact also far away, in mm, on the 4 mm grid; the ball lies off the centre of the frame."""
    centre, radius = np.array([10.0, -20.0, 5.0]), 33.0
    places = np.moveaxis(np.indices(SHAPE), 0, -1) * 2.0 + CANONICAL[2].affine[:3, 3]
    share = np.clip(0.5 - (np.linalg.norm(places - centre, axis=-1) - radius) / 2, 0, 1)
    got = skin_distance(np.round(200 * share).astype(np.float32), 2, 4)
    assert got.shape == FIELD_SHAPE and got.dtype == np.float32
    places = np.moveaxis(np.indices(FIELD_SHAPE), 0, -1) * 4.0 + CANONICAL[4].affine[:3, 3]
    wanted = np.linalg.norm(places - centre, axis=-1) - radius
    assert np.abs(got - wanted).max() < 0.4
    assert abs((got.astype(float) - wanted)[np.abs(wanted) < 16].mean()) < 0.1


def test_near_the_skin_a_distance_is_the_same_and_far_from_it_on_the_same_side(heads: list[Head]) -> None:
    for head in heads:
        values = head.stored.astype(np.float32)
        every, near = skin_distance(values, 2, 4), near_skin_distance(values, 2, 4)
        np.testing.assert_array_equal(np.sign(near), np.sign(every))
        close = np.abs(every) < 4
        np.testing.assert_array_equal(near[close], every[close])
        far = np.abs(every) > 15
        np.testing.assert_array_equal(near[far], np.sign(every[far]) * FAR_MM)


def test_a_heads_skin_lies_between_its_tissue_and_the_air(heads: list[Head]) -> None:
    for head in heads:
        values, seen = pool(head.values, head.seen)
        skin = head.skin_mm.astype(np.float32)
        assert (values[seen & (skin > 4)] < -0.7).mean() > 0.999, "air outside, or hardly anything"
        assert values[seen & (skin < -4) & (skin > -8)].mean() > -0.6
        assert (skin[pool(head.brain.astype(np.float32), head.seen)[0] > 0.9] < -4).all()
