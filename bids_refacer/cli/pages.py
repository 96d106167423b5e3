"""When pages are made: at the end of a run, and again with ``--reports-only``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def make_group_page(output_dir: Path) -> Path:
    """Make ``group.html`` from the tables of the group level; `reports.group_page.PageError` when there are none."""
    with _matplotlib_at_home(output_dir):
        from bids_refacer.reports.group_page import write_group_page

        return write_group_page(output_dir)


def make_participant_pages(output_dir: Path, bids_dir: Path, labels: Sequence[str] | None = None) -> list[Path]:
    """Make the pages of participants (without ``sub-``; all when None) from the outputs of the participant level."""
    with _matplotlib_at_home(output_dir):
        from bids_refacer.reports.participant_page import write_participant_pages

        return write_participant_pages(output_dir, bids_dir, labels)


@contextmanager
def _matplotlib_at_home(output_dir: Path) -> Iterator[None]:
    """matplotlib wants a folder that it can write to, and a container's home is often none."""
    if os.environ.get("MPLCONFIGDIR"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix=".matplotlib-", dir=output_dir) as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]
