"""Data only flows up: the table of rooms in docs/architecture.md is what modules really import.

The table is read from the page itself, so that page and code cannot drift apart. Every import counts, also those inside
functions; the one rule about *where* is that rooms above the model must not load torch by being imported.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bids_refacer"
TOML = {"msgspec"}  # settings go to TOML and come back, checked against their types


@dataclass(frozen=True)
class Rule:
    """What one room may import of ours, and what it must never import, of ours or of others'."""

    may: frozenset[str]
    never: frozenset[str]
    stdlib_only: bool
    torch_when_called: bool


def read_rules(page: str) -> dict[str, Rule]:
    """The table under "## Rooms": room -> rule."""
    section = page.split("## Rooms", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    names = [re.sub(r"\.py$|/$", "", cells[0].strip("`")) for cells in rows[2:]]
    rules = {}
    for name, (_, _, may, never) in zip(names, rows[2:], strict=True):
        words = set(re.findall(r"[\w/]+", re.sub(r"\(.*?\)", "", may)))
        allowed = set(names) if "everything" in words else words & set(names)
        stdlib_only = "everything else" in never
        forbidden = set() if stdlib_only else set(re.findall(r"\w+", never))
        rules[name] = Rule(frozenset(allowed), frozenset(forbidden), stdlib_only, "torch only inside" in may)
    return rules


def imports(tree: ast.AST, module: str) -> Iterator[tuple[str, int, bool]]:
    """(dotted name, line, whether it happens when the module is imported) of every import in a module."""
    delayed = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _for_types_only(outer)
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) not in delayed
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative: from . import x
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno, id(node) not in delayed


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file of every module; a package's __init__ is ``name.__init__``."""
    root = package.parent
    return {".".join(path.relative_to(root).with_suffix("").parts): path for path in sorted(package.rglob("*.py"))}


def violations(package: Path, rules: dict[str, Rule]) -> list[str]:
    """A sentence for each import that the rules forbid, and for each room that they do not know."""
    found = []
    for module, path in modules(package).items():
        room = room_of(module.split(".")[1:], rules)
        if room in ("__init__", "__main__"):
            continue
        if room not in rules:
            found.append(f"{path}: the room '{room}' is not in the table of docs/architecture.md")
            continue
        rule = rules[room]
        for name, line, _ in imports(ast.parse(path.read_text()), module):
            problem = _problem(name, room, rule, rules, package.name)
            if problem:
                found.append(f"{path}:{line}: {problem}")
        if rule.torch_when_called and "torch" in _loaded_by(module, package):
            found.append(f"{path}: torch is loaded when this is imported")
    return found


def room_of(parts: list[str], rules: dict[str, Rule]) -> str:
    """The innermost room of a module: ``audit/nodes`` for audit.nodes.head; the first part where no room is known."""
    inner = "/".join(parts[:2])
    return inner if inner in rules else parts[0]


def _problem(name: str, room: str, rule: Rule, rules: dict[str, Rule], package: str) -> str | None:
    top, *rest = name.split(".")
    if top == package:
        other = room_of(rest, rules) if rest else ""
        if other in rules and other != room and (other not in rule.may or other in rule.never):
            return f"{room} must not import {other}"
        return None
    if top in rule.never:
        return f"{room} must not import {top}"
    if rule.stdlib_only and top not in sys.stdlib_module_names | TOML:
        return f"{room} must not import {top}"
    return None


def _loaded_by(module: str, package: Path) -> set[str]:
    """Top names of others' packages that are imported, directly or not, when a module of ours is."""
    files = modules(package)
    seen: set[str] = set()
    outside: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current in seen or current not in files:
            continue
        seen.add(current)
        for name, _, at_import in imports(ast.parse(files[current].read_text()), current):
            if not at_import:
                continue
            parts = name.split(".")
            if parts[0] != package.name:
                outside.add(parts[0])
            # "from a.b import c" loads a, a.b and, if it is a module, a.b.c
            steps = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
            waiting += [loaded for step in steps for loaded in (step, f"{step}.__init__")]
    return outside


RULES = read_rules((ROOT / "docs" / "architecture.md").read_text())


def test_no_module_imports_what_its_room_must_not() -> None:
    assert violations(PACKAGE, RULES) == []


