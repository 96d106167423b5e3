"""--list-tools: every tool, whether it can run here, and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_refacer.__main__ import main
from bids_refacer.cli.tool_list import tool_list
from bids_refacer.settings import DEFACE_TOOLS

OWN = Path(__file__).with_name("own_tools.toml")


def test_every_tool_has_a_line_and_what_is_missing_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for name in ("FSLDIR", "FREESURFER_HOME", "DEEPDEFACER_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    text = tool_list()
    cells = {line.split("  ")[0].removesuffix(" (*)"): line for line in text.splitlines()}
    assert set(DEFACE_TOOLS) <= set(cells)
    assert "removes" in cells["quickshear"] and " yes " in cells["quickshear"] and "BSD-3-Clause" in cells["quickshear"]
    assert "fsl_deface (*)" in text and " no " in cells["fsl_deface"]
    flat = " ".join(text.split())
    for words in ("install FSL", "install AFNI and tcsh", "pip download --no-deps DeepDefacer==2.1.2", "MATLAB"):
        assert words in flat
    assert "Not verified with the real program" in flat
    assert max(map(len, text.splitlines())) <= 120


def test_it_needs_no_dataset_and_knows_the_users_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--tools-file", str(OWN), "--list-tools"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "frontcut (*)" in text and "The tool frontcut needs the program frontcut" in text


def test_a_bad_tools_file_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--tools-file", str(tmp_path / "none.toml"), "--list-tools"])
    assert caught.value.code == 2 and "none.toml cannot be read" in capsys.readouterr().err
