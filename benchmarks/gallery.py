"""Faces that only fill a gallery: `python -m benchmarks.gallery BIDS_DIR OUT_DIR LABEL...`.

Writes what identification needs of an original (face surface and face map) into an output directory for
`--filler-dataset`, without defacing or refacing anything: seconds a head instead of minutes. The result is identifiable
data. Heads that are there already are passed over.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from bids_refacer.dataset.description import write_datasets
from bids_refacer.dataset.images import find_images
from bids_refacer.dataset.names import OutputNames
from bids_refacer.interfaces.brain import extract_brain
from bids_refacer.surfaces.distances import mark_face
from bids_refacer.surfaces.gifti import write_surface
from bids_refacer.surfaces.identity import map_face, write_face_map
from bids_refacer.surfaces.region import face_patch
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.volumes.grid import Grid
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.registration import align_brain


def add_face(image: Path, names: OutputNames) -> None:
    scan = read_scan(image)
    brain = extract_brain(scan.values, scan.affine, name=str(image))
    alignment = align_brain(scan.values, scan.affine, brain)
    view = Grid(scan.values.shape, np.asarray(scan.affine, dtype=np.float64))
    marked = mark_face(skin_surface(scan.values, scan.affine), alignment, view)
    inside = np.zeros(len(marked.mesh.vertices), dtype=bool)
    inside[marked.where] = True
    face = face_patch(marked.mesh, inside)[0]
    names.identifiable_anat.mkdir(parents=True, exist_ok=True)
    write_surface(names.face_surface(None, "original"), face)
    write_face_map(names.face_map(None, "original"), map_face(face, alignment))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("labels", nargs="+")
    options = parser.parse_args()
    write_datasets(options.out_dir, options.bids_dir)
    labels = tuple(label.removeprefix("sub-") for label in options.labels)
    for image in find_images(options.bids_dir, participants=labels, suffixes=("T1w",)).images:
        names = OutputNames(output_dir=options.out_dir, entities=image.entities, suffix=image.suffix)
        if not names.face_map(None, "original").exists():
            started = time.perf_counter()
            add_face(image.path, names)
            print(f"{image.participant}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
