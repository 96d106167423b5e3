"""What `bids_refacer release` refuses, and its command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from release_study import TOOL, VERDICTS, Study, copied, make_study

from bids_refacer.__main__ import main
from bids_refacer.cli.release import parse_args
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.release.errors import ReleaseError
from bids_refacer.release.run import run_release

FIRST = next(iter(VERDICTS))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study that no test changes."""
    return make_study(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def own(shared: Study, tmp_path: Path) -> Study:
    """A study that a test may change."""
    return copied(shared, tmp_path / "own")


def test_places_that_are_refused(own: Study, tmp_path: Path) -> None:
    for place in (own.bids / "derivatives/x", own.output / "x", own.bids.parent, own.bids):
        with pytest.raises(ReleaseError, match="lie in each other: give another folder"):
            run_release(own.settings(place))
    (tmp_path / "file").write_text("")
    with pytest.raises(ReleaseError, match="is a file: give a folder"):
        run_release(own.settings(tmp_path / "file"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    with pytest.raises(ReleaseError, match=r"not of an earlier run of this release \(mine.txt\)"):
        run_release(own.settings(tmp_path / "full"))
    run_release(own.settings(tmp_path / "x"), lambda _: None)
    (tmp_path / "x/mine.txt").write_text("mine")
    with pytest.raises(ReleaseError, match="mine.txt"):
        run_release(own.settings(tmp_path / "x"))


def test_audits_that_are_refused(shared: Study, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no records of an audit: run 'bids_refacer .* participant' first"):
        run_release(replace(shared.settings(tmp_path / "x"), output_dir=tmp_path / "none"))
    with pytest.raises(DatasetError, match=f"has no image defaced with other; it has {TOOL}"):
        run_release(shared.settings(tmp_path / "x", tool="other"))


def test_the_command_line(shared: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(shared.bids), str(shared.output), str(tmp_path / "x"), "--tool", TOOL]
    settings = parse_args([*command, "--keep-field", "A", "B", "--nprocs", "2", "--face-left-limits", "1", "2"])
    assert settings.keep_field == ("A", "B") and settings.nprocs == 2 and settings.face_left_limits == (1.0, 2.0)
    assert main(["release", *command, "--nprocs", "2"]) == 1
    assert "3 images defaced" in capsys.readouterr().out and (tmp_path / "x" / FIRST).is_file()
    assert main(["release", *command[:2], str(shared.bids), *command[3:]]) == 1
    assert "lie in each other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--nprocs", "0"], "--nprocs is 0: give 1 or more"),
        (["--face-left-limits", "9", "5"], "face_left_limits is 9.0 5.0: give two percentages"),
    ],
)
def test_a_command_line_that_cannot_be_used(
    options: list[str], words: str, shared: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_args([str(shared.bids), str(shared.output), str(tmp_path / "x"), "--tool", TOOL, *options])
    assert words in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        parse_args([str(tmp_path), str(shared.output), str(tmp_path / "x"), "--tool", TOOL])
    assert "has no dataset_description.json" in capsys.readouterr().err
