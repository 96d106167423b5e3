"""The verdict on an image, as a release needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bids_refacer.dataset.rows.release import ReviewRow

ACCEPTED = "Accepted with --accept-warnings."
TO_REVIEW = "Look at it and decide in a review list (--review-list), or accept all warnings (--accept-warnings)."


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An audited image whose mask others of its session get: its file, brain mask, mask, and path in the dataset."""

    path: Path
    brain_mask: Path
    mask: Path
    name: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An image with one tool.

    Attributes
    ----------
    verdict : the worse of both verdicts; None for an image of whose face nothing is known
    face, brain : ``pass``, ``warn``, ``fail``; None where the audit could not say
    reason : a sentence for every verdict but ``pass``
    said : what the audit's table of status says of an image that it could not finish
    defaced, mask : files of the audit; None where it has no finished result
    version : of the tool
    """

    verdict: str | None = None
    face: str | None = None
    brain: str | None = None
    reason: str | None = None
    said: str | None = None
    defaced: Path | None = None
    mask: Path | None = None
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """Who accepts a warning: everybody's (`all_warnings`), or a person's decision on this image."""

    all_warnings: bool = False
    review: ReviewRow | None = None

    def decide(self, verdict: str | None, reason: str | None) -> tuple[str | None, str | None]:
        """Why an image is held back (None: it goes), and who accepted a warning."""
        if self.review is not None and self.review.decision == "hold back":
            return f"Held back by {self.review.initials}, who looked at it.", None
        if verdict == "pass":
            return None, None
        if verdict == "warn" and self.review is not None and self.review.decision == "release":
            return None, f"Accepted by {self.review.initials}, who looked at it."
        if verdict == "warn" and self.all_warnings:
            return None, ACCEPTED
        return " ".join(filter(None, (reason, TO_REVIEW if verdict == "warn" else None))), None
