"""Alignment by the brain, with the real engine, on the average head moved by a known map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation
from synthetic_heads import synthetic_head

from bids_refacer.processes import Finished, TimeLimitError
from bids_refacer.simulation.acquisition import Protocol, acquire, draw_session
from bids_refacer.volumes import registration
from bids_refacer.volumes.grid import Alignment, Grid, Volume, resample, rigid_part
from bids_refacer.volumes.registration import RegistrationError, align_brain, align_heads, brain_centre
from bids_refacer.volumes.templates import asset


@dataclass(frozen=True)
class Moved:
    """The average head as some scanner would have it."""

    values: np.ndarray  # (i, j, k) float32
    affine: np.ndarray  # (4, 4), voxel -> native world
    brain: np.ndarray  # (i, j, k) bool
    truth: np.ndarray  # (4, 4), native world -> canonical world

    @property
    def volume(self) -> Volume:
        return Volume(self.values, self.affine)


def oblique_grid(origin: tuple[float, float, float]) -> Grid:
    """Axes in the order of a sagittal scan (P-S-R-like, tilted by 9 degrees), 1.9 x 2.2 x 2.4 mm."""
    axes = np.array([[0, 0, 2.4], [-1.9, 0, 0], [0, 2.2, 0]])
    tilt = Rotation.from_euler("xyz", [6, -5, 4], degrees=True).as_matrix()
    shape = (120, 110, 82)
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes
    affine[:3, 3] = np.array(origin) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def about(centre: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The map that turns native space by `matrix` about the native origin of the head, and brings it to `centre`."""
    whole = np.eye(4)
    whole[:3, :3] = matrix
    whole[:3, 3] = centre - matrix @ shift
    return whole


def template_centre(average_head_path: Path) -> np.ndarray:
    return brain_centre(average_head_path.parent / "average_brain.nii.gz")


@pytest.fixture(scope="module")
def moved(average_head_path: Path) -> Moved:
    """Turned by 12 degrees, moved by decimetres, 5 % larger in one direction and 4 % smaller in another."""
    centre = template_centre(average_head_path)
    turn = Rotation.from_euler("xyz", [8, -7, 6], degrees=True).as_matrix()
    origin = np.array([30.0, -85.0, 120.0])
    truth = about(centre, turn @ np.diag([0.97, 1.04, 0.95]), origin)
    grid = oblique_grid((origin[0] + 4, origin[1] + 10, origin[2] - 20))
    head, mask = asset("average_head.nii.gz"), asset("average_brain_mask.nii.gz")
    values = resample(head, grid, truth) * 7.3
    brain = resample(mask, grid, truth, order=0) > 0
    assert not any(brain.take((0, -1), axis=axis).any() for axis in range(3)), "the grid holds the whole brain"
    return Moved(values, grid.affine, brain, truth)


@pytest.fixture(scope="module")
def aligned(moved: Moved) -> Alignment:
    return align_brain(moved.volume, moved.brain)


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    return np.degrees(Rotation.from_matrix(a[:3, :3] @ b[:3, :3].T).magnitude())


