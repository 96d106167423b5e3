"""Lengths, volumes and shares of the attack by hand: what is painted, what is believed, what is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nifti_files import raw_image
from scipy import ndimage

from bids_refacer.refacing import attack
from bids_refacer.refacing.attack import DefacedImage, reface
from bids_refacer.refacing.conditioning import image_of, working_box
from bids_refacer.refacing.defaced_head import completed
from bids_refacer.refacing.fields import Fields, skin_certain, tissue_field
from bids_refacer.refacing.kriging import ErrorCovariance, _thinned, krige
from bids_refacer.refacing.prior import Block, known_weight
from bids_refacer.refacing.range_check import UNLIKE_TRAINING, WORDS, extremes, unusual
from bids_refacer.refacing.sampling import SampleSeed, SamplingSettings
from bids_refacer.refacing.unknown import Level, NothingRemovedError, paint_region
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan

SHAPE = (8, 8, 24)
MEASURED = {"brain_scale": 1.00004, "shape": 0.123449, "misfit": 0.05}


def constant(value: float, shape: tuple[int, ...] = SHAPE) -> Block:
    """A mode that is the same everywhere."""
    return Block(
        np.zeros(shape, np.float32), np.full((1, int(np.prod(shape))), value, np.float32), np.ones(shape, bool)
    )


def line(*places: int) -> np.ndarray:
    """Voxels along one row of the grid."""
    return np.array([(4, 4, place) for place in places])


def test_covariances_fall_with_the_distance() -> None:
    """4 mm a voxel: the modes by a Gaussian of 44 mm, the remainder of 0.06 by exp(-d / 30 mm)."""
    between = ErrorCovariance(constant(0.5), constant(0.0), np.array([[2.0]])).between(line(0), line(0, 11, 15))
    rest = 0.0036 * np.exp(-np.array([0.0, 44.0, 60.0]) / 30)
    np.testing.assert_allclose(between.tissue, [rest], rtol=1e-5)
    taper = np.exp(-(np.array([0.0, 44.0, 60.0]) ** 2) / (2 * 44.0**2))
    np.testing.assert_allclose(between.skin, [0.5 * taper + rest], rtol=1e-5)
    variance = ErrorCovariance(constant(0.5), constant(0.0), np.array([[2.0]])).at(line(0, 3))
    np.testing.assert_allclose(variance.skin, [0.5036, 0.5036], rtol=1e-5)
    np.testing.assert_allclose(variance.tissue, [0.0036, 0.0036], rtol=1e-5)


def kriged_line(anchor: int, unknown: int, length: int = 24) -> np.ndarray:
    """What an error of 0.01 at one voxel of a row says of the others, when one voxel is unknown."""
    shape = (1, 1, length)
    anchors, hidden = np.zeros(shape, bool), np.zeros(shape, bool)
    anchors[0, 0, anchor], hidden[0, 0, unknown] = True, True
    errors = np.full(shape, 0.01, np.float32)
    covariance = ErrorCovariance(constant(1.0, shape), constant(1.0, shape), np.eye(1))
    return krige(Fields(errors, errors), anchors, hidden, np.ones(shape, bool), covariance)[0].skin[0, 0]


def test_a_small_error_at_one_anchor_is_believed_by_its_noise() -> None:
    """k / (k + s^2), s^2 the variance of Student's t of scale 0.1 and 4 degrees at so small an error: 0.1^2 * 4 / 5."""
    got = kriged_line(anchor=2, unknown=2)
    share = 1.0036 / (1.0036 + 0.8 * 0.01)
    assert got[2] == pytest.approx(0.01 * share, rel=1e-4)
    distance = 12.0
    beside = np.exp(-(distance**2) / (2 * 44.0**2)) + 0.0036 * np.exp(-distance / 30)
    assert got[5] == pytest.approx(0.01 * beside / (1.0036 + 0.8 * 0.01), rel=1e-4), "12 mm from the unknown voxel"
    assert got[6] == 0, "16 mm from it"


@pytest.mark.parametrize(("anchor", "seen"), [(14, True), (15, False)])
def test_an_anchor_nearer_than_60_mm_is_heard(anchor: int, seen: bool) -> None:
    assert bool(kriged_line(anchor, unknown=0).any()) == seen


