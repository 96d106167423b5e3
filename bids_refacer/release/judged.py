"""The verdict on an image, as a release needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An image with one tool.

    Attributes
    ----------
    verdict : the worse of both verdicts; None for an image of whose face nothing is known
    face, brain : ``pass``, ``warn``, ``fail``; None where the audit could not say
    reason : a sentence for every verdict but ``pass``
    defaced, mask : files of the audit; None where it has no finished result
    version : of the tool
    """

    verdict: str | None = None
    face: str | None = None
    brain: str | None = None
    reason: str | None = None
    defaced: Path | None = None
    mask: Path | None = None
    version: str | None = None
