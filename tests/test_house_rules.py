"""The house stays easy to live in: small folders, files and functions, and no circle of imports."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from test_import_rules import PACKAGE, ROOT, imports, modules

MOST_FILES = 15  # in a folder of the package
MOST_LINES = 300  # of a file
MOST_FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 10
MOST_PARAMETERS = 7  # besides self

CODE = sorted(
    path for folder in ("bids_refacer", "tests", "benchmarks", "boutiques") for path in (ROOT / folder).rglob("*.py")
)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([one for one in named if one.arg not in ("self", "cls")])


def import_circle(package: Path) -> list[str]:
    """Modules that import each other in a circle, at import or later; empty when there is none."""
    files = modules(package)
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        names = [name for name, _, _ in imports(ast.parse(path.read_text()), module)]
        # "from a.b import c" is about the module a.b.c where there is one, else about a.b
        wanted = {name if name in files else name.rpartition(".")[0] for name in names}
        graph[module] = {name for name in wanted if name in files and name != module}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_folder_is_a_warehouse() -> None:
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in PACKAGE.rglob("*.py")}}
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_no_file_is_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in CODE}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_functions_are_short_and_ask_for_little() -> None:
    found = [(path, function) for path in PACKAGE.rglob("*.py") for function in functions(path)]
    assert statistics.median(lines_of(function) for _, function in found) <= MEDIAN_FUNCTION_LINES
    assert [f"{path}: {one.name}" for path, one in found if lines_of(one) > MOST_FUNCTION_LINES] == []
    assert [f"{path}: {one.name}" for path, one in found if parameters_of(one) > MOST_PARAMETERS] == []


def test_an_image_and_its_affine_go_together() -> None:
    """As a Volume. Points and vertices are no image."""
    found = {one.name for path in PACKAGE.rglob("*.py") for one in functions(path) if takes_them_apart(one)}
    assert found == {"rigid_part", "_outer_mesh"}


def takes_them_apart(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function takes an affine and, beside it, an array."""
    taken = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    arrays = [one.arg for one in taken if one.annotation and ast.unparse(one.annotation).startswith("np.ndarray")]
    affines = [name for name in arrays if name.endswith("affine")]
    return bool(affines) and len(arrays) > len(affines)


@pytest.mark.parametrize(
    ("code", "apart"),
    [
        ("def f(values: np.ndarray, affine: np.ndarray): ...", True),
        ("def f(mask_affine: np.ndarray, *, mask: np.ndarray | None = None): ...", True),
        ("def f(affine: np.ndarray, grid: Grid): ...", False),
        ("def f(volume: Volume, mask: np.ndarray): ...", False),
    ],
)
def test_an_affine_apart_is_found(code: str, apart: bool) -> None:
    (function,) = ast.parse(code).body
    assert isinstance(function, ast.FunctionDef) and takes_them_apart(function) is apart


def test_imports_make_no_circle() -> None:
    assert import_circle(PACKAGE) == []


@pytest.mark.parametrize("late", [False, True])
def test_a_circle_is_found(late: bool, tmp_path: Path) -> None:
    package = tmp_path / "bids_refacer"
    package.mkdir()
    (package / "a.py").write_text("from bids_refacer.b import x\n")
    (package / "b.py").write_text("def f():\n    from bids_refacer import a\n" if late else "import bids_refacer.a\n")
    assert set(import_circle(package)) == {"bids_refacer.a", "bids_refacer.b"}
