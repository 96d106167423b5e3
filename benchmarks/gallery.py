"""Faces that only fill a gallery: `python -m benchmarks.gallery BIDS_DIR OUT_DIR [LABEL...]`.

Writes what identification needs of an original (face surface and face map) into an output directory for
`--filler-dataset`, without defacing or refacing anything: seconds a head instead of minutes. The result is identifiable
data. Heads that are there already are passed over.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.dataset.images import find_images
from bids_refacer.dataset.names import OutputNames
from bids_refacer.layout import Layout
from bids_refacer.surfaces.face_map import map_face, write_face_map
from bids_refacer.surfaces.gifti import write_surface
from bids_refacer.surfaces.score import original_skin, true_face
from bids_refacer.training.data.heads import head_file, load_head
from bids_refacer.volumes.brain import extract_brain
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.registration import align_brain


def add_face(image: Path, names: OutputNames, alignment: Alignment | None = None) -> None:
    """Write the true face of a head and its map; the alignment is found when it is not given."""
    scan = read_scan(image)
    if alignment is None:
        brain = extract_brain(scan.volume, name=str(image))
        alignment = align_brain(scan.volume, brain)
    face = true_face(original_skin(scan.volume), scan.grid, alignment).patch
    names.identifiable_anat.mkdir(parents=True, exist_ok=True)
    write_surface(names.face_surface(None, "original"), face)
    write_face_map(names.face_map(None, "original"), map_face(face, alignment))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("labels", nargs="*", help="participants; all when left out")
    parser.add_argument("--cache", type=Path, help="training cache: alignments of its heads are not found again")
    options = parser.parse_args()
    write_datasets(options.out_dir, options.bids_dir)
    labels = tuple(label.removeprefix("sub-") for label in options.labels)
    for image in find_images(options.bids_dir, participants=labels, suffixes=("T1w",)).images:
        names = OutputNames.of(Layout.of(options.out_dir), image)
        if not names.face_map(None, "original").exists():
            started = time.perf_counter()
            head = options.cache and head_file(options.cache, image.path.name.split(f"_{image.suffix}.")[0])
            add_face(image.path, names, load_head(head).alignment if head and head.is_file() else None)
            print(f"{image.participant}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
