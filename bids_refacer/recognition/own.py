"""Recognisers of the user's own, without code: a TOML file with a command for each.

[recogniser.arcface]
command = "python arcface.py {images} {vectors}"

The command gets a folder of pictures (PNG, numbered in order), and writes one vector for each, in that order: a `.npy`
array (n, d), or lines of numbers parted by tabs. Where it finds no face it writes NaN.
"""

from __future__ import annotations

import re
import shlex
import shutil
import string
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from bids_refacer.processes import TimeLimitError, run
from bids_refacer.recognition.weights import SHA256, RecogniserError

SHAPES = ("shape", "shape-painted")
"""What the group level calls the comparison of shapes, beside the recognisers."""
TAKEN = (*SHA256, *SHAPES)
_LIMIT_S = 1800.0
_FIELDS = ("images", "vectors")


@dataclass(frozen=True, kw_only=True)
class OwnRecogniser:
    """A recogniser as its table in a recognisers file describes it."""

    name: str
    command: str

    def describe(self, pictures: np.ndarray) -> np.ndarray:
        """See `recognisers.Recogniser.describe`.

        Raises
        ------
        RecogniserError
            When the command fails, or does not write a vector for each picture.
        """
        with tempfile.TemporaryDirectory(prefix="recognise-", dir=Path.cwd()) as name:
            folder = Path(name)
            (folder / "images").mkdir()
            for number, picture in enumerate(pictures):
                Image.fromarray(picture).save(folder / "images" / f"{number:05}.png")
            self._run(folder)
            return self._read(folder / "vectors.npy", len(pictures))

    def _run(self, folder: Path) -> None:
        places = {"images": str(folder / "images"), "vectors": str(folder / "vectors.npy")}
        words = [word.format(**places) for word in shlex.split(self.command)]
        try:
            done = run([shutil.which(words[0]) or words[0], *words[1:]], folder=folder, limit_s=_LIMIT_S)
        except (OSError, TimeLimitError) as error:
            raise RecogniserError(
                f"The recogniser {self.name} cannot be run ({error}): correct its command."
            ) from error
        if done.code:
            said = next(
                (line.strip() for line in reversed(done.errors.splitlines()) if line.strip()), "it said nothing"
            )
            raise RecogniserError(
                f"The recogniser {self.name} failed with exit code {done.code} ({said}): correct its command."
            )

    def _read(self, path: Path, count: int) -> np.ndarray:
        try:
            is_array = path.read_bytes()[:6] == b"\x93NUMPY"
            found = np.load(path, allow_pickle=False) if is_array else np.loadtxt(path, delimiter="\t", ndmin=2)
            vectors = np.asarray(found, dtype=np.float32)
        except (OSError, ValueError) as error:
            raise RecogniserError(
                f"The recogniser {self.name} wrote no vectors that can be read ({error}): it must write a .npy array "
                "or lines of numbers to {vectors}."
            ) from error
        if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
            raise RecogniserError(
                f"The recogniser {self.name} wrote an array of shape {vectors.shape} for {count} pictures: it must "
                "write one vector for each, and NaN where it finds no face."
            )
        return vectors


def read_recognisers(path: Path) -> list[OwnRecogniser]:
    """The recognisers that a file defines.

    Raises
    ------
    RecogniserError
        When the file cannot be read, is no TOML, or a recogniser in it cannot be used: a sentence.
    """
    try:
        content = msgspec.toml.decode(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecogniserError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecogniserError(f"{path} is not a TOML file ({error}): correct it.") from error
    tables = content.get("recogniser")
    if not isinstance(tables, dict) or not tables or set(content) != {"recogniser"}:
        raise RecogniserError(
            f"{path} defines no recogniser: begin each with a line [recogniser.NAME], and add nothing else."
        )
    for name, table in tables.items():
        if problem := _problem(name, table):
            raise RecogniserError(f"{path}, recogniser {name}: {problem}")
    return [OwnRecogniser(name=name, command=table["command"]) for name, table in tables.items()]


def as_tables(recognisers: list[OwnRecogniser]) -> dict[str, str]:
    """Name -> command: what results depend on."""
    return {one.name: one.command for one in recognisers}


def _problem(name: str, table: object) -> str | None:
    """What is wrong with a definition, and what to do; None when it can be used."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        return "a name begins with a letter and has letters, digits, - and _ alone: give it another."
    if name.lower() in TAKEN:
        return "that name is taken: give it another."
    if not isinstance(table, Mapping) or set(table) != {"command"} or not isinstance(table["command"], str):
        return "it has one key, command, a text in quotes."
    try:
        words = shlex.split(table["command"])
        fields = {field for word in words for _, field, _, _ in string.Formatter().parse(word) if field is not None}
    except ValueError as error:
        return f"command cannot be read ({error}): correct its quotes and braces."
    if not words or fields != set(_FIELDS):
        return "command must have {images} and {vectors} in it, and nothing else in braces."
    return None
