"""What the app says in a container, and what keeps two containers from spoiling one output."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from output_folders import identifiable
from small_datasets import add_image, settings_for, start_dataset

from bids_refacer import environment, files
from bids_refacer.audit import plan as plan_module
from bids_refacer.audit.cleaning import forget_faces
from bids_refacer.cli import checks, container
from bids_refacer.dataset.images import find_images
from bids_refacer.files import one_writer, write_text

MOUNTS = "1 0 0:1 / / rw - overlay overlay rw\n2 1 0:2 / /proc rw - proc proc rw\n3 1 8:1 /d {} ro - ext4 /dev/vda rw\n"


@pytest.fixture
def in_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in the image, with one bound folder."""
    bound = tmp_path / "bound"
    bound.mkdir()
    (tmp_path / "mountinfo").write_text(MOUNTS.format(bound))
    monkeypatch.setattr(container, "_MOUNTS", tmp_path / "mountinfo")
    monkeypatch.setenv("BIDS_REFACER_DOCKER_TAG", "bids_refacer:0")
    return bound


def test_missing_bind_of_the_input(in_image: Path, tmp_path: Path) -> None:
    said = checks.check_input(settings_for(tmp_path / "data", tmp_path / "out"))
    assert said and f"add -v YOUR_FOLDER:{tmp_path}/data:ro (docker, podman)" in said


def test_missing_bind_of_the_output(in_image: Path, tmp_path: Path) -> None:
    said = checks.check_writable(settings_for(tmp_path / "data", tmp_path / "out"))
    assert said and f"The output folder {tmp_path}/out is inside the container, and would be gone with it." in said
    assert f"-v YOUR_FOLDER:{tmp_path}/out " in said
    assert checks.check_writable(settings_for(tmp_path / "data", in_image)) is None


@pytest.mark.parametrize(("place", "words"), [("bound", '--user "$(id -u):$(id -g)"'), ("other", "-v YOUR_FOLDER:")])
def test_output_of_somebody_else(in_image: Path, tmp_path: Path, monkeypatch, place: str, words: str) -> None:
    monkeypatch.setattr(checks.os, "access", lambda path, mode: False)
    said = checks.check_writable(settings_for(tmp_path / "data", tmp_path / place))
    assert said and f"cannot be written to by user {os.getuid()}" in said and words in said
    assert "apptainer" in said


def test_elsewhere_nobody_hears_of_binds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIDS_REFACER_DOCKER_TAG", "APPTAINER_CONTAINER"):
        monkeypatch.delenv(name, raising=False)
    said = checks.check_input(settings_for(tmp_path / "data", tmp_path / "out"))
    assert said and "container" not in said
    assert checks.check_writable(settings_for(tmp_path / "data", tmp_path / "out")) is None


def test_a_user_without_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    settings = settings_for(tmp_path / "in", tmp_path / "out", work_dir=tmp_path / "w", clean_work_dir=True)
    assert checks.check_work_place(settings) is None


@pytest.mark.parametrize(("readable", "home"), [(True, "{}"), (False, "/nonexistent")])
def test_a_home_that_is_closed_is_not_looked_into(tmp_path: Path, monkeypatch, readable: bool, home: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(environment.os, "access", lambda path, mode: readable)
    environment.leave_closed_home()
    assert os.environ["HOME"] == home.format(tmp_path)


@pytest.mark.parametrize(("limit", "warned"), [(None, False), (1.5, True), (8.0, False)])
def test_little_memory_is_told_before_it_kills(monkeypatch: pytest.MonkeyPatch, limit: float, warned: bool) -> None:
    monkeypatch.setattr(plan_module, "memory_limit_gb", lambda: limit)
    said = plan_module.memory_warning()
    assert bool(said) == warned
    if warned:
        assert "1.5 GB" in said[0] and "--memory of docker, --mem of sbatch" in said[0]


def add_row(folder: Path, number: int) -> None:
    """What every run does to a table: read it, take some time, write it with one row more."""
    with one_writer(folder / "hidden" / "lock") as locked:
        assert locked
        rows = (folder / "table.tsv").read_text() if (folder / "table.tsv").is_file() else ""
        time.sleep(0.02)
        write_text(folder / "table.tsv", f"{rows}{number}\n")


def test_no_row_is_lost_between_writers(tmp_path: Path) -> None:
    writers = [multiprocessing.get_context("fork").Process(target=add_row, args=(tmp_path, n)) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sorted((tmp_path / "table.tsv").read_text().split()) == [str(number) for number in range(8)]
    assert {path.name for path in tmp_path.iterdir()} == {"hidden", "table.tsv"}, "no unfinished file is left"


def test_temporary_names_differ_between_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every container counts processes from 1: two writers have the same process id."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    seen: list[Path] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (seen.append(self), replace(self, target))[1])
    write_text(tmp_path / "a", "1")
    write_text(tmp_path / "a", "2")
    assert len(set(seen)) == 2


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with one_writer(tmp_path / "lock") as locked:
        assert not locked


def test_faces_of_others_are_not_removed(tmp_path: Path) -> None:
    """--no-keep-refaced of one array task, while another is at work in the same output."""
    bids, out = start_dataset(tmp_path / "in"), tmp_path / "out"
    for label in ("01", "02"):
        add_image(bids, f"sub-{label}_T1w")
        (identifiable(out) / f"sub-{label}" / "anat").mkdir(parents=True)
        (identifiable(out) / "work/bids_refacer-0/bids_refacer" / f"sub_{label}_T1w").mkdir(parents=True)
    settings = settings_for(bids, out, participant_label=("01",))
    images = find_images(bids, participants=("01",), sessions=(), suffixes=("T1w",)).images
    plan = SimpleNamespace(jobs=(), finished=tuple((image, "quickshear") for image in images), layout=settings.layout)
    forget_faces(plan, settings)
    assert [path.name for path in identifiable(out).glob("sub-*")] == ["sub-02"]
    assert [path.name for path in settings.work_dir.glob("*/*/*")] == ["sub_02_T1w"]
    forget_faces(plan, settings_for(bids, out))
    assert not list(identifiable(out).glob("sub-*")), "a run about the whole dataset forgets all of it"
    assert not list(settings.work_dir.glob("bids_refacer-*"))
