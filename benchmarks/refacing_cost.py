"""What refacing one image costs: `python -m benchmarks.refacing_cost DEFACED.nii.gz [--runs 3] [--threads 2]`.

Runs the child command of the workflow from start to end (imports, brain mask, registration, sampling, composition,
writing) and prints wall seconds, CPU seconds and peak resident memory of each run.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds (children included), peak memory in GB of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.run(command, check=True)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("defaced", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="default")
    parser.add_argument("--num-samples", type=int, default=1)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("| run | wall s | CPU s | peak GB |\n|---|---|---|---|")
    for number in range(1, options.runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "bids_refacer.cli.reface", str(options.defaced), folder]
            command += ["--model", options.model, "--gpu", "none"]
            command += ["--threads", str(options.threads), "--seeds", *map(str, range(options.num_samples))]
            wall, cpu, memory = measure(command)
        print(f"| {number} | {wall:.1f} | {cpu:.1f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
