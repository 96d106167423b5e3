"""Commands in README and docs: the app understands each of them, and those of the tutorial do what the page says."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bids_refacer.cli.deface import build_parser as deface
from bids_refacer.cli.options import build_parser as audit
from bids_refacer.cli.release import build_parser as release
from bids_refacer.cli.simulate import build_parser as simulate
from bids_refacer.cli.train import build_parser as train
from bids_refacer.cli.verify import build_parser as verify

ROOT = Path(__file__).parents[1]
PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "deface": deface,
    "release": release,
    "simulate": simulate,
    "train": train,
    "verify": verify,
}
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
TUTORIAL = "docs/tutorial.md"


def commands(page: str) -> Iterator[str]:
    """Lines of code blocks that run the app, in one line each, without comments and dots that stand for more."""
    content = (ROOT / page).read_text(encoding="utf-8")
    for block in re.findall(r"^```\w*\n(.*?)^```", content, re.S | re.M):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s#.*| \.\.\.$", "", line)
            if found := re.search(r"(?:^|&& |run [^&]* )bids_refacer (?!--version)(.*)", line):
                yield found.group(1)


@pytest.mark.parametrize(("page", "command"), [(page, command) for page in PAGES for command in commands(page)])
def test_the_app_understands_the_command(page: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    parser = PARSERS[words[0]]() if words[0] in PARSERS else audit()
    numbered = [re.sub(r"^N$", "2", word) for word in words if word not in PARSERS]
    try:
        parser.parse_args(numbered)
    except SystemExit:
        pytest.fail(f"{page}: bids_refacer {command}\n{capsys.readouterr().err}")


def test_commands_are_found() -> None:
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 20 and {command.split()[0] for command in found} >= set(PARSERS)
    assert len(list(commands(TUTORIAL))) == 6


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """All of it, one command after the other, in a new folder."""
    said = {}
    for command in commands(TUTORIAL):
        done = subprocess.run(
            [sys.executable, "-m", "bids_refacer", *shlex.split(command)], cwd=tmp_path, capture_output=True, text=True
        )
        said[command.split()[0] + command.split()[-1]] = done.stdout
        expected = int(command.endswith("--apply-to-others"))  # the page says so: quickshear fails on one head
        assert done.returncode == expected, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Nothing was written." in said["study--dry-run"]
    assert (tmp_path / "audit/bids_refacer/group.html").is_file()
    status = (tmp_path / "audit/bids_refacer/status.tsv").read_text()
    assert "sub-001_T2w.nii.gz is not published: quickshear left" in status and status.count("\tfailed\t") == 1
    heads = sorted((tmp_path / "published").glob("sub-*/**/*_T?w.nii.gz"))
    assert len(heads) == 6
    assert "nothing is wrong" in said["verifypublished"]
