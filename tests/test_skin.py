"""Skin surfaces of phantoms with a known radius; the average head; every refusal."""

import numpy as np
import pytest

from bids_refacer.surfaces.skin import SkinError, find_skin, read_skin, skin_level, skin_surface, write_skin
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.templates import asset

TISSUE = 600.0


def grid_affine(spacing, size, mirrored=False):
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -np.asarray(spacing) * (np.asarray(size) - 1) / 2
    if mirrored:
        affine[0] *= -1
    return affine


def radii(affine, shape, centre=(0.0, 0.0, 0.0)):
    """Distance (mm) of every voxel centre from a world point."""
    voxels = np.stack(np.indices(shape), axis=-1)
    return np.linalg.norm(voxels @ affine[:3, :3].T + affine[:3, 3] - np.asarray(centre), axis=-1)


def soft_ball(spacing, radius, extent=140.0):
    """A ball of tissue in zero air; border voxels hold the share of tissue that a plane through them would leave."""
    size = int(extent / spacing)
    affine = grid_affine(spacing, size)
    distance = radii(affine, (size,) * 3)
    return (TISSUE * np.clip((radius - distance) / spacing + 0.5, 0, 1)).astype(np.float32), affine


@pytest.mark.parametrize(("spacing", "tolerance"), [(0.5, 0.1), (1.0, 0.1), (2.0, 0.2)])
@pytest.mark.parametrize("given", [True, False])
def test_ball_radius_is_found_between_voxels(spacing, tolerance, given):
    extent, radius = (44.0, 15.3) if spacing == 0.5 else (140.0, 50.3)
    values, affine = soft_ball(spacing, radius, extent)
    mesh = skin_surface(Volume(values, affine), TISSUE / 2 if given else None)
    found = np.linalg.norm(mesh.vertices, axis=1)
    assert abs(found.mean() - radius) < tolerance / 2
    assert np.percentile(np.abs(found - radius), 95) < tolerance


@pytest.mark.parametrize("mirrored", [False, True])
def test_surface_is_closed_and_points_outward_in_any_orientation(mirrored):
    values, affine = soft_ball(2.0, 40.0)
    turned = np.eye(4)
    turned[:3, :3] = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, -1.0 if mirrored else 1.0]])
    turned[:3, 3] = [10.0, -20.0, 30.0]
    mesh = skin_surface(Volume(values, turned @ affine))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 40.0**3, rel=0.02)
    assert mesh.vertices.mean(axis=0) == pytest.approx([10.0, -20.0, 30.0], abs=0.1)


def test_voxels_of_unequal_size():
    size, spacing = np.array([70, 140, 100]), np.array([2.0, 1.0, 1.4])
    affine = grid_affine(1.0, size)
    affine[:3] = np.diag(spacing) @ affine[:3]
    values = TISSUE * np.clip((45.0 - radii(affine, tuple(size))) / 1.4 + 0.5, 0, 1)
    found = np.linalg.norm(skin_surface(Volume(values, affine)).vertices, axis=1)
    assert np.percentile(np.abs(found - 45.0), 95) < 0.4


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_rician_noise_leaves_one_closed_surface(spacing):
    values, affine = soft_ball(spacing, 50.3)
    rng = np.random.default_rng(0)
    noise = 0.05 * TISSUE
    noisy = np.hypot(values + rng.normal(0, noise, values.shape), rng.normal(0, noise, values.shape))
    mesh = skin_surface(Volume(noisy, affine))
    found = np.linalg.norm(mesh.vertices, axis=1)
    assert mesh.is_watertight
    assert np.abs(found - 50.3).mean() < 0.2
    assert np.abs(found - 50.3).max() < 1.5


def test_threshold_lies_above_noise_and_below_tissue():
    values, affine = soft_ball(2.0, 50.0)
    rng = np.random.default_rng(0)
    noisy = values + rng.normal(100.0, 10.0, values.shape)
    assert 120.0 < skin_level(Volume(noisy, affine)).min() < TISSUE
    assert 0.0 < skin_level(Volume(values, affine)).min() < TISSUE / 2


