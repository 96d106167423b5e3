"""Images that are released as they are, but for texts of their headers and what gzip says of a file."""

from __future__ import annotations

import gzip
import io
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
from nibabel.spatialimages import HeaderDataError

from bids_refacer.files import unfinished
from bids_refacer.volumes.header_texts import without_texts
from bids_refacer.volumes.image_file import ImageError, opened, packed, read_header_bytes, truncated

_PART = 2**20
_GZIP = b"\x1f\x8b"


def has_clean_gzip_header(path: Path) -> bool:
    """Whether a file is not gzipped, or its gzip header holds neither a name, nor a time, nor a comment."""
    with path.open("rb") as file:
        start = file.read(10)
    return not start.startswith(_GZIP) or (start[3] == 0 and start[4:8] == bytes(4))


def copy_without_texts(source: Path, target: Path) -> bool:
    """Write an image whose header holds no texts and no extensions; every voxel keeps its bits.

    Returns
    -------
    bool
        False where the image holds nothing of that kind: then nothing is written, and the file can be copied.

    Raises
    ------
    ImageError
        When the file is no NIfTI image, or is truncated.
    """
    if not has_texts(source):
        return False
    with opened(source) as stream, _written(target) as file:
        start = read_header_bytes(source, stream)
        header = _header(source, start)
        blank, offset, size = without_texts(header), int(header["vox_offset"]), _voxel_bytes(source, header)
        blank.write_to(file)
        file.write(bytes(int(blank["vox_offset"]) - file.tell()))
        file.write(start[offset : offset + size])
        _pour(source, stream, file, size - len(start[offset : offset + size]))
    return True


def has_texts(path: Path) -> bool:
    """Whether an image holds texts, extensions or anything else around its voxels, or gzip's header a name or a time.

    Raises
    ------
    ImageError
        When the file is no NIfTI image, or is truncated.
    """
    with opened(path) as stream:
        start = read_header_bytes(path, stream)
        header = _header(path, start)
        left = int(header["vox_offset"]) + _voxel_bytes(path, header) - len(start)
        ends = _ends_after(path, stream, left)
    return not (ends and _is_clean(header, without_texts(header), start) and has_clean_gzip_header(path))


def pack_again(source: Path, target: Path) -> None:
    """Write a gzipped file again, without name and time in its header."""
    with gzip.open(source) as stream, _written(target) as file:
        shutil.copyfileobj(cast(BinaryIO, stream), file, _PART)


def _header(path: Path, start: bytes) -> Any:
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        if kind.may_contain_header(start) and len(start) >= kind.single_vox_offset:
            try:
                header = kind.from_fileobj(io.BytesIO(start), check=False)
            except (HeaderDataError, OverflowError) as error:
                raise ImageError(f"{path} has a damaged NIfTI header ({error}): convert it again.") from error
            if bytes(header["magic"])[:3] in (b"n+1", b"n+2"):
                return header
    raise ImageError(f"{path} is not a single-file NIfTI image: convert it to .nii.gz, or leave it out.")


def _voxel_bytes(path: Path, header: Any) -> int:
    try:
        return math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    except (HeaderDataError, KeyError) as error:
        raise ImageError(f"{path} has an unknown data type ({error}): convert it to int16 or float32.") from error


def _is_clean(header: Any, blank: Any, start: bytes) -> bool:
    """Whether nothing was blanked, and nothing lies between the header and the first voxel."""
    gap = start[header.single_vox_offset : int(header["vox_offset"])]
    return header.binaryblock == blank.binaryblock and not header.extensions and not any(gap)


def _ends_after(path: Path, stream: BinaryIO, size: int) -> bool:
    """Whether the file ends after so many bytes more; raises ImageError where it ends before."""
    while size > 0:
        part = stream.read(min(_PART, size))
        if not part:
            raise truncated(path)
        size -= len(part)
    return size == 0 and not stream.read(1)


def _pour(path: Path, stream: BinaryIO, file: Any, size: int) -> None:
    while size > 0:
        part = stream.read(min(_PART, size))
        if not part:
            raise truncated(path)
        file.write(part)
        size -= len(part)


@contextmanager
def _written(target: Path) -> Iterator[Any]:
    """A file to write to, packed where its name says so, which appears whole or not at all."""
    with unfinished(target) as temporary, temporary.open("xb") as file:
        if target.name.endswith(".gz"):
            with packed(file) as stream:
                yield stream
        else:
            yield file
