"""Do the tests notice a fault? Changes one operator, number or call at a time and runs the tests that know the module.

    python tests/mutation.py OUT.jsonl --count 160 --seed 1 [--modules refacing statistics ...]

Works on a copy of the checkout. Each mutant becomes a line of OUT: killed, survived or timeout. A second call with the
same arguments goes on where the first one ended. At the end the share of killed mutants is printed, and the survivors
as lines to read: some of them change nothing that can be seen, the others lack a test.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = (
    "refacing",
    "audit/plan",
    "audit/status",
    "audit/tables",
    "dataset/records",
    "surfaces/distances",
    "statistics",
)
_COMPARED: dict[type, str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
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
_SCANS = {"test_import_rules.py"}  # names modules without running them
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
    """Test files that import a module."""
    room, _, module = path.removesuffix(".py").replace("/", ".").rpartition(".")
    imported = re.compile(rf"{re.escape(room)}\.{module}\b|from {re.escape(room)} import .*\b{module}\b")
    files = sorted((ROOT / "tests").glob("test_*.py"))
    return [f"tests/{file.name}" for file in files if file.name not in _SCANS and imported.search(file.read_text())]


def run(copy: Path, tests: list[str], limit: float) -> str:
    """``passed``, ``failed`` or ``timeout``."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    environ = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environ, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return "timeout"
    return "failed" if done.returncode else "passed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--modules", nargs="+", default=MODULES)
    options = parser.parse_args()
    chosen = _choose(options.modules, options.count, options.seed)
    done = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.is_file() else []
    known = {(d["path"], d["start"], d["end"], d["new"]) for d in done}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".cache", "demo", "__pycache__"))
        times: dict[str, float] = {}
        for mutant in chosen:
            if (mutant.path, mutant.start, mutant.end, mutant.new) in known:
                continue
            outcome = _try(mutant, copy, times)
            with options.out.open("a") as file:
                file.write(json.dumps({**asdict(mutant), "outcome": outcome}) + "\n")
    return _report(options.out)


def _choose(modules: tuple[str, ...] | list[str], count: int, seed: int) -> list[Mutant]:
    """Mutants drawn evenly over the modules that have tests of their own."""
    package = ROOT / "bids_refacer"
    paths = []
    for name in modules:
        paths += sorted((package / name).rglob("*.py")) if (package / name).is_dir() else [package / f"{name}.py"]
    drawn = random.Random(seed)
    pools = {
        str(path): drawn.sample(found, len(found)) for path in paths if path.is_file() and (found := mutants_of(path))
    }
    pools = {path: pool for path, pool in pools.items() if tests_of(Path(path).relative_to(ROOT).as_posix())}
    chosen: list[Mutant] = []
    while len(chosen) < count and any(pools.values()):
        for pool in pools.values():
            if pool and len(chosen) < count:
                chosen.append(pool.pop())
    return chosen


def _try(mutant: Mutant, copy: Path, times: dict[str, float]) -> str:
    tests = tests_of(mutant.path)
    if mutant.path not in times:
        began = time.monotonic()
        assert run(copy, tests, 3600) == "passed", f"the tests of {mutant.path} fail without any change: {tests}"
        times[mutant.path] = time.monotonic() - began
    file = copy / mutant.path
    whole = file.read_bytes()
    file.write_bytes(whole[: mutant.start] + mutant.new.encode() + whole[mutant.end :])
    try:
        outcome = run(copy, tests, _SLOWER * times[mutant.path] + 30)
    finally:
        file.write_bytes(whole)
    return {"passed": "survived", "failed": "killed"}.get(outcome, outcome)


def _report(out: Path) -> int:
    done = [json.loads(line) for line in out.read_text().splitlines()]
    survivors = [one for one in done if one["outcome"] == "survived"]
    for one in survivors:
        print(f"{one['path']}:{one['line']}: {one['old']!r} -> {one['new']!r}")
    print(f"{len(done) - len(survivors)} of {len(done)} mutants were caught")
    return 0


if __name__ == "__main__":
    sys.exit(main())
