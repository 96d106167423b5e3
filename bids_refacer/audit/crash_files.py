"""What went wrong in a node, as the sentence of the exception that stopped it; read from Nipype's crash files."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.audit.graph.stages import stage_of
from bids_refacer.problems import NO_MEMORY, problem_names, remedy_for

_EXCEPTION = re.compile(r"^\s*(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit|Warning))(?:: (.*))?$")

_ERRNO = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, kw_only=True)
class Crash:
    """A node that failed: its image and tool (None before tools) by their names in the graph, stage, sentence."""

    image: str
    tool: str | None
    stage: str
    message: str


def read_crashes(folder: Path) -> list[Crash]:
    """Every crash of a run, oldest first; files that name no node, as a full disk leaves them, are passed over."""
    files = sorted(folder.glob("crash-*.txt"), key=lambda path: path.stat().st_mtime_ns) if folder.is_dir() else []
    return [crash for path in files if (crash := _crash(path))]


def _crash(path: Path) -> Crash | None:
    text = path.read_text(encoding="utf-8", errors="replace")
    first = text.split("\n", 1)[0].removeprefix("Node: ").strip()
    if first.count(".") < 2:
        return None
    image, *tool, node = first.split(".")[1:]
    return Crash(
        image=image,
        tool=tool[0] if tool else None,
        stage=stage_of(node).status,
        message=sentence(text, path),
    )


def sentence(traceback: str, crash_file: Path) -> str:
    """The message of the last exception in a traceback; an unexpected kind is named, with where to read more."""
    lines = traceback.splitlines()
    found = [(number, match) for number, line in enumerate(lines) if (match := _EXCEPTION.match(line))]
    if not found:
        return f"It stopped without saying why; see {crash_file}."
    last, match = found[-1]
    message = [match[2] or ""]
    for line in lines[last + 1 :]:
        if not line.strip():
            break
        message.append(line.strip())
    text = " ".join(" ".join(message).split())
    if match[1] == "OSError" and (number := _ERRNO.match(text)):
        if int(number[1]) in (errno.ENOSPC, errno.EDQUOT) and not _is_elsewhere(text, crash_file):
            return f"There is no space left on the disk ({text}): free some, or give another folder with --work-dir."
        if remedy := remedy_for(int(number[1])):
            return f"{text}: {remedy}"
    if match[1].endswith("MemoryError") or NO_MEMORY in text:
        return f"There is no memory left ({text or match[1]}): {remedy_for(errno.ENOMEM)}"
    return text if match[1] in problem_names() and text else f"Unexpected {match[1]}: {text} (see {crash_file})."


def _is_elsewhere(text: str, crash_file: Path) -> bool:
    """Whether an error names a file that is not in the work folder (``crashes`` lies there)."""
    named, work_dir = re.search(r": '([^']+)'", text), crash_file.parents[2:3]
    return named is not None and not all(Path(named[1]).is_relative_to(folder) for folder in work_dir)
