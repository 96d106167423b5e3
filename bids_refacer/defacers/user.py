"""Tools of one's own, without code: a TOML file with a command for each.

[tool.mydeface]
command = "mydeface --in {input} --out {output} --mask {mask}"
action = "removes"
version_command = "mydeface --version"
citation = "A. Author (2026). A defacer."
"""

from __future__ import annotations

import re
import shlex
import shutil
import string
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bids_refacer.defacers.external import Program, missing_program, probe, run_external
from bids_refacer.defacers.tool import Defacer, DefaceResult
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import Scan, write_volume

_FILES = {"input": "source.nii.gz", "output": "defaced.nii.gz", "mask": "mask.nii.gz", "brain_mask": "brain.nii.gz"}
_TEXTS = ("command", "action", "version_command", "citation", "licence", "get")
_KEYS = (*_TEXTS, "contrasts", "memory_gb")


class ToolsFileError(ValueError):
    """A tools file cannot be used. The message is a sentence: file, tool, what is wrong, what to do."""


def read_tools(path: Path) -> dict[str, Defacer]:
    """The tools that a file defines.

    Raises
    ------
    ToolsFileError
        When the file cannot be read, is no TOML, or a tool in it cannot be used.
    """
    return {name: make_tool(name, table) for name, table in read_definitions(path).items()}


def read_definitions(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a tools file, checked; see `read_tools`."""
    from bids_refacer.defacers import DEFACERS

    try:
        content = msgspec.toml.decode(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ToolsFileError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ToolsFileError(f"{path} is not a TOML file ({error}): correct it.") from error
    tools = content.get("tool")
    if not isinstance(tools, dict) or not tools or set(content) != {"tool"}:
        raise ToolsFileError(f"{path} defines no tool: begin each with a line [tool.NAME], and add nothing else.")
    taken = {_label(name): name for name in DEFACERS}
    for name, table in tools.items():
        if problem := _problem(name, table, taken):
            raise ToolsFileError(f"{path}, tool {name}: {problem}")
        taken[_label(name)] = name
    return tools


def make_tool(name: str, table: Mapping[str, Any]) -> Defacer:
    """One entry of the registry from its table, which `read_definitions` checked."""
    program = shlex.split(table["command"])[0]
    return Defacer(
        name=name,
        action=table["action"],
        requirement=f"the program {program}",
        citation=table.get("citation", f"{name}: a tool of the user's own; cite its authors."),
        version=partial(_version, table),
        missing=lambda: missing_program(program, name, table.get("get", "install it, or correct the tools file")),
        run=partial(_run, name=name, table=table),
        licence=table.get("licence", "unknown"),
        executable=program,
        contrasts=tuple(table.get("contrasts", ("T1w", "T2w", "FLAIR", "PDw"))),
        memory_gb=float(table.get("memory_gb", 2.0)),
        verified=False,
    )


def _run(
    scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path, *, name: str, table: Mapping[str, Any]
) -> DefaceResult:
    words = [word.format(**_FILES) for word in shlex.split(table["command"])]
    words[0] = shutil.which(words[0]) or words[0]

    def prepare(folder: Path) -> None:
        if "{brain_mask}" in table["command"]:
            write_volume(folder / _FILES["brain_mask"], brain_mask, scan.affine, np.uint8)

    program = Program(
        name=name,
        action=table["action"],
        command=words,
        shown=table["command"],
        outputs=(_FILES["output"],),
        mask=_FILES["mask"] if "{mask}" in table["command"] else None,
        prepare=prepare,
    )
    details: dict[str, Any] = {"Version": _version(table), "Options": {}}
    if "citation" in table:
        details["Citation"] = table["citation"]
    return run_external(program, scan, brain_mask, work_dir, details)


def _version(table: Mapping[str, Any]) -> str:
    command = table.get("version_command")
    return probe(shlex.split(command), r"(\d+(?:\.\w+)+|\d+)") if command else "unknown"


def _problem(name: str, table: Any, taken: Mapping[str, str]) -> str | None:
    """What is wrong with a definition, and what to do; None when it can be used."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        return "a name has letters, digits, - and _ alone: give it another."
    if other := taken.get(_label(name)):
        return f"its name is that of the tool {other}, or too like it for file names: give it another."
    if not isinstance(table, dict):
        return "it must be a table: begin it with a line [tool.NAME]."
    if unknown := sorted(set(table) - set(_KEYS)):
        return f"the key {unknown[0]} is not known: use {', '.join(_KEYS)}."
    for key in _TEXTS:
        if key in table and not (isinstance(table[key], str) and table[key].strip()):
            return f"{key} must be a text in quotes."
    if table.get("action") not in ("removes", "replaces"):
        return 'action must be "removes" (what it takes becomes zero) or "replaces" (another face is put there).'
    contrasts = table.get("contrasts", ["T1w"])
    if not (isinstance(contrasts, list) and contrasts and all(isinstance(item, str) for item in contrasts)):
        return 'contrasts must be a list of suffixes, such as ["T1w"].'
    return _command_problem(table.get("command"))


def _command_problem(command: Any) -> str | None:
    if not isinstance(command, str):
        return "command is missing: give the command line, with {input} and {output} in it."
    try:
        words = shlex.split(command)
        fields = [field for word in words for _, field, _, _ in string.Formatter().parse(word) if field is not None]
    except ValueError as error:
        return f"command cannot be read ({error}): correct its quotes and braces."
    for field in fields:
        if field not in _FILES:
            return f"command has {{{field}}}, which is not known: use {', '.join(f'{{{name}}}' for name in _FILES)}."
    if not words or not {"input", "output"} <= set(fields):
        return "command must have {input} and {output} in it, for the names of the image and of the defaced image."
    return None


def _label(name: str) -> str:
    """What file names tell tools apart by: letters and digits, as `dataset.names.tool_label` leaves them."""
    return re.sub(r"[^0-9A-Za-z]", "", name).lower()
