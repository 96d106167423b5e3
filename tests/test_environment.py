"""The process that a run happens in."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from bids_refacer.environment import keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from bids_refacer.environment import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(20):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def test_freed_memory_is_used_again() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this C library has no mallopt")
    keep, give_back = (
        int(subprocess.run([sys.executable, "-c", FAULTS, way], check=True, capture_output=True).stdout)
        for way in ("keep", "give back")
    )
    assert keep < give_back


def test_settings_of_old_and_of_no_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old one refuses large sizes; another library has no such function."""
    calls: list[tuple[int, int]] = []

    def mallopt(setting: int, size: int) -> int:
        calls.append((setting, size))
        return int(size <= 2**25)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    keep_freed_memory()
    assert calls == [(-3, 2**30), (-3, 2**25), (-1, 2**30), (-1, 2**25)]
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    keep_freed_memory()
    assert len(calls) == 4
