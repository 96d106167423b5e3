"""Texts that may be shared: names relative to the dataset, and no paths, hosts or user names of this machine.

Messages on the terminal and in logs keep whole paths, which people need; what goes into tables, sidecars, pages and
texts of the shareable dataset passes through here.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from bids_refacer.dataset.rows.table import Row
from bids_refacer.layout import Layout

T = TypeVar("T", bound=Row)

UNNAMED = "[path]"
"""Stands for a path that lies in none of the datasets."""

_FREE_TEXTS = ("message", "notes", "reason")  # columns that hold what an exception or a program said
_END = r"[^\s'\"`,;()<>|]"  # of what belongs to a path that nobody knows
_SAID = re.compile(r"(?<= and said: ).*?(?=; (?:check|give|when|use)\b|$)", re.DOTALL)
_LINK_TARGET = re.compile(r"(?<=broken link to )/[^;:]+")  # may hold spaces
_ADDRESS = re.compile(rf"\bfile://{_END}*")
_PATH = re.compile(rf"(?<![\w./~\]-])(?:~[\w.-]*)?(?:/(?!/)|(?<!:)//){_END}+")  # of an address (https://), nothing
_COMMON = ("root", "user", "users", "admin", "nobody", "default", "localhost", "home")  # no names of anybody


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders of a run. Names in the two datasets become relative; paths of `hidden` places are not named at all."""

    bids_dir: Path | None = None
    layout: Layout | None = None
    hidden: tuple[Path, ...] = ()

    def shareable(self, text: str) -> str:
        """A text without paths, hosts and user names of this machine."""
        text = _SAID.sub("(see the log)", text)  # a program may say anything
        text = _LINK_TARGET.sub(UNNAMED, text)
        for root, words in self._roots():
            text = _without_root(text, root, words)
        text = _ADDRESS.sub(UNNAMED, text)
        return _machine_names().sub("[name]", _PATH.sub(_shortened, text))

    def shareable_row(self, row: T) -> T:
        """A row whose columns of free text may be shared."""
        texts = {name: getattr(row, name, None) for name in _FREE_TEXTS}
        changed = {name: self.shareable(text) for name, text in texts.items() if text}
        return replace(row, **changed) if changed else row

    def _roots(self) -> list[tuple[str, str | None]]:
        """Each spelling of each folder, the longest first, and what stands for the folder itself (None: hidden)."""
        named = [(path, "the work folder") for path in self.hidden]
        hidden = {spelling: None for path, _ in named for spelling in _spellings(path)}
        parts = (self.layout.output_dir, self.layout.identifiable, self.layout.shareable) if self.layout else ()
        output = {one: "the output" for path in parts for one in _spellings(path)}
        source = {one: "the dataset" for one in _spellings(self.bids_dir)}
        roots: Mapping[str, str | None] = {**source, **output, **hidden}
        return sorted(roots.items(), key=lambda item: -len(item[0]))


def shareable_json(value: Any) -> Any:
    """JSON whose texts may be shared; values that are no text stay as they are."""
    if isinstance(value, str):
        return Places().shareable(value)
    if isinstance(value, Mapping):
        return {name: shareable_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [shareable_json(part) for part in value]
    return value


def _spellings(path: Path | None) -> Iterator[str]:
    """A folder as it was given, made absolute and resolved; none for the root of the file system."""
    if path is not None:
        for spelling in dict.fromkeys((str(path), str(path.absolute()), str(path.resolve()))):
            if os.path.isabs(spelling) and spelling != os.sep:
                yield spelling


def _without_root(text: str, root: str, words: str | None) -> str:
    start = rf"(?:file://)?{re.escape(root)}"
    if words is None:
        return re.sub(rf"{start}(?:/{_END}*)?(?![\w-])", "the work folder", text)
    return re.sub(rf"{start}(?![\w./-])", words, re.sub(rf"{start}/(?=[\w.*])", "", text))


def _shortened(match: re.Match[str]) -> str:
    """A path of an unknown place: from its participant's folder on, or nothing of it."""
    path = match[0].rstrip(".:")
    found = re.search(r"/(sub-[0-9A-Za-z]+(?:/.*)?)$", path)
    return (found[1] if found else UNNAMED) + match[0][len(path) :]


@cache
def _machine_names() -> re.Pattern[str]:
    """Whole words that name this host or user."""
    host = socket.gethostname()
    names = {host, host.split(".")[0], *(os.environ.get(name, "") for name in ("USER", "LOGNAME"))}
    try:
        names.add(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:  # a user of a container may have no entry
        pass
    kept = sorted((name for name in names if len(name) > 3 and name.lower() not in _COMMON), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, kept))})(?![\w-])" if kept else r"(?!)")
