"""Processes that carry a mark in their environment: what a run started, whoever has become its parent since."""

from __future__ import annotations

import os
import time
from pathlib import Path

NAME = "BIDS_REFACER_TEST_MARK"


def marked(mark: str) -> dict[int, str]:
    """Process id -> command line of all that run with the mark, this process left out; zombies have ended."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{NAME}={mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            if (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                continue
            found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, IndexError):  # it ended meanwhile
            continue
    found.pop(os.getpid(), None)
    return found


def left_after(mark: str, seconds: float) -> dict[int, str]:
    """What of it is still there after a while; waits no longer than it has to."""
    end = time.monotonic() + seconds
    while (left := marked(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    return left
