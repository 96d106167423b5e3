"""Puts the stand-ins of tests/tool_programs on the path under the names of their programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("tool_programs")


def install(names: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`names`: program -> its stand-in's file without ``.py``."""
    folder.mkdir(exist_ok=True)
    for program, script in names.items():
        path = folder / program
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FOLDER / script}.py" "$@"\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
