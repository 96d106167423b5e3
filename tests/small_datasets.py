"""Tiny BIDS datasets of the average head, good and bad, and how to run the app on them without a model."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from output_folders import identifiable

from bids_refacer.audit.machine import Machine
from bids_refacer.settings import RunSettings
from bids_refacer.volumes.grid import Volume

DATA = Path(str(files("bids_refacer"))) / "data"
STAND_IN = Machine(gpus=0, card="stand-in", weights={"prior.safetensors": "0" * 64})


def start_dataset(root: Path) -> Path:
    root.mkdir(parents=True)
    description = {"Name": "Average heads", "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC BY-SA 3.0"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("The average head of bids_refacer, and damaged copies of it.\n" * 3)
    return root


def add_image(root: Path, name: str, data: np.ndarray | None = None) -> Path:
    """Save an image under its BIDS name; the average head when no data are given."""
    head = nib.load(DATA / "average_head.nii.gz")
    parts = dict(pair.split("-") for pair in name.split("_")[:-1])
    folder = root / f"sub-{parts['sub']}" / (f"ses-{parts['ses']}" if "ses" in parts else "") / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.nii.gz"
    array = np.asarray(head.dataobj) if data is None else data
    image = nib.Nifti1Image(array, head.affine)
    image.header.set_xyzt_units("mm", "sec")  # the validator warns of images that do not say
    image.to_filename(path)
    return path


def average_head() -> np.ndarray:
    return np.asarray(nib.load(DATA / "average_head.nii.gz").dataobj)


def head_without_face() -> np.ndarray:
    head = nib.load(DATA / "average_head.nii.gz")
    data = np.asarray(head.dataobj).copy()
    _, y, z = np.moveaxis(nib.affines.apply_affine(head.affine, np.moveaxis(np.indices(head.shape), 0, -1)), -1, 0)
    data[(y > 45) & (z < -25)] = 0
    return data


def bare_brain() -> np.ndarray:
    mask = np.asarray(nib.load(DATA / "average_brain_mask.nii.gz").dataobj) > 0
    return np.where(mask, average_head(), 0).astype(np.uint8)


DAMAGED = {
    "sub-trunc": "is truncated or damaged: copy or download it again from its source.",
    "sub-zero": "has the same value in every voxel (0): it holds no head, exclude it.",
    "sub-nan": "holds 1 voxels that are NaN or infinite",
    "sub-flat": "is a 2-D image (96, 128)",
    "sub-series": "is a 4-D series (24, 32, 32, 3)",
    "sub-noface": "has no face (there is no tissue where the nose should be)",
    "sub-brain": "is already skull-stripped",
    "sub-annex": "run 'git annex get' or 'datalad get' on it.",
    "sub-other": "has no T1w image",
}
"""What is said of the image that `add_damaged_images` makes of each participant."""


def add_damaged_images(root: Path) -> None:
    """One of every kind of input that cannot be used."""
    small = (40, 40, 40)
    truncated = add_image(root, "sub-trunc_T1w")
    truncated.write_bytes(truncated.read_bytes()[:20000])
    add_image(root, "sub-zero_T1w", np.zeros(small, dtype=np.int16))
    with_nan = np.ones(small, dtype=np.float32)
    with_nan[0, 0, 0] = np.nan
    add_image(root, "sub-nan_T1w", with_nan)
    add_image(root, "sub-flat_T1w", average_head()[:, :, 64])
    add_image(root, "sub-series_T1w", np.stack([average_head()[::4, ::4, ::4]] * 3, axis=-1))
    add_image(root, "sub-noface_T1w", head_without_face())
    add_image(root, "sub-brain_T1w", bare_brain())
    add_image(root, "sub-other_T2w", np.ones(small, dtype=np.uint8))
    (root / "sub-annex" / "anat").mkdir(parents=True)
    (root / "sub-annex" / "anat" / "sub-annex_T1w.nii.gz").symlink_to("../../.git/annex/objects/x/y/key")


@dataclass(frozen=True)
class Done:
    """A run that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str
    settings: RunSettings


def settings_for(bids: Path, output: Path, **changes: object) -> RunSettings:
    """Settings of a run in this process, one node at a time, with the cheapest tool."""
    values: dict = {
        "bids_dir": bids,
        "output_dir": output,
        "work_dir": identifiable(output) / "work",
        "deface_tools": ("quickshear",),
        "nprocs": 1,
        "omp_nthreads": 1,
        "skip_bids_validation": True,
        "recognition": False,  # tests that are not about it do without its networks
    }
    return RunSettings(**{**values, **changes})


@contextlib.contextmanager
def known_brain() -> Iterator[None]:
    """The brain of the average head is known; in other images the extractor, which takes its time, looks for it."""
    from bids_refacer.volumes import brain

    known, extract = nib.load(DATA / "average_brain_mask.nii.gz"), brain._deepbet

    def find(volume: Volume, num_threads: int | None) -> np.ndarray:
        if volume.values.shape == known.shape and np.allclose(volume.affine, known.affine):
            return np.asarray(known.dataobj) > 0
        return extract(volume, num_threads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brain, "_deepbet", find)
        yield


def run_with_stand_in(settings: RunSettings, *, fails: str = "", calls: Path | None = None) -> Done:
    """Run the app with the stand-in in the place of the model."""
    from bids_refacer.audit import run as run_module
    from bids_refacer.audit.nodes.reface import Reface
    from bids_refacer.cli.run import run

    out, err = io.StringIO(), io.StringIO()
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).with_name('stand_in_reface.py')))}"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "MPLCONFIGDIR", "NIPYPE_CONFIG_DIR", "OMP_NUM_THREADS", "NO_ET", "NIPYPE_NO_ET"):
            patch.setenv(name, "")  # what the run sets in its own process must not reach other tests
        patch.setattr("tempfile.tempdir", None)
        patch.setattr(run_module, "ask", lambda model, gpu: STAND_IN)
        patch.setattr(Reface, "_cmd", command)
        patch.setattr(
            "bids_refacer.refacing.drawing.fitted.fitted_average", lambda original, template, scan, target: scan
        )
        patch.setenv("STAND_IN_FAILS", fails)
        if calls:
            patch.setenv("STAND_IN_CALLS", str(calls))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(settings)
    return Done(code, out.getvalue(), err.getvalue(), settings)
