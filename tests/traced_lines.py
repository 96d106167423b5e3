"""A pytest plugin: the lines of chosen modules that each test runs, for `mutation.py`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

SHARED = ""
"""Stands for what all tests of the file need: imports, wider fixtures, what helpers keep."""


def _cpu() -> float:
    """Seconds of this process and of children that have ended."""
    return sum(os.times()[:4])


class TracedLines:
    """Lines by test and by module's path, and the seconds of CPU that each test takes.

    Lines run by child processes are not seen.
    """

    def __init__(self, root: Path, modules: list[str]) -> None:
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[str, set[int]]] = {SHARED: {}}
        self._modules = {str(root / module): module for module in modules}
        self._helpers = root / "tests"
        self._now = self.lines[SHARED]
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def content(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        lines = {test: {path: sorted(numbers) for path, numbers in found.items()} for test, found in self.lines.items()}
        return {"seconds": self.seconds, "lines": lines}

    def pytest_collection_finish(self) -> None:
        """What helpers keep is made once, by whichever test comes first."""
        modules = [
            m for m in list(sys.modules.values()) if Path(getattr(m, "__file__", "") or "/").parent == self._helpers
        ]
        for value in {id(value): value for module in modules for value in vars(module).values()}.values():
            if hasattr(value, "cache_clear") and not value.__wrapped__.__code__.co_argcount:
                value()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._now = self.lines.setdefault(item.nodeid, {})
        sys.settrace(self._trace)  # a test may have taken it away
        began = _cpu()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = _cpu() - began
            self._now = self.lines[SHARED]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        before = self._now
        if fixturedef.scope != "function":
            self._now = self.lines[SHARED]
        try:
            return (yield)
        finally:
            self._now = before

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        module = self._modules.get(frame.f_code.co_filename)
        if module is None:
            return None
        self._now.setdefault(module, set()).add(frame.f_lineno)
        return self._trace
