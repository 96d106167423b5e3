"""Blemishes of recovered faces that distances do not show: `python -m benchmarks.looks BIDS_DIR WORK_DIR [options]`.

Defaces and attacks as `benchmarks/attack.py` does, then counts, in the region that was painted, what an original face
does not have: loose pieces in the air, pits of the skin deeper than a millimetre, and a step where the painted skin
meets the known one. Prints one row for each tool and kind of face, beside the original's own figures.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from benchmarks.attack import attack_model, chosen, defaced, head_parser, prepare
from bids_refacer.defacers import DEFACERS
from bids_refacer.refacing.attack import DefacedImage, Refaced, reface
from bids_refacer.refacing.sampling import SamplingSettings, paired_seeds
from bids_refacer.surfaces.region import part_of
from bids_refacer.surfaces.skin import Skin, find_skin, skin_surface
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.masks import voxel_sizes, voxel_volume
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan

PIT_MM = 1.0
FLOOR_MM, RIM_MM = 3.0, 6.0
"""A pit is seen against the ring of skin between these distances from its deepest point."""
OWN_MM = 8.0
"""A pit this near to one of the original (corners of eyes and mouth, nostrils) is no blemish."""
OWN_DEPTH_MM = 0.6
RISER_MM, STRIP_MM = 1.5, 5.0
"""A step is measured between skin at these distances on either side: not on its riser, whose normals lean over."""
LEAST_PIECE_ML = 0.01


@dataclass(frozen=True)
class Blemishes:
    """What a face has.

    Attributes
    ----------
    loose_pieces : bright pieces in the painted region that are not connected to the head
    pits : pits deeper than `PIT_MM` that the original does not have
    deepest_mm : the deepest of these, 0 without any
    step_mm : mean step of the skin along the border of the painted region
    """

    loose_pieces: int
    pits: int
    deepest_mm: float
    step_mm: float


def loose_pieces(bright: np.ndarray, painted: np.ndarray, voxel_ml: float) -> int:
    """Pieces of at least `LEAST_PIECE_ML`, within the painted voxels, that do not touch the largest piece.

    Parameters
    ----------
    bright, painted : (i, j, k) bool
    """
    pieces, count = ndimage.label(bright, np.ones((3, 3, 3)))
    if not count:
        return 0
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    head = 1 + int(np.argmax(sizes[1:]))
    inside = np.bincount(pieces[painted], minlength=count + 1)
    inside[[0, head]] = 0
    return int((inside * voxel_ml >= LEAST_PIECE_ML).sum())


def pit_depths(mesh: trimesh.Trimesh) -> np.ndarray:
    """(n,) mm: how far each vertex lies below the middle of the ring of skin around it, along its normal; >= 0."""
    points, normals = np.asarray(mesh.vertices), np.asarray(mesh.vertex_normals)
    tree = cKDTree(points)
    rim = _mean_around(tree, points, RIM_MM, FLOOR_MM)
    smooth = _mean_around(tree, normals, FLOOR_MM, 0.0)
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-9)
    return np.maximum(((rim - points) * smooth).sum(1), 0)


def _mean_around(tree: cKDTree, values: np.ndarray, outer: float, inner: float) -> np.ndarray:
    """(n, 3) mean of values at points between two distances of each point; the point's own place without any."""
    count = len(values)
    pairs = tree.sparse_distance_matrix(tree, outer, output_type="coo_matrix")
    kept = pairs.data >= inner
    ring = coo_matrix((np.ones(int(kept.sum())), (pairs.row[kept], pairs.col[kept])), shape=(count, count)).tocsr()
    total = np.asarray(ring.sum(1))
    return np.where(total > 0, ring @ values / np.maximum(total, 1), values if inner == 0 else tree.data)


def foreign_pits(mesh: trimesh.Trimesh, wanted: np.ndarray, original: trimesh.Trimesh) -> np.ndarray:
    """Depth (mm) of each pit of a skin that the original does not have.

    Parameters
    ----------
    mesh, original : complete skins, mm
    wanted : (n,) bool, vertices of `mesh` that count
    """
    depths = pit_depths(mesh)
    deep = np.flatnonzero(wanted & (depths > PIT_MM))
    own = np.asarray(original.vertices)[pit_depths(original) > OWN_DEPTH_MM]
    if len(own) and len(deep):
        deep = deep[cKDTree(own).query(np.asarray(mesh.vertices)[deep])[0] > OWN_MM]
    if not len(deep):
        return np.zeros(0)
    near = cKDTree(np.asarray(mesh.vertices)[deep]).sparse_distance_matrix(
        cKDTree(np.asarray(mesh.vertices)[deep]), FLOOR_MM, output_type="coo_matrix"
    )
    count, piece = connected_components(near, directed=False)
    return np.array([depths[deep[piece == number]].max() for number in range(count)])


