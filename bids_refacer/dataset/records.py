"""Records of what was done: one small JSON file for each image and tool, by which a second run knows what is finished.

A record holds the key (everything that the results depend on), the outputs with their sizes, and the figures, so that
the dataset's tables can be made again from the records alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.names import IDENTIFIABLE, RECORDS

Record = dict[str, Any]

DEFACED = frozenset({"Key", "Input", "Image", "Tool", "KeptRefaced", "Outputs", "Deface", "RunTime"})
"""Keys of the record of an image that was defaced and no more, as another image of its session was."""

AUDITED = DEFACED | {"Rows", "Reface"}


def fingerprint(path: Path) -> dict[str, Any]:
    """What tells one content of a file from another: size, time of change, SHA-256."""
    stat = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    return {"Size": stat.st_size, "ModifiedNs": stat.st_mtime_ns, "SHA256": digest.hexdigest()}


def record_key(
    *, tool: str, tool_version: str, num_samples: int, sampler: str, steps: int | None, seed: int, model: str,
    weights_sha256: Mapping[str, str], app_version: str,
) -> dict[str, Any]:  # fmt: skip
    """Everything but the image that the results of an image and a tool depend on."""
    return {
        "Tool": tool,
        "ToolVersion": tool_version,
        "NumSamples": num_samples,
        "Sampler": sampler,
        "Steps": steps,
        "Seed": seed,
        "Model": model,
        "WeightsSHA256": dict(weights_sha256),
        "AppVersion": app_version,
    }


def read_record(path: Path, needed: Set[str] = AUDITED) -> Record | None:
    """A record; None when there is none, or one that cannot be read or lacks a key: its image is then done again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and needed <= set(content) else None


def all_records(output_dir: Path) -> Iterator[Record]:
    """Every readable record of the output dataset, sorted by path."""
    for path in sorted((output_dir / RECORDS).rglob("*.json")):
        record = read_record(path)
        if record is not None:
            yield record


def any_other(output_dir: Path) -> bool:
    """Whether any image got the mask of another one of its session (see `OutputNames.other_record`)."""
    return any((output_dir / RECORDS).rglob("*_other.json"))


def is_current(
    record: Record | None, key: Mapping[str, Any], image: HeadImage, output_dir: Path, *, keep_refaced: bool
) -> bool:
    """Whether a record says that nothing has to be done: same image, same key, all outputs in place.

    Without `keep_refaced`, identifiable outputs need not be there.
    """
    if record is None or record["Key"] != key or (keep_refaced and not record["KeptRefaced"]):
        return False
    for name, size in record["Outputs"].items():
        path = output_dir / name
        if not keep_refaced and Path(name).parts[0] == IDENTIFIABLE:
            continue
        if not path.is_file() or path.stat().st_size != size:
            return False
    return _same_input(record["Input"], image.path)


def discard(path: Path, output_dir: Path, *, keep: frozenset[str] = frozenset()) -> None:
    """Remove a record and the outputs that it lists, but for those named in `keep` (relative to the output)."""
    record = read_record(path, DEFACED)
    for name in record["Outputs"] if record else ():
        if name not in keep:
            (output_dir / name).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _same_input(known: Mapping[str, Any], path: Path) -> bool:
    """Same size and time of change; or else, as copies get new times, same content."""
    stat = path.stat()
    if stat.st_size != known["Size"]:
        return False
    return stat.st_mtime_ns == known["ModifiedNs"] or fingerprint(path)["SHA256"] == known["SHA256"]
