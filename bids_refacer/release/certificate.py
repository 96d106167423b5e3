"""release.tsv and release.html: what was done with each file. No face, and no value that was removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import write_rows
from bids_refacer.dataset.tables import write_dictionary
from bids_refacer.release.content.metadata import Removed
from bids_refacer.release.documents import BELONGS_TO
from bids_refacer.reports.page import write_page
from bids_refacer.wording import counted

CERTIFICATE = ("release.tsv", "release.json", "release.html")
"""Files of a release that have no row, as they come last."""

_MOST = 200  # lines of a list on the page
_SECTIONS = (
    ("images", "Images"),
    ("risk", "Can people be found again?"),
    ("held", "Held back"),
    ("unchecked", "Not checked"),
    ("metadata", "Metadata"),
    ("files", "Files"),
)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What the page says.

    Attributes
    ----------
    name : of the dataset
    tool : with its version
    rows : of all files
    removed : what was taken out of sidecars and tables
    finding : the audit's, in sentences
    consent : who accepted the risk, or why nobody had to
    """

    name: str
    tool: str
    rows: Sequence[ReleaseRow]
    removed: Mapping[str, Sequence[Removed]]
    finding: Sequence[str]
    consent: str


def write_certificate(root: Path, certificate: Certificate) -> None:
    """Write ``release.tsv``, its dictionary and ``release.html`` into a release."""
    write_rows(root / "release.tsv", ReleaseRow, certificate.rows)
    write_dictionary(root / "release.json", ReleaseRow.table)
    write_page(root / "release.html", "release.html.j2", _values(certificate))


def _values(about: Certificate) -> dict[str, object]:
    rows = about.rows
    held = held_back(rows)
    more = len(held) - _MOST
    defaced = [row for row in rows if row.action == "defaced"]
    fields = [{item.field for item in one} for one in about.removed.values()]
    equal = sum(row.kept_voxels == "equal" for row in defaced)
    return {
        "title": f"Release of {about.name}",
        "private": False,
        "sections": _SECTIONS,
        "lead": f"{counted(len(defaced), 'image')} defaced with {about.tool}; {counted(len(held), 'file')} held back.",
        "verdicts": _verdicts(rows),
        "voxels": f"In {equal} of {counted(len(defaced), 'defaced image')}, all voxels outside the mask are the "
        "original's, bit for bit.",
        "finding": list(about.finding),
        "consent": about.consent,
        "held_back": [(row.path, row.reason or "") for row in held[:_MOST]],
        "held_more": f"{more} more are in release.tsv." if more > 0 else "",
        "unchecked": unchecked_lines(rows),
        "removed": sorted(Counter(name for names in fields for name in names).items()),
        "headers": f"Texts of headers, or names and times of gzip, were removed from {_with_headers(rows)}.",
        "actions": sorted(Counter(str(row.action) for row in rows).items()),
    }


def held_back(rows: Sequence[ReleaseRow]) -> list[ReleaseRow]:
    """What is held back, without the sidecars of what is held back."""
    return [row for row in rows if row.action == "held back" and not str(row.reason).startswith(BELONGS_TO)]


def unchecked_lines(rows: Sequence[ReleaseRow]) -> list[str]:
    """What was released although nobody looked into it, by folder and extension."""
    released = [row for row in rows if row.looked_at == "no" and row.action in ("copied", "scrubbed", "completed")]
    kinds = Counter((_folder(row.path), _extension(row.path)) for row in released)
    images = Counter({folder: number for (folder, kind), number in kinds.items() if kind.startswith(".nii")})
    lines = [
        f"{counted(number, 'image')} in {folder} folders: not looked at for faces; texts of headers were removed."
        for folder, number in sorted(images.items())
    ]
    others = [(folder, kind, number) for (folder, kind), number in sorted(kinds.items()) if not kind.startswith(".nii")]
    named = [(counted(number, "file"), kind or "without extension", folder) for folder, kind, number in others]
    return lines + [f"{number} {kind} in {folder}." for number, kind, folder in named]


def _folder(path: str) -> str:
    """The kind of folder that a file lies in: ``func`` of sub-01/ses-1/func, or the root."""
    return PurePosixPath(path).parent.name or "the root"


def _extension(path: str) -> str:
    name = PurePosixPath(path).name
    return name[name.index(".") :].lower() if "." in name[1:] else ""


def _verdicts(rows: Sequence[ReleaseRow]) -> list[tuple[str, int, int]]:
    """Verdict, images released, images held back."""
    counts = Counter((str(row.verdict), row.action == "defaced") for row in rows if row.verdict)
    return [
        (verdict, counts[verdict, True], counts[verdict, False]) for verdict in ("pass", "warn", "fail", "not judged")
    ]


def _with_headers(rows: Sequence[ReleaseRow]) -> str:
    number = sum(row.action == "scrubbed" and ".nii" in row.path for row in rows)
    return counted(number, "image that is not defaced", "images that are not defaced")
