"""Do the tests notice a fault? Changes one operator, number or call at a time and runs the tests that know the module.

    python tests/mutation.py OUT.jsonl --count 160 --seed 1 [--modules refacing statistics ...] [--except OTHER.jsonl]

Works on copies of the checkout, one for each of `--workers`. A mutant meets the test files that import its module, the
quickest first; files that start whole runs are left out, since what they alone notice lacks a test of its own. Each
mutant becomes a line of OUT: killed, survived or timeout. A second call with the same arguments goes on where the first
one ended. At the end the share of killed mutants is printed, and the survivors as lines to read: some of them change
nothing that can be seen, the others lack a test.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
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
_COMPARED: dict[type, str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in",
    ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip  # one pair a word is easier to read than one a line
_CALCULATED: dict[type, str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
_SWAPPED = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "sum": "max",
    "argmin": "argmax",
    "argmax": "argmin",
}
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["pytest", "torch", "scipy.stats", "scipy.ndimage", "nibabel", "nipype.pipeline.engine", "trimesh", "igl"]
    + ["skimage.measure", "pandas", "matplotlib.pyplot", "safetensors.torch", "bids", "deepbet", "statsmodels.api"]
)
_SCANS = {"test_import_rules.py"}  # names modules without running them
_WHOLE_RUNS = re.compile(r"run_with_stand_in|stand_in_run|train_runs|page_output\b|make_output|make_participant_pages")
_SLOWER = 4  # times the time of the unchanged tests, after which a mutant counts as caught


@dataclass(frozen=True)
class Mutant:
    """A change of the text of a module, by character offsets."""

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str


def mutants_of(path: Path) -> list[Mutant]:
    """All changes that are tried in a module."""
    text = path.read_text()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    data = text.encode()
    found = []
    for node, new in _changes(ast.parse(text)):
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        old = data[start:end].decode()
        found.append(Mutant(path.relative_to(ROOT).as_posix(), node.lineno, start, end, old, new))
    return found


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    skipped = {id(inner) for node in ast.walk(tree) for part in _not_changed(node) for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) not in skipped:
            yield from ((node, new) for new in _changed(node))  # type: ignore[misc]


def _not_changed(node: ast.AST) -> Iterator[ast.AST]:
    """Annotations, messages, imports for types, and errors' texts."""
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
        yield node.annotation
    elif isinstance(node, ast.FunctionDef) and node.returns:
        yield node.returns
    elif isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
        yield node
    elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        yield node


