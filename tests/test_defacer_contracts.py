"""Programs that cannot run here: stand-ins check our arguments and write what the programs write, quirks and all."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import Phantom
from nifti_files import raw_image
from tool_programs_on_path import install

from bids_refacer.defacers import DEFACERS, DefacerError, DefaceResult
from bids_refacer.defacers.tools.freesurfer import atlases
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan

STILL = Alignment(np.eye(4), np.eye(4))
PROGRAMS = {
    "fsl_deface": "fsl_deface",
    "mri_deface": "mri_deface",
    "mideface": "mideface",
    "@afni_refacer_run": "afni_refacer_run",
    "run_mri_reface.sh": "run_mri_reface",
    "spm12": "spm12",
}
REMOVERS = ("fsl_deface", "mri_deface", "mideface", "afni_deface", "spm_deface")
REPLACERS = ("afni_reface", "mri_reface")
WRAPPED = (*REMOVERS, "afni_reface", "afni_reface_plus", "mri_reface")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every program on the path, with the files and variables that its installation has."""
    install(PROGRAMS, tmp_path / "bin", monkeypatch)
    (tmp_path / "fsl" / "etc").mkdir(parents=True)
    (tmp_path / "fsl" / "etc" / "fslversion").write_text("6.0.7.4:cc5f0e3b\n")
    monkeypatch.setenv("FSLDIR", str(tmp_path / "fsl"))
    home = tmp_path / "freesurfer"
    (home / "average").mkdir(parents=True)
    for name in ("average/talairach_mixed_with_skull.gca", "average/face.gca", "license.txt"):
        (home / name).write_bytes(b"x")
    (home / "build-stamp.txt").write_text("freesurfer-linux-ubuntu22_x86_64-7.4.1-20230614-7eb8460\n")
    monkeypatch.setenv("FREESURFER_HOME", str(home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture(scope="module")
def head(phantom_head: Phantom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The phantom as int16 with noise in air, some of it negative and some zero; affine; brain."""
    values = np.rint(phantom_head.values).astype(int)
    values[~phantom_head.head] = np.random.default_rng(0).integers(-4, 5, int((~phantom_head.head).sum()))
    return values.astype("<i2"), phantom_head.affine, phantom_head.brain


def scan_of(head: tuple, folder: Path, **header: float) -> Scan:
    path = folder / "sub-01_T1w.nii.gz"
    raw_image(path, head[0], affine=head[1], shape=(*head[0].shape, 1), **header)
    return read_scan(path)


def front(scan: Scan) -> np.ndarray:
    """What the stand-ins take, computed once more."""
    world = nib.affines.apply_affine(scan.affine, np.moveaxis(np.indices(scan.stored.shape), 0, -1))
    return (world[..., 1] > 60) & (world[..., 2] < -20)


def run(tool: str, scan: Scan, brain: np.ndarray, folder: Path) -> DefaceResult:
    work = folder / f"work-{tool}"
    work.mkdir()
    return DEFACERS[tool].run(scan, brain, STILL, work)


@pytest.mark.parametrize("tool", REMOVERS)
def test_removers_take_their_region_and_nothing_else(tool: str, head: tuple, programs: Path) -> None:
    scan = scan_of(head, programs)
    result = run(tool, scan, head[2], programs)
    np.testing.assert_array_equal(result.stored[~result.removed], scan.stored[~result.removed])
    assert result.stored.dtype == scan.stored.dtype and (result.stored[result.removed] == 0).all()
    wrong = result.removed != front(scan)
    assert not (wrong & (scan.values > 10)).any(), "every voxel of tissue is right"
    assert wrong.mean() < 0.005, "and air, which is zero or negative in places, but for a rim"


@pytest.mark.parametrize("tool", REPLACERS)
def test_replacers_put_another_face_there_and_keep_the_rest(tool: str, head: tuple, programs: Path) -> None:
    scan = scan_of(head, programs)
    result = run(tool, scan, head[2], programs)
    np.testing.assert_array_equal(result.stored[~result.removed], scan.stored[~result.removed])
    assert (result.removed != front(scan)).mean() < 0.002
    assert np.abs(result.stored.astype(int) - scan.stored)[front(scan)].mean() > 20
    assert "FillValue" not in result.details


def test_noise_around_the_true_face_does_not_survive_refacing(head: tuple, programs: Path) -> None:
    """A rim of untouched noise would draw the outline of the face that was replaced."""
    scan = scan_of(head, programs)
    result = run("mri_reface", scan, head[2], programs)
    assert result.removed[front(scan)].all()


@pytest.mark.parametrize(
    ("tool", "quirk"),
    [
        ("mri_deface", "axes or field of view changed; brought back without interpolation"),
        ("afni_reface", "negative voxels outside the region zeroed; restored"),
        ("afni_deface", "negative voxels outside the region zeroed; restored"),
        ("spm_deface", "NaN written; zero here"),
        ("spm_deface", "4 dimensions written; brought back to 3"),
    ],
)
def test_quirks_are_undone_and_reported(tool: str, quirk: str, head: tuple, programs: Path) -> None:
    assert quirk in " ".join(run(tool, scan_of(head, programs), head[2], programs).details["Quirks"])


def test_a_well_behaved_program_has_no_quirks(head: tuple, programs: Path) -> None:
    assert run("fsl_deface", scan_of(head, programs), head[2], programs).details["Quirks"] == []


@pytest.mark.parametrize("tool", ["fsl_deface", "afni_reface", "spm_deface"])
def test_scaled_integers_stay_what_they_are(tool: str, head: tuple, programs: Path) -> None:
    scan = scan_of((head[0] + np.int16(50), *head[1:]), programs, slope=0.5, inter=-25.0)
    result = run(tool, scan, head[2], programs)
    assert result.stored.dtype == np.dtype("<i2")
    np.testing.assert_array_equal(result.stored[~result.removed], scan.stored[~result.removed])
    if DEFACERS[tool].action == "removes":
        assert (result.stored[result.removed] == 50).all(), "50 is how this image stores zero"


def test_a_program_on_an_image_whose_air_is_not_zero(head: tuple, programs: Path) -> None:
    scan = scan_of((head[0] + np.int16(500), *head[1:]), programs)
    result = run("fsl_deface", scan, head[2], programs)
    plain = run_elsewhere("fsl_deface", scan_of(head, programs), head[2], programs)
    np.testing.assert_array_equal(result.removed, plain.removed)
    np.testing.assert_array_equal(result.stored[~result.removed], scan.stored[~result.removed])
    assert (result.stored[result.removed] == scan.fill).all() and 495 <= int(scan.fill) <= 500
    assert result.details["FillValue"] == float(scan.fill)


def run_elsewhere(tool: str, scan: Scan, brain: np.ndarray, folder: Path) -> DefaceResult:
    """`run`, in a folder of its own."""
    (folder / "elsewhere").mkdir()
    return run(tool, scan, brain, folder / "elsewhere")


@pytest.mark.parametrize("tool", WRAPPED)
def test_they_are_available_with_their_installation_alone(
    tool: str, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DEFACERS[tool].missing() is None and not DEFACERS[tool].verified
    monkeypatch.setenv("PATH", "/nonexistent")
    sentence = str(DEFACERS[tool].missing())
    assert sentence.startswith(f"The tool {tool} needs ") and "on the path" in sentence


@pytest.mark.parametrize(
    ("tool", "version"),
    [
        ("fsl_deface", "6.0.7.4:cc5f0e3b"),
        ("mri_deface", "1.22"),
        ("mideface", "7.4.1"),
        ("spm_deface", "SPM12 (7771)"),
        ("afni_reface", "unknown"),
    ],
)
def test_versions_are_asked_for(tool: str, version: str, head: tuple, programs: Path) -> None:
    assert DEFACERS[tool].version() == version
    details = run(tool, scan_of(head, programs), head[2], programs).details
    assert details["Version"] == version
    assert str(programs) not in json.dumps(details), "sidecars name no path of this machine"


def test_afni_and_mri_reface_say_their_version(programs: Path) -> None:
    (programs / "bin" / "afni").write_text("#!/bin/sh\necho 'Precompiled binary: Mar  1 2024 (Version AFNI_24.0.09)'")
    (programs / "bin" / "afni").chmod(0o755)
    assert DEFACERS["afni_deface"].version() == "24.0.09"
    script = programs / "bin" / "run_mri_reface.sh"
    script.write_text('#!/bin/sh\necho "Script version 0.3.3"\n')
    assert DEFACERS["mri_reface"].version() == "0.3.3"


def test_a_version_that_is_known_to_be_bad_is_reported(programs: Path) -> None:
    tool = DEFACERS["mideface"]
    assert tool.warnings("T1w") == []
    (programs / "freesurfer" / "build-stamp.txt").write_text("freesurfer-linux-7.4.0-20230510-e558e6e\n")
    (warning,) = tool.warnings("T1w")
    assert warning.startswith("mideface 7.4.0 is known to be bad: ") and "use 7.4.1" in warning


def test_a_contrast_that_a_tool_was_not_made_for_is_reported() -> None:
    assert DEFACERS["afni_reface"].warnings("T2w") == ["afni_reface is made for T1w, not for T2w: look at its results."]


def test_mri_deface_without_atlases_says_which(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (programs / "freesurfer" / "average" / "face.gca").unlink()
    assert atlases() is None
    assert "talairach_mixed_with_skull.gca and face.gca" in str(DEFACERS["mri_deface"].missing())
    for name in ("talairach_mixed_with_skull.gca", "face.gca"):
        (programs / name).write_bytes(b"x")
    monkeypatch.setenv("MRI_DEFACE_DATA", str(programs))
    assert atlases() == (programs / "talairach_mixed_with_skull.gca", programs / "face.gca")


def test_mideface_without_a_key_says_where_it_looked(programs: Path) -> None:
    (programs / "freesurfer" / "license.txt").unlink()
    assert "license.txt is not there: set FS_LICENSE" in str(DEFACERS["mideface"].missing())


def test_spm_in_matlab(head: tuple, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (programs / "bin" / "spm12").unlink()
    install({"matlab": "spm12"}, programs / "bin", monkeypatch)
    scan = scan_of(head, programs)
    result = run("spm_deface", scan, head[2], programs)
    assert (result.removed == front(scan)).mean() > 0.995 and result.details["Options"] == {"launcher": "matlab"}


def test_refacing_everything_is_refused(head: tuple, programs: Path) -> None:
    """The stand-in of -mode_reface_plus changes fat and brain as well here; the true program's scalp is less."""
    script = programs / "bin" / "@afni_refacer_run"
    script.write_text(
        "#!/bin/sh\n"
        f"exec {__import__('sys').executable} -c \"import nibabel as n; i = n.load('source.nii.gz'); "
        "n.Nifti1Image(i.get_fdata() * 2 + 3, i.affine).to_filename('afni.nii.gz')\"\n"
    )
    with pytest.raises(DefacerError, match=r"T1w.nii.gz: @afni.*changed \d+ % of the head, .*leave the tool out"):
        run("afni_reface_plus", scan_of(head, programs), head[2], programs)
