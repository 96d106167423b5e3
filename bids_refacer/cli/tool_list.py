"""The text that ``--list-tools`` prints: every tool of the registry, and whether it can run here."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from bids_refacer.defacers import DEFACERS
from bids_refacer.defacers.tool import Defacer
from bids_refacer.defacers.tools_file import read_tools

_WIDTH = 118
_HEADER = ("tool", "acts", "here", "version", "for", "GB", "licence")


def tool_list(tools_file: Path | None = None) -> str:
    """The table, and under it a sentence for each tool that is missing or known to be bad.

    Raises
    ------
    ToolsFileError
        When the tools file cannot be used.
    """
    tools = [*DEFACERS.values(), *(read_tools(tools_file).values() if tools_file else ())]
    missing = {tool.name: sentence for tool in tools if (sentence := tool.missing())}
    lines = _columns([_HEADER, *(_row(tool, tool.name not in missing) for tool in tools)])
    notes = [*missing.values()]
    notes += [note for tool in tools if tool.name not in missing for note in tool.warnings(tool.contrasts[0])]
    unverified = [tool.name for tool in tools if not tool.verified]
    notes.append(
        f"(*) Not verified with the real program by the makers of bids_refacer, only with stand-ins that take its "
        f"arguments and write what it writes: {', '.join(unverified)}. Look at their results."
    )
    wrapped = [textwrap.fill(note, _WIDTH, subsequent_indent="  ", break_on_hyphens=False) for note in notes]
    return "\n".join([*lines, "", *wrapped])


def _row(tool: Defacer, available: bool) -> tuple[str, ...]:
    mark = "" if tool.verified else " (*)"
    return (
        tool.name + mark,
        tool.action,
        "yes" if available else "no",
        tool.version() if available else "-",
        " ".join(tool.contrasts),
        f"{tool.memory_gb:g}",
        tool.licence,
    )


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
