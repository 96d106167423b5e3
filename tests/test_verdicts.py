"""Two verdicts: closed forms, the planted failures, and what floats or was painted over."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_refacer.audit.nodes.verdict import refusal
from bids_refacer.dataset.details import BrainCut, DefacingFigures
from bids_refacer.defacers.tools.spm import removed_by_rule
from bids_refacer.surfaces.skin_left import Defacing
from bids_refacer.surfaces.verdicts import (
    JUDGED,
    MEASURED,
    LostBrain,
    brain_cut,
    brain_measures,
    face_left,
    grade,
    worse,
    worst_part,
)
from bids_refacer.volumes.grid import Alignment, Volume

STILL = Alignment(np.eye(4), np.eye(4))
FACE, BRAIN, HOLE = (5.0, 20.0), (0.1, 5.0), (1.0, 10.0)
Head = tuple[np.ndarray, np.ndarray, np.ndarray]


def asset(name: str) -> nib.Nifti1Image:
    return nib.load(str(files("bids_refacer") / "data" / f"{name}.nii.gz"))


@pytest.fixture(scope="module")
def head() -> Head:
    """The average head, its affine and its brain; float32."""
    image = asset("average_head")
    return np.asarray(image.dataobj, np.float32), image.affine, np.asarray(asset("average_brain_mask").dataobj) > 0


@pytest.fixture(scope="module")
def cut(head: Head) -> np.ndarray:
    """A good defacer's region: spm_deface's plane."""
    return removed_by_rule(Volume(head[0], head[1]).grid, STILL)


def world(head: Head) -> np.ndarray:
    return nib.affines.apply_affine(head[1], np.moveaxis(np.indices(head[0].shape), 0, -1))


def verdicts(head: Head, removed: np.ndarray, values: np.ndarray | None = None) -> tuple[str | None, str | None]:
    """(face, brain) for a tool that zeroes ``removed``."""
    original = head[0] if values is None else values
    left = face_left(Defacing(Volume(original, head[1]), np.where(removed, 0, original), removed), STILL)
    cut = brain_cut(Volume(head[2], head[1]), removed)
    return grade(worst_part(left)[1], FACE), worse(grade(cut.percent, BRAIN), grade(cut.hole_ml, HOLE))


def test_a_good_defacer_passes_both(head: Head, cut: np.ndarray) -> None:
    assert verdicts(head, cut) == ("pass", "pass")


def test_a_mask_30_mm_too_high_cuts_brain(head: Head, cut: np.ndarray) -> None:
    up = np.roll(cut, 15, axis=2)
    up[:, :, :15] = cut[:, :, :1]
    assert verdicts(head, up)[1] == "fail"


def test_a_mask_that_spares_the_nose_leaves_a_face(head: Head, cut: np.ndarray) -> None:
    x, _, z = np.moveaxis(world(head), -1, 0)
    sparing = cut & ~((np.abs(x) < 16) & (z > -80) & (z < -30))
    assert verdicts(head, sparing) == ("fail", "pass")
    left = face_left(Defacing(Volume(head[0], head[1]), np.where(sparing, 0, head[0]), sparing), STILL)
    assert worst_part(left)[0] == "nose" and left["nose"] > 50 and left["chin"] == 0


def test_a_flipped_mask_leaves_half_a_face(head: Head, cut: np.ndarray) -> None:
    """A mask drawn on one side and flipped: one half of the face is spared."""
    x = world(head)[..., 0]
    one_sided = cut & (x > -5)
    flipped = one_sided[::-1]
    assert verdicts(head, flipped)[0] == "fail"


def test_a_tool_that_does_nothing_leaves_everything(head: Head) -> None:
    nothing = np.zeros(head[0].shape, dtype=bool)
    assert verdicts(head, nothing) == ("fail", "pass")
    left = face_left(Defacing(Volume(head[0], head[1]), head[0], nothing), STILL)
    assert min(left[part] for part in JUDGED) > 95
    figures = DefacingFigures(
        face_left=left, brain_cut=BrainCut(**asdict(brain_cut(Volume(head[2], head[1]), nothing)))
    )
    assert "a.nii: x left the face as it was" in str(refusal(figures, "a.nii", "x"))


def test_a_tool_that_takes_everything_cuts_the_brain(head: Head) -> None:
    everything = np.ones(head[0].shape, dtype=bool)
    assert verdicts(head, everything) == ("pass", "fail")
    cut = BrainCut(**asdict(brain_cut(Volume(head[2], head[1]), everything)))
    figures = DefacingFigures(face_left=dict.fromkeys(MEASURED, 0.0), brain_cut=cut)
    assert "a.nii: x removed 100 % of the brain" in str(refusal(figures, "a.nii", "x"))


def test_a_good_image_is_not_refused(head: Head, cut: np.ndarray) -> None:
    left = face_left(Defacing(Volume(head[0], head[1]), np.where(cut, 0, head[0]), cut), STILL)
    whole = DefacingFigures(face_left=left, brain_cut=BrainCut(**asdict(brain_cut(Volume(head[2], head[1]), cut))))
    assert refusal(whole, "a.nii", "x") is None


def test_an_image_is_refused_only_when_all_parts_are_intact() -> None:
    """A tool that removed one of them ran; what it left is a finding, and no failure."""
    intact = dict.fromkeys(JUDGED, 100.0)
    assert refusal(DefacingFigures(face_left=intact), "a.nii", "x") is not None
    for part in JUDGED:
        assert refusal(DefacingFigures(face_left={**intact, part: 10.0}), "a.nii", "x") is None
        assert refusal(DefacingFigures(face_left={**intact, part: None}), "a.nii", "x") is not None
    assert refusal(DefacingFigures(face_left=dict.fromkeys(JUDGED)), "a.nii", "x") is None


def test_a_nose_that_floats_in_the_air_is_a_nose(head: Head, cut: np.ndarray) -> None:
    """Cut off from the head, it is no longer part of the largest piece; it shows all the same."""
    x, y, z = np.moveaxis(world(head), -1, 0)
    island = (np.abs(x) < 14) & (z > -76) & (z < -44) & (y > 84)
    left = face_left(Defacing(Volume(head[0], head[1]), np.where(cut & ~island, 0, head[0]), cut & ~island), STILL)
    assert left["nose"] > 20


def test_a_face_that_was_painted_over_is_gone_even_where_it_looks_alike(head: Head, cut: np.ndarray) -> None:
    """The average face on the average head: every voxel is as it was, and no one's face is left."""
    left = face_left(Defacing(Volume(head[0], head[1]), head[0], cut), STILL)
    assert max(left[part] for part in JUDGED) < 5


