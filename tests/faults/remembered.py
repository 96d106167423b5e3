"""Slow numerical functions that remember their results in files, so that hundreds of runs over one head are cheap.

Their results are those that they give: a campaign compares runs that remember with one that does not.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bids_refacer
from bids_refacer.files import unfinished

SLOW = (
    ("igl", "signed_distance"),
    ("bids_refacer.volumes.registration", "allineate"),
    ("bids_refacer.phenotypes.voxels", "sample_voxels"),
    ("bids_refacer.surfaces.skin", "find_skin"),
    ("bids_refacer.surfaces.skin", "skin_surface"),
    ("bids_refacer.reports.faces", "render"),
    ("bids_refacer.volumes.registration", "head_overlap"),
)


def remember(folder: Path) -> None:
    """Have `SLOW` functions remember; before any module is imported that takes them by their names."""
    code = hashlib.blake2b()
    for path in sorted(Path(bids_refacer.__file__).parent.rglob("*.py")):
        code.update(path.read_bytes())
    own = folder / code.hexdigest()[:16]  # other code may give other results
    own.mkdir(parents=True, exist_ok=True)
    for module_name, name in SLOW:
        module = importlib.import_module(module_name)
        setattr(module, name, _remembering(getattr(module, name), own))


def _remembering(function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        values = [value.read_bytes() if isinstance(value, Path) else value for value in (*args, *named.values())]
        key = hashlib.blake2b(pickle.dumps((function.__name__, sorted(named), values)), digest_size=16)
        path = folder / key.hexdigest()
        try:
            return pickle.loads(path.read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError):
            result = function(*args, **named)
        with unfinished(path) as temporary, temporary.open("wb") as file:
            pickle.dump(result, file)
            file.flush()
            os.fsync(file.fileno())
        return result

    return call
