"""The writing of a release: images, then what depends on them, then the certificate."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bids_refacer.dataset.descriptions.derivatives import read_description
from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.inputs.naming import FOREIGN
from bids_refacer.dataset.names import sidecar_of
from bids_refacer.dataset.records import fingerprint
from bids_refacer.dataset.rows.release import ReleaseRow, ReviewRow
from bids_refacer.dataset.rows.table import write_rows
from bids_refacer.files import sweep, write_json, write_text
from bids_refacer.release.audit_results import AuditFinding
from bids_refacer.release.certificate import CERTIFICATE, Certificate, write_certificate
from bids_refacer.release.content.descriptions import MASKS, Facts, masks_description
from bids_refacer.release.content.metadata import metadata_lists
from bids_refacer.release.content.people import TableRules
from bids_refacer.release.documents import Documents
from bids_refacer.release.errors import ReleaseError
from bids_refacer.release.images.making import in_parallel, make_image, place
from bids_refacer.release.inventory import OF_GIT, Kind
from bids_refacer.release.journal import Journal, Made
from bids_refacer.release.plan import Plan, review_dir, sidecar_path
from bids_refacer.release.settings import ReleaseSettings
from bids_refacer.wording import listed

_TEXTS = ("README", "CHANGES", ".bidsignore")
_GONE = ("held back", "left out")


@dataclass(frozen=True, kw_only=True)
class Work:
    """The writing of a release, by one process at a time."""

    settings: ReleaseSettings
    plan: Plan
    folder: Path
    journal: Journal

    def run(self, finding: AuditFinding, consent: str) -> list[ReleaseRow]:
        """Write everything; returns the rows of all files."""
        root = self.settings.release_dir
        self._refuse_strangers()
        if root.is_dir():
            sweep(root, below=True)
        (root / CERTIFICATE[0]).unlink(missing_ok=True)  # no certificate while it is not true
        images = self._images()
        documents = self._documents(images)
        rows = [*self.plan.withheld, *images, *self._others(documents, images), *self._masks(images)]
        rows.sort(key=lambda row: row.path)
        self._remove_strays(rows)
        self._keep_private(documents, rows)
        places = Places(bids_dir=self.settings.bids_dir, layout=self.settings.layout)
        clean = [replace(row, reason=places.shareable(row.reason)) if row.reason else row for row in rows]
        certificate = Certificate(
            name=str(read_description(self.settings.bids_dir).get("Name", "a dataset without a name")),
            tool=f"{documents.facts.tool} {documents.facts.version}".strip(),
            rows=clean,
            removed=documents.removed,
            finding=finding.sentences,
            consent=consent,
        )
        write_certificate(root, certificate)
        self.journal.shorten([row.path for row in rows if row.action not in _GONE])
        return rows

    def _refuse_strangers(self) -> None:
        """Raise ReleaseError where the folder of the release holds files that no run of ours wrote."""
        root = self.settings.release_dir
        if not root.is_dir():
            return
        ours = {*self.journal.entries, *CERTIFICATE, *_TEXTS, *self._planned()}
        there = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if not path.is_dir()]
        there = [name for name in there if name.split("/")[0] not in OF_GIT]
        strange = [name for name in there if name not in ours and not PurePosixPath(name).name.startswith(".")]
        if strange or (there and not self.journal.entries and not (self.folder / "begun.json").is_file()):
            raise ReleaseError(
                f"The release {root} holds files that are not of an earlier run of this release "
                f"({listed(strange or there, 3)}), and nothing is replaced: give a new or empty folder."
            )

    def _planned(self) -> set[str]:
        names = {one.path for one in self.plan.rest} | {f"{MASKS}/dataset_description.json"}
        for task in self.plan.tasks:
            names |= {task.path, sidecar_path(task.path)}
            if task.mask_target:
                mask = task.mask_target.relative_to(self.settings.release_dir)
                names |= {mask.as_posix(), sidecar_of(mask).as_posix()}
        return names

    def _images(self) -> list[ReleaseRow]:
        """Write all images; those that an earlier run wrote and that nothing changed since are not written again."""
        self._begun()
        rows, left = [], []
        for task in self.plan.tasks:
            made = self.journal.finished(task.path, task.key, task.target)
            if made is None or (made.row.mask and task.mask_target and not task.mask_target.is_file()):
                left.append(task)
            else:
                rows.append(made.row)
        for made in in_parallel(make_image, left, self.settings.nprocs):
            if made.row.action not in _GONE:
                self.journal.add(made)
            rows.append(made.row)
        return rows

    def _begun(self) -> str:
        """The day on which this release was begun: one that is stopped and goes on tells the same."""
        path = self.folder / "begun.json"
        if not path.is_file():
            write_json(path, {"Day": time.strftime("%Y-%m-%d"), "Release": str(self.settings.release_dir)})
        return str(json.loads(path.read_text(encoding="utf-8"))["Day"])

    def _documents(self, images: Sequence[ReleaseRow]) -> Documents:
        withheld = [row for row in (*self.plan.withheld, *images) if row.action in _GONE]
        defaced = [row for row in images if row.action == "defaced"]
        facts = Facts(
            tool=self.settings.tool,
            version=", ".join(sorted({row.version for row in defaced if row.version})),
            day=self._begun(),
            defaced=len(defaced),
            held_back=sum(bool(row.verdict) for row in withheld),
        )
        lists = metadata_lists(self.settings.keep_field)
        key = self._date_key() if self.settings.shift_dates else None
        return Documents(
            root=self.settings.release_dir,
            mode=self.settings.link_mode,
            rules=TableRules(lists=lists, cap_ages=self.settings.cap_ages, shift_key=key),
            images={row.path: row for row in (*withheld, *images)},
            withheld=self._withheld(withheld),
            facts=facts,
        )

    def _withheld(self, rows: Iterable[ReleaseRow]) -> set[str]:
        """Paths that are not released, and folders of which no image and no other data are."""
        gone = {row.path for row in rows}
        data = {one.path for one in self.plan.rest if one.kind in (Kind.OTHER, Kind.PACKED)}
        there = {task.path for task in self.plan.tasks if task.path not in gone} | data
        return gone | (_folders(gone) - _folders(there))

    def _date_key(self) -> bytes:
        """The secret of shifted dates, one for all releases of an audit."""
        path = self.folder.parent / "date_key.json"
        if not path.is_file():
            write_json(path, {"Key": secrets.token_hex(32)})
            path.chmod(0o600)
        return bytes.fromhex(json.loads(path.read_text(encoding="utf-8"))["Key"])

    def _others(self, documents: Documents, images: Sequence[ReleaseRow]) -> list[ReleaseRow]:
        """Sidecars, tables and texts, and those that the originals lack."""
        rows = [documents.make(found) for found in self.plan.rest]
        known = {one.path for one in self.plan.rest}
        alone = [row.path for row in images if row.action == "defaced" and sidecar_path(row.path) not in known]
        rows += [documents.add_sidecar(path) for path in alone]
        there = {path.split(".")[0].lower() or path for path in known if "/" not in path}
        rows += [documents.add_text(name) for name in _TEXTS if name.lower() not in there | known]
        for row in rows:
            if row.action not in _GONE:
                self.journal.add(Made(row=row))
        return rows

    def _masks(self, images: Sequence[ReleaseRow]) -> list[ReleaseRow]:
        """Sidecars and description of the masks, which were written with their images."""
        root = self.settings.release_dir
        defaced = {row.path for row in images if row.action == "defaced"}
        tasks = [task for task in self.plan.tasks if task.path in defaced and task.mask]
        for task in tasks:
            if task.judged and task.judged.mask and task.mask_target:
                place(sidecar_of(task.judged.mask), sidecar_of(task.mask_target), "copy")
        masks = [task.mask for task in tasks if task.mask]
        if not masks:
            return []
        name = str(read_description(self.settings.bids_dir).get("Name", "a dataset without a name"))
        write_json(root / MASKS / "dataset_description.json", masks_description(name))
        folders = sorted({_ignored(mask) for mask in masks} - {"anat/"})
        ignored = [f"{MASKS}/.bidsignore"] if folders else []
        for path in ignored:  # BIDS has such masks of anatomical images of the raw dataset alone
            write_text(root / path, "".join(f"{folder}\n" for folder in folders))
        written = [
            *masks,
            *ignored,
            *(sidecar_of(Path(mask)).as_posix() for mask in masks),
            f"{MASKS}/dataset_description.json",
        ]
        rows = [
            ReleaseRow(path=one, action="added", looked_at="yes", sha256=fingerprint(root / one).sha256)
            for one in written
        ]
        for row in rows:
            self.journal.add(Made(row=row))
        return rows

    def _remove_strays(self, rows: Sequence[ReleaseRow]) -> None:
        """Remove what an earlier run released and this one does not."""
        released = {row.path for row in rows if row.action not in _GONE}
        root = self.settings.release_dir
        strays = {*self.journal.entries, *self._planned()} - released
        for name in strays:
            (root / name).unlink(missing_ok=True)
        for name in sorted(_folders(strays), reverse=True):  # the inner ones first
            if (root / name).is_dir() and not any((root / name).iterdir()):
                (root / name).rmdir()

    def _keep_private(self, documents: Documents, rows: Sequence[ReleaseRow]) -> None:
        """What was removed, checksums of originals, and the list of images to look at: for the releasers alone."""
        removed = {path: {one.field: one.value for one in some} for path, some in documents.removed.items()}
        write_json(self.folder / "removed.json", removed)
        before = {name: made.before for name, made in sorted(self.journal.entries.items()) if made.before}
        write_json(self.folder / "originals.json", before)
        to_review = [_to_review(row, self.plan.decisions.get(row.path)) for row in rows if row.verdict == "warn"]
        if to_review:
            write_rows(self.folder / "review.tsv", ReviewRow, to_review)
            from bids_refacer.release.review import write_sheet  # loads matplotlib and Nipype

            files = [self._file_of(row.image) for row in to_review]
            write_sheet(self.folder / "review.html", to_review, files, self.settings.nprocs)

    def _file_of(self, image: str) -> Path:
        """The file of an image that a person has to look at, as it would be released."""
        candidates = (self.plan.warned.get(image), review_dir(self.settings) / image)
        there = [path for path in candidates if path is not None and path.is_file()]
        return there[0] if there else self.settings.release_dir / image


def _to_review(row: ReleaseRow, known: ReviewRow | None) -> ReviewRow:
    return ReviewRow(
        participant_id=PurePosixPath(row.path).parts[0],
        image=row.path,
        verdict=row.verdict,
        reason=row.reason,
        decision=known.decision if known else None,
        initials=known.initials if known else None,
    )


def _ignored(mask: str) -> str:
    """The pattern by which a validator passes over a mask that BIDS does not have; ``anat/`` for one that it has."""
    parts = PurePosixPath(mask).relative_to(MASKS).parts
    return f"{parts[0] if parts[0] in FOREIGN else parts[-2]}/"


def _folders(paths: Iterable[str]) -> set[str]:
    return {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents} - {"."}