def test_a_thousand_anchors_are_kept() -> None:
    voxels = np.stack([np.arange(2001)] * 3, axis=1)
    np.testing.assert_array_equal(_thinned(voxels[:1000]), voxels[:1000])
    kept = _thinned(voxels)[:, 0]
    assert len(kept) == 1000 and (kept[0], kept[-1]) == (0, 2000) and set(np.diff(kept)) == {2, 3}


def test_a_known_voxel_counts_by_its_distance_from_what_is_unknown() -> None:
    """1/e at 20 mm; voxels outside the field of view are neither known nor unknown."""
    known, unknown = np.ones((1, 1, 12), bool), np.zeros((1, 1, 12), bool)
    unknown[0, 0, 0], known[0, 0, 0], known[0, 0, 11] = True, False, False
    wanted = np.exp(-np.arange(12) * 4 / 20.0)
    wanted[[0, 11]] = 0
    np.testing.assert_allclose(known_weight(known, unknown)[0, 0], wanted, rtol=1e-6)
    np.testing.assert_array_equal(known_weight(known, np.zeros_like(unknown))[0, 0], known[0, 0])


@pytest.mark.parametrize(
    ("low", "high", "multiple", "wanted"),
    [
        (20, 50, 8, (16, 56)),  # 30 voxels and 2 * 4: 38, in eights 40
        (2, 10, 8, (0, 24)),  # not less than 24
        (60, 64, 8, (40, 64)),  # moved back where the grid ends
        (40, 44, 10, (34, 64)),  # 24 in tens is 30, moved back
        (0, 64, 16, (0, 64)),
    ],
)
def test_working_boxes(low: int, high: int, multiple: int, wanted: tuple[int, int]) -> None:
    unknown = np.zeros((96, 64, 32), bool)
    unknown[:, low:high, 5:6] = True
    box = working_box(unknown, multiple)
    assert (box[3].start, box[3].stop) == wanted and box[:2] == (slice(None), slice(None))
    assert box[2] == slice(0, 96)


def test_a_working_box_of_nothing() -> None:
    box = working_box(np.zeros((96, 64, 20), bool), 10)
    assert box == (slice(None), slice(None), slice(0, 30), slice(0, 30), slice(0, 20))


def paint(*sides: int) -> np.ndarray:
    """What is painted where a box of tissue of that many voxels of 2 mm is missing."""
    unknown, expected = np.zeros((60, 60, 60), bool), np.zeros((60, 60, 60), bool)
    unknown[10:50, 10:50, 10:50] = True
    expected[tuple(slice(30, 30 + side) for side in sides)] = True
    return paint_region(unknown, np.ones_like(unknown), expected, 2)


def test_missing_tissue_counts_from_5_ml_on() -> None:
    """Boxes that an opening by 6 mm leaves 580 and 666 voxels of: 4.6 and 5.3 mL."""
    for sides, voxels in (((10, 10, 11), 580), ((10, 11, 11), 666)):
        assert ndimage.binary_opening(np.pad(np.ones(sides, bool), 3), iterations=3).sum() == voxels
    assert paint(10, 11, 11).any()
    with pytest.raises(NothingRemovedError, match="less than 5 mL of tissue are missing"):
        paint(10, 10, 11)


def test_what_lies_within_20_mm_of_missing_tissue_is_painted() -> None:
    painted = paint(12, 12, 12)
    row = painted[36, 36]
    assert row[20] and not row[19], "30 is missing: 10 voxels of 2 mm before it"
    assert row[49] and not row[50], "the unknown region ends there"
    thin = np.zeros((60, 60, 60), bool)
    thin[30:36, :, :] = True  # 12 mm: one voxel less than an opening by 6 mm leaves
    with pytest.raises(NothingRemovedError):
        paint_region(np.ones_like(thin), np.ones_like(thin), thin, 2)


def test_skin_is_certain_nearer_than_the_border_of_the_view() -> None:
    """In units of 8 mm; a voxel's reach is the distance to the first voxel outside the view, of which one is a lid."""
    seen = np.ones((1, 1, 9), bool)
    seen[0, 0, 0] = False
    reach = 4.0 * np.arange(9)
    for mm, first in ((0.0, 1), (4.0, 2), (4.1, 3), (-16.0, 5), (28.0, 8), (28.1, 9)):
        got = skin_certain(np.full(seen.shape, mm / 8), seen, 4.0)[0, 0]
        np.testing.assert_array_equal(got, reach >= max(4.0 * first, 4.0), err_msg=str(mm))
    assert skin_certain(np.full(seen.shape, 99.0), np.ones_like(seen), 4.0).all(), "no border, no doubt"


