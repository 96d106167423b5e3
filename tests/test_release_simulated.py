"""A simulated study, defaced and released: no image shows the true face, by a look of the test's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_refacer.__main__ import main
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.surfaces.gifti import read_surface

pytestmark = pytest.mark.slow  # it finds brains and registers heads
NEAR_MM = 4.0  # about a voxel


def shown(image: Path, truth: Path) -> float:
    """Share of the true face's front that the image shows: columns of voxels whose first bright voxel lies on it."""
    loaded = nib.as_closest_canonical(nib.load(image))
    values = np.asarray(loaded.dataobj, dtype=np.float32)
    values = values.mean(axis=3) if values.ndim == 4 else values
    bright = values > 0.15 * np.percentile(values[values > 0], 90)
    vertices = np.asarray(read_surface(truth / "skin.surf.gii").vertices)
    to_canonical = np.array(json.loads((truth / "head.json").read_text())["NativeToCanonical"])
    placed = nib.affines.apply_affine(to_canonical, vertices)
    face = vertices[(placed[:, 1] > 55) & (np.abs(placed[:, 0]) < 30) & (placed[:, 2] > -95) & (placed[:, 2] < -25)]
    voxels = nib.affines.apply_affine(np.linalg.inv(loaded.affine), face)
    size = float(np.linalg.norm(loaded.affine[:3, 1]))
    near = []
    for i, j, k in voxels:
        column = (round(i), slice(None), round(k))
        if 0 <= round(i) < bright.shape[0] and 0 <= round(k) < bright.shape[2]:
            front = np.flatnonzero(bright[column])
            near.append(front.size > 0 and abs(front[-1] - j) * size < NEAR_MM)
    assert len(near) > 50
    return float(np.mean(near))


def test_no_released_image_shows_the_true_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads, place = tmp_path / "heads", tmp_path / "release"
    options = ("--participants", "2", "--seed", "1", "--contrasts", "T1w", "T2w")
    assert main(["simulate", str(heads), *options]) == 0
    anat = heads / "sub-002/anat"
    (anat / "sub-002_T2w.nii.gz").unlink()
    (anat.parent / "func").mkdir()
    image = nib.load(anat / "sub-002_T1w.nii.gz")
    series = nib.Nifti1Image(np.stack([np.asarray(image.dataobj)] * 3, axis=-1), image.affine)
    series.header.set_zooms((2, 2, 2, 2))
    series.header.set_xyzt_units("mm", "sec")
    series.to_filename(anat.parent / "func/sub-002_task-rest_bold.nii.gz")
    (heads / "task-rest_bold.json").write_text(json.dumps({"TaskName": "rest", "RepetitionTime": 2.0}))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    command = ["deface", str(heads), str(place), "--tool", "pydeface", "--accept-warnings", "--also", "func"]
    main([*command, "--nprocs", "1"])
    rows = {row.path: row for row in read_rows(place / "release.tsv", ReleaseRow)}
    images = [path for path in rows if path.endswith(".nii.gz") and path.startswith("sub-")]
    assert len(images) == 4
    for path in images:
        truth = heads / "sourcedata/truth" / path.split("/")[0]
        assert shown(heads / path, truth) > 0.8, f"{path}: the check must see the face in the original"
        if rows[path].action != "held back":
            assert shown(place / path, truth) < 0.15, path
    assert sum(rows[path].action == "defaced" for path in images) >= 3
    assert main(["verify", str(place), "--nprocs", "1"]) == 0
    shutil.rmtree(tmp_path / "temporary")
