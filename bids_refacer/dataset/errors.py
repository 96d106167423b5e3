"""What is raised when a dataset, or a file of one, cannot be used."""

from __future__ import annotations

from bids_refacer.problems import AuditProblem


class DatasetError(AuditProblem):
    """The dataset, or a file that says how to read it, cannot be used: one sentence with the file and the remedy."""