def test_level_is_half_of_the_tissue_around():
    values, affine = soft_ball(2.0, 50.0)
    level = skin_level(Volume(values, affine))
    assert level.shape == values.shape and level.dtype == np.float32
    near_skin = np.abs(radii(affine, values.shape) - 50.0) < 2
    assert np.abs(level[near_skin] / TISSUE - 0.5).max() < 0.06


def test_local_level_finds_dim_skin_far_from_the_coil():
    values, affine = soft_ball(2.0, 50.3)
    height = np.linspace(1.0, 0.3, values.shape[2], dtype=np.float32)
    found = np.linalg.norm(skin_surface(Volume(values * height, affine)).vertices, axis=1)
    one_for_all = np.linalg.norm(skin_surface(Volume(values * height, affine), TISSUE * 0.6 / 2).vertices, axis=1)
    assert np.percentile(np.abs(found - 50.3), 99) < 0.25
    assert np.percentile(np.abs(one_for_all - 50.3), 99) > 0.4


@pytest.mark.parametrize("tunnel", ["none", "narrow", "wide, but closed in every axial slice"])
def test_cavities_make_no_inner_surface(tunnel):
    values, affine = soft_ball(1.0, 45.0)
    values[radii(affine, values.shape, (10.0, 0.0, 0.0)) < 20.0] = 0
    middle = values.shape[0] // 2
    half = {"none": 0, "narrow": 3, "wide, but closed in every axial slice": 6}[tunnel]
    values[middle - half : middle + half, middle - half : middle + half, middle:] = 0
    mesh = skin_surface(Volume(values, affine))
    found = np.linalg.norm(mesh.vertices, axis=1)
    assert mesh.is_watertight and mesh.euler_number == 2
    assert found.min() > 43.0
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 45.0**3, rel=0.01)


def test_only_the_largest_piece_is_kept():
    values, affine = soft_ball(2.0, 40.0)
    values[radii(affine, values.shape, (55.0, 55.0, 55.0)) < 10.0] = TISSUE
    assert np.linalg.norm(skin_surface(Volume(values, affine)).vertices, axis=1).max() < 40.5


def test_a_thin_bridge_does_not_join_pieces():
    values, affine = soft_ball(1.0, 30.0)
    values[radii(affine, values.shape, (0.0, 0.0, 50.0)) < 10.0] = TISSUE
    values[70, 70, 70:120] = TISSUE
    assert np.linalg.norm(skin_surface(Volume(values, affine)).vertices, axis=1).max() < 34.0


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_removed_half_is_air_whatever_the_fill(fill):
    values, affine = soft_ball(2.0, 50.3)
    level = skin_level(Volume(values, affine))
    defaced = values.copy()
    defaced[:, 35:] = fill
    mesh = skin_surface(Volume(defaced, affine), level)
    assert mesh.is_watertight
    assert mesh.vertices[:, 1].max() < 0.5
    assert mesh.volume == pytest.approx(2 / 3 * np.pi * 50.3**3, rel=0.03)


def test_one_level_keeps_the_untouched_skin_where_it_was():
    values, affine = soft_ball(2.0, 50.3)
    level = skin_level(Volume(values, affine))
    defaced = values.copy()
    defaced[:, 50:] = 0
    before, after = (
        skin_surface(Volume(values, affine), level).vertices,
        skin_surface(Volume(defaced, affine), level).vertices,
    )
    before, after = (v[v[:, 1] < 20.0] for v in (before, after))
    np.testing.assert_array_equal(before, after)


def test_background_may_be_negative():
    values, affine = soft_ball(2.0, 50.3)
    found = np.linalg.norm(skin_surface(Volume((values - 300.0) / 200.0, affine)).vertices, axis=1)
    assert np.percentile(np.abs(found - 50.3), 95) < 0.2


