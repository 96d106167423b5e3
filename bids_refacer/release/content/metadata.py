"""Fields of sidecars and dictionaries that may name a person, a place or a time, removed by a published list.

The list is ``data/release/metadata.json``, which says its own rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

_LARGEST = 10_000_000
"""Numbers from here on may be dates, telephone numbers or numbers of patients."""
_UID = re.compile(r"\d+(?:\.\d+){5,}")
_YEAR = r"(?:19|20)\d\d"
_DATE = re.compile(
    rf"{_YEAR}-[01]\d-[0-3]\d(?:[T ].*)?|{_YEAR}[01]\d[0-3]\d(?:\d{{6}}.*)?|[0-3]?\d[./][01]?\d[./]{_YEAR}"
)
_CLOCK = re.compile(r"[0-2]?\d:[0-5]\d:[0-5]\d(?:\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The published list, in lower case; `asked` are names that a person wants kept."""

    removed: frozenset[str]
    patterns: tuple[str, ...]
    kept: frozenset[str]
    removed_columns: frozenset[str]
    time_columns: frozenset[str]
    asked: frozenset[str] = frozenset()

    def denies(self, name: str) -> bool:
        """Whether a field of this name is removed wherever it stands."""
        low = name.lower()
        if low in self.asked:
            return False
        matches = low not in self.kept and any(fnmatchcase(low, pattern) for pattern in self.patterns)
        return low in self.removed or matches

    def knows(self, name: str) -> bool:
        """Whether a field of this name is kept whatever it holds."""
        return name.lower() in self.kept | self.asked

    def denies_column(self, name: str) -> bool:
        """Whether a column of this name is removed."""
        low = name.strip().lower()
        return low in self.removed_columns - self.asked


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A field that was removed: where it stood (``global.const.PatientName``), and its value."""

    field: str
    value: Any


def metadata_lists(keep: tuple[str, ...] = ()) -> Lists:
    """The published list; `keep` are names of fields and columns that stay."""
    content = _published()
    return Lists(
        **{name: frozenset(_lower(content[name])) for name in ("removed", "kept", "removed_columns", "time_columns")},
        patterns=tuple(_lower(content["removed_patterns"])),
        asked=frozenset(_lower(keep)),
    )


@cache
def _published() -> dict[str, list[str]]:
    text = (files("bids_refacer") / "data" / "release" / "metadata.json").read_text(encoding="utf-8")
    content: dict[str, list[str]] = json.loads(text)
    return content


def _lower(names: tuple[str, ...] | list[str]) -> list[str]:
    return [name.lower() for name in names]


def scrub_sidecar(content: Mapping[str, Any], lists: Lists) -> tuple[dict[str, Any], list[Removed]]:
    """A sidecar of images without identifying fields, and what was removed."""
    removed: list[Removed] = []
    kept = {}
    for name, value in content.items():
        if lists.denies(name) or not (lists.knows(name) or _is_harmless(value)):
            removed.append(Removed(field=name, value=value))
        else:
            kept[name] = _scrubbed(value, name, lists, removed)
    return kept, removed


def scrub_dictionary(content: Mapping[str, Any], lists: Lists) -> tuple[dict[str, Any], list[Removed]]:
    """The dictionary of a table, or another JSON object, without identifying fields, and what was removed."""
    removed: list[Removed] = []
    kept = {}
    for name, value in content.items():
        if lists.denies_column(name) or (not isinstance(value, dict) and _is_identifying(name, value, lists)):
            removed.append(Removed(field=name, value=value))
        else:
            kept[name] = _scrubbed(value, name, lists, removed)
    return kept, removed


def scrub_description(content: Mapping[str, Any], lists: Lists) -> tuple[dict[str, Any], list[Removed]]:
    """dataset_description.json without identifying fields, and what was removed."""
    removed: list[Removed] = []
    kept: dict[str, Any] = _scrubbed(dict(content), "", lists, removed)
    return kept, removed


def _scrubbed(value: Any, where: str, lists: Lists, removed: list[Removed]) -> Any:
    """A value whose inner fields are scrubbed too."""
    if isinstance(value, list):
        return [_scrubbed(part, where, lists, removed) for part in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, part in value.items():
        if _is_identifying(name, part, lists):
            removed.append(Removed(field=f"{where}.{name}".removeprefix("."), value=part))
        else:
            kept[name] = _scrubbed(part, f"{where}.{name}".removeprefix("."), lists, removed)
    return kept


def _is_identifying(name: str, value: Any, lists: Lists) -> bool:
    return lists.denies(name) or (not lists.knows(name) and _tells_when_or_which(value))


def _tells_when_or_which(value: Any) -> bool:
    """Whether a text is a date, a time of day or a UID."""
    text = value.strip() if isinstance(value, str) else ""
    return any(pattern.fullmatch(text) for pattern in (_UID, _DATE, _CLOCK))


def _is_harmless(value: Any) -> bool:
    """Whether a value of a field that nobody knows can hold no text of a person."""
    if isinstance(value, list):
        return all(map(_is_harmless, value))
    if value is None or isinstance(value, bool):
        return True
    return isinstance(value, int | float) and abs(value) < _LARGEST
