"""The bytes of an image file: unpacked, header first, and no more than the header asks for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
from isal import igzip, isal_zlib
from isal.igzip_lib import IsalError

from bids_refacer.problems import AuditProblem

_LONGEST_HEADER = nib.Nifti2Header.single_vox_offset
_MOST_HEADER_BYTES = 2**26  # extensions of scanners hold some 100 kB
_MOST_VOXEL_BYTES = 2**33  # a head at 0.25 mm has 2 GiB as float32
_PART = 2**20
_LEVEL = isal_zlib.ISAL_DEFAULT_COMPRESSION
_GZIP_MAGIC = b"\x1f\x8b"
_ANNEX_POINTER = b"/annex/objects/"  # how an unlocked git-annex file starts when its content is absent
_LFS_POINTER = b"version https://git-lfs"


class ImageError(AuditProblem):
    """An image that cannot be used. The message is one sentence: which file, what is wrong, what to do."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's decompressed content, to be read in parts; ImageError says why it cannot be read."""
    if path.is_symlink() and not path.exists():
        raise _not_fetched(path, "is a broken link")
    if not path.is_file():
        raise ImageError(f"{path} does not exist: check the path.")
    try:
        with path.open("rb") as file:
            start = file.read(64)
            file.seek(0)
            if start.startswith(_ANNEX_POINTER):
                raise _not_fetched(path, "is a git-annex pointer")
            if start.startswith(_LFS_POINTER):
                raise ImageError(f"{path} is a git-lfs pointer, its content is not here: get it with `git lfs pull`.")
            yield cast(BinaryIO, igzip.open(file) if start.startswith(_GZIP_MAGIC) else file)
    except (EOFError, gzip.BadGzipFile, zlib.error, IsalError) as error:  # type: ignore[misc]  # a value to its stub
        raise truncated(path) from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}): check its permissions and the disk.") from error


def packed(file: BinaryIO) -> Any:
    """A gzip stream into a file, to be used in a ``with``: its header has neither name nor time.

    Images are packed by ISA-L at its middle level: twenty times as fast as zlib at its usual level, for files that are
    six percent larger (docs/speed.md).
    """
    return igzip.IGzipFile(filename="", mode="wb", fileobj=file, compresslevel=_LEVEL, mtime=0)


def read_header_bytes(path: Path, stream: BinaryIO) -> bytes:
    """The file up to its first voxel, or its start, where that is no header."""
    content = _take(stream, _LONGEST_HEADER)
    classes: tuple[Any, ...] = (nib.Nifti1Header, nib.Nifti2Header)
    for header_class in classes:
        if header_class.may_contain_header(content) and len(content) >= header_class.single_vox_offset:
            header = header_class(content[: header_class.sizeof_hdr], check=False)
            offset = float(header["vox_offset"])
            if not 0 <= offset <= _MOST_HEADER_BYTES:
                raise ImageError(
                    f"{path} has a damaged NIfTI header (its voxels would begin at byte {offset:g}, and at most "
                    f"{_MOST_HEADER_BYTES} are read before them): convert it again from its source."
                )
            content += _take(stream, int(offset) - len(content))
            break
    return bytes(content)


def read_voxels(path: Path, stream: BinaryIO, before: bytes, offset: int, size: int) -> bytearray:
    """`size` bytes from `offset`, of which `before` has the first; the rest is read for its checksum alone."""
    if size > _MOST_VOXEL_BYTES:
        raise ImageError(
            f"{path} has {size / 2**30:.3g} GiB of voxels by its header, and at most {_MOST_VOXEL_BYTES / 2**30:g} are "
            "read: resample it to larger voxels, or exclude it."
        )
    content = bytearray(before[offset : offset + size])
    content += _take(stream, size - len(content))
    if len(content) < size:
        raise truncated(path)
    beyond = 0
    while part := stream.read(_PART):
        beyond += len(part)
        if beyond > _MOST_HEADER_BYTES:
            raise ImageError(f"{path} holds far more than its header says: convert it again from its source.")
    return content


def _take(stream: BinaryIO, size: int) -> bytearray:
    """At most `size` bytes; memory is taken for what is there, not for what a header says."""
    content = bytearray()
    while size > len(content) and (part := stream.read(min(_PART, size - len(content)))):
        content += part
    return content


def _not_fetched(path: Path, what: str) -> ImageError:
    return ImageError(
        f"{path} {what}, its content is not here: get it with `datalad get {path}` or `git annex get {path}`."
    )


def truncated(path: Path) -> ImageError:
    """What is said of a file that ends too early, or is not what its checksum says."""
    return ImageError(f"{path} is truncated or damaged: copy or download it again from its source.")
