"""Small synthetic heads with a known face, in files of any header, pose, field of view and intensity scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_refacer.cli.simulate import parse_args
from bids_refacer.cli.simulate_run import participant_of
from bids_refacer.simulation.acquisition import Protocol, Session, acquire, true_brain
from bids_refacer.simulation.model import HeadModel, head_model
from bids_refacer.simulation.participants import Participant
from bids_refacer.volumes.grid import Grid

CLEAR = 100  # stored values of `acquire`: less is air or the rim of the skin
FACE_MM = ((-22.0, 22.0), (66.0, 130.0), (-95.0, -36.0))
"""Box of nose and mouth in the canonical frame."""


@dataclass(frozen=True, kw_only=True)
class View:
    """How a head is imaged, and how the image is written."""

    head: int
    voxel_mm: tuple[float, float, float]
    field_mm: tuple[float, float, float]
    tilt_deg: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    axes: str  # of the array, such as RAS or LPI
    world_turn_deg: float
    unit: str
    codes: tuple[int, int]  # of sform and qform
    dtype: str
    gain: float  # stored value = gain * intensity + offset
    offset: float
    slope: float
    inter: float
    version: int
    extension: str


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A file, and the truth in its own voxels: face and brain, (i, j, k) bool, and world -> canonical frame (mm)."""

    path: Path
    stored: np.ndarray
    face: np.ndarray
    brain: np.ndarray
    air: np.ndarray
    to_canonical: np.ndarray


@cache
def _model() -> HeadModel:
    return head_model()


@cache
def _participant(number: int) -> Participant:
    return participant_of(parse_args(["never written", "--participants", "7", "--seed", "1"]), _model(), number)


def plant(folder: Path, view: View) -> Planted | None:
    """Write the image of a view; None where its numbers do not fit its data type."""
    drawn, protocol = _participant(view.head), Protocol(resolution_mm=max(view.voxel_mm), noise=0.02)
    sides = [max(round(length / voxel), 16) for length, voxel in zip(view.field_mm, view.voxel_mm, strict=True)]
    affine = np.diag([*view.voxel_mm, 1.0])
    affine[:3, 3] = -(np.array(sides) - 1) / 2 * view.voxel_mm
    pose = drawn.session.to_canonical @ _rigid(view.tilt_deg, view.shift_mm)
    session = Session(Grid((sides[0], sides[1], sides[2]), affine), pose)
    image = acquire(_model(), drawn.anatomy, session, protocol, "T1w", np.random.default_rng(view.head))
    stored = _stored(image, view)
    if stored is None:
        return None
    world = _rigid((0, 0, view.world_turn_deg), (5.0, -12.0, 30.0))
    places = np.moveaxis(nib.affines.apply_affine(pose @ affine, np.moveaxis(np.indices(image.shape), 0, -1)), -1, 0)
    in_box = [(low <= place) & (place <= high) for place, (low, high) in zip(places, FACE_MM, strict=True)]
    face = np.logical_and.reduce(in_box) & (image > CLEAR) & _beside_outer_air(image)
    brain = true_brain(_model(), drawn.anatomy, session)
    moves = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(view.axes))
    )
    turned = [nib.orientations.apply_orientation(array, moves) for array in (stored, face, brain, image < CLEAR / 4)]
    affine = affine @ nib.orientations.inv_ornt_aff(moves, image.shape)
    path = folder / f"sub-01_T1w{view.extension}"
    _write(path, np.asarray(turned[0]), world @ affine, view)
    return Planted(
        path=path,
        stored=np.asarray(turned[0]),
        face=np.asarray(turned[1]),
        brain=np.asarray(turned[2]),
        air=np.asarray(turned[3]),
        to_canonical=pose @ np.linalg.inv(world),
    )


def _beside_outer_air(image: np.ndarray) -> np.ndarray:
    """Voxels that touch air in front of the face, not that of the nose's inside: the skin."""
    labels, _ = ndimage.label(image < CLEAR / 4)
    outer = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return ndimage.binary_dilation(outer, np.ones((3, 3, 3)))


def _rigid(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = nib.eulerangles.euler2mat(*np.radians(degrees[::-1]))
    matrix[:3, 3] = shift_mm
    return matrix


def _stored(image: np.ndarray, view: View) -> np.ndarray | None:
    values = image * view.gain + view.offset
    dtype = np.dtype(view.dtype)
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    if values.min() < limits.min or values.max() > limits.max:
        return None
    return np.rint(values).astype(dtype)


def _write(path: Path, stored: np.ndarray, affine: np.ndarray, view: View) -> None:
    """Header and voxels as they are: nibabel's images would choose a scaling of their own."""
    header_class = nib.Nifti1Header if view.version == 1 else nib.Nifti2Header
    header = header_class(endianness=">" if stored.dtype.byteorder == ">" else "<")
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    scale = np.diag([*[{"mm": 1.0, "unknown": 1.0, "micron": 1000.0, "meter": 0.001}[view.unit]] * 3, 1.0])
    sform, qform = view.codes
    header.set_qform(scale @ affine, code=qform)
    header.set_sform(scale @ affine if sform else None, code=sform)
    header.set_xyzt_units(view.unit)
    header["descrip"] = b"planted"
    header["scl_slope"], header["scl_inter"] = view.slope, view.inter
    header["magic"], header["vox_offset"] = header_class.single_magic, header_class.single_vox_offset
    with nib.openers.Opener(path, "wb") as file:
        header.write_to(file)
        file.write(b"\0" * (int(header["vox_offset"]) - file.tell()))
        file.write(stored.tobytes(order="F"))