def test_the_table_is_understood() -> None:
    assert RULES["diffusion"] == Rule(frozenset(), frozenset({"nibabel", "nipype", "bids"}), False, False)
    assert RULES["surfaces"].may == {"volumes", "statistics", "problems", "files"}
    assert RULES["refacing"].may == {"volumes", "surfaces", "diffusion", "defacers", "files"}
    assert RULES["phenotypes"].may == {"volumes", "statistics"} and "dataset" in RULES["phenotypes"].never
    assert RULES["simulation"].may == {"volumes", "statistics"} and "bids" in RULES["simulation"].never
    assert RULES["defacers"].may == {"volumes", "problems", "processes"} and "nipype" in RULES["defacers"].never
    assert RULES["audit/nodes"].torch_when_called and "settings" in RULES["audit/nodes"].never
    assert RULES["audit/graph"].may == {"audit/nodes", "settings", "dataset"}
    assert RULES["settings"].stdlib_only and RULES["settings"].may == {"settings_file", "limits", "layout"}
    assert RULES["settings_file"].stdlib_only and RULES["settings_file"].may == {"files"}
    assert RULES["processes"].stdlib_only and RULES["processes"].may == {"supervisor"}
    assert RULES["supervisor"].stdlib_only and not RULES["supervisor"].may
    assert RULES["cli"].may == set(RULES)
    for lower in RULES:
        assert lower == "cli" or "cli" not in RULES[lower].may
    assert "group" not in RULES["audit"].may and "audit" not in RULES["group"].may


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        ("volumes/a.py", "import torch", "torch is loaded when this is imported"),
        ("surfaces/a.py", "from bids_refacer.diffusion import unet", "surfaces must not import diffusion"),
        ("volumes/a.py", "from nipype.interfaces import base", "volumes must not import nipype"),
        ("volumes/a.py", "def f():\n    import bids", "volumes must not import bids"),
        ("volumes/a.py", "from bids_refacer.surfaces import x", "volumes must not import surfaces"),
        ("volumes/a.py", "from bids_refacer import refacing", "volumes must not import refacing"),
        ("volumes/a.py", "from ..dataset import names", "volumes must not import dataset"),
        ("volumes/deep/a.py", "from ...dataset.names import x", "volumes must not import dataset"),
        ("diffusion/a.py", "import nibabel", "diffusion must not import nibabel"),
        ("surfaces/a.py", "import bids_refacer.refacing.attack", "surfaces must not import refacing"),
        ("refacing/a.py", "from bids_refacer.dataset import names", "refacing must not import dataset"),
        ("refacing/a.py", "from bids_refacer.training import heads", "refacing must not import training"),
        ("training/a.py", "from bids_refacer.audit.nodes import brain", "training must not import audit/nodes"),
        ("audit/nodes/a.py", "from bids_refacer.settings import RunSettings", "audit/nodes must not import settings"),
        ("audit/nodes/a.py", "import torch", "torch is loaded when this is imported"),
        ("audit/nodes/a.py", "from bids_refacer.refacing.weights import load", "torch is loaded when this is imported"),
        ("audit/graph/a.py", "import argparse", "audit/graph must not import argparse"),
        ("dataset/a.py", "import nipype", "dataset must not import nipype"),
        ("simulation/a.py", "from bids_refacer.surfaces import skin", "simulation must not import surfaces"),
        ("phenotypes/a.py", "from bids_refacer.dataset import names", "phenotypes must not import dataset"),
        ("settings.py", "import numpy", "settings must not import numpy"),
        ("settings_file.py", "from bids_refacer.settings import x", "settings_file must not import settings"),
        ("settings.py", "from bids_refacer.dataset import names", "settings must not import dataset"),
        ("utilities/a.py", "", "the room 'utilities' is not in the table"),
    ],
)
def test_the_scanner_catches(file: str, code: str, words: str, tmp_path: Path) -> None:
    package = make_package(tmp_path)
    (package / file).parent.mkdir(parents=True, exist_ok=True)
    (package / file).write_text(code)
    (sentence,) = violations(package, RULES)
    assert str(package / file) in sentence and words in sentence


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("volumes/a.py", "import numpy\nfrom bids_refacer.volumes import grid\nfrom . import b"),
        ("volumes/a.py", "from bids_refacer import __version__"),
        ("audit/nodes/a.py", "def run():\n    import torch\n    from bids_refacer.refacing.weights import load"),
        ("audit/nodes/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("audit/graph/a.py", "from bids_refacer.settings import RunSettings\nfrom bids_refacer.audit.nodes import x"),
        ("training/a.py", "from bids_refacer.surfaces.skin import skin_surface"),
        ("settings.py", "import msgspec, os"),
        ("dataset/a.py", "from bids import BIDSLayout"),
        ("cli/a.py", "import torch, argparse\nfrom bids_refacer.training import loop"),
        ("__main__.py", "import torch"),
    ],
)
def test_the_scanner_lets_pass(file: str, code: str, tmp_path: Path) -> None:
    package = make_package(tmp_path)
    (package / file).parent.mkdir(parents=True, exist_ok=True)
    (package / file).write_text(code)
    assert violations(package, RULES) == []


def make_package(folder: Path) -> Path:
    """A package without violations, whose weights load torch as the real ones do."""
    package = folder / "bids_refacer"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "refacing").mkdir()
    (package / "refacing" / "weights.py").write_text("import torch\n")
    return package