def test_tissue_is_kept_2_mm_under_the_skin_and_carried_on_outside() -> None:
    """Means of the tissue around, of 1 voxel where there is enough of it, of 4 voxels where not."""
    rng = np.random.default_rng(0)
    shape = (12, 12, 24)
    values = rng.normal(0.1, 0.1, shape).astype(np.float32)
    mm = 4.0 * (np.arange(24) - 11.0) + np.where(np.arange(24) == 11, -1.9, -2.1 * (np.arange(24) == 10) + 1.95)
    skin = np.broadcast_to(mm / 8, shape)
    inside = np.broadcast_to(mm < -2, shape).astype(np.float32)
    got = tissue_field(values, skin, np.ones(shape, bool))
    np.testing.assert_array_equal(got[mm[None, None].repeat(12, 0).repeat(12, 1) < -2], values[inside > 0])
    near, far = (
        ndimage.gaussian_filter(values * inside, width) / np.maximum(ndimage.gaussian_filter(inside, width), 1e-12)
        for width in (1.0, 4.0)
    )
    share = np.clip(ndimage.gaussian_filter(inside, 1.0) / 0.2, 0, 1)
    wanted = share * near + (1 - share) * far
    for place in range(int(inside[0, 0].sum()), 14):
        np.testing.assert_allclose(got[..., place], wanted[..., place], atol=2e-4, err_msg=str(place))


def test_a_completed_head_is_grey_values_from_air_to_the_brightest() -> None:
    values = np.full((4, 4, 4), 0.2, np.float32)
    values[0], values[1], values[2] = -1.0, 1.0, 3.0
    unknown = np.zeros(values.shape, bool)
    unknown[3] = True
    fields = Fields(np.full((2, 2, 2), -2.0, np.float32), np.full((2, 2, 2), 0.6, np.float32))
    got = completed(Level(values, ~unknown, unknown, 2), fields)
    np.testing.assert_allclose(got[:3, 0, 0], [0, 255, 255])
    np.testing.assert_allclose(got[3], (image_of(fields, 2)[3] + 1) * 127.5, rtol=1e-6)
    assert got[3].mean() == pytest.approx(1.6 * 127.5, rel=1e-3)


# what is reported ---------------------------------------------------------------------------------------------------


def test_ranges_hold_their_own_borders() -> None:
    rows = [{"brain_scale": scale, "shape": 2.0 - scale, "misfit": 3.0} for scale in (0.9, 1.2, 1.1)]
    ranges = extremes(rows)
    assert ranges == {"brain_scale": (0.9, 1.2), "shape": (0.8, 1.1), "misfit": (3.0, 3.0)}
    for end in (0, 1):
        assert unusual({name: ranges[name][end] for name in WORDS}, ranges) == []
    low = {"brain_scale": 0.89, "shape": 0.7, "misfit": 2.0}
    assert [sentence.split()[0] for sentence in unusual(low, ranges)] == ["brain_scale"], "none is too ordinary"
    high = {"brain_scale": 1.21, "shape": 1.11, "misfit": 3.01}
    assert [sentence.split()[0] for sentence in unusual(high, ranges)] == ["brain_scale", "shape", "misfit"]


class StandIn:
    """A cascade whose sample of seed n is an image of n and fields of 2 n, and whose mean is that of 50."""

    def __init__(self, model: AttackModel, settings: SamplingSettings) -> None:
        self.paints = model.drawing == "stages"

    def sample(self, head: SimpleNamespace, seed: SampleSeed, report: object) -> SimpleNamespace:
        return SimpleNamespace(volume=float(seed.seed), fields=2.0 * seed.seed)

    def mean(self, head: SimpleNamespace, drawn: list[SimpleNamespace], seed: SampleSeed) -> SimpleNamespace:
        assert not seed.mirrored and drawn[0].volume == seed.seed
        return self.sample(head, SampleSeed(50), None)


class Drawing:
    """Draws fields as they are, and an average of 3, in units of the brain's median."""

    def __init__(self, *_: object) -> None:
        pass

    def of(self, fields: float) -> float:
        return fields

    def average(self) -> float:
        return 3.0