def distances(moved: Moved, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    points = apply_affine(moved.affine, np.argwhere(moved.brain)[::7])
    return np.linalg.norm(apply_affine(a, points) - apply_affine(b, points), axis=1)


def test_the_rigid_part_is_recovered(moved: Moved, aligned: Alignment, average_head_path: Path) -> None:
    truth = rigid_part(moved.truth, template_centre(average_head_path))
    assert distances(moved, aligned.rigid, truth).max() < 1.0
    assert degrees_between(aligned.rigid, truth) < 1.0
    assert distances(moved, np.eye(4), truth).min() > 50, "the head really was elsewhere"


def test_the_affine_follows_the_head(moved: Moved, aligned: Alignment) -> None:
    """The average head's own fit to the average brain is not quite the identity; a moved head gets the same."""
    head, mask = asset("average_head.nii.gz"), asset("average_brain_mask.nii.gz")
    unmoved = align_brain(head, mask.values > 0)
    far = distances(moved, aligned.affine, unmoved.affine @ moved.truth)
    assert far.max() < 0.75 and far.mean() < 0.3, (far.max(), far.mean())
    assert distances(moved, aligned.affine, moved.truth).max() < 2.5
    points = apply_affine(mask.affine, np.argwhere(mask.values > 0)[::7])
    assert np.linalg.norm(apply_affine(unmoved.rigid, points) - points, axis=1).max() < 0.75


def test_the_rigid_part_keeps_size(aligned: Alignment) -> None:
    rotation = aligned.rigid[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_array_equal(aligned.rigid[3], [0, 0, 0, 1])


def test_both_maps_agree_at_the_centre_of_the_brain(aligned: Alignment, average_head_path: Path) -> None:
    centre = template_centre(average_head_path)
    np.testing.assert_allclose(apply_affine(aligned.rigid @ np.linalg.inv(aligned.affine), centre), centre, atol=1e-6)


def noise_around(moved: Moved) -> np.ndarray:
    other = np.random.default_rng(0).gamma(2, 900, moved.values.shape)
    return np.where(moved.brain, moved.values, other).astype(np.float32)


def test_what_surrounds_the_brain_does_not_matter_at_all(moved: Moved, aligned: Alignment) -> None:
    again = align_brain(Volume(noise_around(moved), moved.affine), moved.brain)
    np.testing.assert_array_equal(again.rigid, aligned.rigid)
    np.testing.assert_array_equal(again.affine, aligned.affine)


@pytest.fixture
def engine_inputs(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """What the engine would be given, instead of the engine."""
    given: list[np.ndarray] = []

    def record(volume: Volume, template: Path) -> np.ndarray:
        given.append(volume.values)
        return np.eye(4)

    monkeypatch.setattr(registration, "allineate", record)
    return given


def test_the_engine_sees_the_brain_alone(moved: Moved, engine_inputs: list[np.ndarray]) -> None:
    for values in (moved.values, np.where(moved.brain, moved.values, 0), noise_around(moved)):
        align_brain(Volume(values, moved.affine), moved.brain)
    assert engine_inputs[0].any()
    np.testing.assert_array_equal(engine_inputs[1], engine_inputs[0])
    np.testing.assert_array_equal(engine_inputs[2], engine_inputs[0])


def test_the_origin_of_the_scanner_does_not_matter(moved: Moved, engine_inputs: list[np.ndarray]) -> None:
    shift = np.eye(4)
    shift[:3, 3] = [900.0, -450.0, 300.0]
    first = align_brain(moved.volume, moved.brain)
    again = align_brain(Volume(moved.values, shift @ moved.affine), moved.brain)
    np.testing.assert_allclose(engine_inputs[1], engine_inputs[0], atol=0.05)
    np.testing.assert_allclose(again.rigid @ shift, first.rigid, atol=1e-6)


def test_the_whole_brain_reaches_the_engine(moved: Moved, engine_inputs: list[np.ndarray]) -> None:
    align_brain(moved.volume, moved.brain)
    voxel = abs(np.linalg.det(moved.affine[:3, :3]))
    mass = np.where(moved.brain, moved.values, 0).sum(dtype=float) * voxel
    assert engine_inputs[0].sum(dtype=float) * 8 == pytest.approx(mass, rel=0.01)


def test_an_empty_brain_is_refused(moved: Moved) -> None:
    with pytest.raises(RegistrationError, match="brain mask is empty.*check the brain extraction"):
        align_brain(moved.volume, np.zeros_like(moved.brain))


@pytest.mark.parametrize("scales", [(0.7, 1, 1), (1, 1.4, 1), (1, 1, 2.5)])
def test_scales_of_no_human_brain_are_refused(
    moved: Moved, monkeypatch: pytest.MonkeyPatch, scales: tuple[float, float, float]
) -> None:
    monkeypatch.setattr(registration, "allineate", lambda volume, template: np.diag([*scales, 1.0]))
    with pytest.raises(RegistrationError, match="its scales are .* expected 0.75 to 1.35; check the orientation"):
        align_brain(moved.volume, moved.brain)


def test_a_failing_engine_is_quoted(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **options: object) -> Finished:
        return Finished(code=3, output="", errors="no such option\n")

    monkeypatch.setattr(registration.processes, "run", fail)
    with pytest.raises(RegistrationError, match=r"niimath -allineate failed \(3\): no such option"):
        align_brain(moved.volume, moved.brain)


def test_an_engine_that_writes_nothing_has_failed(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(command: list[str], **options: object) -> Finished:
        return Finished(code=0, output="", errors="")

    monkeypatch.setattr(registration.processes, "run", nothing)
    with pytest.raises(RegistrationError, match=r"failed \(0\)"):
        align_brain(moved.volume, moved.brain)


def test_an_engine_that_hangs_is_stopped(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], *, limit_s: float) -> None:
        assert limit_s == 600
        raise TimeLimitError

    monkeypatch.setattr(registration.processes, "run", hang)
    with pytest.raises(RegistrationError, match="took longer than 600 s and was stopped"):
        align_brain(moved.volume, moved.brain)


def test_centre_of_a_brain_is_its_centre_of_mass(tmp_path: Path) -> None:
    data = np.zeros((10, 10, 10), np.uint8)
    data[2:5, 4:6, 7] = 9
    affine = np.array([[0, 0, 2, 1], [3, 0, 0, 2], [0, -1, 0, 3], [0, 0, 0, 1.0]])
    nib.Nifti1Image(data, affine).to_filename(tmp_path / "brain.nii")
    np.testing.assert_allclose(brain_centre(tmp_path / "brain.nii"), [2 * 7 + 1, 3 * 3 + 2, -4.5 + 3])


@pytest.mark.parametrize("contrast", ["T2w", "FLAIR"])
def test_another_contrast_of_a_synthetic_head_is_found_in_its_t1w(contrast: str) -> None:
    """In another pose and field of view; as base of its template, the same head makes the engine fail."""
    head = synthetic_head(7)
    rng, protocol = np.random.default_rng(7), Protocol(2.0, (192.0, 220.0, 200.0))
    session = draw_session(protocol, rng)
    moving = acquire(head.model, head.drawn.anatomy, session, protocol, contrast, rng)
    found = align_heads(Volume(moving, session.grid.affine), Volume(head.image, head.affine), head.brain)
    canonical = np.array([[0, 106, -60], [0, 0, 0], [70, 0, 0], [0, -80, 30]])
    poses = (session.to_canonical, head.drawn.session.to_canonical)
    native, expected = (apply_affine(np.linalg.inv(pose), canonical) for pose in poses)
    assert np.linalg.norm(apply_affine(found, native) - expected, axis=1).max() < 1.5
