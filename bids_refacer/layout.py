"""The two folders of an output: what may be shared, and beside it what shows faces. Nobody else joins their names.

``OUTPUT/bids_refacer`` is a BIDS derivative that may be shared as a whole; ``OUTPUT/identifiable`` is another one, with
recovered faces, records and logs, closed to others (mode 0700). It may lie elsewhere (``--identifiable-dir``); then a
file in ``OUTPUT`` says where, so that later runs find it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

SHAREABLE = "bids_refacer"
IDENTIFIABLE = "identifiable"
_DESCRIPTION = "dataset_description.json"
_ELSEWHERE = "identifiable_dir.txt"  # in OUTPUT: one line, the path of the folder
_PREFIX = f"{IDENTIFIABLE}/"  # of names in records, whatever the folder is called


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the parts of an output lie; nothing is created.

    Attributes
    ----------
    output_dir : the folder that people name
    shareable : the derivative dataset that may be shared; no face is in it
    identifiable : the derivative dataset of recovered faces, with records and logs
    """

    output_dir: Path
    shareable: Path
    identifiable: Path

    @classmethod
    def of(cls, output_dir: Path, identifiable_dir: Path | None = None) -> Layout:
        """The folders that a run makes in `output_dir`; `identifiable_dir` is for faces that are kept elsewhere."""
        usual = cls.beside(output_dir)
        return replace(usual, identifiable=identifiable_dir or _elsewhere(output_dir) or usual.identifiable)

    @classmethod
    def beside(cls, output_dir: Path) -> Layout:
        """The two folders side by side, as they are unless faces are kept elsewhere."""
        return cls(output_dir=output_dir, shareable=output_dir / SHAREABLE, identifiable=output_dir / IDENTIFIABLE)

    @classmethod
    def found(cls, output_dir: Path, identifiable_dir: Path | None = None) -> Layout:
        """The folders that are there, to read from: also of versions before 0.10, and of a shareable folder itself.

        Those versions wrote the shareable dataset into `output_dir`, with the identifiable one inside.
        """
        if (output_dir / _DESCRIPTION).is_file() and not (output_dir / SHAREABLE / _DESCRIPTION).is_file():
            outer = output_dir.parent if is_shareable_part(output_dir) else output_dir
            private = cls.of(outer, identifiable_dir).identifiable
            return cls(output_dir=output_dir, shareable=output_dir, identifiable=private)
        return cls.of(output_dir, identifiable_dir)

    def name_of(self, path: Path) -> str:
        """The name of a file of the output, as records have it. Raises ValueError for a file of neither dataset."""
        if path.is_relative_to(self.identifiable):
            return _PREFIX + path.relative_to(self.identifiable).as_posix()
        return path.relative_to(self.shareable).as_posix()

    def root_of(self, name: str) -> tuple[Path, str]:
        """The dataset that a file is in, by its name in a record, and the rest of the name."""
        if is_identifiable(name):
            return self.identifiable, name.removeprefix(_PREFIX)
        return self.shareable, name

    def from_identifiable(self) -> str:
        """The shareable dataset, seen from the identifiable one: a relative path with forward slashes."""
        return Path(os.path.relpath(self.shareable.resolve(), self.identifiable.resolve())).as_posix()


def is_identifiable(name: str) -> bool:
    """Whether a file shows a face or holds what must not be shared, by its name in a record."""
    return name.startswith(_PREFIX)


def is_shareable_part(folder: Path) -> bool:
    """Whether a folder is the shareable part of an output, and no output itself."""
    beside = folder.parent
    has_private = (beside / IDENTIFIABLE / _DESCRIPTION).is_file() or (beside / _ELSEWHERE).is_file()
    return folder.name == SHAREABLE and has_private and not (folder / IDENTIFIABLE).exists()


def pointer(layout: Layout) -> tuple[Path, str | None]:
    """The file that says where faces are kept, and its text; None where they lie beside what may be shared."""
    is_beside = layout.identifiable == layout.output_dir / IDENTIFIABLE
    return layout.output_dir / _ELSEWHERE, None if is_beside else f"{layout.identifiable}\n"


def _elsewhere(output_dir: Path) -> Path | None:
    """Where an earlier run kept the faces, when it was not beside what may be shared."""
    try:
        text = (output_dir / _ELSEWHERE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return Path(text) if os.path.isabs(text) else None
