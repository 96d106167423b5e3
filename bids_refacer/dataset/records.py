"""Records of what was done: one small JSON file for each image and tool, by which a second run knows what is finished.

A record holds the key (everything that the results depend on), the outputs with their sizes, and the figures, so that
the dataset's tables can be made again from the records alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from bids_refacer.dataset.details import (
    RECOGNITION,
    DefaceDetails,
    Json,
    RefaceDetails,
    is_same_key,
    member,
    number,
    optional_number,
    optional_text,
)
from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.names import records_dir
from bids_refacer.dataset.rows.audit import SUBJECT, CalibrationRow, DistanceRow, columns_of
from bids_refacer.dataset.rows.checked import OutsideError, check_cells, is_inside, output_of
from bids_refacer.dataset.rows.recognition import RecognitionRow
from bids_refacer.dataset.rows.table import row_from
from bids_refacer.layout import Layout, is_identifiable

T = TypeVar("T")
RowType = TypeVar("RowType", DistanceRow, CalibrationRow, RecognitionRow)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What tells one content of a file from another: bytes, time of change in ns, SHA-256."""

    size: int | None
    modified_ns: int | None
    sha256: str | None

    @classmethod
    def from_json(cls, content: Json) -> Fingerprint:
        """Read it; what is absent is None, which no file has."""
        size, modified = optional_number(content, "Size"), optional_number(content, "ModifiedNs")
        return cls(
            size=None if size is None else int(size),
            modified_ns=None if modified is None else int(modified),
            sha256=member(content, "SHA256", str, ""),
        )

    def to_json(self) -> Json:
        """The JSON object that `from_json` reads."""
        return {"Size": self.size, "ModifiedNs": self.modified_ns, "SHA256": self.sha256}


@dataclass(frozen=True, kw_only=True)
class DefacedRecord:
    """An image that was defaced with a tool and no more, as another image of its session was.

    Attributes
    ----------
    key : everything but the image that the results depend on, as JSON
    input : the image's file when it was done
    image, tool : what it is about; the image by its path in the raw dataset
    kept_refaced : whether recovered faces were published
    outputs : published files, by their names (`Layout.name_of`) -> bytes
    deface : what was reported of the defacing
    run_time_s : of all nodes
    """

    key: Json
    input: Fingerprint
    image: str
    tool: str
    kept_refaced: bool
    outputs: Mapping[str, int]
    deface: DefaceDetails
    run_time_s: float

    @classmethod
    def from_json(cls, content: Json) -> DefacedRecord:
        """Read a record. Raises KeyError for an absent member, TypeError for one of a wrong type."""
        return cls(**_shared(content))

    def to_json(self) -> Json:
        """The JSON object that `from_json` reads."""
        return {
            **self._start(),
            "Deface": self.deface.content,
            "RunTime": self.run_time_s,
            "Outputs": self.outputs,
            "KeptRefaced": self.kept_refaced,
        }

    def _start(self) -> Json:
        return {"Image": self.image, "Tool": self.tool, "Key": self.key, "Input": self.input.to_json()}


@dataclass(frozen=True, kw_only=True)
class Record(DefacedRecord):
    """An image that was audited with a tool: defaced, attacked and scored.

    Attributes
    ----------
    reface : what the attack reported
    score_s : run time of the scoring, s
    removed_skin : which of the true face's skin was removed (`surfaces.skin_left.as_text`)
    distances, calibration, recognition : rows of these tables
    """

    reface: RefaceDetails
    score_s: float | None = None
    removed_skin: str | None = None
    distances: tuple[DistanceRow, ...] = ()
    calibration: tuple[CalibrationRow, ...] = ()
    recognition: tuple[RecognitionRow, ...] = ()

    @classmethod
    def from_json(cls, content: Json) -> Record:
        """Read a record. Raises KeyError for an absent member, TypeError for one of a wrong type."""
        shared = _shared(content)
        image, tool = shared["image"], shared["tool"]
        return cls(
            **shared,
            reface=RefaceDetails.from_json(member(content, "Reface", dict)),
            score_s=optional_number(member(content, "Score", dict, {}), "RunTime"),
            removed_skin=optional_text(member(content, "Score", dict, {}), "RemovedSkin"),
            distances=_rows(DistanceRow, member(content, "Rows", list), image, tool),
            calibration=_rows(CalibrationRow, member(content, "Calibration", list, []), image, tool),
            recognition=_rows(RecognitionRow, member(content, RECOGNITION, list, []), image, tool),
        )

    def to_json(self) -> Json:
        """The JSON object that `from_json` reads."""
        return {
            **self._start(),
            "KeptRefaced": self.kept_refaced,
            "Deface": self.deface.content,
            "Reface": self.reface.content,
            "Score": {
                "RunTime": self.score_s,
                **({} if self.removed_skin is None else {"RemovedSkin": self.removed_skin}),
            },
            "RunTime": self.run_time_s,
            "Rows": [_cells(row) for row in self.distances],
            "Calibration": [_cells(row) for row in self.calibration],
            **({RECOGNITION: [_cells(row) for row in self.recognition]} if self.recognition else {}),
            "Outputs": self.outputs,
        }


