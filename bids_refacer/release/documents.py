"""Files of a release that are no images: sidecars, tables and texts, each cleaned or completed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bids_refacer.dataset.records import fingerprint
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.tsv import TableError
from bids_refacer.dataset.sidecars import face_removal
from bids_refacer.files import write_json, write_text
from bids_refacer.release.content.descriptions import (
    Facts,
    release_bidsignore,
    release_changes,
    release_description,
    release_readme,
)
from bids_refacer.release.content.headers import has_clean_gzip_header, pack_again
from bids_refacer.release.content.metadata import Removed, scrub_description, scrub_dictionary, scrub_sidecar
from bids_refacer.release.content.people import TableRules, release_table
from bids_refacer.release.images.making import place
from bids_refacer.release.inventory import Found, Kind
from bids_refacer.release.plan import sidecar_path

BELONGS_TO = "It belongs to"
"""How the reason begins of a file that is held back for no fault of its own."""

_RECORDED_WITH = {"events": ("bold",), "physio": ("bold",), "stim": ("bold",), "aslcontext": ("asl",)}
"""Suffixes of tables, and of the images whose entities they share."""

SCRUB = {
    Kind.SIDECAR: scrub_sidecar,
    Kind.DICTIONARY: scrub_dictionary,
    Kind.DESCRIPTION: scrub_description,
    Kind.OTHER_DESCRIPTION: scrub_description,
}
"""How the fields of each kind of JSON file are scrubbed."""


@dataclass(kw_only=True)
class Documents:
    """What documents are made from.

    Attributes
    ----------
    root : of the release
    mode : how files are taken over that do not change
    rules : of tables and of fields
    images : rows of all images
    withheld : paths of all that is not released, and of folders without anything that is
    facts : of the texts
    removed : what was taken out of each file; filled here
    """

    root: Path
    mode: str
    rules: TableRules
    images: Mapping[str, ReleaseRow]
    withheld: Collection[str]
    facts: Facts
    removed: dict[str, list[Removed]] = field(default_factory=dict)

    def make(self, found: Found) -> ReleaseRow:
        """Write one file that is no image."""
        if found.kind is Kind.TEXT_TO_COMPLETE:
            return self._text(found)
        if image := self._held_back_with(found.path):
            return _held(found.path, f"{BELONGS_TO} {image}, which is held back.")
        if found.kind in SCRUB:
            return self._json(found)
        if found.kind is Kind.TABLE:
            return self._table(found)
        if found.kind is Kind.PACKED and not has_clean_gzip_header(found.source):
            pack_again(found.source, self.root / found.path)
            return self._row(found.path, "scrubbed", looked_at="no", reason="Name and time in its gzip header.")
        place(found.source, self.root / found.path, self.mode)
        return self._row(found.path, "copied", looked_at="no")

    def add_sidecar(self, image: str) -> ReleaseRow:
        """The sidecar of a defaced image that had none of its own."""
        path = sidecar_path(image)
        write_json(self.root / path, self._deidentified({}, self.images[image]))
        return self._row(path, "added")

    def add_text(self, name: str) -> ReleaseRow:
        """README, CHANGES or .bidsignore of a dataset that had none."""
        write_text(self.root / name, self._completed(name, None))
        return self._row(name, "added")

    def _text(self, found: Found) -> ReleaseRow:
        text = found.source.read_text(encoding="utf-8", errors="replace")
        write_text(self.root / found.path, self._completed(found.path, text))
        return self._row(found.path, "completed", looked_at="no")

    def _completed(self, name: str, text: str | None) -> str:
        if name == ".bidsignore":
            return release_bidsignore(text)
        complete = release_readme if name.lower().startswith("readme") else release_changes
        return complete(text, self.facts)

    def _json(self, found: Found) -> ReleaseRow:
        try:
            content = json.loads(found.source.read_text(encoding="utf-8-sig"))
            if not isinstance(content, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            return _held(found.path, f"It is no JSON object ({error}), so that nobody knows what it holds: correct it.")
        kept, removed = SCRUB[found.kind](content, self.rules.lists)
        kept = self._without_withheld(kept, found.path)
        image = self._defaced_beside(found.path)
        if image:
            kept = self._deidentified(kept, image)
        if found.kind is Kind.DESCRIPTION:
            kept = release_description(kept, self.facts)
        self._note(found.path, removed)
        target = self.root / found.path
        if kept == content:
            place(found.source, target, self.mode)
            return self._row(found.path, "copied")
        write_json(target, kept)
        return self._row(
            found.path, "completed" if found.kind is Kind.DESCRIPTION else "scrubbed", reason=_named(removed)
        )

    def _table(self, found: Found) -> ReleaseRow:
        kind = PurePosixPath(found.path).stem.split("_")[-1]
        if kind in ("scans", "sessions") and PurePosixPath(found.path).parent.as_posix() in self.withheld:
            return _held(found.path, "Nothing that it is about is released.")
        try:
            text, removed = release_table(found.source, found.path, self.rules, self.withheld)
        except TableError as error:
            return _held(found.path, f"Nobody can look into it: {error}")
        self._note(found.path, removed)
        target = self.root / found.path
        if text is None:
            place(found.source, target, self.mode)
            return self._row(found.path, "copied")
        write_text(target, text)
        return self._row(found.path, "scrubbed", reason=_named(removed) or "Rows about what is not released.")

    def _held_back_with(self, path: str) -> str | None:
        """The image that is held back, where a file has its name but for the extension, or is its table."""
        stem = PurePosixPath(path).name.split(".")[0]
        start, _, suffix = stem.rpartition("_")
        stems = (stem, *(f"{start}_{image}" for image in _RECORDED_WITH.get(suffix, ())))
        for name in (f"{one}{extension}" for one in stems for extension in (".nii.gz", ".nii")):
            image = (PurePosixPath(path).parent / name).as_posix()
            row = self.images.get(image)
            if row is not None and row.action in ("held back", "left out"):
                return image
        return None

    def _defaced_beside(self, path: str) -> ReleaseRow | None:
        """The defaced image whose sidecar this is."""
        stem = path.removesuffix(".json")
        rows = (self.images.get(f"{stem}{extension}") for extension in (".nii.gz", ".nii"))
        return next((row for row in rows if row is not None and row.action == "defaced"), None)

    def _deidentified(self, content: Mapping[str, Any], image: ReleaseRow) -> dict[str, Any]:
        """A sidecar that says how its image was defaced."""
        tool = str(image.tool)
        own = face_removal(tool, image.version or "", f"with {tool}")
        return {**content, **{name: _with_former(content.get(name), new) for name, new in own.items()}}

    def _without_withheld(self, content: dict[str, Any], path: str) -> dict[str, Any]:
        """A sidecar whose ``IntendedFor`` names no image that is held back."""
        named = content.get("IntendedFor")
        if not isinstance(named, str | list):
            return content
        participant = PurePosixPath(path).parts[0]
        items = [named] if isinstance(named, str) else named
        left = [one for one in items if not self._is_withheld(str(one), participant)]
        if len(left) == len(items):
            return content
        others = {name: value for name, value in content.items() if name != "IntendedFor"}
        return {**others, "IntendedFor": left} if left else others

    def _is_withheld(self, uri: str, participant: str) -> bool:
        path = uri.removeprefix("bids::") if uri.startswith("bids::") else f"{participant}/{uri}"
        row = self.images.get(path)
        return row is not None and row.action in ("held back", "left out")

    def _note(self, path: str, removed: list[Removed]) -> None:
        if removed:
            self.removed[path] = removed

    def _row(self, path: str, action: str, *, looked_at: str = "yes", reason: str | None = None) -> ReleaseRow:
        digest = fingerprint(self.root / path).sha256
        return ReleaseRow(path=path, action=action, looked_at=looked_at, reason=reason, sha256=digest)


def _with_former(former: Any, new: list[Any]) -> list[Any]:
    """What a sidecar said before, and what is new in it."""
    before = former if isinstance(former, list) else [former] if former else []
    return [*before, *(one for one in new if one not in before)]


def _held(path: str, reason: str) -> ReleaseRow:
    return ReleaseRow(path=path, action="held back", looked_at="no", reason=reason)


def _named(removed: list[Removed]) -> str | None:
    """``Removed: PatientName, StationName.``: names, not values."""
    names = list(dict.fromkeys(one.field for one in removed))
    return f"Removed: {', '.join(names)}." if names else None
