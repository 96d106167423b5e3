"""Programs around the defacers: stand-ins for FLIRT and niimath, failures, masks carried from the template."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import Phantom
from nifti_files import raw_image
from scipy import ndimage

from bids_refacer.defacers import DEFACERS, DefacerError
from bids_refacer.defacers import run_program as runner
from bids_refacer.defacers.pydeface_template import load_mask, pydeface_files, register_to_template, sample_mask
from bids_refacer.defacers.run_program import run_program
from bids_refacer.processes import Finished
from bids_refacer.volumes.grid import Alignment, Grid, Volume
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.templates import PADDING, pad_face_mask

IMAGE = Path("sub-01_T1w.nii.gz")
STILL = Alignment(np.eye(4), np.eye(4))

# Takes FLIRT's arguments as nipype writes them. Registration answers with the identity; -applyxfm resamples by world
# coordinates, so that a phantom placed where the template is gets a mask in the right place.
FLIRT = """#!{python}
import sys, nibabel as nib, numpy as np
from nibabel.processing import resample_from_to
option = dict(zip(sys.argv[1:], sys.argv[2:]))
moved = resample_from_to(nib.load(option["-in"]), nib.load(option["-ref"]), order=1)
moved.to_filename(option["-out"])
np.savetxt(option["-omat"], np.eye(4))
open({log!r}, "a").write(" ".join(sys.argv) + "\\n")
"""


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def phantom_scan(phantom_head: Phantom, tmp_path: Path) -> Scan:
    stored = np.rint(phantom_head.values).astype("<i2")
    raw_image(tmp_path / "sub-01_T1w.nii.gz", stored, shape=stored.shape + (1,), affine=phantom_head.affine)
    return read_scan(tmp_path / "sub-01_T1w.nii.gz")


@pytest.fixture
def fsl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`flirt` and `fsl` on the path, and FSLDIR; returns the log of flirt's command lines."""
    (tmp_path / "fsldir" / "etc").mkdir(parents=True)
    (tmp_path / "fsldir" / "etc" / "fslversion").write_text("6.0.7.99\n")
    program(tmp_path, "flirt", FLIRT.format(python=sys.executable, log=str(tmp_path / "flirt.log")))
    program(tmp_path, "fsl", "#!/bin/sh\n")
    monkeypatch.setenv("FSLDIR", str(tmp_path / "fsldir"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "flirt.log"


def test_with_fsl_the_real_pydeface_runs(phantom_scan: Scan, phantom_head: Phantom, fsl: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    result = DEFACERS["pydeface"].run(phantom_scan, phantom_head.brain, STILL, work_dir)
    registration, application = fsl.read_text().splitlines()
    assert "mutualinfo" in registration and "-applyxfm" in application
    assert result.details["Registration"].startswith("FSL FLIRT 6.0.7.99")
    assert result.details["Command"].startswith("pydeface ")
    outputs = np.asarray(nib.load(work_dir / "defaced.nii.gz").dataobj).reshape(phantom_scan.stored.shape)
    both = ~result.removed & (outputs != 0) & (np.abs(outputs - phantom_scan.values) < 1e-3)
    assert both.sum() > 0.98 * (~result.removed & (phantom_scan.values > 0)).sum(), "the program kept the same voxels"
    np.testing.assert_array_equal(result.stored[~result.removed], phantom_scan.stored[~result.removed])
    assert 0.01 < result.removed.mean() < 0.9


def test_fsl_without_its_variable_is_no_fsl(fsl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bids_refacer.defacers.tools.pydeface import flirt_is_here

    assert flirt_is_here()
    monkeypatch.delenv("FSLDIR")
    assert not flirt_is_here()


def test_with_fsl_niimath_is_not_needed(fsl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        "bids_refacer.defacers.installed.find_spec", lambda name: None if name == "niimath" else find_spec(name)
    )
    assert DEFACERS["pydeface"].missing() is None
    monkeypatch.delenv("FSLDIR")
    assert "`pip install niimath`" in str(DEFACERS["pydeface"].missing())


def test_a_failing_program_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('bad header', file=sys.stderr); sys.exit(3)"]
    with pytest.raises(DefacerError) as caught:
        run_program(command, work_dir=tmp_path, image=IMAGE)
    message = str(caught.value)
    assert message.startswith("sub-01_T1w.nii.gz: python")
    assert "failed with exit code 3 and said: bad header; check the image, or leave the tool out." in message


def test_an_absent_program_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        DefacerError, match=r"T1w.nii.gz: none cannot be started \(No such file .*\); install it again\."
    ):
        run_program([str(tmp_path / "none")], work_dir=tmp_path, image=IMAGE)


def test_a_program_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TIMEOUT_S", 0.2)
    with pytest.raises(DefacerError, match="ran longer than 0.2 s and was stopped"):
        run_program([sys.executable, "-c", "import time; time.sleep(20)"], work_dir=tmp_path, image=IMAGE)


def test_programs_inherit_threads_and_write_into_the_work_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    code = "import os, tempfile; print(os.environ['OMP_NUM_THREADS'], tempfile.gettempdir(), os.getcwd())"
    done = run_program([sys.executable, "-c", code], work_dir=tmp_path, image=IMAGE)
    assert isinstance(done, Finished)
    assert done.output.split() == ["3", str(tmp_path), str(tmp_path)]


def fake_niimath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: float) -> None:
    import niimath

    code = f"""#!{sys.executable}
import json, sys
at = sys.argv.index("-savemat") + 1
matrix = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, {stretch}, 0], [0, 0, 0, 1]]
json.dump(dict(moving_to_fixed=matrix), open(sys.argv[at], "w"))
"""
    monkeypatch.setattr(niimath, "bin", str(program(tmp_path, "niimath", code)))


@pytest.mark.parametrize("stretch", [0.6, 1.6])
def test_a_squeezed_head_is_a_failed_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: float
) -> None:
    fake_niimath(tmp_path, monkeypatch, stretch)
    with pytest.raises(DefacerError, match=rf"{IMAGE}: registration with the template head failed .*{stretch}.*whole"):
        register_to_template(Path("a.nii"), Path("b.nii"), work_dir=tmp_path, image=IMAGE)


def test_a_plausible_stretch_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_niimath(tmp_path, monkeypatch, 1.2)
    fitted = register_to_template(Path("a.nii"), Path("b.nii"), work_dir=tmp_path, image=IMAGE)
    np.testing.assert_array_equal(fitted, np.diag([1, 1, 1.2, 1]))


def test_an_engine_that_writes_no_matrix_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import niimath

    monkeypatch.setattr(niimath, "bin", str(program(tmp_path, "niimath", "#!/bin/sh\n")))
    with pytest.raises(DefacerError, match=rf"{IMAGE}: niimath -allineate failed \(0\): ; check the image, or leave"):
        register_to_template(Path("a.nii"), Path("b.nii"), work_dir=tmp_path, image=IMAGE)


def test_niimath_that_contradicts_its_mask_is_refused(
    phantom_scan: Scan, phantom_head: Phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import niimath

    code = f"""#!{sys.executable}
import json, sys, nibabel as nib, numpy as np
if "-savemat" in sys.argv:
    matrix = np.eye(4).tolist()
    json.dump(dict(moving_to_fixed=matrix), open(sys.argv[sys.argv.index("-savemat") + 1], "w"))
else:
    image = nib.load(sys.argv[1])
    nib.Nifti1Image(image.get_fdata() * (np.indices(image.shape)[0] > 30), image.affine).to_filename(sys.argv[-1])
"""
    monkeypatch.setattr(niimath, "bin", str(program(tmp_path, "niimath", code)))
    with pytest.raises(DefacerError, match=r"differs from its mask in \d+\.\d\d % of the voxels; use another version"):
        DEFACERS["niimath"].run(phantom_scan, phantom_head.brain, STILL, tmp_path)


@pytest.mark.parametrize("outside", [True, False])
def test_sampling_a_mask_equals_interpolation_of_all_points_at_once(outside: bool) -> None:
    rng = np.random.default_rng(0)
    mask = (ndimage.gaussian_filter(rng.normal(size=(20, 18, 16)), 2) > 0).astype(np.float32)
    mask_affine = nib.affines.from_matvec(np.diag([2.0, 2.5, 2.0]), [-20, -21, -15])
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, -0.1, 0.3) * 1.1, [1.0, 2.0, -1.0])
    affine = nib.affines.from_matvec(np.diag([-3.0, 3.0, 2.0]), [30, -30, -20])
    shape = (22, 21, 23)
    points = nib.affines.apply_affine(np.linalg.inv(mask_affine) @ turn @ affine, np.indices(shape).reshape(3, -1).T)
    clipped = np.clip(points, 0, np.array(mask.shape) - 1)
    expected = ndimage.map_coordinates(mask, clipped.T, order=1) >= 0.5
    expected[(np.abs(points - clipped) >= 0.5).any(axis=1)] = outside
    result = sample_mask(Volume(mask, mask_affine), turn, Grid(shape, affine), outside=outside)
    assert 0.1 < result.mean() < 0.9
    np.testing.assert_array_equal(result, expected.reshape(shape))


def test_padding_continues_the_face_forward_and_down_and_moves_nothing() -> None:
    _, mask_file = pydeface_files()
    kept = load_mask(mask_file)
    mask, affine = kept.values, kept.affine
    continued = pad_face_mask(kept)
    padded, padded_affine = continued.values, continued.affine
    assert padded.shape == (mask.shape[0], mask.shape[1] + PADDING, mask.shape[2] + PADDING)
    np.testing.assert_array_equal(padded[:, : mask.shape[1], PADDING:], mask)
    voxel = np.array([40, 50, 60])
    np.testing.assert_allclose(
        nib.affines.apply_affine(padded_affine, voxel + [0, 0, PADDING]), nib.affines.apply_affine(affine, voxel)
    )
    assert padded[88, -1, 0] == 0, "in front of and under the face box: removed"
    assert padded[88, 20, 0] == 1, "under the neck: kept"


def test_the_template_is_missing_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bids_refacer.defacers.pydeface_template.find_spec", lambda name: None)
    with pytest.raises(DefacerError, match="pip install pydeface"):
        pydeface_files()
