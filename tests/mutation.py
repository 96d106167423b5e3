"""Do the tests notice a fault? Changes one operator, number or call at a time and runs the tests that know the module.

    python tests/mutation.py OUT.jsonl --count 160 --seed 1 [--modules refacing statistics ...] [--except OTHER.jsonl]

Works on copies of the checkout, one for each of `--workers`. A mutant meets the tests that run its statement, in files
that import its module; files that start whole runs are left out, since what they alone notice lacks a test of its own.
Each mutant becomes a line of OUT: killed, survived or timeout. A second call with the same arguments goes on where the
first one ended. At the end the share of killed mutants is printed, and the survivors as lines to read: some of them
change nothing that can be seen, the others lack a test. What each test runs is kept in `traced/` beside OUT.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from queue import Queue
from threading import Lock
from typing import Any

import pytest
from mutants import ROOT, Mutant, mutants_of
from traced_lines import SHARED, TracedLines

MODULES = (
    "refacing",
    "audit/plan",
    "audit/results",
    "audit/status",
    "audit/tables",
    "dataset/records",
    "dataset/tables",
    "surfaces/distances",
    "surfaces/face_distance",
    "surfaces/skin_distance",
    "statistics",
)
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["pytest", "torch", "scipy.stats", "scipy.ndimage", "nibabel", "nipype.pipeline.engine", "trimesh", "igl"]
    + ["skimage.measure", "pandas", "safetensors.torch"]
)
_SCANS = {"test_import_rules.py"}  # names modules without running them
_WHOLE_RUNS = re.compile(r"run_with_stand_in|stand_in_run|train_runs|page_output\b|make_output|make_participant_pages")
_LONG_S = 20.0  # files that take longer come last
_HOUR = 3600
_SLOWER = 4  # times the time of the unchanged tests, after which a mutant counts as caught


def tests_of(path: str) -> list[str]:
    """Test files that import a module; those that start whole runs only where there are no others."""
    room, _, module = path.removesuffix(".py").replace("/", ".").rpartition(".")
    imported = re.compile(rf"{re.escape(room)}\.{module}\b|from {re.escape(room)} import .*\b{module}\b")
    files = [file for file in sorted((ROOT / "tests").glob("test_*.py")) if file.name not in _SCANS]
    texts = {f"tests/{file.name}": file.read_text() for file in files}
    found = [name for name, text in texts.items() if imported.search(text)]
    return [name for name in found if not _WHOLE_RUNS.search(texts[name])] or found


class Only:
    """A pytest plugin: no other tests than these."""

    def __init__(self, chosen: set[str]) -> None:
        self._chosen = chosen

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._chosen]


def _pytest(copy: Path, test: str, cpu_s: int, chosen: set[str], traced: tuple[list[str], Path] | None) -> None:
    """The tests of a file: all of them traced, or the chosen ones until one fails."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    os.setsid()
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.dont_write_bytecode = True
    sys.path[:] = [str(copy), *(entry for entry in sys.path if entry != str(ROOT / "tests"))]
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    lines = TracedLines(copy, traced[0]) if traced else None
    plugins = [lines or Only(chosen)]
    code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", test], plugins=plugins))
    if lines and traced:
        traced[1].write_text(json.dumps(lines.content()))
    os._exit(code)


def _run(copy: Path, test: str, cpu_s: int, chosen: set[str], traced: tuple[list[str], Path] | None = None) -> str:
    """``passed``, ``failed`` or ``timeout``: pytest in a fork of a process that has the large libraries.

    The limit is on seconds of CPU, which other work on the machine does not change; what sleeps has twenty times as
    many by the clock.
    """
    child = _FORKS.Process(target=_pytest, args=(copy, test, cpu_s, chosen, traced))
    child.start()
    child.join(20 * cpu_s)
    if child.exitcode is None:
        os.killpg(child.pid or 0, signal.SIGKILL)
        child.join()
        return "timeout"
    if child.exitcode in (-signal.SIGXCPU, -signal.SIGKILL):
        return "timeout"
    return "passed" if child.exitcode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else "failed"


