"""One kill, one full disk, or writers at once; then the same command again, and a comparison with what should be."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparing import differences, half_written, temporaries
from runs import Run, cpu_seconds, descendants, left_after, start

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
VICTIMS = ("main", "worker", "child")
_STAND_IN = ("--deface-tools", "quickshear", "--skip-bids-validation", "--nprocs", "2", "--omp-nthreads", "1")
LEVELS = {
    "participant": ("participant", *_STAND_IN),
    "others": ("participant", "--apply-to-others", *_STAND_IN),
    "group": ("group",),
    "model": ("participant", *_STAND_IN, "--steps", "1", "--num-samples", "1", "--gpu", "none"),
}
TWO = "two participants"  # whose level and group level ran; see `writers`


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """A run that nobody disturbed: its outputs, the most that its work folder held, and its CPU time.

    The time is that of a fork, and of a new process.
    """

    out: Path
    work_kb: int
    fork_s: float
    new_s: float


class Place:
    """A folder for one trial, emptied first."""

    def __init__(self, folder: Path, bids: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.bids, self.out, self.work, self.said = bids, folder / "out", folder / "work", folder / "said.txt"

    def start(self, level: str, *more: str, new: bool = False) -> Run:
        work = () if level == "group" else ("-w", str(self.work))
        arguments = [str(self.bids), str(self.out), *LEVELS[level], *work, *more]
        return start(arguments, self.said, new=new, true_model=level == "model")

    def found(self, expected: Path) -> dict[str, Any]:
        """What is wrong after the last run."""
        differ = differences(expected, self.out)
        return {
            "lost": differ.lost[:5],
            "wrong": differ.wrong[:5],
            "temporaries": len(temporaries(self.out, self.work)),
            "tracebacks": self.said.read_text().count("Traceback") if self.said.exists() else 0,
        }


def kill(folder: Path, bids: Path, number: int, level: str, expected: Undisturbed) -> dict[str, Any]:
    """One kill at a random share of the run's CPU time, and the run after it."""
    draw, new = random.Random(number), number % 10 == 5 and level != "model"
    name = draw.choice(list(SIGNALS))
    wanted = "main" if level == "group" else draw.choice(VICTIMS)
    victim = None
    while victim is None:  # the run may have ended before its time came
        place, share = Place(folder, bids), draw.random()
        if level == "group":
            shutil.copytree(expected.out.with_name("before"), place.out)
        run = place.start(level, new=new)
        victim = _kill_at(run, share * (expected.new_s if new else expected.fork_s), wanted, SIGNALS[name], draw)
        code = run.wait()
        orphans = left_after(5)
    whole, left = half_written(expected.out, place.out), len(temporaries(place.out, place.work))
    again = place.start(level)
    code_again = again.wait()
    found = {"kind": "kill", "number": number, "level": level, "new": new, "victim": victim, "signal": name}
    found |= {
        "share": round(share, 3),
        "code": code,
        "hung": run.hung or again.hung,
        "orphans": sorted(orphans.values()),
    }
    return found | {
        "half_written": whole,
        "temporaries_between": left,
        "code_again": code_again,
        **place.found(expected.out),
    }


def _kill_at(run: Run, cpu_s: float, wanted: str, number: int, draw: random.Random) -> str | None:
    """Send the signal once the run has taken so much CPU time and has such a process; None when it ended before."""
    while run.poll() is None:
        alive = descendants(os.getpid())
        if cpu_seconds(alive) >= cpu_s:
            own = alive.pop(run.pid, "")
            kinds = {pid: "worker" if words == own else "child" for pid, words in alive.items()}
            candidates = sorted(pid for pid, kind in kinds.items() if kind == wanted)
            if wanted == "main" or candidates:
                return _sent(run.pid if wanted == "main" else draw.choice(candidates), number, wanted)
        time.sleep(0.02)
    return None


def _sent(pid: int, number: int, victim: str) -> str | None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return None
    return victim


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of its own of that size (tmpfs); raises CalledProcessError where nothing can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=755", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(folder: Path, bids: Path, number: int, level: str, expected: Undisturbed) -> dict[str, Any]:
    """A run whose output or work folder has no room for all of it, then the same command with room enough."""
    draw = random.Random(f"disk {number}")
    which, share = draw.choice(["output", "work"]), draw.uniform(0.02, 0.95)
    needed = kilobytes(expected.out) if which == "output" else expected.work_kb
    place = Place(folder, bids)
    mounted = place.out if which == "output" else place.work
    with small_disk(mounted, max(64, int(share * needed))) as disk:
        run = place.start(level)
        code = run.wait()
        orphans, left = left_after(5), len(temporaries(place.out, place.work))
        said, whole = place.said.read_text(), half_written(expected.out, place.out)
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        again = place.start(level)
        code_again = again.wait()
        found = {
            "kind": "disk",
            "number": number,
            "level": level,
            "full": which,
            "share": round(share, 3),
            "code": code,
        }
        found |= {"said_so": "space" in said, "lines": said.count("\n"), "orphans": sorted(orphans.values())}
        found |= {"half_written": whole, "hung": run.hung or again.hung}
        return found | {"temporaries_between": left, "code_again": code_again, **place.found(expected.out)}


def kilobytes(folder: Path) -> int:
    """What a folder takes on a disk of pages of 4 kB; files that go meanwhile count for nothing."""
    size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += 4 * -(-(Path(root) / name).lstat().st_size // 4096)
    return size


def writers(folder: Path, bids: Path, number: int, expected: Undisturbed) -> dict[str, Any]:
    """Four runs over two participants at once and a group level beside them; then the group level."""
    draw, place = random.Random(f"writers {number}"), Place(folder, bids)
    runs = []
    for more in (("--participant-label", "01"), ("--participant-label", "02"), (), ()):
        runs.append(place.start("participant", *more))
        time.sleep(draw.uniform(0, expected.fork_s / 4))
    beside = place.start("group")
    codes = [run.wait() for run in runs]
    beside.wait()
    orphans = left_after(5)
    last = place.start("group")
    code = max(*codes, last.wait())
    found = {"kind": "writers", "number": number, "level": TWO, "codes": codes, "code_again": code}
    found |= {"orphans": sorted(orphans.values()), "hung": any(run.hung for run in (*runs, beside, last))}
    return found | place.found(expected.out)
