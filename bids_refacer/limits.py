"""What this process may use of the machine: a batch system and a container engine leave it less than there is.

Both set limits on the control group (cgroup, version 1 or 2) that the process is in, or on a group above it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Number of CPU cores: of the allocation (affinity) or of the quota (``docker run --cpus``), the smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [_quota(folder) for folder in _folders("cpu")]
    return max(1, math.ceil(min([cores, *quotas])))


def memory_limit_gb() -> float | None:
    """Memory (GiB) that the process may use before it is killed; None where only the machine's own size is a limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [
        _number(folder / name) for folder in _folders("memory") for name in ("memory.max", "memory.limit_in_bytes")
    ]
    least = min(limits, default=math.inf)  # version 1 writes "no limit" as a huge number
    return least / 2**30 if least < machine else None


def _folders(controller: str) -> Iterator[Path]:
    """The control group of this process and all above it; in a container, its own is the root of the tree."""
    try:
        lines = _OWN.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = _GROUPS
        elif controller in controllers.split(","):
            root = _GROUPS / controller
        else:
            continue
        own = root / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _quota(folder: Path) -> float:
    """Cores that a control group may use; infinity without a limit."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return _number(folder / "cpu.cfs_quota_us") / _number(folder / "cpu.cfs_period_us", 1.0)
    return math.inf if quota == "max" else int(quota) / int(period)


def _number(path: Path, otherwise: float = math.inf) -> float:
    """A positive number that a file holds; `otherwise` where it has none (``max``, -1), or is not there."""
    try:
        value = float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return otherwise
    return value if value > 0 else otherwise
