"""Do brain extraction and defacers succeed on synthetic heads? `python -m benchmarks.simulated_success DATASET [TOOL]`.

DATASET is made by `bids_refacer simulate` (T1w). For each head: the app's brain extraction, alignment and check for a
face, then the tools. Printed: Dice of the brain with the true one, error of the pose, what each tool removed of the
head and of the brain, CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from bids_refacer.dataset.simulated import SimulatedNames
from bids_refacer.defacers import DEFACERS
from bids_refacer.volumes.brain import extract_brain, require_face
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.registration import align_brain


def check(names: SimulatedNames, tools: list[str]) -> str:
    """One line on a head; an error of the app is a failure of the head."""
    began = time.process_time()
    scan, truth = read_scan(names.image("T1w")), read_scan(names.truth("brain.nii.gz")).stored > 0
    brain = extract_brain(scan.volume, num_threads=1, name=names.label)
    alignment = align_brain(scan.volume, brain)
    require_face(scan.volume, brain, alignment, name=names.label)
    pose = np.array(json.loads(names.truth("head.json").read_text())["NativeToCanonical"])
    nose = np.linalg.inv(pose) @ np.array([0.0, 106.0, -60.0, 1.0])
    said = [f"Dice {2 * (brain & truth).sum() / (brain.sum() + truth.sum()):.3f}"]
    said.append(f"nose {np.linalg.norm((alignment.rigid @ nose - pose @ nose)[:3]):.1f} mm from its true place")
    for tool in tools:
        with tempfile.TemporaryDirectory() as work:
            quality = DEFACERS[tool].run(scan, brain, alignment, Path(work)).details["QualityControl"]
        said.append(f"{tool} {quality}")
    return "; ".join([*said, f"{time.process_time() - began:.0f} s CPU"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("tools", nargs="*", default=["quickshear", "pydeface"])
    options = parser.parse_args()
    for folder in sorted(options.dataset.glob("sub-*")):
        names = SimulatedNames(options.dataset, folder.name.removeprefix("sub-"))
        try:
            print(f"{folder.name}: {check(names, options.tools)}", flush=True)
        except Exception as error:  # which head failed, and how, is the result
            print(f"{folder.name}: FAILED {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
