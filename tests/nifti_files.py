"""NIfTI files built from header and voxel bytes, independently of the code under test."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension

SHAPE = (7, 6, 5)
OBLIQUE = np.array([[-0.9, 0.2, 0.1, 12.5], [0.3, 1.1, -0.2, -7.0], [0.05, 0.1, 2.0, 3.25], [0, 0, 0, 1.0]])


def stored_of(dtype: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(0, 1e3, SHAPE).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, SHAPE, dtype=kind.newbyteorder("="), endpoint=True).astype(kind)


def raw_image(
    path: Path,
    stored: np.ndarray,
    *,
    slope: float = np.nan,
    inter: float = np.nan,
    shape=None,
    nifti2: bool = False,
    extension: bool = True,
    affine: np.ndarray = OBLIQUE,
) -> bytes:
    """A NIfTI file with every field set that a converter may set, made of header and voxel bytes."""
    header_class = nib.Nifti2Header if nifti2 else nib.Nifti1Header
    endian = ">" if stored.dtype.byteorder == ">" else "<"
    header = header_class(endianness=endian)
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(shape or stored.shape)
    header.set_qform(affine, code=1, strip_shears=True)
    header.set_sform(affine, code=4)
    header.set_xyzt_units("mm", "msec")
    header["descrip"], header["aux_file"] = b"TE=2.9;Time=101112.000", b"none"
    header["cal_max"], header["scl_slope"], header["scl_inter"] = 123.0, slope, inter
    header["toffset"], header["slice_duration"] = 0.5, 1.5
    if extension:
        header.extensions.append(Nifti1Extension("comment", b"a sidecar in the header"))
    header["magic"] = header_class.single_magic
    header["vox_offset"] = header_class.single_vox_offset + 32  # the extension, or nothing
    with open(path.with_suffix(".raw"), "wb") as file:
        header.write_to(file)
        file.write(b"\x00" * (int(header["vox_offset"]) - file.tell()))
        file.write(stored.tobytes(order="F"))
    content = path.with_suffix(".raw").read_bytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return content
