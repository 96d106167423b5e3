"""Every benchmark can be started: it imports what there is, and says what it does."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest

from benchmarks.ablations import kinds_without
from bids_refacer.training.data.regions import KINDS

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # others import it too

FOLDER = Path(__file__).parents[1] / "benchmarks"
COMMANDS = sorted(path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text())


def test_all_benchmarks_are_looked_at() -> None:
    documented = [path.stem for path in FOLDER.glob("*.py") if f"benchmarks.{path.stem}" in (first_words(path) or "")]
    assert len(COMMANDS) > 20 and set(documented) <= set(COMMANDS)


def first_words(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_prints_its_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert ended.value.code == 0
    words = re.split(r"[:.?]", first_words(FOLDER / f"{name}.py") or "")[0]
    assert words in capsys.readouterr().out


def test_regions_that_are_left_out_leave_their_share_to_the_others() -> None:
    left = kinds_without(["template", "zone"])
    assert list(left) == ["shear", "skullstrip", "geometric"] and sum(left.values()) == pytest.approx(1)
    assert left["shear"] / left["geometric"] == pytest.approx(KINDS["shear"] / KINDS["geometric"])
    assert kinds_without([]) == pytest.approx(KINDS)
