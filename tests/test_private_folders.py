"""Folders that hold faces, paths or fingerprints are closed to others, whatever the umask and whoever made them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from output_folders import identifiable
from small_datasets import add_image, run_with_stand_in, settings_for, start_dataset

from bids_refacer.work_folder import WorkFolderError, make_private, private_work_dir


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_new_work_folder_is_private(umask: None, tmp_path: Path) -> None:
    assert private_work_dir(tmp_path / "a" / "w") == tmp_path / "a" / "w"
    assert mode(tmp_path / "a" / "w") == 0o700


@pytest.mark.parametrize("content", [(), ("bids_refacer-0", "crashes", "tmp")])
def test_a_work_folder_that_was_open_is_closed(content: tuple[str, ...], umask: None, tmp_path: Path) -> None:
    work = tmp_path / "w"
    for name in ("", *content):
        (work / name).mkdir(mode=0o755)
    assert private_work_dir(work) == work and mode(work) == 0o700


@pytest.mark.parametrize("shared_mode", [0o1777, 0o755])
def test_a_shared_folder_gets_one_inside(shared_mode: int, umask: None, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "somebody's file").write_text("x")
    (shared / "crashes").mkdir()
    shared.chmod(shared_mode)
    inside = private_work_dir(shared)
    assert inside.parent == shared and mode(inside) == 0o700 and mode(shared) == shared_mode
    assert mode(shared / "crashes") == 0o700, "what this app made there before"
    inside.chmod(0o755)
    (inside / "bids_refacer-0").mkdir()
    assert private_work_dir(shared) == inside and mode(inside) == 0o700
    (inside / "bids_refacer-0").mkdir(exist_ok=True)
    if shared_mode & stat.S_ISVTX:
        assert private_work_dir(shared, clean=True) == inside and list(inside.iterdir()) == []
        assert (shared / "somebody's file").is_file()
    else:  # the user's own: --clean-work-dir is about all of it
        assert private_work_dir(shared, clean=True) == shared and mode(shared) == 0o700
        assert list(shared.iterdir()) == []


def test_a_trap_in_a_shared_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"bids_refacer-work-{os.getuid()}").symlink_to(tmp_path)
    tmp_path.chmod(0o755)
    with pytest.raises(
        WorkFolderError, match=r"is shared, and .* was not made by this user: give a folder of your own"
    ):
        private_work_dir(tmp_path)


def test_a_private_folder_with_other_files_is_used_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "notes").write_text("x")
    assert private_work_dir(tmp_path) == tmp_path and (tmp_path / "notes").is_file()
    private_work_dir(tmp_path, clean=True)
    assert not (tmp_path / "notes").exists()


def test_make_private_closes_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir(mode=0o777)
    make_private(tmp_path / "x")
    assert mode(tmp_path / "x") == 0o700


def test_a_run_closes_its_work_folder_and_its_crashes(tmp_path: Path) -> None:
    bids = start_dataset(tmp_path / "in")
    add_image(bids, "sub-01_T1w", np.zeros((5, 5, 5), dtype=np.uint8))
    work = tmp_path / "w"
    (work / "crashes").mkdir(parents=True, mode=0o755)
    before = os.umask(0)
    done = run_with_stand_in(settings_for(bids, tmp_path / "out", work_dir=work))
    os.umask(before)
    (crashes,) = (work / "crashes").iterdir()
    assert done.code == 1 and list(crashes.glob("crash-*.txt"))
    assert {mode(folder) for folder in (work, *work.iterdir(), crashes)} == {0o700}
    assert mode(identifiable(tmp_path / "out")) == 0o700
