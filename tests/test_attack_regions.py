"""The benchmark of the attack tells distances of both regions: where skin was removed, and of the whole face."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.attack import defacing_of
from benchmarks.attack_tables import print_tables
from bids_refacer.volumes.nifti import read_scan, write_scan


def rows(parts: dict[str, float]) -> list[dict]:
    """Two heads; the attack lies at half of the average face's distance."""
    return [
        {"participant": head, "tool": "pydeface", "image_type": kind, "part": part, "masd_mm": masd * share}
        for head in ("sub-01", "sub-02")
        for kind, share in (("average", 1.0), ("default mean", 0.5))
        for part, masd in parts.items()
    ]


def test_both_regions_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(rows({"face": 1.0, "removed": 3.0, "nose": 9.0}))
    removed, face = capsys.readouterr().out.split("MASD over the whole face:")
    assert "MASD where the skin was removed:" in removed
    assert "| pydeface | average | 2 | 3.00 |" in removed and "| pydeface | average | 2 | 1.00 |" in face
    assert "| pydeface | default mean | 2 | 1.50 | 0.50 | 2 |" in removed
    assert (
        "| / average | closer | p (Holm) | / average-drawn | closer | p (Holm) | / average-fitted | closer" in removed
    )
    assert "| pydeface | default mean | 2 | 0.50 | 0.50 | 2 |" in face


def test_rows_of_an_older_benchmark_have_the_whole_face(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(rows({"face": 1.0}))
    printed = capsys.readouterr().out
    assert "removed" not in printed and "| pydeface | average | 2 | 1.00 |" in printed


def test_what_differs_was_removed(tmp_path: Path) -> None:
    values = np.arange(1, 28, dtype=np.int16).reshape(3, 3, 3)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "original.nii.gz")
    original = read_scan(tmp_path / "original.nii.gz")
    cut = values.copy()
    cut[2] = 0
    write_scan(tmp_path / "defaced.nii.gz", original, cut)
    found = defacing_of(original, read_scan(tmp_path / "defaced.nii.gz"))
    assert found.removed[2].all() and not found.removed[:2].any()
