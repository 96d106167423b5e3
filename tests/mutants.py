"""Changes of a module's text, one operator, number or call at a time, for `mutation.py`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
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


@dataclass(frozen=True)
class Mutant:
    """A change of the text of a module, by byte offsets; `lines` are those of the statement around it."""

    path: str
    line: int
    lines: tuple[int, int]
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
    tree = ast.parse(text)
    statements = dict(_statements(tree, (1, 1)))
    found = []
    for node, new in _changes(tree):
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        old = data[start:end].decode()
        module, lines = path.relative_to(ROOT).as_posix(), statements[id(node)]
        found.append(Mutant(module, node.lineno, lines, start, end, old, new))
    return found


def _statements(node: ast.AST, lines: tuple[int, int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """For the identity of each node, the first and last line of its statement; of a compound one, those of its head."""
    if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
        body = getattr(node, "body", None)
        first = min([getattr(node, "lineno", lines[0]), *(d.lineno for d in getattr(node, "decorator_list", []))])
        last = body[0].lineno - 1 if body else getattr(node, "end_lineno", first)
        lines = first, max(first, last)
    yield id(node), lines
    for inner in ast.iter_child_nodes(node):
        yield from _statements(inner, lines)


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    skipped = {id(inner) for node in ast.walk(tree) for part in _not_changed(node) for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) not in skipped:
            yield from ((node, new) for new in _changed(node))  # type: ignore[misc]


def _not_changed(node: ast.AST) -> Iterator[ast.AST]:
    """Annotations, messages, imports for types, errors' texts, and how a class is declared (frozen, by keyword)."""
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
        yield node.annotation
    elif isinstance(node, ast.ClassDef):
        yield from node.decorator_list
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
