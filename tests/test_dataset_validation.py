"""The validator is found, never reaches the network, and its findings and failures are sentences."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_refacer.dataset import validation


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for the validator: a Python script with the given lines."""

    def make(*lines: str) -> Path:
        path = tmp_path / "bin" / "bids-validator-deno"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([f"#!{sys.executable}", "import json, os, sys", *lines]))
        path.chmod(0o755)
        python = path.with_name("python")  # beside the stand-in, as in an environment
        python.symlink_to(sys.executable)
        monkeypatch.setattr(validation.sys, "executable", str(python))
        return path

    return make


def test_errors_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "dataset_description.json").write_text('{"Name": "x"}')
    (tmp_path / "sub-01/anat/sub-01_T1x.json").write_text("{}")
    errors = validation.validate(tmp_path)
    assert "dataset_description.json: JSON_KEY_REQUIRED BIDSVersion. " in errors[0] + errors[1]
    wrong_name = next(error for error in errors if "sub-01_T1x.json" in error)
    assert wrong_name.startswith("sub-01/anat/sub-01_T1x.json: ")
    assert wrong_name.endswith(".") and "\n" not in wrong_name


def test_absent_validator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert validation.validate(tmp_path) == [
        f"The program bids-validator-deno is not installed, so {tmp_path} cannot be validated: "
        "run 'pip install bids-validator-deno', or use --skip-bids-validation."
    ]


def test_validator_on_the_path_is_found(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program()
    monkeypatch.setattr(validation.sys, "executable", str(tmp_path / "elsewhere" / "python"))
    monkeypatch.setenv("PATH", str(path.parent))
    assert validation.find_validator() == path


def test_validator_that_fails(program, tmp_path: Path) -> None:
    path = program("sys.exit('out of memory')")
    (error,) = validation.validate(tmp_path)
    assert error == (
        f"{path} could not validate {tmp_path} and said: out of memory; use --skip-bids-validation to go on."
    )


def test_warnings_are_not_errors(program, tmp_path: Path) -> None:
    issues = [{"code": "A", "severity": "warning"}, {"code": "B", "severity": "error", "issueMessage": "Bad. Advice."}]
    program(f"print(json.dumps({{'issues': {{'issues': {issues!r}, 'codeMessages': {{}}}}}}))", "sys.exit(16)")
    assert validation.validate(tmp_path) == ["The dataset: B. Bad."]


def test_content_of_single_images_can_be_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    (folder / "sub-01_run-1_T1w.nii.gz").symlink_to("../../.git/annex/objects/key")
    (folder / "sub-01_run-2_T1w.nii.gz").write_text("")
    (folder / "sub-01_run-3_T1w.nii.gz").write_bytes(b"no image")
    nib.Nifti1Image(np.ones((4, 4, 4, 2), np.uint8), np.eye(4)).to_filename(folder / "sub-01_run-4_T1w.nii.gz")
    assert validation.validate(tmp_path, content=False) == []
    everything = " ".join(validation.validate(tmp_path))
    for code in ("SYMLINK_BROKEN", "EMPTY_FILE", "NIFTI_HEADER_UNREADABLE", "TOO_MANY_DIMENSIONS"):
        assert code in everything


def test_no_network(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIDS_SCHEMA", "https://example.org/schema.json")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org:3128")
    names = ["BIDS_SCHEMA", "NO_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "DENO_NO_UPDATE_CHECK"]
    program(f"sys.exit(' '.join(str(os.environ.get(name)) for name in {names}))")
    (error,) = validation.validate(tmp_path)
    assert "said: None None http://127.0.0.1:9 http://127.0.0.1:9 1;" in error
