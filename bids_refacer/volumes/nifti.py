"""NIfTI images in and out, without changing a bit that nobody asked to change.

nibabel's image classes re-derive scaling, offsets and orientation codes when they save. A defaced image must differ
from its source in the removed voxels alone, so headers are read and written here as they are on disk, and voxel
values stay in their on-disk dtype (``stored``); scaled values are a view for the mathematics.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from bids_refacer.files import unfinished
from bids_refacer.volumes.content.useless import useless_values
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.header_texts import without_texts
from bids_refacer.volumes.image_file import ImageError, opened, packed, read_header_bytes, read_voxels, truncated
from bids_refacer.volumes.scan import Scan

# nibabel's fixes of harmless header fields are no news to users
_QUIET = logging.getLogger(f"{__name__}.header_checks")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


def read_scan(path: str | Path) -> Scan:
    """Read one 3-D NIfTI image (``.nii`` or ``.nii.gz``; a fourth axis of length one is dropped).

    Raises ImageError when the file is missing, a git-annex link without content, truncated, not NIfTI, 2-D, a series,
    complex or RGB, without a usable affine, constant, or holds NaN, infinite, huge or tiny values, or when
    its header asks for more voxels than are read. No more is kept in memory than the header asks for.
    """
    return _read(Path(path), _three_axes)


def read_series(path: str | Path) -> Scan:
    """Read an image of one volume or of several: ``stored`` is ``(i, j, k)`` or ``(i, j, k, n)``; else `read_scan`."""
    return _read(Path(path), _axes_of_series)


def _read(path: Path, axes: Callable[[Path, tuple[int, ...]], tuple[int, ...]]) -> Scan:
    scan = _unchecked(path, axes)
    if sentence := useless_values(scan.stored, scan.slope, scan.inter):
        raise ImageError(f"{path} {sentence}")
    return scan


def _unchecked(path: Path, axes: Callable[[Path, tuple[int, ...]], tuple[int, ...]]) -> Scan:
    """An image whose values were not looked at."""
    with opened(path) as stream:
        start = read_header_bytes(path, stream)
        header = _read_header(path, start)
        shape = axes(path, header.get_data_shape())
        dtype = _scalar_dtype(path, header)
        slope, inter = _scaling(path, header)
        affine = _affine(path, header)
        size = math.prod(shape) * dtype.itemsize
        content = read_voxels(path, stream, start, int(header["vox_offset"]), size)
    stored = np.frombuffer(content, dtype=dtype).reshape(shape, order="F")
    stored.flags.writeable = False
    return Scan(path=path, stored=stored, slope=slope, inter=inter, affine=affine, header=header)


def read_mask(path: str | Path) -> Volume:
    """A mask that this app wrote, ``(i, j, k)`` bool; unlike an image, it may be the same everywhere."""
    scan = _unchecked(Path(path), _three_axes)
    return Volume(scan.stored > 0, scan.affine)


def write_scan(path: str | Path, scan: Scan, stored: np.ndarray, *, keep_texts: bool = False) -> None:
    """Write ``stored`` ``(i, j, k)`` with the header of ``scan``: dtype, scaling, orientation and shape.

    Texts and extensions of the header may name a person: they are left out unless ``keep_texts``. The bytes depend on
    the arguments alone (gzip without time or name), and the file appears under its name only when it is complete.
    Raises ValueError when shape or dtype differ from those of ``scan``.
    """
    if stored.shape != scan.stored.shape or stored.dtype != scan.stored.dtype:
        raise ValueError(
            f"{path}: an array of {stored.shape} {stored.dtype} does not fit the header of {scan.path} "
            f"({scan.stored.shape} {scan.stored.dtype})."
        )
    _write(Path(path), scan.header if keep_texts else without_texts(scan.header), stored)


def write_volume(path: str | Path, volume: Volume, dtype: np.dtype | type | str) -> None:
    """Write a new image in RAS+ mm: masks, canonical volumes, distance maps.

    Values are rounded when ``dtype`` is an integer type; bool is stored as uint8. Raises ValueError if it has not
    three axes.
    """
    data = volume.values
    if data.ndim != 3:
        raise ValueError(f"{path}: a volume has three axes, not {data.ndim}.")
    target = np.dtype(np.uint8) if np.dtype(dtype) == np.dtype(bool) else np.dtype(dtype)
    rounded = np.rint(data) if target.kind in "iu" and data.dtype.kind == "f" else data
    header = nib.Nifti1Header()
    header.set_data_dtype(target)
    header.set_data_shape(data.shape)
    header.set_qform(volume.affine, code=1)
    header.set_sform(volume.affine, code=1)
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["vox_offset"], header["magic"] = 352, b"n+1"
    _write(Path(path), header, np.asarray(rounded).astype(target))


def _read_header(path: Path, content: bytes) -> nib.Nifti1Header:
    """The single-file NIfTI-1 or NIfTI-2 header with its extensions, not repaired; ImageError if there is none."""
    if not content:
        raise truncated(path)
    for header_class in (nib.Nifti1Header, nib.Nifti2Header):
        if header_class.may_contain_header(content) and len(content) >= header_class.single_vox_offset:
            break
    else:
        raise _not_nifti(path)
    try:
        header: nib.Nifti1Header = header_class.from_fileobj(io.BytesIO(content), check=False)
        if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
            raise _not_nifti(path)
        header.copy().check_fix(logger=_QUIET, error_level=40)
    except (HeaderDataError, OverflowError) as error:
        raise ImageError(f"{path} has a damaged NIfTI header ({error}): convert it again from its source.") from error
    return header


def _not_nifti(path: Path) -> ImageError:
    return ImageError(f"{path} is not a single-file NIfTI image: convert it to .nii.gz, for example with dcm2niix.")


def _three_axes(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The first three axes; ImageError for 2-D images and for series."""
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise ImageError(f"{path} is a 2-D image {shape}: only 3-D images of a head have a face, remove or exclude it.")
    if any(length != 1 for length in shape[3:]):
        raise ImageError(
            f"{path} is a 4-D series {shape}: give one 3-D volume, for example its mean over time, or exclude it."
        )
    return shape[0], shape[1], shape[2]


