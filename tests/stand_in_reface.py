"""Stands in for `python -m bids_refacer.cli.reface` in tests of the workflow: same arguments and files, no model.

Paints the average head back, so that an average head that was defaced is recovered exactly. It fails on images whose
tool, a folder on their path, is named in STAND_IN_FAILS, warns of all with the words in STAND_IN_WARNS, and counts its
calls in the file STAND_IN_CALLS.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

from bids_refacer.cli.reface import _parser
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume


def main() -> int:
    options = _parser().parse_args()
    if "STAND_IN_CALLS" in os.environ:
        with Path(os.environ["STAND_IN_CALLS"]).open("a") as calls:
            calls.write(" ".join(sys.argv[1:]) + "\n")
    if set(os.environ.get("STAND_IN_FAILS", "").split()) & set(options.defaced.parts):
        print("Warning: something else.\nThe stand-in cannot reface this.", file=sys.stderr)
        return 1
    scan = read_scan(options.defaced)
    head = read_scan(Path(str(files("bids_refacer"))) / "data" / "average_head.nii.gz")
    removed = scan.values == 0
    # other heads get tissue of one brightness: a face, if nobody's
    face = head.stored if head.stored.shape == scan.stored.shape else np.median(scan.stored[~removed])
    recovered = np.where(removed, face, scan.stored).astype(scan.stored.dtype)
    options.out_dir.mkdir()
    for number in range(1, len(options.seeds) + 1):
        write_scan(options.out_dir / f"sample-{number}.nii.gz", scan, recovered)
    for name in ("mean", "average"):
        write_scan(options.out_dir / f"{name}.nii.gz", scan, recovered)
    write_volume(options.out_dir / "unknown.nii.gz", Volume(removed, scan.affine), "uint8")
    attack = {
        "Model": "stand-in",
        "WeightsSHA256": {"prior.safetensors": "0" * 64},
        "Sampler": options.sampler,
        "Steps": [options.steps or 12],
        "Seeds": options.seeds,
        "Device": "cpu",
        "RunTime": 0.5,
    }
    if os.environ.get("STAND_IN_WARNS"):
        attack["Warnings"] = [os.environ["STAND_IN_WARNS"]]
    (options.out_dir / "attack.json").write_text(json.dumps(attack))
    return 0


if __name__ == "__main__":
    sys.exit(main())
