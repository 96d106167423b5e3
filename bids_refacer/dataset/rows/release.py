"""Rows of the tables of a release; columns are described in ``data/columns/<table>.json``; None is ``n/a``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bids_refacer.dataset.rows.table import Row


@dataclass(frozen=True, kw_only=True)
class ReleaseRow(Row):
    """What became of one file of the originals' dataset, or of a file that was added."""

    table: ClassVar[str] = "release"

    path: str
    action: str | None = None
    looked_at: str | None = None
    verdict: str | None = None
    face_verdict: str | None = None
    brain_verdict: str | None = None
    tool: str | None = None
    version: str | None = None
    kept_voxels: str | None = None
    removed_voxels: str | None = None
    mask: str | None = None
    reason: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReviewRow(Row):
    """A person's decision on an image whose verdict is a warning."""

    table: ClassVar[str] = "release_review"

    participant_id: str
    image: str
    verdict: str | None = None
    reason: str | None = None
    decision: str | None = None
    initials: str | None = None