def test_surface_closes_where_the_field_of_view_cuts_the_head():
    values, affine = soft_ball(2.0, 50.3)
    mesh = skin_surface(
        Volume(values[:, :, 25:], affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 25], [0, 0, 0, 1]]))
    )
    assert mesh.is_watertight
    assert mesh.bounds[0, 2] == pytest.approx(-20.0, abs=1.1)


def test_average_head_has_one_closed_skin_with_its_nose_in_front():
    mesh = skin_surface(asset("average_head.nii.gz"))
    assert mesh.is_watertight
    face = mesh.vertices[(np.abs(mesh.vertices[:, 0]) < 25) & (mesh.vertices[:, 2] > -100)]
    x, _, z = face[face[:, 1].argmax()]
    assert abs(x) < 5 and -75 < z < -55


@pytest.mark.real_head
def test_real_head_is_closed_within_its_field_of_view(real_head):
    import nibabel as nib

    image = nib.load(real_head)
    mesh = skin_surface(Volume(np.asarray(image.dataobj), image.affine))
    assert mesh.is_watertight
    assert mesh.euler_number == 2
    assert 4.0e6 < mesh.volume < 6.0e6


def test_two_dimensional_image_is_refused():
    with pytest.raises(SkinError, match="2 dimensions: a skin surface needs a 3-D volume"):
        skin_surface(Volume(np.ones((4, 4)), np.eye(4)))


@pytest.mark.parametrize("call", [skin_surface, skin_level])
@pytest.mark.parametrize("constant", [0.0, 7.0, -7.0])
def test_constant_image_is_refused(call, constant):
    with pytest.raises(SkinError, match="constant: it shows no head. Check that the right file"):
        call(Volume(np.full((8, 8, 8), constant), np.eye(4)))


def test_threshold_above_everything_is_refused():
    values, affine = soft_ball(2.0, 20.0, 60.0)
    with pytest.raises(SkinError, match="No voxel is brighter than the skin threshold"):
        skin_surface(Volume(values, affine), 10 * TISSUE)


def test_threshold_of_another_shape_is_refused():
    values, affine = soft_ball(2.0, 20.0, 60.0)
    with pytest.raises(
        SkinError, match=r"The threshold has shape \(3, 3, 3\) and the image \(30, 30, 30\): give one per voxel"
    ):
        skin_surface(Volume(values, affine), np.ones((3, 3, 3)))


def test_threshold_below_air_is_refused():
    values, affine = soft_ball(2.0, 20.0, 60.0)
    with pytest.raises(SkinError, match=r"threshold 0 is not above the air \(0\): estimate it with skin_level"):
        skin_surface(Volume(values, affine), 0.0)


def test_shared_level_finds_the_skin_of_a_blurred_mean_where_a_low_threshold_swells_it():
    """The mean image of equal balls moved to and fro has its half-maximum at the unmoved skin."""
    values, affine = soft_ball(2.0, 50.3)
    level = skin_level(Volume(values, affine))
    blurred = np.mean([np.roll(values, step, axis=axis) for axis in range(3) for step in (-2, -1, 0, 1, 2)], axis=0)
    shared = np.linalg.norm(skin_surface(Volume(blurred, affine), level).vertices, axis=1)
    low = np.linalg.norm(skin_surface(Volume(blurred, affine), 0.15 * TISSUE).vertices, axis=1)
    assert abs(shared.mean() - 50.3) < 0.3
    assert low.mean() - 50.3 > 0.8


def test_a_skin_is_kept_for_the_steps_that_follow(tmp_path):
    values, affine = soft_ball(2.0, 50.0)
    skin = find_skin(Volume(values, affine))
    write_skin(tmp_path / "skin.npz", skin)
    back = read_skin(tmp_path / "skin.npz")
    assert back.level.dtype == np.float32 and (back.level == skin_level(Volume(values, affine))).all()
    at_once = skin_surface(Volume(values, affine))
    assert (back.mesh.vertices == at_once.vertices).all() and (back.mesh.faces == at_once.faces).all()
    assert back.mesh.is_watertight
