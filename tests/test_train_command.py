"""`bids_refacer train`: its options, its configuration file, and that the audit's command line is untouched."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from bids_refacer.__main__ import main
from bids_refacer.cli import parser as audit_parser
from bids_refacer.cli.train import build_parser, parse_args
from bids_refacer.settings import TrainSettings


def refusal(capsys: pytest.CaptureFixture, *argv: object) -> str:
    with pytest.raises(SystemExit) as caught:
        parse_args([str(word) for word in argv])
    assert caught.value.code == 2
    return capsys.readouterr().err.split("error: ", 1)[1].strip()


def test_every_setting_is_an_option_that_says_its_default() -> None:
    options = {action.dest: action for action in build_parser()._actions}
    for item in fields(TrainSettings):
        assert item.name in options
        if item.name not in ("bids_dir", "out") and item.default not in (None, False):
            assert f"(default: {item.default})" in (options[item.name].help or "")


def test_what_is_typed_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    written = TrainSettings(bids_dir=tmp_path / "in", out=tmp_path / "o", rate=0.5, batch=8, precision="float32")
    written.to_toml(tmp_path / "train.toml")
    argv = ["--config-file", str(tmp_path / "train.toml"), "--batch", "16", "--prepare-only"]
    settings, prepare_only = parse_args(argv)
    assert prepare_only and (settings.rate, settings.batch, settings.ema) == (0.5, 16, 0.998)
    assert (settings.bids_dir, settings.out) == (tmp_path / "in", tmp_path / "o")
    settings, prepare_only = parse_args([str(tmp_path / "other"), str(tmp_path / "p"), *argv[:2]])
    assert not prepare_only and settings.bids_dir == tmp_path / "other"


def test_relative_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings, _ = parse_args(["in", "out"])
    assert (settings.bids_dir, settings.out) == (tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "BIDS_DIR is missing: give it, or a --config-file that has the key 'bids_dir'."),
        ("in", "OUT is missing: give it, or a --config-file that has the key 'out'."),
        ("in in/derivatives/x", "is inside the input, which is never written to: give a folder elsewhere."),
        ("in file", "file is a file: give a folder."),
        ("in participant", "for an audit of a dataset in a folder called 'train', write ./train"),
        ("in out --batch 0", "batch is 0, but it must be at least 1"),
        ("in out --precision half", "invalid choice: 'half'"),
        ("in out --rate fast", "invalid float value: 'fast'"),
        ("in out --config-file absent.toml", "absent.toml cannot be read (No such file or directory)"),
        ("in out --config-file wrong.toml", "wrong.toml has the unknown key 'lr': remove it, or use one of"),
    ],
)
def test_refusals(
    options: str, words: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "wrong.toml").write_text("lr = 1.0\n")
    assert words in refusal(capsys, *options.split())


def test_train_is_dispatched_and_the_audit_is_not_disturbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bids_refacer.cli import train

    seen: list[tuple[str, list[str]]] = []

    def audit(argv: list[str]):
        seen.append(("audit", argv))
        raise SystemExit(0)

    monkeypatch.setattr(train, "main", lambda argv: seen.append(("train", argv)) or 7)
    monkeypatch.setattr(audit_parser, "parse_args", audit)
    assert main(["train", "in", "out", "--batch", "4"]) == 7
    for argv in (["in", "out", "participant"], ["./train", "out", "participant"], ["in", "train", "participant"]):
        with pytest.raises(SystemExit):
            main(argv)
    assert seen == [
        ("train", ["in", "out", "--batch", "4"]),
        ("audit", ["in", "out", "participant"]),
        ("audit", ["./train", "out", "participant"]),
        ("audit", ["in", "train", "participant"]),
    ]


def test_the_audit_says_that_there_is_a_training() -> None:
    assert "train and simulate" in " ".join(audit_parser.build_parser().format_help().split())


@pytest.mark.parametrize("command", [["-m", "bids_refacer", "train"], ["-m", "bids_refacer.cli.train"]])
def test_both_ways_to_start_it_explain_themselves(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command, "--help"], capture_output=True, text=True, check=True)
    assert "usage: bids_refacer train" in done.stdout and "--init-from" in done.stdout


def test_the_page_about_training_names_only_options_that_there_are() -> None:
    page = (Path(__file__).parent.parent / "docs" / "training.md").read_text()
    known = {option for action in build_parser()._actions for option in action.option_strings}
    audit = {option for action in audit_parser.build_parser()._actions for option in action.option_strings}
    named = set(re.findall(r"`(--[a-z0-9-]+)", page))
    assert named <= known | audit
    assert {"--config-file", "--init-from", "--prepare-only", "--best-by", "--export"} <= named


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from bids_refacer.__main__ import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'nipype', 'bids', 'numpy', 'nibabel'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