def opening_without_seam(scan: Scan, target: np.ndarray, known: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(around=target, filled=lambda painted: np.where(target, painted, scan.stored))


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DefacedImage:
    """4 x 5 x 6 voxels of 1 x 2 x 3 mm, of which two planes are unknown, one of them in the region to paint."""
    raw_image(tmp_path / "image.nii", np.arange(1, 121, dtype="<i2").reshape(4, 5, 6), affine=np.diag([1.0, 2, 3, 1]))
    scan = read_scan(tmp_path / "image.nii")
    alignment = Alignment(np.eye(4), np.diag([1.00004, 1.1, 1.2, 1]))
    unknown = np.zeros((4, 5, 6), bool)
    unknown[2:] = True
    inside = np.zeros((4, 5, 6), np.float32)
    inside[1:3] = 0.51
    monkeypatch.setattr(attack, "unknown_region", lambda *_, zone: unknown)
    monkeypatch.setattr(attack, "canonical_head", lambda *_: SimpleNamespace(unknown=np.ones((2, 2, 2), bool)))
    monkeypatch.setattr(attack, "_target", lambda image, unknown, *_: unknown & (inside > 0.5))
    monkeypatch.setattr(attack, "brain_scale", lambda *_: 12.5)
    monkeypatch.setattr(attack, "Cascade", StandIn)
    monkeypatch.setattr(attack, "HeadDrawing", Drawing)
    monkeypatch.setattr(attack, "native_intensities", lambda image, volume, *_: volume)
    monkeypatch.setattr(attack, "average_in_native", lambda *_: 90)
    monkeypatch.setattr(attack, "find_opening", opening_without_seam)
    monkeypatch.setattr(attack, "measures", lambda *_: MEASURED)
    return DefacedImage(scan, unknown, alignment)


MODEL = SimpleNamespace(finest=2, prior=None, ranges={}, drawing="stages")
SETTINGS = SamplingSettings(sampler="heun", steps=1, device=torch.device("cpu"))


@pytest.mark.parametrize("drawing", ["stages", "template"])
@pytest.mark.parametrize("seeds", [(3,), (3, 4)])
def test_what_an_attack_gives_back(image: DefacedImage, seeds: tuple[int, ...], drawing: str) -> None:
    """Painted by the stages, samples are their images; drawn by the template, their fields times the brain's median."""
    asked, model = tuple(map(SampleSeed, seeds)), SimpleNamespace(**{**vars(MODEL), "drawing": drawing})
    made = reface(image, model, SETTINGS, seeds=asked, zone=False, progress=lambda *_: None)  # type: ignore[arg-type]
    target = np.zeros((4, 5, 6), bool)
    target[2] = True
    unit, average = (1.0, 90.0) if drawing == "stages" else (2 * 12.5, 3 * 12.5)
    np.testing.assert_array_equal(made.unknown, target)
    assert [sample[2, 0, 0] for sample in made.samples] == [unit * seed for seed in seeds]
    np.testing.assert_array_equal(made.samples[0][~target], image.scan.stored[~target])
    assert made.mean[2, 0, 0] == unit * (3 if len(seeds) == 1 else 50) and made.average[2, 0, 0] == average
    assert made.details == {
        "BrainMedian": 12.5,
        "RegistrationScales": [1.2, 1.1, 1.0],
        "UnknownVolume_ml": pytest.approx(5 * 6 * 6 / 1000),
        "Measures": {"brain_scale": 1.0, "shape": 0.1234, "misfit": 0.05},
    }


def test_an_attack_on_a_head_unlike_those_of_training_says_so(image: DefacedImage) -> None:
    model = SimpleNamespace(**{**vars(MODEL), "ranges": {"misfit": (0.01, 0.049), "shape": (0.1, 0.2)}})
    details = reface(
        image,
        model,  # type: ignore[arg-type]
        replace(SETTINGS, steps=2),
        seeds=(SampleSeed(1),),
        zone=False,
        progress=lambda *_: None,
    ).details
    assert details["Warnings"] == [UNLIKE_TRAINING]
    assert details["OutsideTraining"] == [f"misfit 0.05, in training 0.01 to 0.049 ({WORDS['misfit']})"]
