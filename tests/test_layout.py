"""The two folders of an output: where they are, where faces must not be kept, and what a copy takes along."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from output_folders import identifiable, layout_of, shareable

from bids_refacer.cli.parser import parse_args
from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.layout import Layout, is_shareable_part
from bids_refacer.settings import RunSettings
from bids_refacer.work_folder import WorkFolderError, default_work_dir, private_work_dir


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    (tmp_path / "in" / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "in" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    return tmp_path / "in"


@pytest.fixture
def parse(bids: Path, tmp_path: Path):
    def run(*options: str | Path, output: Path | None = None) -> RunSettings:
        return parse_args([str(bids), str(output or tmp_path / "out"), "participant", *map(str, options)])

    return run


@pytest.fixture
def refusal(parse, capsys: pytest.CaptureFixture[str]):
    def run(*options: str | Path, output: Path | None = None) -> str:
        with pytest.raises(SystemExit):
            parse(*options, output=output)
        return capsys.readouterr().err.splitlines()[-1]

    return run


def test_two_folders_side_by_side_and_a_note(bids: Path, tmp_path: Path) -> None:
    layout = layout_of(tmp_path / "out")
    write_datasets(layout, bids)
    assert {path.name for path in layout.output_dir.iterdir()} == {"bids_refacer", "identifiable", "README"}
    assert stat.S_IMODE(layout.identifiable.stat().st_mode) == 0o700
    note = (layout.output_dir / "README").read_text()
    assert "- bids_refacer: a BIDS derivative without any face" in note and "- identifiable: recovered faces" in note
    assert layout.from_identifiable() == "../bids_refacer"


def test_faces_elsewhere_are_found_again(parse, bids: Path, tmp_path: Path) -> None:
    settings = parse("--identifiable-dir", tmp_path / "vault" / "faces")
    write_datasets(settings.layout, bids)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bids_refacer", "README", "identifiable_dir.txt"}
    assert stat.S_IMODE((tmp_path / "vault" / "faces").stat().st_mode) == 0o700
    assert parse().layout == settings.layout == Layout.found(shareable(tmp_path / "out").parent)
    assert settings.layout.from_identifiable() == "../../out/bids_refacer"
    assert str(tmp_path / "vault") in (tmp_path / "out" / "README").read_text()
    found = Layout.found(shareable(tmp_path / "out"))
    assert (found.shareable, found.identifiable) == (settings.layout.shareable, settings.layout.identifiable)
    for path in shareable(tmp_path / "out").rglob("*"):
        assert path.is_dir() or str(tmp_path) not in path.read_text(), "what is shared does not say where faces are"


def test_faces_that_are_gone_are_asked_for(parse, refusal, bids: Path, tmp_path: Path) -> None:
    write_datasets(parse("--identifiable-dir", tmp_path / "faces").layout, bids)
    shutil.move(tmp_path / "faces", tmp_path / "moved")
    sentence = refusal()
    assert f"were kept in {tmp_path / 'faces'}, says identifiable_dir.txt, and they are not there" in sentence
    back = parse("--identifiable-dir", tmp_path / "moved").layout
    assert back.identifiable == tmp_path / "moved"
    shutil.move(tmp_path / "moved", identifiable(tmp_path / "out").parent / "identifiable")
    beside = parse("--identifiable-dir", tmp_path / "out" / "identifiable").layout
    write_datasets(beside, bids)
    assert not (tmp_path / "out" / "identifiable_dir.txt").exists() and parse().layout == beside


def test_a_planted_note_sends_no_faces_elsewhere(refusal, bids: Path, tmp_path: Path) -> None:
    """An output may come from others; what it says of a folder, the folder must say too."""
    write_datasets(layout_of(tmp_path / "out"), bids)
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "out" / "identifiable_dir.txt").write_text(f"{tmp_path / 'home'}\n")
    assert "and they are not there: give --identifiable-dir" in refusal()


def test_a_folder_with_other_things_is_not_closed(refusal, parse, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "notes").write_text("x")
    assert "holds something else, and would be closed to others" in refusal("--identifiable-dir", tmp_path / "home")
    (tmp_path / "home" / "notes").unlink()
    assert parse("--identifiable-dir", tmp_path / "home").layout.identifiable == tmp_path / "home"


@pytest.mark.parametrize("first", ["identifiable", "../faces"])
def test_faces_are_in_one_place(first: str, parse, refusal, bids: Path, tmp_path: Path) -> None:
    place = Path(os.path.normpath(tmp_path / "out" / first))
    write_datasets(parse("--identifiable-dir", place).layout, bids)
    sentence = refusal("--identifiable-dir", tmp_path / "second")
    assert f"are in {place}: move that folder to {tmp_path / 'second'}, or leave --identifiable-dir out" in sentence


def test_faces_of_another_output_are_not_mixed_with_ours(parse, refusal, bids: Path, tmp_path: Path) -> None:
    write_datasets(parse("--identifiable-dir", tmp_path / "faces").layout, bids)
    sentence = refusal("--identifiable-dir", tmp_path / "faces", output=tmp_path / "other")
    assert f"holds the faces of {shareable(tmp_path / 'out')}: give a folder of its own" in sentence


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("out/bids_refacer", "overlaps with"),
        ("out/bids_refacer/faces", "overlaps with"),
        ("out", "overlaps with"),
        ("in/derivatives/faces", "is inside the input, which is never written to"),
        ("in", "is inside the input, which is never written to"),
    ],
)
def test_places_where_faces_would_be_shared(place: str, words: str, refusal, tmp_path: Path) -> None:
    sentence = refusal("--identifiable-dir", tmp_path / place)
    assert str(tmp_path / place) in sentence and words in sentence and "give a folder elsewhere" in sentence


def test_the_shareable_part_is_no_output(refusal, bids: Path, tmp_path: Path) -> None:
    write_datasets(layout_of(tmp_path / "out"), bids)
    assert is_shareable_part(shareable(tmp_path / "out")) and not is_shareable_part(tmp_path / "out")
    sentence = refusal(output=shareable(tmp_path / "out"))
    assert f"is the part of an output that may be shared: give the folder that it is in, {tmp_path / 'out'}" in sentence


# the work folder ----------------------------------------------------------------------------------------------------


def test_the_work_folder_is_in_the_scheduler_s_temporary_place(
    parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("scheduler", "system"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "system"))
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "scheduler"))
    first = parse().work_dir
    assert first.parent == tmp_path / "scheduler" and parse().work_dir == first, "a run that goes on finds it"
    assert parse(output=tmp_path / "out2").work_dir != first
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "gone"))
    assert parse().work_dir.parent == tmp_path / "system"
    first.symlink_to(tmp_path)
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "scheduler"))
    assert parse().work_dir.parent == tmp_path / "system", "somebody put a trap there"
    assert not first.with_name("x").exists()


def test_nodes_on_other_machines_share_the_output_s_disk(parse, tmp_path: Path) -> None:
    (tmp_path / "plugin.json").write_text('{"plugin": "SLURM", "plugin_args": {}}')
    work = parse("--nipype-plugin-file", tmp_path / "plugin.json").work_dir
    assert work == identifiable(tmp_path / "out") / "work"


def test_no_temporary_place_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bids_refacer.work_folder.os.access", lambda *_: False)
    assert default_work_dir(layout_of(tmp_path / "out")) == identifiable(tmp_path / "out") / "work"


def test_a_work_folder_that_somebody_else_makes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bids_refacer.work_folder.os.getuid", lambda: os.geteuid() + 1)
    with pytest.raises(WorkFolderError, match="was not made by this user: give a folder of your own to --work-dir"):
        private_work_dir(tmp_path / "w")
