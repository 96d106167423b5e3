"""Are synthetic heads like real ones, and is nobody in them?

    python -m benchmarks.simulated_heads CACHE PARTICIPANTS [--heads N]

CACHE is the cache folder of `bids_refacer train BIDS_DIR OUT --prepare-only`; the column split of PARTICIPANTS says of
whom the model was made (train), and who is a stranger to it (val). Two pictures of a head are
compared, both in the canonical frame: its face (signed distance to the skin, mm, near the average face) and its tissue
(4 mm voxels in brain medians). Printed:

- distances between pairs of heads, real and synthetic, and the Kolmogorov-Smirnov test of the two distributions. Pairs
  share heads, so the p value is that of disjoint pairs, median of many draws;
- the distance of each synthetic head to the nearest head that the model was made from, beside the same of held-out
  people (val) and of each such head to the others. A model that had kept people would make heads nearer to them than
  strangers are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist, pdist, squareform

from benchmarks.make_head_model import people
from bids_refacer.simulation.acquisition import BRAIN_MEDIAN, Protocol, Session, acquire
from bids_refacer.simulation.anatomy import anatomy_of, true_skin
from bids_refacer.simulation.model import HeadModel, head_model
from bids_refacer.simulation.people import draw_person
from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.training.data.heads import Head, load_head
from bids_refacer.volumes.grid import CANONICAL, pool
from bids_refacer.volumes.intensity import CLIP
from bids_refacer.volumes.templates import asset

NEAR_MM = 10.0
SHARE = 0.97  # of the heads must show a voxel for it to count
DRAWS = 200


def face_voxels(model: HeadModel) -> np.ndarray:
    """(48, 64, 64) bool: near the average face."""
    parts = asset("face_parts.nii.gz").values > 0
    i, j, k = (side // 2 for side in parts.shape)
    return parts.reshape(i, 2, j, 2, k, 2).any(axis=(1, 3, 5)) & (np.abs(model.skin_mm) < NEAR_MM)


def real(paths: list[Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, v) skin distances, (n, v) tissue in brain medians, (n, v) whether seen, of all 4 mm voxels."""
    rows = [_real(load_head(path)) for path in paths]
    return tuple(np.stack(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


def _real(head: Head) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tissue, _ = pool((head.values + 1) * (CLIP / 2), np.ones_like(head.seen))
    _, seen = pool(head.values, head.seen)
    return head.skin_mm.ravel().astype(np.float32), tissue.ravel(), seen.ravel()


def synthetic(model: HeadModel, seed: int, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skin distances at the face's voxels, and tissue of all, of one head without noise, in the canonical frame."""
    rng = np.random.default_rng([6, seed])
    anatomy = anatomy_of(model, draw_person(model, 0.5, rng), rng)
    grid = CANONICAL[4]
    points = np.argwhere(face) * 4.0 + grid.affine[:3, 3]
    skin = signed_distances(points, true_skin(model, anatomy))
    image = acquire(model, anatomy, Session(grid, np.eye(4)), Protocol(4.0, noise=0.0), "T1w", rng)
    return skin, np.clip(image / BRAIN_MEDIAN, 0, CLIP).ravel()


def compare(name: str, unit: str, made_from: np.ndarray, held_out: np.ndarray, drawn: np.ndarray) -> None:
    """Print both comparisons; rows are heads, distances are root mean squares."""
    scale = 1 / np.sqrt(made_from.shape[1])
    pairs = [pdist(x) * scale for x in (made_from, drawn)]
    p_values = [_disjoint(made_from, drawn, scale, np.random.default_rng(k)) for k in range(DRAWS)]
    for label, values in zip(("real", "synthetic"), pairs, strict=True):
        print(f"{name}, pairs of {label} heads: {_spread(values)} {unit}")
    print(f"{name}: KS D {stats.ks_2samp(*pairs).statistic:.2f}, p of disjoint pairs {np.median(p_values):.2f}")
    own = squareform(pairs[0])
    np.fill_diagonal(own, np.inf)
    nearest = {
        "synthetic": cdist(drawn, made_from).min(1) * scale,
        "held-out real": cdist(held_out, made_from).min(1) * scale,
    }
    nearest["each of the model's heads, to the others"] = own.min(1)
    for label, values in nearest.items():
        print(f"{name}, nearest of the model's heads, {label}: {_spread(values)} {unit}")


def _disjoint(a: np.ndarray, b: np.ndarray, scale: float, rng: np.random.Generator) -> float:
    found = []
    for rows in (a, b):
        order = rng.permutation(len(rows))[: len(rows) // 2 * 2].reshape(-1, 2)
        found.append(np.linalg.norm(rows[order[:, 0]] - rows[order[:, 1]], axis=1) * scale)
    return float(stats.ks_2samp(*found).pvalue)


def _spread(values: np.ndarray) -> str:
    low, fifth, middle, high = np.percentile(values, [0, 5, 50, 95])
    return f"median {middle:.2f} (least {low:.2f}, 5 % {fifth:.2f}, 95 % {high:.2f}, n {len(values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("participants", type=Path)
    parser.add_argument("--heads", type=int, default=40)
    options = parser.parse_args()
    model, cached = head_model(), sorted(options.cache.glob("*.npy"))
    splits = [people(options.participants, split) for split in ("train", "val")]
    paths = [[path for path in cached if path.stem in split] for split in splits]
    (skin, tissue, seen), (val_skin, val_tissue, _) = (real(group) for group in paths)
    face = face_voxels(model) & (seen.mean(0) > SHARE).reshape(CANONICAL[4].shape)
    complete = seen[:, face.ravel()].all(1)
    rows = [synthetic(model, seed, face) for seed in range(options.heads)]
    drawn = np.stack([row[0] for row in rows])
    print(f"{complete.sum()} real heads of the model's {len(complete)} show all {face.sum()} voxels of the face")
    compare("face", "mm", skin[complete][:, face.ravel()], val_skin[:, face.ravel()], drawn)
    body = ((model.skin_mm < -2) & (seen.mean(0) > SHARE).reshape(face.shape)).ravel()
    complete = seen[:, body].mean(1) > SHARE
    compare(
        "tissue",
        "brain medians",
        tissue[complete][:, body],
        val_tissue[:, body],
        np.stack([r[1] for r in rows])[:, body],
    )


if __name__ == "__main__":
    main()
