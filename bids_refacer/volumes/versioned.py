"""Arrays on disk with the version of their meaning: what an older version of the app wrote is not taken for ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bids_refacer.volumes.image_file import ImageError

Shapes = Mapping[str, tuple[tuple[int | None, ...], str]]
"""Name of an array -> its shape (None: any length) and the kind of its dtype (``f``, ``u``, ``i``)."""

_MOST_BYTES = 2**28  # unpacked; a face map has some 100 kB
_REMEDY = "run the participant level again for this image."


def write_versioned(path: Path, version: int, **arrays: np.ndarray) -> None:
    """Write arrays as ``.npz``, compressed; the same arrays give the same bytes."""
    compressed: dict[str, np.ndarray] = {**arrays, "version": np.array(version, dtype=np.int64)}
    np.savez_compressed(path, **compressed)  # type: ignore[arg-type]  # its stub takes no arrays by keyword


def read_versioned(path: Path, version: int, what: str, shapes: Shapes) -> dict[str, np.ndarray]:
    """Read what `write_versioned` wrote.

    Parameters
    ----------
    version : the one that is understood
    what : it is called so in errors, in the plural
    shapes : of the arrays that it must hold

    Returns
    -------
    dict of the arrays, by name

    Raises
    ------
    ImageError
        If the file cannot be read, lacks an array, or holds those of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            if sum(file.file_size for file in content.zip.infolist()) > _MOST_BYTES:
                raise ValueError(f"it unpacks to more than {_MOST_BYTES} bytes")
            written, arrays = int(content["version"]), {name: content[name] for name in shapes}
    except Exception as error:  # zip, numpy and the disk each raise their own kind
        raise ImageError(f"{path} holds no readable {what} ({error}): {_REMEDY}") from error
    fit = all(_fits(arrays[name], shape, kind) for name, (shape, kind) in shapes.items())
    if written != version or not fit:
        raise ImageError(f"{path} holds {what} of version {written}, and this is version {version}: {_REMEDY}")
    return arrays


def _fits(array: np.ndarray, shape: tuple[int | None, ...], kind: str) -> bool:
    sides = len(array.shape) == len(shape) and all(
        wanted in (None, side) for side, wanted in zip(array.shape, shape, strict=True)
    )
    return sides and array.dtype.kind == kind
