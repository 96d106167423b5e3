"""Tools of the user's own, without code: a TOML file with a command for each.

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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from bids_refacer.defacers.installed import missing_program, printed_version
from bids_refacer.defacers.program_tool import Program, deface_with_program
from bids_refacer.defacers.tool import Defacer, DefacerError, DefaceResult
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.nifti import write_volume
from bids_refacer.volumes.scan import Scan

_FILES = {"input": "source.nii.gz", "output": "defaced.nii.gz", "mask": "mask.nii.gz", "brain_mask": "brain.nii.gz"}
_TEXTS = ("command", "action", "version_command", "citation", "licence", "get")
_KEYS = (*_TEXTS, "contrasts", "memory_gb")


class ToolsFileError(DefacerError):
    """A tools file cannot be used. The message is a sentence: file, tool, what is wrong, what to do."""


@dataclass(frozen=True, kw_only=True)
class ToolDefinition:
    """A tool as its table in a tools file describes it; fields are the keys of the table, which may be left out."""

    name: str
    command: str
    action: Literal["removes", "replaces"]
    version_command: str | None = None
    citation: str | None = None
    licence: str = "unknown"
    get: str = "install it, or correct the tools file"
    contrasts: tuple[str, ...] = ("T1w", "T2w", "FLAIR", "PDw")
    memory_gb: float = 2.0

    @classmethod
    def from_table(cls, name: str, table: Mapping[str, Any]) -> ToolDefinition:
        """From a table that `read_definitions` checked."""
        fields = dict(table)
        if "contrasts" in fields:
            fields["contrasts"] = tuple(fields["contrasts"])
        if "memory_gb" in fields:
            fields["memory_gb"] = float(fields["memory_gb"])
        return cls(name=name, **fields)

    @property
    def words(self) -> list[str]:
        """The command line, split as a shell does, with {input} and the like in it."""
        return shlex.split(self.command)

    def version(self) -> str:
        """The first number that the version command prints, "unknown" without one."""
        if not self.version_command:
            return "unknown"
        return printed_version(shlex.split(self.version_command), r"(\d+(?:\.\w+)+|\d+)")


def read_tools(path: Path) -> dict[str, Defacer]:
    """The tools that a file defines, as entries of the registry.

    Raises
    ------
    ToolsFileError
        When the file cannot be read, is no TOML, or a tool in it cannot be used.
    """
    return {name: make_tool(name, table) for name, table in read_definitions(path).items()}


def read_definitions(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a tools file as they are written, checked; see `read_tools`."""
    from bids_refacer.defacers import DEFACERS

    try:
        content = msgspec.toml.decode(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ToolsFileError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ToolsFileError(f"{path} is not a TOML file ({error}): correct it.") from error
    tools = content.get("tool")
    if not isinstance(tools, dict) or not tools or set(content) != {"tool"}:
        raise ToolsFileError(f"{path} defines no tool: begin each with a line [tool.NAME], and add nothing else.")
    names = {_letters(name): name for name in DEFACERS}
    for name, table in tools.items():
        if problem := _name_problem(name, names) or _table_problem(table):
            raise ToolsFileError(f"{path}, tool {name}: {problem}")
        names[_letters(name)] = name
    return tools


def make_tool(name: str, table: Mapping[str, Any]) -> Defacer:
    """An entry of the registry from a table that `read_definitions` checked."""
    tool = ToolDefinition.from_table(name, table)
    program = tool.words[0]
    return Defacer(
        name=name,
        action=tool.action,
        requirement=f"the program {program}",
        citation=f"{name}: a tool of the user's own; cite its authors." if tool.citation is None else tool.citation,
        version=tool.version,
        missing=lambda: missing_program(program, name, tool.get),
        run=partial(_run, tool=tool),
        licence=tool.licence,
        executable=program,
        contrasts=tool.contrasts,
        memory_gb=tool.memory_gb,
        verified=False,
    )


def _run(
    scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path, *, tool: ToolDefinition
) -> DefaceResult:
    words = [word.format(**_FILES) for word in tool.words]
    words[0] = shutil.which(words[0]) or words[0]

    def prepare(folder: Path) -> None:
        if "{brain_mask}" in tool.command:
            write_volume(folder / _FILES["brain_mask"], Volume(brain_mask, scan.affine), np.uint8)

    program = Program(
        name=tool.name,
        action=tool.action,
        command=words,
        sidecar_command=tool.command,
        output_patterns=(_FILES["output"],),
        mask_file=_FILES["mask"] if "{mask}" in tool.command else None,
        prepare=prepare,
    )
    details: dict[str, object] = {"Version": tool.version(), "Options": {}}
    if tool.citation is not None:
        details["Citation"] = tool.citation
    return deface_with_program(program, scan, brain_mask, work_dir, details)


def _name_problem(name: str, names: Mapping[str, str]) -> str | None:
    """What is wrong with a name, and what to do; ``names`` has those of other tools by their letters."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        return "a name has letters, digits, - and _ alone: give it another."
    if other := names.get(_letters(name)):
        return f"its name is that of the tool {other}, or too like it for file names: give it another."
    return None


def _table_problem(table: object) -> str | None:
    """What is wrong with a definition, and what to do; None when it can be used."""
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


def _command_problem(command: object) -> str | None:
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


def _letters(name: str) -> str:
    """By what file names distinguish tools: letters and digits, as `dataset.names.tool_label` leaves them."""
    return re.sub(r"[^0-9A-Za-z]", "", name).lower()
