"""What is installed here: Python packages and programs, and their versions."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from bids_refacer import processes

_VERSION_LIMIT_S = 20


def package_version(package: str) -> str:
    """Version of an installed package, "not installed" otherwise."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def missing_package(package: str, tool: str) -> str | None:
    """None if ``package`` can be imported, else a sentence saying how to get it for ``tool``."""
    if find_spec(package) is not None:
        return None
    return f"The tool {tool} needs the Python package {package}, which is not installed: run `pip install {package}`."


def missing_program(executable: str, tool: str, get: str) -> str | None:
    """None if a program is on the path, else a sentence saying how to get it for ``tool``."""
    if shutil.which(executable):
        return None
    return f"The tool {tool} needs the program {executable}, which is not on the path: {get}."


def printed_version(command: list[str], pattern: str) -> str:
    """Version that a program prints, the first group of ``pattern``; "unknown" when it prints none."""
    try:
        done = processes.run(command, limit_s=_VERSION_LIMIT_S)
    except (OSError, processes.TimeLimitError):
        return "unknown"
    match = re.search(pattern, done.output + done.errors)
    return match[1] if match else "unknown"


def written_version(path: Path | None, pattern: str) -> str:
    """Version that a file of the installation names, the first group of ``pattern``; "unknown" when it names none."""
    if path is None or not path.is_file():
        return "unknown"
    match = re.search(pattern, path.read_text(errors="replace"))
    return match[1] if match else "unknown"
