"""What a training says: CSV tables, TensorBoard where it is installed, and a line now and then with the time left."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bids_refacer.files import unfinished

LOG = logging.getLogger(__name__)

STEP_COLUMNS = ("step", "loss", "rate", "gradient_norm", "elapsed_s")
_QUIET_S = 20.0


class Logbook:
    """Records of one stage in its folder: `loss.csv`, `validation.csv`, and `tensorboard/` where it is installed.

    Parameters
    ----------
    folder : of the stage
    start : step that comes next; what tables hold from there on is forgotten, as it will be done again
    steps : steps in all
    """

    def __init__(self, folder: Path, start: int, steps: int) -> None:
        self._folder, self._start, self._steps = folder, start, steps
        self._began = self._spoke = time.monotonic()
        for name in ("loss.csv", "validation.csv"):
            forget_from(folder / name, start)
        self._board = _board(folder / "tensorboard", start)

    def step(self, step: int, loss: float, rate: float, norm: float) -> None:
        """Record a step that was taken, and say so if nothing was said for a while."""
        now = time.monotonic()
        row = (step, f"{loss:.6g}", f"{rate:.6g}", f"{norm:.6g}", f"{now - self._began:.1f}")
        _append(self._folder / "loss.csv", STEP_COLUMNS, row)
        for name, value in (("loss", loss), ("rate", rate), ("gradient_norm", norm)):
            self._draw(name, value, step)
        done = step + 1 - self._start
        if done == 1 or now - self._spoke > _QUIET_S or step + 1 == self._steps:
            self._spoke = now
            pace = (now - self._began) / done
            LOG.info("%s: %s", self._folder.name, progress(step + 1, self._steps, loss, pace))

    def metrics(self, step: int, metrics: Mapping[str, float], best: bool) -> None:
        """Record a validation after `step` steps. Its metrics are the same at every call."""
        _append(self._folder / "validation.csv", ("step", *metrics), (step, *(f"{v:.6g}" for v in metrics.values())))
        for name, value in metrics.items():
            self._draw(f"validation/{name}", value, step)
        said = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        LOG.info("%s: validation after step %d: %s%s", self._folder.name, step, said, " (best so far)" if best else "")

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self._board is not None:
            self._board.close()

    def _draw(self, name: str, value: float, step: int) -> None:
        if self._board is not None:
            self._board.add_scalar(name, value, step)


def progress(done: int, steps: int, loss: float, pace: float) -> str:
    """``step 120 of 1000, loss 0.4123, 3.2 s a step, 47 min left``."""
    return f"step {done} of {steps}, loss {loss:.4f}, {pace:.2g} s a step, {_duration(pace * (steps - done))} left"


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def forget_from(path: Path, start: int) -> None:
    """Remove rows of steps from `start` on, and a row that was cut short: they will be written again."""
    if not path.exists():
        return
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    header, *rows = whole.splitlines(keepends=True) or [""]
    # a validation after N steps stands under N: with N steps done it is not made again
    last = start if path.name == "validation.csv" else start - 1
    kept = "".join([header, *(row for row in rows if int(row.split(",")[0]) <= last)])
    if kept != text:
        with unfinished(path) as temporary:
            temporary.write_text(kept)


def _append(path: Path, columns: tuple[str, ...], row: tuple[Any, ...]) -> None:
    new = not path.exists() or not path.stat().st_size
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([columns, row] if new else [row])


def _board(folder: Path, start: int) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _say_no_tensorboard()
        return None
    return SummaryWriter(str(folder), purge_step=start)


@cache
def _say_no_tensorboard() -> None:  # cached: once is enough
    LOG.info("The package tensorboard is not installed: logs are CSV files alone.")
