"""What went wrong in a node, as the sentence of the exception that stopped it; read from Nipype's crash files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_STAGES = {
    "inspect": "input",
    "face": "input",
    "brain": "brain",
    "align": "brain",
    "truth": "score",
    "register": "brain",
    "head": "brain",
    "carry": "deface",
    "deface": "deface",
    "verdict": "deface",
    "reface": "reface",
    "score": "score",
    "voxels": "score",
}
_SENTENCES = {"ImageError", "RegistrationError", "DefacerError", "SkinError", "GiftiError", "ChildError"}
"""Exceptions of ours, whose messages say all that a person needs."""

_EXCEPTION = re.compile(r"^\s*(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit|Warning))(?:: (.*))?$")


@dataclass(frozen=True, kw_only=True)
class Crash:
    """A node that failed: its image and tool (None before tools) by their names in the graph, stage, sentence."""

    image: str
    tool: str | None
    stage: str
    message: str


def read_crashes(folder: Path) -> list[Crash]:
    """Every crash of a run, oldest first."""
    files = sorted(folder.glob("crash-*.txt"), key=lambda path: path.stat().st_mtime_ns) if folder.is_dir() else []
    return [_crash(path) for path in files]


def _crash(path: Path) -> Crash:
    text = path.read_text(encoding="utf-8", errors="replace")
    image, *tool, node = text.split("\n", 1)[0].removeprefix("Node: ").strip().split(".")[1:]
    return Crash(
        image=image,
        tool=tool[0] if tool else None,
        stage=_STAGES.get(node, "output"),
        message=sentence(text, path),
    )


def sentence(traceback: str, crash_file: Path) -> str:
    """The message of the last exception in a traceback; an unexpected kind is named, with where to read more."""
    lines = traceback.splitlines()
    found = [(number, match) for number, line in enumerate(lines) if (match := _EXCEPTION.match(line))]
    if not found:
        return f"It stopped without saying why; see {crash_file}."
    number, match = found[-1]
    message = [match[2] or ""]
    for line in lines[number + 1 :]:
        if not line.strip():
            break
        message.append(line.strip())
    text = " ".join(" ".join(message).split())
    return text if match[1] in _SENTENCES and text else f"Unexpected {match[1]}: {text} (see {crash_file})."
