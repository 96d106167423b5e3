"""A T2w-like image of a head: dark where the T1w is bright, in another pose, on another grid."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from bids_refacer.volumes.grid import Grid, Volume, resample
from bids_refacer.volumes.masks import head_mask

SPACING = (1.5, 1.5, 3.0)
TO_T2W = np.eye(4)
"""(4, 4) world of the T1w -> world of the T2w, mm."""
TO_T2W[:3, :3] = Rotation.from_euler("xyz", [6, -4, 5], degrees=True).as_matrix()
TO_T2W[:3, 3] = [7, -9, 12]


def other_contrast(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Float image of the same head with fluid bright and white matter dark; air and bone stay dark."""
    values, affine = image.get_fdata(dtype=np.float32), image.affine
    head = head_mask(Volume(values, affine))
    bright = float(np.percentile(values[head], 99))
    inverted = np.where(head & (values > 0.1 * bright), np.clip(1.15 * bright - values, 0.05 * bright, None), 0)
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in values.shape], indexing="ij"), -1).reshape(-1, 3)
    world = nib.affines.apply_affine(affine, corners)
    low, high = world.min(axis=0), world.max(axis=0)
    to_world = np.diag([*SPACING, 1.0])
    to_world[:3, 3] = low
    i, j, k = np.ceil((high - low) / SPACING).astype(int)
    moved = resample(Volume(inverted, affine), Grid((int(i), int(j), int(k)), to_world), np.linalg.inv(TO_T2W))
    noise = np.random.default_rng(0).normal(0, 0.01 * bright, moved.shape)
    return nib.Nifti1Image(np.abs(moved + noise).astype(np.float32), to_world)
