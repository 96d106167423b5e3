"""Where to put the average face: `python -m benchmarks.average_placement BIDS_DIR WORK_DIR --tools pydeface`.

For each head and tool: the defaced image with the population-average face put there by the affine registration of the
brain; moved and turned alone (rigid); the same with intensities matched at the seam, which is what the app compares
with. Printed: symmetric MASD of the face, mm, per head and on average. WORK_DIR is that of `benchmarks.attack`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.attack import chosen, defaced, head_parser, prepare
from bids_refacer.refacing.compose import average_in_native, compose
from bids_refacer.refacing.unknown import unknown_region
from bids_refacer.surfaces.score import score_images
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.intensity import brain_scale
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan


def placements(original: Scan, tool: str, folder: Path) -> dict[str, float]:
    """MASD of the face for each way to place the average."""
    scan = defaced(original, tool, folder)
    brain, alignment = prepare(scan, folder / tool)
    unknown = unknown_region(scan, brain, alignment, zone=False)
    native, scale = scan.grid, brain_scale(scan.values, brain)
    stretched = Alignment(alignment.affine, alignment.affine)
    painted = {
        name: average_in_native(native, way, scale) for name, way in (("affine", stretched), ("rigid", alignment))
    }
    images = {(name, None): np.where(unknown, values, scan.values) for name, values in painted.items()}
    images["rigid, seam matched", None] = compose(scan, painted["rigid"], unknown, ~unknown) * scan.slope + scan.inter
    rows = score_images(original.volume, images, prepare(original, folder)[1]).rows
    return {row.image_type: row.masd_mm for row in rows if row.part == "face"}


def main() -> None:
    parser = head_parser(__doc__)
    parser.add_argument("--tools", nargs="+", default=["pydeface"], help="tools that remove")
    options = parser.parse_args()
    for tool in options.tools:
        found = []
        for name in chosen(options):
            original = read_scan(next((options.bids_dir / name).rglob("*_T1w.nii*")))
            found.append(placements(original, tool, options.work_dir / name))
            print(name, tool, {way: round(masd, 2) for way, masd in found[-1].items()}, flush=True)
        means = {way: round(float(np.mean([one[way] for one in found])), 2) for way in found[0]}
        print(f"mean of {len(found)} heads, {tool}: {means}", flush=True)


if __name__ == "__main__":
    main()
