"""Everything that keeps a run from starting is refused with a sentence: what is wrong, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from output_folders import identifiable, layout_of

from bids_refacer.cli import checks
from bids_refacer.cli.parser import parse_args
from bids_refacer.settings import RunSettings


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """A dataset of two participants, one with sessions; images are empty, as the parser never opens them."""
    root = tmp_path / "in"
    for folder in ("sub-01/anat", "sub-02/ses-a/anat"):
        (root / folder).mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    return root


@pytest.fixture
def parse(bids: Path, tmp_path: Path):
    def run(*options: str, output: Path | None = None, level: str = "participant") -> RunSettings:
        return parse_args([str(bids), str(output or tmp_path / "out"), level, *options])

    return run


@pytest.fixture
def refusal(parse, capsys):
    """The sentence that a command line is refused with."""

    def run(*options: str, **other) -> str:
        with pytest.raises(SystemExit) as caught:
            parse(*options, **other)
        assert caught.value.code == 2
        return capsys.readouterr().err.split("error: ", 1)[1].strip()

    return run


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--suffix bold", "invalid choice: 'bold'"),
        ("--deface-tools frontcut", "deface_tools has the value 'frontcut', which is not known: use quickshear, "),
        ("--deface-tools quickshare", "which is not known: did you mean quickshear? Else use quickshear, "),
        ("--suffix t1w", "(did you mean T1w?)"),
        ("--deface-tool quickshear", "unrecognized arguments: --deface-tool (did you mean --deface-tools?)"),
        ("--participant-lable 01", "unrecognized arguments: --participant-lable (did you mean --participant-label?)"),
        ("--nproc=2", "unrecognized arguments: --nproc=2 (did you mean --nprocs?)"),
        ("--frobnicate", "unrecognized arguments: --frobnicate"),
        ("--mem lots", "argument --mem: 'lots' is no memory: write 16G or 16000M."),
        ("--tool-timeout 0", "tool_timeout is 0.0, but it must be more than 0"),
        ("--face-left-limits 20 5", "face_left_limits is 20.0 5.0: give two percentages"),
        ("--brain-cut-limits 1 101", "brain_cut_limits is 1.0 101.0: give two percentages"),
        ("--brain-hole-limits 3 -1", "brain_hole_limits is 3.0 -1.0: give two volumes in mL"),
        ("--tools-file nowhere.toml", "nowhere.toml cannot be read (No such file"),
        ("--sampler euler", "invalid choice: 'euler'"),
        ("--gpu 1", "invalid choice: '1'"),
        ("--num-samples many", "invalid int value: 'many'"),
        ("--num-samples 0", "num_samples is 0, but it must be at least 1"),
        ("--steps 0", "steps is 0, but it must be at least 1"),
        ("--steps -2", "steps is -2, but it must be at least 1"),
        ("--nprocs 0", "nprocs is 0, but it must be at least 1"),
        ("--seed -1", "seed is -1, but it must be at least 0"),
        ("--mem-gb 0", "mem_gb is 0.0, but it must be more than 0"),
        ("--participant-label 09", "has no participant '09': use --participant-label with some of its 2 (01, 02)"),
        ("--session-label b", "have no session 'b': use --session-label with some of their 1 (a), or leave it out"),
        ("--participant-label 01 --session-label a", "have no session 'a'"),
    ],
)
def test_bad_values(refusal, options: str, words: str) -> None:
    assert words in refusal(*options.split())


def test_an_error_shows_no_list_of_options(parse, capsys) -> None:
    with pytest.raises(SystemExit):
        parse("--steps", "0")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "usage: bids_refacer bids_dir output_dir {participant,group} [options]",
        "see bids_refacer --help for all options",
        "bids_refacer: error: steps is 0, but it must be at least 1: give a larger number.",
    ]


@pytest.mark.parametrize("command", ["", "train", "simulate"])
def test_no_command_takes_abbreviations(command: str, tmp_path: Path, capsys) -> None:
    from bids_refacer.__main__ import main

    words = {"": [str(tmp_path), "out", "participant", "--see", "3"], "train": ["train", "in", "out", "--see", "3"]}
    with pytest.raises(SystemExit) as ended:
        main(words.get(command, ["simulate", str(tmp_path / "new"), "--see", "3"]))
    assert ended.value.code == 2 and "--see (did you mean --seed?)" in capsys.readouterr().err


def test_input_that_is_absent(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        parse_args([str(tmp_path / "nowhere"), str(tmp_path / "out"), "participant"])
    assert f"The input {tmp_path / 'nowhere'} is not a folder" in capsys.readouterr().err


def test_input_without_description(refusal, bids: Path) -> None:
    (bids / "dataset_description.json").unlink()
    assert f"The input {bids} has no dataset_description.json: give the root" in refusal()


def test_output_that_is_the_input(refusal, bids: Path) -> None:
    sentence = refusal(output=bids)
    assert sentence.startswith(f"The output {bids} is the input itself")
    assert str(bids / "derivatives" / "bids_refacer") in sentence


def test_output_that_is_the_input_through_a_link(refusal, bids: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bids)
    assert "is the input itself" in refusal(output=tmp_path / "link")


@pytest.mark.parametrize("place", ["out", "sub-01/out", "derivatives"])
def test_output_inside_the_input(refusal, bids: Path, place: str) -> None:
    assert f"The output {bids / place} is inside the input: use" in refusal(output=bids / place)


def test_output_in_derivatives_is_allowed(parse, bids: Path) -> None:
    settings = parse(output=bids / "derivatives" / "bids_refacer")
    assert settings.layout == layout_of(bids / "derivatives" / "bids_refacer")


@pytest.mark.parametrize(
    ("description", "accepted"),
    [
        ('{"Name": "raw", "BIDSVersion": "1.8.0"}', False),
        ('{"GeneratedBy": [{"Name": "fMRIPrep"}]}', False),
        ("[]", False),
        ("no JSON", False),
        ('{"GeneratedBy": [{"Name": "bids_refacer"}]}', True),
    ],
)
def test_output_that_is_another_dataset(parse, refusal, tmp_path: Path, description: str, accepted: bool) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dataset_description.json").write_text(description)
    if accepted:
        assert parse(output=tmp_path / "other").output_dir == tmp_path / "other"
    else:
        assert "is a dataset that bids_refacer did not make" in refusal(output=tmp_path / "other")


def test_output_below_a_file(refusal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence = refusal(output=tmp_path / "file" / "out")
    assert f"cannot be made, as {tmp_path / 'file'} is not a folder: give another path" in sentence


def test_output_without_permission(refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # os.access is replaced, as nothing is closed to root, who may run the tests
    monkeypatch.setattr(checks.os, "access", lambda path, mode: False)
    sentence = refusal()
    assert f"The output folder {tmp_path / 'out'} cannot be written to by user {os.getuid()}" in sentence
    assert f"who may not write to {tmp_path}: change its permissions" in sentence


def test_work_dir_inside_the_input(refusal, bids: Path) -> None:
    assert f"The work folder {bids / 'work'} is inside the input" in refusal("-w", str(bids / "work"))


def test_work_dir_inside_the_shareable_output(refusal, tmp_path: Path) -> None:
    sentence = refusal("-w", str(tmp_path / "out" / "work"))
    assert "is inside the output, and intermediate images show faces" in sentence
    assert str(identifiable(tmp_path / "out") / "work") in sentence


def test_work_dir_that_is_the_identifiable_dataset(refusal, tmp_path: Path) -> None:
    assert "holds the identifiable results" in refusal("-w", str(identifiable(tmp_path / "out")))


def test_cleaning_a_folder_that_holds_more(refusal, parse, tmp_path: Path) -> None:
    assert "--clean-work-dir would remove it all" in refusal("-w", str(tmp_path), "--clean-work-dir")
    assert parse("-w", str(tmp_path)).work_dir == tmp_path


def test_work_dir_below_a_file(refusal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "The work folder" in refusal("-w", str(tmp_path / "file" / "w"))


def test_database_inside_the_input(refusal, bids: Path) -> None:
    assert "The database folder" in refusal("--bids-database-dir", str(bids / "db"))


def test_database_inside_the_shareable_output(refusal, parse, tmp_path: Path) -> None:
    sentence = refusal("--bids-database-dir", str(tmp_path / "out" / "db"))
    assert "is inside the output, and the database names paths of this machine: use a folder elsewhere" in sentence
    assert parse("--bids-database-dir", str(identifiable(tmp_path / "out") / "db")).bids_database_dir


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read (No such file or directory): check"),
        ("{", "is not JSON"),
        ("[]", "must hold one object for each suffix"),
        ('{"bold": {}}', "has filters for bold, but the run is about T1w: name a filter after the suffix"),
        ('{"T1w": {"run": {"a": 1}}}', "gives {'a': 1} for run of T1w: write a label"),
    ],
)
def test_filter_file(refusal, tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "f.json"
    if text is not None:
        path.write_text(text)
    sentence = refusal("--bids-filter-file", str(path))
    assert sentence.startswith(f"The filter file {path}")
    assert words in sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read (No such file or directory): check"),
        ("plugin: SLURM", "is not JSON (or TOML in a file that ends in .toml)"),
        ("{}", "names no plugin"),
        ('{"plugin": "SLURMGraph"}', "returns before anything is done, so that no table can be written: use SLURM."),
        ('{"plugin": "SLURM", "plugin_args": []}', 'may hold "plugin" and an object "plugin_args" alone'),
        ('{"plugin": "SLURM", "args": {}}', 'may hold "plugin" and an object "plugin_args" alone'),
    ],
)
def test_plugin_file(refusal, tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "p.json"
    if text is not None:
        path.write_text(text)
    sentence = refusal("--nipype-plugin-file", str(path))
    assert sentence.startswith(f"The plugin file {path}")
    assert words in sentence


def test_config_file_mistakes(refusal, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    assert "c.toml cannot be read" in refusal("--config-file", str(path))
    path.write_text("nsamples = 3")
    assert f"{path} has the unknown key 'nsamples': remove it, or use one of" in refusal("--config-file", str(path))
    path.write_text('gpu = "maybe"')
    assert f"In {path}, gpu has the value 'maybe'" in refusal("--config-file", str(path))
