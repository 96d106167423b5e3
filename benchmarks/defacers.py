"""How the defacers do: `python -m benchmarks.defacers WORK_DIR --bids BIDS_DIR --split val --images IMAGE ...`.

Each tool runs on each head in a process of its own, whose time and peak memory are noted; then both verdicts, the brain
measures and what is left of each part of the face. Prints the tables of docs/tools.md. What WORK_DIR holds is not
computed again. Defaced images of real people stay there: it must not be shared.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.attack import prepare
from bids_refacer.interfaces.defacers import DEFACERS
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume

TOOLS = (
    "quickshear", "pydeface", "niimath", "deepdefacer", "spm-rule", "skullstrip", "average", "niimath-reface",
)  # fmt: skip


def deface_one(image: Path, folder: Path, tool: str) -> None:
    """The child: run a tool, write what it made and what it cost. Peak memory counts Python and its largest child."""
    scan = read_scan(image)
    brain, alignment = prepare(scan, folder)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        result = DEFACERS[tool].run(scan, brain, alignment, Path(scratch))
    seconds = time.perf_counter() - started
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    target = folder / tool
    target.mkdir(exist_ok=True)
    write_scan(target / "defaced.nii.gz", scan, result.stored)
    write_volume(target / "mask.nii.gz", result.removed, scan.affine, np.uint8)
    cost = {"seconds": seconds, "peak_mb": peak / 1024, "details": result.details}
    (target / "cost.json").write_text(json.dumps(cost, default=float))


def run_tool(image: Path, folder: Path, tool: str) -> str | None:
    """Deface in a child process, unless it was done; the error where it failed."""
    if (folder / tool / "cost.json").exists():
        return None
    command = [sys.executable, "-m", "benchmarks.defacers", str(folder), "--one", str(image), tool]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def find_images(options: argparse.Namespace) -> dict[str, Path]:
    """Name of a head -> its image."""
    found = {path.name.split("_")[0]: path for path in options.images}
    if options.bids:
        with (options.bids / "participants.tsv").open() as file:
            rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == options.split]
        names = [row["participant_id"] for row in rows]
        found |= {name: next((options.bids / name).rglob("*_T1w.nii*")) for name in names}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--bids", type=Path, help="dataset with a column `split` in participants.tsv")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="more heads")
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    parser.add_argument("--one", nargs=2, metavar=("IMAGE", "TOOL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        deface_one(Path(options.one[0]), options.work_dir, options.one[1])
        return
    rows = []
    for name, image in find_images(options).items():
        folder = options.work_dir / name
        prepare(read_scan(image), folder)
        for tool in options.tools:
            error = run_tool(image, folder, tool)
            print(name, tool, error or "done", flush=True)
            rows.append({"head": name, "tool": tool, "error": error})


if __name__ == "__main__":
    main()
