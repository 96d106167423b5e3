"""Every module and name of ours that is imported is there: mypy passes over those it does not find."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("bids_refacer", "tests", "benchmarks", "boutiques", "docs")


def missing(root: Path) -> list[str]:
    """A sentence for each import, also within functions, of a module or name of ours that does not exist."""
    files = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    ours = {folder for folder in FOLDERS if (root / folder).is_dir()} | {
        path.stem for path in (root / "tests").glob("*.py")
    }
    return [
        f"{path.relative_to(root)}:{line}: there is no {name}"
        for path in files
        for name, line in _imported(path, root)
        if name.split(".")[0] in ours and not exists(name, root)
    ]


def _imported(path: Path, root: Path) -> Iterator[tuple[str, int]]:
    """Dotted name and line of every import of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(root).parts[: -node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def exists(name: str, root: Path) -> bool:
    """Whether a dotted name is a module below `root` (or below its tests, as pytest has it), or a name in one."""
    for top in (root, root / "tests"):
        path = top.joinpath(*name.split("."))
        if path.is_dir() or path.with_suffix(".py").is_file():
            return True
        module = next(
            (file for file in (path.parent / "__init__.py", path.parent.with_suffix(".py")) if file.is_file()), None
        )
        if path.parent != top and module and path.name in top_names(module):
            return True
    return False


@cache
def top_names(module: Path) -> frozenset[str]:
    """What a module defines or imports, not within functions and classes."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(module.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return frozenset(found)


def test_everything_that_is_imported_exists() -> None:
    assert missing(ROOT) == []


@pytest.mark.parametrize(
    ("file", "code", "name"),
    [
        ("bids_refacer/b.py", "from bids_refacer.gone import x", "bids_refacer.gone.x"),
        ("bids_refacer/b.py", "import bids_refacer.gone", "bids_refacer.gone"),
        ("bids_refacer/b.py", "from bids_refacer.a import gone", "bids_refacer.a.gone"),
        ("bids_refacer/b.py", "from .a import gone", "bids_refacer.a.gone"),
        ("bids_refacer/b.py", "def f():\n    from bids_refacer.a import inner", "bids_refacer.a.inner"),
        ("benchmarks/b.py", "from bids_refacer import gone", "bids_refacer.gone"),
        ("tests/test_b.py", "from heads import gone", "heads.gone"),
        ("tests/test_b.py", "from benchmarks.gone import x", "benchmarks.gone.x"),
    ],
)
def test_what_is_gone_is_found(file: str, code: str, name: str, tmp_path: Path) -> None:
    _package(tmp_path)
    (tmp_path / file).write_text(code)
    assert missing(tmp_path) == [f"{file}:{code.count(chr(10)) + 1}: there is no {name}"]


@pytest.mark.parametrize(
    "code",
    [
        "from bids_refacer import a, VERSION",
        "from bids_refacer.a import CONSTANT, first, f, C, np\nimport bids_refacer.a",
        "import heads, numpy.gone\nfrom heads import head",
    ],
)
def test_what_is_there_passes(code: str, tmp_path: Path) -> None:
    _package(tmp_path)
    (tmp_path / "tests" / "test_b.py").write_text(code)
    assert missing(tmp_path) == []


def _package(folder: Path) -> None:
    for name in ("bids_refacer", "benchmarks", "tests"):
        (folder / name).mkdir()
    (folder / "bids_refacer" / "__init__.py").write_text("VERSION = 1\n")
    lines = ("import numpy as np", "CONSTANT: int = 1", "first, *_ = 1, 2", "def f():\n    inner = 1", "class C: ...")
    (folder / "bids_refacer" / "a.py").write_text("\n".join(lines))
    (folder / "tests" / "heads.py").write_text("if True:\n    head = 1\n")
