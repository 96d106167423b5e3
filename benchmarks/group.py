"""How long the group level takes: `python -m benchmarks.group tables [N] | search N... | descriptors N...`.

`tables`: the whole command on synthetic tables of N participants (500) x 6 tools with two samples each.
`search N`: N probes against N members, random faces with realistic gaps, ranks and all figures with their intervals.
`descriptors N`: the same of N vectors of 128 numbers, as recognition programs give, and crowds to 10 million.
Prints seconds (wall and CPU of this process) and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.synthetic_outputs import smooth, write_output
from bids_refacer.group.run import run_group
from bids_refacer.recognition.gallery import DescriptorGallery
from bids_refacer.settings import RunSettings
from bids_refacer.statistics.crowd import SIZES, crowd
from bids_refacer.statistics.identification import Probes, identify
from bids_refacer.surfaces.face_map import COLUMNS, ROWS, halved
from bids_refacer.surfaces.face_matching import Gallery, Searchable, match

TOOLS = ("afni", "mideface", "niimath", "pydeface", "quickshear", "skullstrip")
SHARE_OF_SKIN = 0.75  # of the grid, as in real heads


def timed(name: str, run: Callable[[], object]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    spent = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name}: {spent[0]:.1f} s wall, {spent[1]:.1f} s CPU, {peak:.2f} GB peak", flush=True)


def tables(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bids, output = Path(folder) / "bids", Path(folder) / "out"
        bids.mkdir()
        (bids / "dataset_description.json").write_text('{"Name": "none", "BIDSVersion": "1.10.0"}')
        labels = [f"{number:04}" for number in range(count)]
        lines = [f"sub-{label}\t{'FM'[n % 2]}\t{20 + n % 60}\t{'ABC'[n % 3]}" for n, label in enumerate(labels)]
        (bids / "participants.tsv").write_text("\n".join(["participant_id\tsex\tage\tscanner", *lines]) + "\n")
        write_output(output, labels, TOOLS)
        settings = RunSettings(bids_dir=bids, output_dir=output, work_dir=output, analysis_level="group")
        timed(f"tables of {count} participants x {len(TOOLS)} tools", lambda: run_group(settings, lambda line: None))


def faces(count: int) -> np.ndarray:
    """Mixtures of a few smooth fields: (count, rows, columns) float32 at half resolution, made block by block."""
    rng = np.random.default_rng(0)
    basis = np.stack([halved(smooth(rng, 1.0)) for _ in range(40)]).reshape(40, -1)
    found = np.empty((count, ROWS // 2, COLUMNS // 2), dtype=np.float32)
    skin = np.zeros(found[0].size, dtype=bool)
    skin[: int(SHARE_OF_SKIN * skin.size)] = True
    for start in range(0, count, 1000):
        block = 95 + rng.normal(0, 1, (min(1000, count - start), 40)) @ basis
        block[:, ~skin] = np.nan
        block[rng.uniform(size=block.shape) < 0.02] = np.nan
        found[start : start + len(block)] = block.reshape(len(block), *found.shape[1:])
    return found


def search(count: int) -> None:
    members = faces(count)
    look_up(members + np.random.default_rng(1).normal(0, 8, members.shape).astype(np.float32), Gallery(members))


def descriptors(count: int) -> None:
    members, noise = np.random.default_rng(0).normal(size=(2, count, 128)).astype(np.float32)
    probes = members + 1.5 * noise
    members, probes = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (members, probes))
    look_up(probes, DescriptorGallery(members))


def look_up(probes: np.ndarray, gallery: Searchable) -> None:
    count = len(probes)
    own = np.arange(count)

    def run() -> None:
        found = match(probes, gallery, own)
        crowd(found.ranks - 1, count - 1, own, np.array(SIZES), seed=0)
        result = identify(Probes(found.ranks, found.genuine, found.counter, own, count), seed=0)
        print(f"rank-1 {result.cmc[0]:.3f}, AUC {result.auc.estimate:.4f}")

    timed(f"{count} probes x {count} members", run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tables", "search", "descriptors"))
    parser.add_argument("counts", type=int, nargs="*", default=[500], metavar="N")
    options = parser.parse_args()
    for count in options.counts:
        {"tables": tables, "search": search, "descriptors": descriptors}[options.what](count)


if __name__ == "__main__":
    main()
