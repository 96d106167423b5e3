"""Programs are run to their end, or stopped with everything that they started; progress bars reach the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bids_refacer import processes
from bids_refacer.processes import Finished, TimeLimitError, package_environment, run, run_with_progress


def running(words: str) -> bool:
    return words in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_both_outputs_are_kept() -> None:
    done = run(python("import sys; print('one'); print('two', file=sys.stderr)"))
    assert done == Finished(code=0, output="one\n", errors="two\n")


@pytest.mark.parametrize(("code", "expected"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)])
def test_exit_codes_and_signals(code: str, expected: int, tmp_path: Path) -> None:
    command = python(f"import os, sys; {code}")
    assert run(command).code == expected
    assert run_with_progress(command, folder=tmp_path, environ=os.environ, show=False).code == expected


def test_a_program_that_is_missing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        run([str(tmp_path / "none")])
    with pytest.raises(FileNotFoundError):
        run_with_progress([str(tmp_path / "none")], folder=tmp_path, environ=os.environ, show=False)
    assert len(os.listdir("/proc/self/fd")) == before, "no pipe is left open"


def test_a_program_that_is_too_slow_is_stopped_with_its_children() -> None:
    """The grandchild holds the pipes: waiting for them to close would take ten minutes."""
    mark, started = f"600.{os.getpid()}", time.monotonic()
    with pytest.raises(TimeLimitError, match="sh ran longer than 0.5 s and was stopped"):
        run(["sh", "-c", f"sleep {mark} & sleep {mark}"], limit_s=0.5)
    assert time.monotonic() - started < 60 and not running(f"sleep {mark}")


def test_what_a_program_leaves_running_is_stopped() -> None:
    mark = f"601.{os.getpid()}"
    done = run(["sh", "-c", f"sleep {mark} >/dev/null 2>&1 & echo done"])
    assert done.output == "done\n" and not running(f"sleep {mark}")


def test_nothing_goes_on_after_an_interruption(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    mark = f"602.{os.getpid()}"
    monkeypatch.setattr(processes, "_read_to_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_with_progress(["sleep", mark], folder=tmp_path, environ=os.environ, show=False)
    assert not running(f"sleep {mark}")


def test_folder_and_environment(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), os.environ.get('COLOUR'), sys.stdin.read())"
    assert run(python(code), folder=tmp_path, environ={"COLOUR": "red"}).output.split() == [str(tmp_path), "red"]


def test_bytes_that_are_no_text_are_kept_readable() -> None:
    assert run(python("import sys; sys.stdout.buffer.write(b'a\\xffb')")).output == "a\ufffdb"


def test_a_child_finds_this_package_in_a_checkout(tmp_path: Path) -> None:
    """Without site packages, where an installed one would be found."""
    environ = package_environment({"PYTHONPATH": "/elsewhere"})
    checkout = str(Path(processes.__file__).parents[1])
    assert environ["PYTHONPATH"] == f"{checkout}{os.pathsep}/elsewhere"
    assert package_environment({})["PYTHONPATH"] == checkout
    done = run([sys.executable, "-S", "-c", "import bids_refacer; print(bids_refacer.__file__)"], environ=environ)
    assert done.output.strip() == str(Path(processes.__file__).with_name("__init__.py"))


def test_a_child_sees_a_terminal_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    terminal = SimpleNamespace(isatty=lambda: True, write=written.append, flush=lambda: None)
    monkeypatch.setattr("bids_refacer.processes.sys.stderr", terminal)
    command = python("import sys; print(sys.stderr.isatty(), file=sys.stderr)")
    done = run_with_progress(command, folder=tmp_path, environ=os.environ, show=True)
    assert "".join(written).strip() == done.errors.strip() == "True"


@pytest.mark.parametrize(("terminal", "show"), [(True, False), (False, True)])
def test_a_bar_is_drawn_only_on_a_terminal_and_when_asked_for(
    terminal: bool, show: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    stream = SimpleNamespace(isatty=lambda: terminal, write=written.append, flush=lambda: None)
    monkeypatch.setattr("bids_refacer.processes.sys.stderr", stream)
    command = python("import sys; print(sys.stderr.isatty(), file=sys.stderr)")
    assert run_with_progress(command, folder=tmp_path, environ=os.environ, show=show).errors == "False\n"
    assert written == []


def test_of_long_errors_the_end_is_kept(tmp_path: Path) -> None:
    command = python("import sys; sys.stderr.write('x' * 20000 + ' the end')")
    errors = run_with_progress(command, folder=tmp_path, environ=os.environ, show=False).errors
    assert len(errors) == 8000 and errors.endswith("x the end")