def _changed(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
        yield f"{_code(node.left)} {_COMPARED[type(node.ops[0])]} {_code(node.comparators[0])}"
    elif isinstance(node, ast.BinOp) and type(node.op) in _CALCULATED:
        yield f"({_code(node.left)} {_CALCULATED[type(node.op)]} {_code(node.right)})"
    elif isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield "(" + word.join(_code(value) for value in node.values) + ")"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield _code(node.operand)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield repr(node.value + 1)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield repr(not node.value)
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _SWAPPED:
            yield re.sub(rf"\b{name}\(", f"{_SWAPPED[name]}(", ast.unparse(node), count=1)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "pass"
    elif isinstance(node, ast.IfExp):
        yield f"({_code(node.orelse)} if {_code(node.test)} else {_code(node.body)})"


def _code(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if isinstance(node, ast.Name | ast.Constant | ast.Attribute | ast.Call | ast.Subscript) else f"({text})"


def tests_of(path: str) -> list[str]:
    """Test files that import a module; those that start whole runs only where there are no others."""
    room, _, module = path.removesuffix(".py").replace("/", ".").rpartition(".")
    imported = re.compile(rf"{re.escape(room)}\.{module}\b|from {re.escape(room)} import .*\b{module}\b")
    files = [file for file in sorted((ROOT / "tests").glob("test_*.py")) if file.name not in _SCANS]
    texts = {f"tests/{file.name}": file.read_text() for file in files}
    found = [name for name, text in texts.items() if imported.search(text)]
    return [name for name in found if not _WHOLE_RUNS.search(texts[name])] or found


def run(copy: Path, tests: list[str], limit: float) -> str:
    """``passed``, ``failed`` or ``timeout``: pytest in a fork of a process that holds the large libraries already."""
    child = _FORKS.Process(target=_pytest, args=(copy, tests))
    child.start()
    child.join(limit)
    if child.exitcode is None:
        os.killpg(child.pid or 0, signal.SIGKILL)
        child.join()
        return "timeout"
    return "failed" if child.exitcode else "passed"


def _pytest(copy: Path, tests: list[str]) -> None:
    os.setsid()
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(copy))
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests])))


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
    with tempfile.TemporaryDirectory() as folder:
        copies: Queue[Path] = Queue()
        for number in range(options.workers):
            copy = Path(folder) / f"copy-{number}"
            ignored = shutil.ignore_patterns(".git", ".venv", ".cache", "demo", "__pycache__")
            copies.put(Path(shutil.copytree(ROOT, copy, ignore=ignored)))
        times = _times({name for one in left for name in tests_of(one.path)}, copies)

        def examine(mutant: Mutant) -> dict[str, Any]:
            copy = copies.get()
            try:
                return {**asdict(mutant), "outcome": _try(mutant, copy, times)}
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(options.workers) as pool, options.out.open("a") as file:
            for outcome in pool.map(examine, left):
                file.write(json.dumps(outcome) + "\n")
                file.flush()
    return _report(options.out)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _key(mutant: dict[str, Any]) -> tuple[str, int, int, str]:
    return mutant["path"], mutant["start"], mutant["end"], mutant["new"]


def _times(names: set[str], copies: Queue[Path]) -> dict[str, float]:
    """Seconds of each test file without any change."""

    def time_of(name: str) -> float:
        copy, began = copies.get(), time.monotonic()
        try:
            assert run(copy, [name], 3600) == "passed", f"{name} fails without any change"
        finally:
            copies.put(copy)
        return time.monotonic() - began

    with ThreadPoolExecutor(copies.qsize()) as pool:
        return dict(zip(sorted(names), pool.map(time_of, sorted(names)), strict=True))


def _choose(
    modules: Sequence[str], count: int, seed: int, left_out: Container[tuple[str, int, int, str]] = ()
) -> list[Mutant]:
    """Mutants drawn evenly over the modules."""
    package = ROOT / "bids_refacer"
    paths: list[Path] = []
    for name in modules:
        paths += sorted((package / name).rglob("*.py")) if (package / name).is_dir() else [package / f"{name}.py"]
    drawn = random.Random(seed)
    pools = []
    for path in paths:
        found = mutants_of(path)
        pools.append([one for one in drawn.sample(found, len(found)) if _key(asdict(one)) not in left_out])
    chosen: list[Mutant] = []
    while len(chosen) < count and any(pools):
        chosen += [pool.pop() for pool in pools if pool][: count - len(chosen)]
    return chosen


def _try(mutant: Mutant, copy: Path, times: dict[str, float]) -> str:
    tests = sorted(tests_of(mutant.path), key=lambda name: times[name])
    file = copy / mutant.path
    whole = file.read_bytes()
    file.write_bytes(whole[: mutant.start] + mutant.new.encode() + whole[mutant.end :])
    try:
        outcome = run(copy, tests, _SLOWER * sum(times[name] for name in tests) + 30)
    finally:
        file.write_bytes(whole)
    return {"passed": "survived", "failed": "killed"}.get(outcome, outcome)


def _report(out: Path) -> int:
    done = _read(out)
    survivors = [one for one in done if one["outcome"] == "survived"]
    for one in survivors:
        print(f"{one['path']}:{one['line']}: {one['old']!r} -> {one['new']!r}")
    print(f"{len(done) - len(survivors)} of {len(done)} mutants were caught")
    return 0


if __name__ == "__main__":
    sys.exit(main())
