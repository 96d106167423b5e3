"""Outputs of versions before 0.10, taken up: what may be shared moves out of the folder that also held the faces.

Those versions wrote the shareable dataset into ``OUTPUT``, with the identifiable one inside (``OUTPUT/identifiable``),
where it stays; versions before 0.9 had records and logs in the shareable one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from bids_refacer.dataset.descriptions.derivatives import make_private
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import LOGS, RECORDS, SHAREABLE_BIDSIGNORE
from bids_refacer.files import claimed, sweep
from bids_refacer.layout import IDENTIFIABLE, Layout, is_shareable_part

_LAST = "dataset_description.json"  # by which an output is known that is not taken up yet, or not wholly
_IGNORED = tuple(pattern.lstrip("/") for pattern in SHAREABLE_BIDSIGNORE)
_NAMES = ("README", ".bidsignore", "participants.tsv", "participants.json", "sub-*", *_IGNORED, _LAST)
_LINK = re.compile(r'(href=")\.\./((?:sub-[0-9A-Za-z]+|group)\.html")')


def take_up(output_dir: Path, say: Callable[[str], None], *, identifiable_dir: Path | None = None) -> None:
    """Move the shareable files of an output of an earlier version into their folder; nothing where there are none.

    Runs that are at work in the output are waited for. A run that is killed meanwhile leaves what the next one moves.

    Parameters
    ----------
    say : gets one sentence when anything was moved
    identifiable_dir : where faces are asked to be

    Raises
    ------
    DatasetError
        When files must not be moved by us: one sentence with the command.
    """
    if not _is_former(output_dir):
        return
    layout = Layout.of(output_dir, identifiable_dir)
    _check(layout)
    make_private(layout.identifiable)

    def wait(_: str) -> None:
        say(f"Another run is at work in {output_dir}: this one waits until it ends.")

    with ExitStack() as claims:
        for records in (layout.identifiable / RECORDS, output_dir / RECORDS):
            if records.is_dir() or records.is_relative_to(layout.identifiable):
                claims.enter_context(claimed(records / "running", None, wait))
        if not _is_former(output_dir):  # tasks of a cluster begin at the same time
            return
        sweep(output_dir, below=False)
        _move_records(layout)
        for name in _NAMES:
            for path in sorted(output_dir.glob(name)):
                _move(path, layout.shareable / path.name)
        _mend_links(layout)
        shutil.rmtree(layout.identifiable / "work", ignore_errors=True)  # intermediate images of those versions
    say(
        f"{output_dir} is of an earlier version: what may be shared was moved into {layout.shareable}, apart from the "
        f"faces in {layout.identifiable}, and intermediate images were removed."
    )


def _is_former(output_dir: Path) -> bool:
    return (output_dir / _LAST).is_file() and not is_shareable_part(output_dir)


def _check(layout: Layout) -> None:
    output = layout.output_dir
    if (output / ".git").exists():
        raise DatasetError(
            f"{output} is of an earlier version and under version control, whose files are not moved: in it, run "
            f"'mkdir {layout.shareable.name} && git mv README .bidsignore *.json *.tsv *.md *.html sub-* "
            f"{layout.shareable.name}/' ('git annex fix' after it where there is git-annex), or give another folder."
        )
    if (output / IDENTIFIABLE).is_dir() and layout.identifiable.resolve() != (output / IDENTIFIABLE).resolve():
        raise DatasetError(
            f"The faces of {output}, which is of an earlier version, are in {output / IDENTIFIABLE}: move that folder "
            f"to {layout.identifiable}, or leave --identifiable-dir out."
        )


def _move_records(layout: Layout) -> None:
    """Records and logs of versions before 0.9, which lie in the shareable dataset."""
    for name in (RECORDS, LOGS):
        former = layout.output_dir / name
        if former.is_dir() and not former.is_symlink():
            shutil.rmtree(former / "running", ignore_errors=True)
            _merge(former, layout.identifiable / name)


def _move(path: Path, target: Path) -> None:
    """Rename a file or a folder; a folder that is there already, as an interrupted move leaves it, is filled up."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        link = os.readlink(path)
        place = link if os.path.isabs(link) else os.path.relpath(path.parent / link, target.parent)
        if not os.path.lexists(target):
            target.symlink_to(place)
        path.unlink()
    elif path.is_dir() and target.is_dir():
        _merge(path, target)
    elif not target.exists() or _is_newer(path, target):
        path.replace(target)
    else:
        path.unlink()


def _merge(former: Path, place: Path) -> None:
    """Move every file of a folder into another one, where the newer of two stays, and remove the folder."""
    for path in _files(former):
        target = place / path.relative_to(former)
        if not target.exists() or _is_newer(path, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
    shutil.rmtree(former, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path


def _is_newer(path: Path, target: Path) -> bool:
    return target.stat().st_mtime_ns < path.lstat().st_mtime_ns


def _mend_links(layout: Layout) -> None:
    """Pages with faces point to those without, which have moved."""
    for page in layout.identifiable.glob("sub-*.html"):
        text = page.read_text(encoding="utf-8")
        mended = _LINK.sub(rf"\g<1>{layout.from_identifiable()}/\g<2>", text)
        if mended != text:
            page.write_text(mended, encoding="utf-8")
