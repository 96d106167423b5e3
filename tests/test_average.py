"""The registered average face: fitted to what is known of the head, and to nothing else."""

from __future__ import annotations

import numpy as np

from bids_refacer.refacing.average import average_in_native
from bids_refacer.volumes.grid import CANONICAL, Alignment, resample
from bids_refacer.volumes.templates import asset


def test_average_follows_the_size_of_the_known_head() -> None:
    head = asset("average_head.nii.gz")[0].astype(np.float32) / 100
    bigger = np.diag([1.06, 1.06, 1.06, 1.0])
    values = resample(head, CANONICAL[2].affine, CANONICAL[2], np.linalg.inv(bigger), order=1) * 50
    known = np.ones(values.shape, bool)
    known[:, 85:, :70] = False
    average, refined = average_in_native(values, CANONICAL[2].affine, known, Alignment(np.eye(4), np.eye(4)), 50.0)
    hidden = values * ~known
    assert refined
    still = head * 50 * ~known
    assert np.abs(average * ~known - hidden).mean() < 0.5 * np.abs(still - hidden).mean()


def test_average_does_not_read_unknown_voxels() -> None:
    head = asset("average_head.nii.gz")[0].astype(np.float32) / 100
    known = np.ones(head.shape, bool)
    known[:, 85:, :70] = False
    still = Alignment(np.eye(4), np.eye(4))
    results = [
        average_in_native(np.where(known, head, fill), CANONICAL[2].affine, known, still, 1.0)[0] for fill in (0.0, 5.0)
    ]
    np.testing.assert_array_equal(*results)
