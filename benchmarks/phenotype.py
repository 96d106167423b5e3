"""How long phenotypes take: `python -m benchmarks.phenotype [N [PERMUTATIONS]]`.

N participants (150) x 6 types of image (original, two tools defaced, average, skull-stripped ...) x 3 targets, both
regions and both models, 1000 bootstraps and 1000 permutations, from files of synthetic facial voxels. Prints seconds
(wall and CPU of this process) and peak memory.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.group import timed
from benchmarks.synthetic_outputs import image_path, write_output
from bids_refacer.dataset.names import OutputNames
from bids_refacer.group.cohorts import gate
from bids_refacer.group.outputs import read_outputs
from bids_refacer.group.phenotype_tables import DEFAULT_TARGETS
from bids_refacer.group.phenotypes import phenotype_tables, phenotypes_of
from bids_refacer.layout import Layout
from bids_refacer.phenotypes.voxels import face_roi, head_roi, write_voxels
from bids_refacer.settings import RunSettings

TOOLS = ("pydeface", "quickshear")
KINDS = ("defaced", "average")


def write_voxel_files(
    output: Path,
    muscle: np.ndarray,
    labels: Sequence[str],
    tools: Sequence[str] = TOOLS,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
) -> None:
    """Facial voxels of heads that do not exist; `muscle` (participants,) is in the face of the originals alone."""
    rng = np.random.default_rng(seed)
    face = face_roi()
    size = int(head_roi().sum())
    shapes = np.repeat(rng.normal(0, 6, (10, size // 50 + 1)), 50, axis=1)[:, :size].astype(np.float32)
    pattern = np.where(face & (np.arange(size) % 3 == 0), np.float32(15), np.float32(0))
    for label, amount in zip(labels, muscle, strict=True):
        own = rng.normal(size=10).astype(np.float32) @ shapes
        noise = rng.integers(-20, 21, size, dtype=np.int16)
        values = np.clip(100 + own + noise + np.float32(amount) * pattern, 0, 255).astype(np.uint8)
        names = OutputNames(layout=Layout.of(output), entities={"sub": label}, suffix="T1w")
        _save(names.facial_voxels(None, "original"), values)
        for number, tool in enumerate(tools, start=1):
            for kind in kinds:
                # each tool leaves something else in the place of the face, and none of the person's
                left = np.where(face, 0 if kind == "defaced" else 90, values + number).astype(np.uint8)
                _save(names.facial_voxels(tool, kind, 1 if kind == "refaced" else None), left)


def _save(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_voxels(path, voxels)


def write_phenotypes(path: Path, muscle: np.ndarray, labels: Sequence[str], rho: float, seed: int = 0) -> None:
    """A table with age, sex and the three usual targets, which correlate `rho` with muscle but for age."""
    rng = np.random.default_rng(seed)
    lines = ["\t".join(["participant_id", "age", "sex", *DEFAULT_TARGETS])]
    for number, (label, amount) in enumerate(zip(labels, muscle, strict=True)):
        age = rng.uniform(20, 80)
        hu = 60 - 0.3 * age + 6 * (rho * amount + np.sqrt(1 - rho**2) * rng.normal(size=3))
        lines.append("\t".join([f"sub-{label}", f"{age:.0f}", "FM"[number % 2], *(f"{value:.2f}" for value in hu)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("participants", type=int, nargs="?", default=150, metavar="N")
    parser.add_argument("permutations", type=int, nargs="?", default=1000, metavar="PERMUTATIONS")
    options = parser.parse_args()
    time_phenotypes(options.participants, options.permutations)


def time_phenotypes(count: int, permutations: int) -> None:
    tools = (*TOOLS, "skullstrip")
    with tempfile.TemporaryDirectory() as folder:
        bids, output = Path(folder) / "bids", Path(folder) / "out"
        labels = [f"{number:04}" for number in range(count)]
        muscle = np.random.default_rng(1).normal(size=count)
        write_output(output, labels, tools)
        write_voxel_files(output, muscle, labels, TOOLS)
        write_voxel_files(output, muscle, labels, tools[2:], KINDS[:1])
        write_phenotypes(bids / "phenotype" / "ct.tsv", muscle, labels, rho=0.5)
        settings = RunSettings(bids_dir=bids, output_dir=output, work_dir=output, analysis_level="group")
        outputs = read_outputs([output])
        assert image_path(labels[0]) in set(outputs.distances["image"])
        phenotypes = phenotypes_of(settings)

        def run() -> None:
            tables = phenotype_tables(settings, outputs, gate(outputs), phenotypes, print, permutations)
            for row in tables.phenotypes:
                if row.roi == "face" and row.target == DEFAULT_TARGETS[0]:
                    print(row.model, row.tool, row.image_type, f"rho {row.spearman_rho:.2f}", flush=True)

        timed(f"{count} participants, {permutations} permutations", run)


if __name__ == "__main__":
    main()