def step_mm(mesh: trimesh.Trimesh, depth: np.ndarray, wanted: np.ndarray) -> float:
    """Mean step of a skin along the border of a region: distance between its two strips, along their common normal.

    Parameters
    ----------
    mesh : trimesh.Trimesh, mm
    depth : (n,) mm, of its vertices below the border of the region, negative outside
    wanted : (n,) bool, vertices that count

    Returns
    -------
    float, mm; NaN where the border crosses none of them
    """
    points, normals = np.asarray(mesh.vertices), np.asarray(mesh.vertex_normals)
    border = np.flatnonzero(wanted & (np.abs(depth) < 1.0))
    sides = [np.flatnonzero((side > RISER_MM) & (side < STRIP_MM)) for side in (depth, -depth)]
    if not len(border) or not all(len(side) for side in sides):
        return float("nan")
    trees = [cKDTree(points[side]) for side in sides]
    steps = []
    for vertex in border:
        near = [side[tree.query_ball_point(points[vertex], STRIP_MM)] for side, tree in zip(sides, trees, strict=True)]
        if all(len(part) > 2 for part in near):
            normal = sum(normals[part].mean(0) for part in near)
            normal = normal / max(np.linalg.norm(normal), 1e-9)
            steps.append(abs((points[near[0]].mean(0) - points[near[1]].mean(0)) @ normal))
    return float(np.mean(steps)) if steps else float("nan")


def blemishes(image: Volume, original: Skin, painted: np.ndarray, alignment: Alignment) -> Blemishes:
    """All figures of an image, at the skin level of the original; see `surfaces.quality.face_quality`."""
    mesh = skin_surface(image, original.level)
    spacing = voxel_sizes(image.affine)
    inside, outside = (ndimage.distance_transform_edt(mask, sampling=spacing) for mask in (painted, ~painted))
    voxels = apply_affine(np.linalg.inv(image.affine), mesh.vertices)
    depth = ndimage.map_coordinates((inside - outside).astype(np.float32), voxels.T, order=1)
    face = part_of(mesh.vertices, alignment) > 0
    pits = foreign_pits(mesh, face & (depth > -1), original.mesh)
    return Blemishes(
        loose_pieces(image.values > original.level, painted, voxel_volume(image.affine) / 1000),
        len(pits),
        float(pits.max(initial=0)),
        step_mm(mesh, depth, face),
    )


def refaced_image(scan: Scan, folder: Path, tool: str, name: str) -> Refaced:
    """The attack of one model on a defaced image."""
    settings = SamplingSettings(sampler="dpmpp2m", steps=None, device=torch.device("cpu"))
    return reface(
        DefacedImage(scan, *prepare(scan, folder)),
        attack_model(name),
        settings,
        seeds=paired_seeds((0,)),
        zone=DEFACERS[tool].action == "replaces",
        progress=lambda *_: None,
    )


def main() -> None:
    parser = head_parser(__doc__)
    parser.add_argument("--tools", nargs="+", default=["quickshear", "pydeface", "niimath"])
    parser.add_argument("--models", nargs="+", default=["default"])
    options = parser.parse_args()
    rows: dict[tuple[str, str], list[Blemishes]] = {}
    for name in chosen(options):
        original = read_scan(next((options.bids_dir / name).rglob("*_T1w.nii*")))
        skin = find_skin(original.volume)
        truth = prepare(original, options.work_dir / name)[1]
        for tool in options.tools:
            scan = defaced(original, tool, options.work_dir / name)
            for model in options.models:
                refaced = refaced_image(scan, options.work_dir / name / tool, tool, model)
                images = {"original": original.values, model: refaced.mean * scan.slope + scan.inter}
                images[f"average beside {model}"] = refaced.average * scan.slope + scan.inter
                for kind, image in images.items():
                    found = blemishes(Volume(image, original.affine), skin, refaced.unknown, truth)
                    rows.setdefault((tool, kind), []).append(found)
                    print(name, tool, kind, json.dumps(asdict(found)), flush=True)
    print("| tool | face | images with loose pieces | images with pits | deepest pit mm | step mm |")
    print("|---|---|---|---|---|---|")
    for (tool, kind), found in rows.items():
        loose, pits = (sum(getattr(f, part) > 0 for f in found) for part in ("loose_pieces", "pits"))
        deepest, step = max(f.deepest_mm for f in found), np.nanmean([f.step_mm for f in found])
        print(f"| {tool} | {kind} | {loose} of {len(found)} | {pits} of {len(found)} | {deepest:.1f} | {step:.2f} |")


if __name__ == "__main__":
    main()
