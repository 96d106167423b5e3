"""The folders of an output, for tests: nobody else joins their names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from bids_refacer.layout import Layout

Folder = Callable[[Path], Path]


def layout_of(output: Path) -> Layout:
    return Layout.of(output)


def shareable(output: Path) -> Path:
    return Layout.of(output).shareable


def identifiable(output: Path) -> Path:
    return Layout.of(output).identifiable


def as_earlier_version(output: Path, *, with_records: bool = False) -> Path:
    """Rearrange an output as versions before 0.10 had it; `with_records`: before 0.9, with records and logs as well."""
    (output / "README").unlink(missing_ok=True)
    for path in shareable(output).iterdir():
        shutil.move(path, output / path.name)
    shareable(output).rmdir()
    for page in identifiable(output).glob("sub-*.html"):
        page.write_text(page.read_text().replace("../bids_refacer/", "../"))
    (identifiable(output) / "work" / "bids_refacer-0.8.1").mkdir(parents=True, exist_ok=True)
    for name in (".bids_refacer", "logs") if with_records else ():
        if (identifiable(output) / name).is_dir():
            shutil.move(identifiable(output) / name, output / name)
    return output