def test_a_rim_that_was_shaved_off_leaves_the_shape(head: Head) -> None:
    """What is darker than skin removed, air above all: the face is still there."""
    thin = head[0] < 10
    left = face_left(Defacing(Volume(head[0], head[1]), np.where(thin, 0, head[0]), thin), STILL)
    assert left["face"] > 90


def test_parts_outside_the_view_are_not_judged(head: Head) -> None:
    """A head whose field of view ends at the upper lip."""
    values, affine, _ = head
    first = int(np.rint(np.linalg.inv(affine) @ [0, 0, -80, 1])[2])
    low = affine.copy()
    low[:3, 3] += first * affine[:3, 2]
    short = np.ascontiguousarray(values[:, :, first:])
    left = face_left(Defacing(Volume(short, low), short, np.zeros(short.shape, bool)), STILL)
    assert left["chin"] is None and left["nose"] > 95
    assert worst_part(left)[0] in ("nose", "eyes")
    assert worst_part(dict.fromkeys(MEASURED)) == (None, None) and grade(None, FACE) is None


def test_brain_cut_counts_volume_share_and_largest_hole() -> None:
    brain, removed = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    brain[2:12, 2:12, 2:12] = True
    removed[2:4, 2:12, 2:12] = removed[10, 3, 3] = True
    removed[15:] = True
    assert brain_cut(Volume(brain, np.diag([2.0, 2, 2, 1])), removed) == LostBrain(ml=1.608, percent=20.1, hole_ml=1.6)
    assert brain_cut(Volume(brain, np.eye(4)), ~brain) == LostBrain(ml=0.0, percent=0.0, hole_ml=0.0)


@pytest.mark.parametrize(
    ("figure", "word"), [(0.0, "pass"), (5.0, "pass"), (5.1, "warn"), (20.0, "warn"), (20.1, "fail")]
)
def test_limits_are_what_is_allowed(figure: float, word: str) -> None:
    assert grade(figure, FACE) == word


def test_brain_measures_of_three_tissues() -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([30.0, 80.0, 120.0], p=[0.2, 0.4, 0.4], size=(40, 40, 40)) + rng.normal(0, 2, (40, 40, 40))
    brain = np.zeros(values.shape, bool)
    brain[4:36, 4:36, 4:36] = True
    found = brain_measures(Volume(values, np.diag([1.0, 1, 2, 1])), brain)
    assert found.volume_ml == pytest.approx(32**3 * 2 / 1000, abs=0.01)
    assert found.contrast == pytest.approx(2 * 40 / 200, abs=0.01)
    assert brain_measures(Volume(np.ones_like(values), np.eye(4)), brain).contrast is None


@pytest.mark.real_head
@pytest.mark.slow
def test_a_real_head_is_told_whole_from_defaced(real_head: Path, tmp_path: Path) -> None:
    from bids_refacer.volumes.brain import extract_brain
    from bids_refacer.volumes.nifti import read_scan
    from bids_refacer.volumes.registration import align_brain

    scan = read_scan(real_head)
    brain = extract_brain(scan.volume)
    alignment = align_brain(scan.volume, brain)
    removed = removed_by_rule(scan.grid, alignment)
    whole = face_left(Defacing(scan.volume, scan.values, np.zeros_like(removed)), alignment)
    gone = face_left(Defacing(scan.volume, np.where(removed, 0, scan.values), removed), alignment)
    assert min(whole[part] for part in JUDGED) > 80 and worst_part(gone)[1] < 5
    assert brain_cut(Volume(brain, scan.affine), removed).percent < 0.1
