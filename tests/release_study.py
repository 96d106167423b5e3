"""A study full of planted names, and an audit of it that never ran: verdicts and defaced images made by hand."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension
from small_datasets import average_head, start_dataset

from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.dataset.images import HeadImage, head_image
from bids_refacer.dataset.names import OutputNames, dataset_table, sidecar_of
from bids_refacer.dataset.records import DefacedRecord, fingerprint
from bids_refacer.dataset.rows.audit import DistanceRow, subject_columns
from bids_refacer.dataset.rows.table import write_rows
from bids_refacer.dataset.sidecars import defacemask_sidecar
from bids_refacer.files import write_json
from bids_refacer.layout import Layout
from bids_refacer.release.settings import ReleaseSettings
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.header_texts import TEXTS
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume

TOOL = "quickshear"
PLANTED = ("Doe^Jane", "St-Planted-Hospital", "19710203", "SN-424242", "Dr-Planted", "1.2.840.113619.2.5.1762")
DAY, CLOCK = "2019-05-06", "12:34:56"
FIELDS: dict[str, Any] = {
    "RepetitionTime": 2.3,
    "Manufacturer": "Siemens",
    "PatientName": PLANTED[0],
    "InstitutionName": PLANTED[1],
    "PatientBirthDate": PLANTED[2],
    "DeviceSerialNumber": PLANTED[3],
    "OperatorsName": PLANTED[4],
    "SeriesInstanceUID": PLANTED[5],
    "AcquisitionTime": CLOCK,
    "AcquisitionDateTime": f"{DAY}T{CLOCK}",
    "SeriesDescription": f"mprage of {PLANTED[0]}",
    "Remark": PLANTED[0],
    "global": {"const": {"ReferringPhysicianName": PLANTED[4]}},
    "ShimSetting": [1, -2, 3],
}
VERDICTS: dict[str, tuple[float | None, float]] = {
    # image -> percent of the nose that is left (None: not in view), percent of the brain removed
    "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz": (1.0, 0.0),
    "sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz": (2.0, 0.0),
    "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz": (8.0, 0.0),
    "sub-02/anat/sub-02_T1w.nii.gz": (60.0, 0.0),
    "sub-03/anat/sub-03_T1w.nii.gz": (0.0, 0.0),
}
ALONE = "sub-03/anat/sub-03_T1w.nii.gz"
UNJUDGED = "sub-03/anat/sub-03_FLAIR.nii.gz"
BOLD = "sub-01/ses-1/func/sub-01_ses-1_task-rest_bold.nii.gz"


@dataclass(frozen=True)
class Study:
    """Originals and the audit of them."""

    bids: Path
    output: Path

    @property
    def layout(self) -> Layout:
        """The folders of the audit."""
        return Layout.of(self.output)

    def settings(self, release: Path, **changes: Any) -> ReleaseSettings:
        """Settings of a release in one process."""
        values = {"bids_dir": self.bids, "output_dir": self.output, "release_dir": release, "tool": TOOL, "nprocs": 1}
        return ReleaseSettings(**{**values, **changes})

    def image(self, path: str) -> HeadImage:
        """An image by its path."""
        image = head_image(self.bids / path, self.bids)
        assert image is not None
        return image


def make_study(root: Path) -> Study:
    """Two sessions, a held back head, a broken link, a series, tables, sidecars, a picture."""
    bids = start_dataset(root / "bids")
    study = Study(bids, root / "out")
    for number, path in enumerate((*VERDICTS, UNJUDGED)):
        _head(bids / path, number)
    _series(bids / BOLD)
    _texts(bids)
    (bids / "sub-03/anat/sub-03_T2w.nii.gz").symlink_to("../../.git/annex/objects/x/y/key")
    for path, figures in VERDICTS.items():
        add_result(study, path, *figures)
    return study


def copied(study: Study, root: Path) -> Study:
    """A copy of a study, which no release knows."""
    for folder in (study.bids, study.output):
        shutil.copytree(folder, root / folder.name, symlinks=True)
    shutil.rmtree(root / "out/identifiable/release", ignore_errors=True)
    return Study(root / "bids", root / "out")


def add_result(study: Study, path: str, nose_left: float | None, brain_removed: float) -> None:
    """A finished result of the audit: defaced image, mask, sidecars, record."""
    image = study.image(path)
    names, scan = OutputNames.of(study.layout, image), read_scan(image.path)
    mask = np.zeros(scan.stored.shape, dtype=bool)
    mask[:, scan.stored.shape[1] * 3 // 4 :, : scan.stored.shape[2] // 2] = True
    defaced, place = names.defaced(TOOL), names.defacemask(TOOL)
    write_scan(defaced, scan, np.where(mask, scan.fill, scan.stored).astype(scan.stored.dtype))
    write_volume(place, Volume(mask, scan.affine), bool)
    sidecar = defacemask_sidecar(image, TOOL, defaced_uri="bids::x")
    write_json(sidecar_of(place), sidecar.complete({"RunTime": 1.0}))
    left = {part: nose_left if part == "nose" else 0.0 for part in ("nose", "eyes", "mouth", "chin")}
    left = dict.fromkeys(left) if nose_left is None else left
    deface = {
        "Tool": TOOL,
        "Version": "1.2.0",
        "RunTime": 1.0,
        "QualityControl": {"brain_removed_percent": brain_removed},
        "DefacingFigures": {"FaceLeft": left, "BrainCut": {"ml": 0.0, "percent": brain_removed, "hole_ml": 0.0}},
    }
    record = DefacedRecord(
        key={},
        input=fingerprint(image.path),
        image=image.bids_path,
        tool=TOOL,
        kept_refaced=True,
        outputs={study.layout.name_of(file): file.stat().st_size for file in (defaced, place)},
        deface=DefaceDetails.from_json(deface),
        run_time_s=1.0,
    )
    write_json(names.other_record(TOOL), record.to_json())


def add_attack(study: Study, recovered_mm: float) -> None:
    """Distances of a recovered face and of an average one (1.4 mm)."""
    subject = subject_columns(study.image(next(iter(VERDICTS))), TOOL)
    figures = {"refaced_mean": recovered_mm, "average": 1.4}
    rows = [DistanceRow(**subject, image_type=kind, part="face", masd_mm=mm) for kind, mm in figures.items()]
    write_rows(dataset_table(study.layout, "surfacedistance"), DistanceRow, rows)


def _head(path: Path, number: int) -> None:
    """The average head at 4 mm with a name in every text of its header, in extensions, in gzip's, in its sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = average_head()[::2, ::2, ::2].astype(np.int16)
    data[number, 0, 0] = 1  # no two are the same
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-96, -132, -148)
    image = nib.Nifti1Image(data, affine)
    for field in set(TEXTS) & set(image.header.structarr.dtype.names):
        image.header[field] = PLANTED[0].encode()
    image.header.extensions.append(Nifti1Extension(2, " ".join(PLANTED).encode()))
    _packed(path, image)
    sidecar_of(path).write_text(json.dumps(FIELDS))