class Bench:
    """Copies of the checkout to try mutants in, and what each test file runs of the modules."""

    def __init__(self, folder: Path, workers: int, kept: Path) -> None:
        self._copies: Queue[Path] = Queue()
        self._kept = kept
        self._locks: dict[str, Lock] = {}
        package = sorted((ROOT / "bids_refacer").rglob("*.py"))
        self._modules = [path.relative_to(ROOT).as_posix() for path in package]
        self._package = b"".join(path.read_bytes() for path in package)
        ignored = shutil.ignore_patterns(".git", ".venv", ".cache", "demo", "__pycache__")
        for number in range(workers):
            self._copies.put(Path(shutil.copytree(ROOT, folder / f"copy-{number}", ignore=ignored)))

    def outcome(self, mutant: Mutant) -> str:
        """``killed``, ``survived`` or ``timeout``."""
        copy = self._copies.get()
        try:
            return self._outcome(mutant, copy)
        finally:
            self._copies.put(copy)

    def _outcome(self, mutant: Mutant, copy: Path) -> str:
        file = copy / mutant.path
        whole = file.read_bytes()
        for name in sorted(tests_of(mutant.path), key=lambda name: self._order(name, mutant)):
            ran = self._traced(name, copy)
            shared = _meets(ran["lines"][SHARED], mutant)
            chosen = {test for test in ran["seconds"] if shared or _meets(ran["lines"][test], mutant)}
            if not chosen:
                continue
            file.write_bytes(whole[: mutant.start] + mutant.new.encode() + whole[mutant.end :])
            try:
                outcome = _run(copy, name, round(_SLOWER * sum(ran["seconds"].values()) + 30), chosen)
            finally:
                file.write_bytes(whole)
            if outcome != "passed":
                return {"failed": "killed"}.get(outcome, outcome)
        return "survived"

    def _order(self, name: str, mutant: Mutant) -> tuple[bool, bool, float]:
        """Quick files first; of those that were not traced yet, the one that is called after the module."""
        kept = self._kept_at(name)
        seconds = sum(json.loads(kept.read_text())["seconds"].values()) if kept.is_file() else math.inf
        return seconds > _LONG_S, Path(mutant.path).stem not in name, seconds

    def _kept_at(self, name: str) -> Path:
        digest = hashlib.sha256(self._package + (ROOT / name).read_bytes()).hexdigest()[:12]
        return self._kept / f"{Path(name).stem}-{digest}.json"

    def _traced(self, name: str, copy: Path) -> dict[str, Any]:
        """What the tests of a file run; kept for later calls with the same package and test file."""
        kept = self._kept_at(name)
        with self._locks.setdefault(name, Lock()):
            if not kept.is_file():
                part = kept.with_suffix(".part")
                outcome = _run(copy, name, _HOUR, set(), (self._modules, part))
                if outcome != "passed":
                    raise SystemExit(f"{name} fails without any change: {outcome}")
                part.rename(kept)
        return dict(json.loads(kept.read_text()))


def _meets(lines: dict[str, list[int]], mutant: Mutant) -> bool:
    first, last = mutant.lines
    return any(first <= line <= last for line in lines.get(mutant.path, ()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--modules", nargs="+", default=MODULES)
    parser.add_argument("--except", dest="others", type=Path, nargs="*", default=[], help="mutants to leave out")
    options = parser.parse_args()
    left_out = {_key(one) for path in options.others for one in _read(path)}
    chosen = _choose(options.modules, options.count, options.seed, left_out)
    known = {_key(one) for one in _read(options.out)} if options.out.is_file() else set()
    left = [one for one in chosen if _key(asdict(one)) not in known]
    left.sort(key=lambda one: len(tests_of(one.path)))  # those that take less time first
    kept = options.out.parent / "traced"
    kept.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.workers) as pool:
        bench = Bench(Path(folder), options.workers, kept)
        with options.out.open("a") as file:
            tried = {pool.submit(bench.outcome, mutant): mutant for mutant in left}
            for done in as_completed(tried):
                file.write(json.dumps({**asdict(tried[done]), "outcome": done.result()}) + "\n")
                file.flush()
    return _report(options.out)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _key(mutant: dict[str, Any]) -> tuple[str, int, int, str]:
    return mutant["path"], mutant["start"], mutant["end"], mutant["new"]


def _choose(
    modules: Sequence[str], count: int, seed: int, left_out: Container[tuple[str, int, int, str]] = ()
) -> list[Mutant]:
    """Mutants drawn evenly over the modules, of each the same whatever the others are."""
    package = ROOT / "bids_refacer"
    paths: list[Path] = []
    for name in modules:
        paths += sorted((package / name).rglob("*.py")) if (package / name).is_dir() else [package / f"{name}.py"]
    pools = []
    for path in paths:
        found, drawn = mutants_of(path), random.Random(f"{seed} {path.relative_to(package)}")
        pools.append([one for one in drawn.sample(found, len(found)) if _key(asdict(one)) not in left_out])
    chosen: list[Mutant] = []
    while len(chosen) < count and any(pools):
        chosen += [pool.pop() for pool in pools if pool][: count - len(chosen)]
    return chosen


def _report(out: Path) -> int:
    done = _read(out)
    survivors = [one for one in done if one["outcome"] == "survived"]
    for one in survivors:
        print(f"{one['path']}:{one['line']}: {one['old']!r} -> {one['new']!r}")
    print(f"{len(done) - len(survivors)} of {len(done)} mutants were caught")
    return 0


if __name__ == "__main__":
    sys.exit(main())
