"""Levels of the attack on replaced faces: what each may know."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_files import raw_image

from bids_refacer.cli import reface
from bids_refacer.refacing.attack import DefacedImage
from bids_refacer.refacing.attack_level import AttackLevel, attack_at, before_attack
from bids_refacer.refacing.sampling import paired_seeds
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.masks import constant_fill
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.templates import asset

STILL = Alignment(np.eye(4), np.eye(4))
SECONDARY = AttackLevel(replaces=True, level="secondary")


@pytest.fixture(scope="module")
def refaced(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """The average head, as a replacing tool leaves heads; int16 with noise in air."""
    folder = tmp_path_factory.mktemp("levels")
    image = nib.load(str(files("bids_refacer") / "data" / "average_head.nii.gz"))
    stored = np.asarray(image.dataobj).astype("<i2") * 5
    stored[stored < 10] += np.random.default_rng(0).integers(1, 6, stored.shape).astype("<i2")[stored < 10]
    raw_image(folder / "sub-01_T1w.nii.gz", stored, affine=image.affine)
    return read_scan(folder / "sub-01_T1w.nii.gz")


def brain() -> np.ndarray:
    return asset("average_brain_mask.nii.gz").values > 0


def image(scan: Scan) -> DefacedImage:
    return DefacedImage(scan, brain(), STILL)


@pytest.mark.parametrize(("replaces", "level"), [(False, "secondary"), (False, "mask"), (True, "mask")])
def test_the_image_is_attacked_as_it_is(refaced: Scan, replaces: bool, level: str, tmp_path: Path) -> None:
    scan, zone = before_attack(image(refaced), AttackLevel(replaces=replaces, level=level), tmp_path)
    assert scan is refaced and zone is replaces


def test_a_second_tool_takes_all_of_the_new_face(refaced: Scan, tmp_path: Path) -> None:
    scan, zone = before_attack(image(refaced), SECONDARY, tmp_path)
    assert zone is False, "what is unknown is what the second tool took"
    removed = scan.stored != refaced.stored
    front = (asset("face_zone.nii.gz").values > 0) & ~brain()
    head = refaced.values > 100
    assert removed[front & head].mean() > 0.9
    fill, unknown = constant_fill(scan.stored, 8.0)
    assert fill == 0 and (unknown | ~removed)[head].all(), "the attack finds it in the image alone"


def test_the_second_attack_owes_nothing_to_what_the_second_tool_took(refaced: Scan, tmp_path: Path) -> None:
    first, _ = before_attack(image(refaced), SECONDARY, tmp_path)
    other = refaced.stored.copy()
    taken = first.stored != refaced.stored
    other[taken] = np.random.default_rng(1).integers(1, 900, int(taken.sum()))
    again, _ = before_attack(image(replace(refaced, stored=other)), SECONDARY, tmp_path)
    np.testing.assert_array_equal(again.stored, first.stored)


def test_a_naive_attacker_paints_nothing(refaced: Scan) -> None:
    """Neither a model nor a registration is needed to take the new face for the true one."""
    naive = AttackLevel(replaces=True, level="naive")
    scan, made = attack_at(naive, image(refaced), None, None, paired_seeds((1, 2)), lambda *_: None)  # type: ignore[arg-type]
    assert scan is refaced and len(made.samples) == 2 and not made.unknown.any()
    for stored in (*made.samples, made.mean):
        np.testing.assert_array_equal(stored, refaced.stored)


def test_the_child_is_told_the_level_and_that_the_face_was_replaced() -> None:
    options = reface._parser().parse_args("in.nii out --replaces --attack secondary".split())
    assert options.replaces and options.attack == "secondary"
    assert reface._parser().parse_args(["in.nii", "out"]).attack == "mask"