def _packed(path: Path, image: nib.Nifti1Image) -> None:
    """Write an image, with a name and a time in the header of gzip."""
    with path.open("wb") as file, gzip.GzipFile(f"{PLANTED[0]}.nii", "wb", fileobj=file, mtime=1557142496) as packed:
        packed.write(image.to_bytes())


def _series(path: Path) -> None:
    path.parent.mkdir(parents=True)
    data = np.random.default_rng(0).integers(0, 900, (8, 8, 6, 5)).astype(np.int16)
    image = nib.Nifti1Image(data, np.diag([8.0, 8.0, 8.0, 1.0]))
    image.header["descrip"] = f"TE=30;Time={CLOCK}".encode()
    image.header.set_zooms((8.0, 8.0, 8.0, 2.3))
    image.header.set_xyzt_units("mm", "sec")
    _packed(path, image)
    sidecar_of(path).write_text(json.dumps({**FIELDS, "TaskName": "rest"}))


def _texts(bids: Path) -> None:
    people = [
        f"sub-01\t95\tF\t{PLANTED[0]}",
        "sub-02\t40\tM\tn/a",
        "sub-03\tn/a\tM\tn/a",
    ]
    (bids / "participants.tsv").write_text("\n".join(["participant_id\tage\tsex\tname", *people]) + "\n")
    columns = {"name": {"Description": "of the person"}, "age": {"Units": "year"}}
    (bids / "participants.json").write_text(json.dumps(columns))
    images = [path.removeprefix("sub-01/ses-1/") for path in (*VERDICTS, BOLD) if path.startswith("sub-01/ses-1/")]
    lines = [f"{image}\t{DAY}T{CLOCK}" for image in images]
    (bids / "sub-01/ses-1/sub-01_ses-1_scans.tsv").write_text("\n".join(["filename\tacq_time", *lines]) + "\n")
    (bids / "sub-02/sub-02_scans.tsv").write_text(f"filename\tacq_time\nanat/sub-02_T1w.nii.gz\t{DAY}T{CLOCK}\n")
    (bids / "CHANGES").write_text("1.2.3 2020-02-02\n  - First.\n")
    (bids / "stimuli").mkdir()
    (bids / "stimuli/face.png").write_bytes(b"\x89PNG")
    (bids / "sourcedata").mkdir()
    (bids / "sourcedata/notes.txt").write_text(PLANTED[0])
