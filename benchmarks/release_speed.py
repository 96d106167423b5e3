"""Time and memory of a release of many small participants: python -m benchmarks.release_speed --participants 1000

Each has a T1w that the audit defaced, a series, two sidecars and a table of scans, 16 voxels wide: what is measured is
what a release does for each file, not how fast voxels are packed.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.dataset.images import head_image
from bids_refacer.dataset.names import OutputNames, sidecar_of
from bids_refacer.dataset.records import DefacedRecord, fingerprint
from bids_refacer.files import write_json
from bids_refacer.layout import Layout
from bids_refacer.release.run import run_release
from bids_refacer.release.settings import ReleaseSettings
from bids_refacer.release.verify import verify_release
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume

TOOL = "quickshear"
SIDE = 16


def make_participant(bids: Path, layout: Layout, label: str) -> None:
    """Files of one participant, and the audit's result."""
    rng = np.random.default_rng(int(label))
    anat, func = bids / f"sub-{label}/anat", bids / f"sub-{label}/func"
    t1w, bold = anat / f"sub-{label}_T1w.nii.gz", func / f"sub-{label}_task-rest_bold.nii.gz"
    for path, shape in ((t1w, (SIDE,) * 3), (bold, (SIDE, SIDE, SIDE, 4))):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(rng.integers(1, 900, shape).astype(np.int16), np.diag([8.0, 8.0, 8.0, 1.0]))
        image.header["descrip"] = b"TE=2.9;Time=123456.789"
        image.to_filename(path)
        content = {"Manufacturer": "x", "PatientName": "x", "RepetitionTime": 1.0, "TaskName": "rest"}
        sidecar_of(path).write_text(json.dumps(content))
    lines = [f"{path.parent.name}/{path.name}\t2019-05-06T12:34:56" for path in (t1w, bold)]
    (bids / f"sub-{label}/sub-{label}_scans.tsv").write_text("\n".join(["filename\tacq_time", *lines]) + "\n")
    add_result(bids, layout, t1w)


def add_result(bids: Path, layout: Layout, path: Path) -> None:
    """A finished result of the audit, with the front third removed."""
    image = head_image(path, bids)
    assert image is not None
    names, scan = OutputNames.of(layout, image), read_scan(path)
    mask = np.zeros(scan.stored.shape, dtype=bool)
    mask[:, -5:] = True
    defaced, place = names.defaced(TOOL), names.defacemask(TOOL)
    write_scan(defaced, scan, np.where(mask, scan.fill, scan.stored).astype(scan.stored.dtype))
    write_volume(place, Volume(mask, scan.affine), bool)
    write_json(sidecar_of(place), {"Type": "Face"})
    left = dict.fromkeys(("nose", "eyes", "mouth", "chin"), 0.0)
    record = DefacedRecord(
        key={},
        input=fingerprint(path),
        image=image.bids_path,
        tool=TOOL,
        kept_refaced=True,
        outputs={layout.name_of(file): file.stat().st_size for file in (defaced, place)},
        deface=DefaceDetails.from_json({"Version": "1", "DefacingFigures": {"FaceLeft": left}}),
        run_time_s=1.0,
    )
    write_json(names.other_record(TOOL), record.to_json())


def main() -> None:
    """Make the dataset, release it twice, verify it; print times and the largest memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=1000)
    parser.add_argument("--nprocs", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bids, output, release = (Path(folder) / name for name in ("bids", "out", "release"))
        bids.mkdir()
        (bids / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
        for number in range(1, asked.participants + 1):
            make_participant(bids, Layout.of(output), f"{number:04}")
        settings = ReleaseSettings(
            bids_dir=bids, output_dir=output, release_dir=release, tool=TOOL, nprocs=asked.nprocs
        )
        steps = {
            "release": lambda: run_release(settings, lambda _: None),
            "release again": lambda: run_release(settings, lambda _: None),
            "verify": lambda: verify_release(release, with_validator=False, nprocs=asked.nprocs, say=lambda _: None),
        }
        files = sum(path.is_file() for path in bids.rglob("*"))
        print(f"{asked.participants} participants, {files} files, {asked.nprocs} processes")
        for name, step in steps.items():
            began, cpu = time.perf_counter(), time.process_time()
            code = step()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            spent = f"{time.perf_counter() - began:.1f} s, {time.process_time() - cpu:.1f} s of CPU time"
            print(f"{name}: {spent}, up to {peak:.0f} MB, exit code {code}", flush=True)


if __name__ == "__main__":
    main()
