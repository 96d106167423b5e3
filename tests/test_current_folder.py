"""No Python file, and no settings of a library, are taken from the folder that a command is called in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_datasets import add_image, start_dataset

from bids_refacer import processes
from bids_refacer.environment import away_from_current_folder

CHECKOUT = Path(processes.__file__).parents[1]
TESTS = Path(__file__).parent
# what Python itself loads for `-m`, before it comes to this package: no program can help that
LOADED_BY_PYTHON = ("contextlib", "functools", "types", "warnings", "runpy", "collections")
TRAPS = (
    *("dis", "json", "argparse", "dataclasses", "inspect", "pickle", "socket", "struct", "random", "__future__"),
    *("multiprocessing", "concurrent", "logging", "tempfile", "numpy", "torch", "nibabel", "nipype", "bids", "scipy"),
    *("matplotlib", "pandas", "msgspec", "safetensors", "deepbet", "quickshear", "pydeface", "igl", "tqdm", "pkgutil"),
    *("traits", "sqlalchemy", "site", "sitecustomize", "usercustomize", "_bids_refacer_backend"),
)


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder in which every module writes its name into the file `ran` beside it."""
    folder = tmp_path / "traps"
    for name in (*TRAPS, *LOADED_BY_PYTHON):
        file = folder / name / "__init__.py" if name in ("torch", "multiprocessing") else folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name + ' '!r})\n")
    (folder / "matplotlibrc").write_text("backend: module://_bids_refacer_backend\n")
    return folder


def ran(trapped: Path) -> str:
    marks = trapped.with_name("ran")
    return marks.read_text() if marks.exists() else ""


def call(trapped: Path, *arguments: object, as_module: bool = False) -> subprocess.CompletedProcess[str]:
    """Call the command as its console script does, or as `python -m`, from the folder of traps."""
    start = [str(TESTS / "stand_in_run.py")]
    if as_module:
        start = ["-m", "bids_refacer"]
        for name in LOADED_BY_PYTHON:
            (trapped / f"{name}.py").unlink()
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *start, *map(str, arguments)]
    return subprocess.run(command, cwd=trapped, env=environ, capture_output=True, text=True)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = start_dataset(tmp_path / "bids")
    add_image(root, "sub-01_T1w")
    add_image(root, "sub-02_T1w")
    return root


def test_help_runs_nothing_of_the_current_folder(trapped: Path) -> None:
    done = call(trapped, "--help", as_module=True)
    assert (done.returncode, ran(trapped)) == (0, ""), done.stderr


def test_dry_run_runs_nothing_of_the_current_folder(trapped: Path, dataset: Path, tmp_path: Path) -> None:
    options = ("--dry-run", "--model", "linear", "--deface-tools", "quickshear")
    done = call(trapped, dataset, tmp_path / "out", "participant", *options, as_module=True)
    assert (done.returncode, ran(trapped)) == (0, ""), done.stderr


def test_simulate_runs_nothing_of_the_current_folder(trapped: Path, tmp_path: Path) -> None:
    done = call(trapped, "simulate", tmp_path / "heads", "--participants", "1", "--resolution", "4", as_module=True)
    assert (done.returncode, ran(trapped)) == (0, ""), done.stderr


@pytest.mark.slow
def test_both_levels_run_nothing_of_the_current_folder(trapped: Path, dataset: Path, tmp_path: Path) -> None:
    """Two participants and two processes: workers, child commands and the processes that make pages."""
    out = tmp_path / "out"
    done = call(trapped, dataset, out, "participant", "--deface-tools", "quickshear", "--nprocs", "2")
    assert (done.returncode, ran(trapped)) == (0, ""), done.stdout + done.stderr
    done = call(trapped, dataset, out, "group")
    assert (done.returncode, ran(trapped)) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("has_option", [True, False])
def test_a_child_runs_nothing_of_its_folder(has_option: bool, trapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Python has no option for that."""
    monkeypatch.setattr(processes.sys, "version_info", (3, 11, 0) if has_option else (3, 10, 0))
    environ = processes.package_environment({**os.environ, "PYTHONPATH": f":.:{os.environ.get('PYTHONPATH', '')}"})
    done = processes.run([*processes.python_module("bids_refacer"), "--help"], folder=trapped, environ=environ)
    assert (done.code, ran(trapped)) == (0, ""), done.errors
    assert done.output.startswith("usage: bids_refacer")


def test_of_pythonpath_absolute_folders_are_kept() -> None:
    given = os.pathsep.join(["", ".", "/opt/one", "relative", "/opt/two", ""])
    expected = os.pathsep.join([str(CHECKOUT), "/opt/one", "/opt/two"])
    assert processes.package_environment({"PYTHONPATH": given})["PYTHONPATH"] == expected


def test_the_current_folder_is_left_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError), away_from_current_folder():
        assert os.getcwd() == "/"
        raise KeyError
    assert os.getcwd() == str(tmp_path)