def _axes_of_series(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """All four axes of a series; else `_three_axes`."""
    return shape if len(shape) == 4 and min(shape[:3]) > 1 and shape[3] > 1 else _three_axes(path, shape)


def _scalar_dtype(path: Path, header: nib.Nifti1Header) -> np.dtype:
    """The on-disk dtype; ImageError unless it is integer or real."""
    try:
        dtype: np.dtype = header.get_data_dtype()
    except HeaderDataError as error:
        raise ImageError(f"{path} has an unknown data type ({error}): convert it to int16 or float32.") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        name = "RGB" if dtype.kind == "V" else dtype.name
        raise ImageError(
            f"{path} has data type {name}: only real-valued images can be defaced, give the magnitude as float32."
        )
    return dtype


def _scaling(path: Path, header: nib.Nifti1Header) -> tuple[float, float]:
    try:
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        raise ImageError(
            f"{path} has an impossible intensity scaling ({error}): correct scl_slope and scl_inter."
        ) from error
    return (1.0, 0.0) if slope is None else (float(slope), float(inter or 0.0))


def _affine(path: Path, header: nib.Nifti1Header) -> np.ndarray:
    """Voxel -> RAS+ mm ``(4, 4)`` float64; ImageError when it cannot be inverted."""
    problem = (
        f"{path} has a voxel-to-world matrix that cannot be inverted: repair its sform and qform, or convert it again."
    )
    checked = header.copy()
    checked.check_fix(logger=_QUIET, error_level=40)
    try:
        affine = np.asarray(checked.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise ImageError(problem) from error
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # The volume of a voxel relative to that of a box with its edges: near zero when two axes point the same way.
    if not np.isfinite(affine).all() or lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise ImageError(problem)
    return affine


def _write(path: Path, header: nib.Nifti1Header, stored: np.ndarray) -> None:
    """Header, extensions and voxels."""
    with unfinished(path) as temporary, temporary.open("xb") as file:
        if path.name.endswith(".gz"):
            with packed(file) as stream:
                _write_parts(stream, header, stored)
        else:
            _write_parts(file, header, stored)


def _write_parts(file: BinaryIO, header: nib.Nifti1Header, stored: np.ndarray) -> None:
    header = header.copy()
    header.write_to(file)
    file.write(b"\x00" * (int(header["vox_offset"]) - file.tell()))
    file.write(stored.tobytes(order="F"))
