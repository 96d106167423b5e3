"""Checkpoints: whole or absent, checked when read, a few kept, and refused by a training that is another one.

No state of random generators is among them: every draw of a step is made from (seed, step).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bids_refacer.files import unfinished

LOG = logging.getLogger(__name__)

_PATTERN = "checkpoint-*.pt"
_NAMED = 6  # differences that a refusal spells out


class CheckpointError(RuntimeError):
    """A training cannot go on from what its folder holds."""


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state of plain types and tensors, with its SHA-256; the file appears whole or not at all.

    It is on the disk, not only with the operating system, before it takes the place of another.
    """
    with unfinished(path) as temporary, temporary.open("wb") as file:
        torch.save({**state, "sha256": digest(state)}, file)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> dict[str, Any]:
    """Read what `write` wrote, onto the CPU.

    Raises
    ------
    CheckpointError
        When the file is cut short or one of its bits has changed.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        expected = state.pop("sha256")
    except Exception as error:  # zip, pickle and torch each have their own for a damaged file
        raise CheckpointError(f"{path} is damaged ({_first_line(error)}).") from error
    if digest(state) != expected:
        raise CheckpointError(f"{path} is damaged (its content does not have the SHA-256 that it states).")
    return state


def save(folder: Path, state: Mapping[str, Any], keep: int) -> None:
    """Write the checkpoint of `state["step"]` and remove all but the newest `keep`."""
    write(folder / f"checkpoint-{state['step']:08d}.pt", state)
    for old in checkpoints(folder)[:-keep]:
        old.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted(folder.glob(_PATTERN))


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that can be read; a damaged one is put aside, and the one before is taken.

    Raises
    ------
    CheckpointError
        When there are checkpoints and none can be read.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            read(path)
        except CheckpointError as error:
            path.replace(path.with_suffix(".damaged"))
            LOG.warning("%s It was renamed; training goes on from the checkpoint before it.", error)
        else:
            return path
    if found:
        raise CheckpointError(
            f"No checkpoint in {folder} can be read; they were renamed to *.damaged. Check the disk, then call again "
            "to start this stage anew."
        )
    return None


def as_text(fingerprint: Mapping[str, Any]) -> str:
    """A fingerprint, nested plain types, as a checkpoint holds it: JSON, in which tuples are lists."""
    return json.dumps(fingerprint)


def require_same(path: Path, state: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
    """Refuse the checkpoint of another training.

    Parameters
    ----------
    path, state : the checkpoint
    fingerprint : of the training that wants to go on

    Raises
    ------
    CheckpointError
        Names what differs.
    """
    saved = dict(_flat(json.loads(state["fingerprint"])))
    ours = dict(_flat(json.loads(as_text(fingerprint))))
    names = [name for name in {**saved, **ours} if saved.get(name) != ours.get(name)]
    if not names:
        return
    said = [f"{name} is {saved.get(name, 'not set')} there and {ours.get(name, 'not set')} here" for name in names]
    more = f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    raise CheckpointError(
        f"{path} is of another training: {'; '.join(said[:_NAMED])}{more}. Give the settings it was started with, "
        "or another output folder."
    )


def digest(state: Any) -> str:
    """SHA-256 of nested mappings and lists of tensors and plain types."""
    total = hashlib.sha256()
    for name, value in _flat(state):
        total.update(name.encode())
        if isinstance(value, Tensor):
            total.update(repr((value.dtype, tuple(value.shape))).encode())
            total.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
        else:
            total.update(repr(value).encode())
    return total.hexdigest()


def _flat(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings and sequences as (dotted name, value)."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, list | tuple) and any(isinstance(value, Mapping | list | tuple) for value in content):
        for index, value in enumerate(content):
            yield from _flat(value, f"{name}.{index}")
    else:
        yield name, content


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
