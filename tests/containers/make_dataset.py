"""A BIDS dataset of three heads that are no one's: python tests/containers/make_dataset.py FOLDER

Each is the average head of the package, a little larger or smaller, so that results differ between participants.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np

SCALES = {"01": 1.0, "02": 1.03, "03": 0.97}


def main(root: Path) -> None:
    head = nib.load(Path(str(files("bids_refacer"))) / "data" / "average_head.nii.gz")
    root.mkdir(parents=True)
    description = {"Name": "Average heads", "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC BY-SA 3.0"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("The average head of bids_refacer in three sizes.\n")
    for label, scale in SCALES.items():
        folder = root / f"sub-{label}" / "anat"
        folder.mkdir(parents=True)
        affine = np.diag([scale, scale, scale, 1.0]) @ head.affine
        nib.Nifti1Image(np.asarray(head.dataobj), affine).to_filename(folder / f"sub-{label}_T1w.nii.gz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
