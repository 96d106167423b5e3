"""Cores and memory of the process, from control groups of both versions as containers and batch systems set them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_refacer import limits

GB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def make(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")

    monkeypatch.setattr(limits, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "_OWN", tmp_path / "own")
    monkeypatch.setattr(limits.os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(
        limits.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 16 * GB // 4096}[name]
    )
    return make


@pytest.mark.parametrize(
    ("own", "files", "cpus", "memory"),
    [
        # docker, version 2: the container's group is the root of what it sees
        ("0::/\n", {"cpu.max": "150000 100000", "memory.max": str(2 * GB)}, 2, 2.0),
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, 8, None),
        # SLURM, version 2: the limit is on the job, above the step that the process is in
        (
            "0::/slurm/job_1/step_0\n",
            {"slurm/job_1/memory.max": str(3 * GB), "slurm/job_1/step_0/memory.max": "max", "memory.max": str(9 * GB)},
            8,
            3.0,
        ),
        # docker, version 1: paths of the host in /proc, files of the container at the root
        (
            "4:memory:/docker/x\n2:cpu,cpuacct:/docker/x\n0::/\n",
            {"memory/memory.limit_in_bytes": str(GB), "cpu/cpu.cfs_quota_us": "5000", "cpu/cpu.cfs_period_us": "10000"},
            1,
            1.0,
        ),
        (
            "4:memory:/\n2:cpu:/\n",
            {"memory/memory.limit_in_bytes": "9223372036854771712", "cpu/cpu.cfs_quota_us": "-1"},
            8,
            None,
        ),
        ("", {}, 8, None),
    ],
)
def test_limits(groups, own: str, files: dict[str, str], cpus: int, memory: float | None) -> None:
    groups(own, files)
    assert (limits.usable_cpus(), limits.memory_limit_gb()) == (cpus, memory)


def test_without_control_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "_OWN", tmp_path / "absent")
    monkeypatch.setattr(limits.os, "sched_getaffinity", lambda process: {0, 3})
    assert (limits.usable_cpus(), limits.memory_limit_gb()) == (2, None)


def test_this_machine() -> None:
    assert limits.usable_cpus() >= 1
    assert (limits.memory_limit_gb() or 1) > 0
