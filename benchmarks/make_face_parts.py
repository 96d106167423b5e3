"""Build bids_refacer/data/face_parts.nii.gz from the average head and landmarks set by hand on its surface.

The average head is the mean of many rigidly aligned heads: the landmarks (mm, canonical frame) are no person's.

    python -m benchmarks.make_face_parts
"""

import argparse
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.surfaces.region import ASSET, PARTS
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.volumes.grid import CANONICAL, Volume
from bids_refacer.volumes.nifti import write_volume
from bids_refacer.volumes.templates import asset

OUTSIDE_MM = 20.0  # a face larger than average, and a long nose, still lie inside the region
INSIDE_MM = 40.0  # so does what a defacer leaves: a cut through the orbits or the jaw belongs to the comparison

# Landmarks: eye centres (+-32, -32), nasion z -24, nose tip z -64, base of the nose z -80, mouth z -92,
# fold between lip and chin z -106, end of the chin z -130 (-142 in long faces), hairline z 44.
EYE_X, EYE_Z, EYE_WIDTH, EYE_HEIGHT = 32.0, -32.0, 22.0, 15.0  # centre, half axes
NASION_Z, TIP_Z, NOSE_BASE_Z = -24.0, -64.0, -81.0
BRIDGE_HALF, WINGS_HALF = 10.0, 24.0
LIP_Z, MOUTH_HALF, CHIN_Z, CHIN_HALF = -106.0, 30.0, -140.0, 32.0
CHEEK_TOP_Z, JAW_Z = -40.0, -120.0
BROW_Z, HAIRLINE_Z = -14.0, 44.0
SIDE_Y, TEMPLE_Y, THROAT_Y = 30.0, 50.0, 84.0  # in front of the ears; in front of the temples; in front of the throat


def face_parts() -> np.ndarray:
    """Labels on the 2 mm canonical grid: (96, 128, 128) uint8, 0 outside, 1 face without a part, 2.. as PARTS."""
    grid = CANONICAL[2]
    x, y, z = np.meshgrid(
        *(grid.affine[a, a] * np.arange(grid.shape[a]) + grid.affine[a, 3] for a in range(3)), indexing="ij"
    )
    labels = _frontal_parts(np.abs(x), z)
    front = (y >= SIDE_Y) & (z >= CHIN_Z) & (z <= HAIRLINE_Z)
    front &= (z >= JAW_Z) | ((y >= THROAT_Y) & (np.abs(x) <= CHIN_HALF))
    labels[~front] = 0
    forehead = PARTS.index("forehead") + 1
    labels[(labels == forehead) & (y < TEMPLE_Y)] = 1
    skin = skin_surface(asset("average_head.nii.gz"))
    at = np.nonzero(labels)
    distance = signed_distances(np.stack([x[at], y[at], z[at]], axis=1), skin)
    labels[at] *= (distance > -INSIDE_MM) & (distance < OUTSIDE_MM)
    return labels


def _frontal_parts(across: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Parts as seen from the front, later ones over earlier ones; `across` is the distance from x = 0."""
    labels = np.ones(z.shape, dtype=np.uint8)
    widening = np.clip((NASION_Z - z) / (NASION_Z - TIP_Z), 0, 1)
    drawn = {
        "cheeks": (z < CHEEK_TOP_Z) & (z >= JAW_Z),
        "eyes": ((across - EYE_X) / EYE_WIDTH) ** 2 + ((z - EYE_Z) / EYE_HEIGHT) ** 2 <= 1,
        "mouth": (across <= MOUTH_HALF) & (z < NOSE_BASE_Z) & (z >= LIP_Z),
        "chin": (across <= CHIN_HALF) & (z < LIP_Z),
        "nose": (across <= BRIDGE_HALF + widening * (WINGS_HALF - BRIDGE_HALF)) & (z < NASION_Z) & (z >= NOSE_BASE_Z),
        "forehead": z >= BROW_Z,
    }
    for part, where in drawn.items():
        labels[where] = PARTS.index(part) + 1
    return labels


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with as_file(files("bids_refacer") / "data") as folder:
        write_volume(Path(folder) / ASSET, Volume(face_parts(), CANONICAL[2].affine), np.uint8)


if __name__ == "__main__":
    main()
