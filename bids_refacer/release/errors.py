"""What is raised when a release cannot be made or checked."""

from __future__ import annotations

from bids_refacer.problems import AuditProblem


class ReleaseError(AuditProblem):
    """A release cannot be made: a sentence that says why and what to do."""