def fingerprint(path: Path) -> Fingerprint:
    """The fingerprint of a file as it is now."""
    stat = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    return Fingerprint(size=stat.st_size, modified_ns=stat.st_mtime_ns, sha256=digest.hexdigest())


@dataclass(frozen=True, kw_only=True)
class AttackKey:
    """What recovered faces depend on, besides the defaced image; `steps` is None for the model's own."""

    num_samples: int
    sampler: str
    steps: int | None
    seed: int
    model: str
    weights_sha256: Mapping[str, str]


def record_key(*, tool: str, tool_version: str, attack: AttackKey, app_version: str) -> Json:
    """Everything but the image that the results of an image and a tool depend on."""
    return {
        "Tool": tool,
        "ToolVersion": tool_version,
        "NumSamples": attack.num_samples,
        "Sampler": attack.sampler,
        "Steps": attack.steps,
        "Seed": attack.seed,
        "Model": attack.model,
        "WeightsSHA256": dict(attack.weights_sha256),
        "AppVersion": app_version,
    }


def read_record(path: Path) -> Record | None:
    """The record of an audited image.

    None when there is none, or one that cannot be read, lacks a member or has one of a wrong type: its image is then
    done again.
    """
    return _read(path, Record.from_json)


def read_defaced_record(path: Path) -> DefacedRecord | None:
    """The record of an image that was at least defaced; None as `read_record` says."""
    return _read(path, DefacedRecord.from_json)


def read_details(path: Path) -> DefaceDetails | None:
    """What was reported of a defaced image whose face was not painted back (`OutputNames.verdict`); None as above."""
    return _read(path, DefaceDetails.from_json)


def all_records(layout: Layout) -> Iterator[Record]:
    """Every readable record of an audited image in the output, sorted by path."""
    yield from filter(None, map(read_record, sorted(records_dir(layout).glob("sub-*/**/*.json"))))


def any_other(layout: Layout) -> bool:
    """Whether any image got the mask of another one of its session (see `OutputNames.other_record`)."""
    return any(records_dir(layout).rglob("*_other.json"))


def is_current(
    record: DefacedRecord | None, key: Json, image: HeadImage, layout: Layout, *, keep_refaced: bool
) -> bool:
    """Whether a record says that nothing has to be done: same image, same key, all outputs in place.

    Without `keep_refaced`, identifiable outputs need not be there.
    """
    if record is None or not is_same_key(record.key, key) or (keep_refaced and not record.kept_refaced):
        return False
    for name, size in record.outputs.items():
        path = output_of(layout, name)
        if path and not keep_refaced and is_identifiable(name):
            continue
        if not path or not path.is_file() or path.stat().st_size != size:
            return False
    return _same_input(record.input, image.path)


def discard(path: Path, layout: Layout, *, keep: frozenset[str] = frozenset()) -> None:
    """Remove a record and the outputs that it lists, but for those named in `keep` (`Layout.name_of`).

    Nothing is removed for a record that names a file outside of the output folder: it is not ours.
    """
    names = _read(path, lambda content: tuple(member(content, "Outputs", dict))) or ()
    outputs = {name: output_of(layout, name) for name in names}
    for name, output in outputs.items():
        if name not in keep and output and None not in outputs.values():
            output.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _read(path: Path, read: Callable[[Json], T]) -> T | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return read(content) if isinstance(content, dict) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _shared(content: Json) -> dict[str, Any]:
    """Fields of `DefacedRecord`, by their names."""
    outputs = member(content, "Outputs", dict)
    image, tool = member(content, "Image", str), member(content, "Tool", str)
    key = ImageKey.of(image)
    check_cells("The record", columns_of(key, image, tool), "it is passed over.")
    if not all(map(is_inside, outputs)):
        raise OutsideError("The record names files outside of the output folder: it is passed over.")
    return {
        "key": member(content, "Key", dict),
        "input": Fingerprint.from_json(member(content, "Input", dict)),
        "image": image,
        "tool": tool,
        "kept_refaced": member(content, "KeptRefaced", bool),
        "outputs": {name: int(number(outputs, name)) for name in outputs},
        "deface": DefaceDetails.from_json(member(content, "Deface", dict)),
        "run_time_s": number(content, "RunTime"),
    }


def _rows(kind: type[RowType], rows: list[Json], image: str, tool: str) -> tuple[RowType, ...]:
    if not rows:
        return ()
    subject = columns_of(ImageKey.of(image), image, tool)
    return tuple(row_from(kind, {**subject, **row}) for row in rows)


def _cells(row: DistanceRow | CalibrationRow | RecognitionRow) -> Json:
    return {name: value for name, value in asdict(row).items() if name not in SUBJECT}


def _same_input(known: Fingerprint, path: Path) -> bool:
    """Same size and time of change; or else, as copies get new times, same content."""
    stat = path.stat()
    if stat.st_size != known.size:
        return False
    return stat.st_mtime_ns == known.modified_ns or fingerprint(path).sha256 == known.sha256
