"""Make a dataset of synthetic heads: `bids_refacer simulate OUT` (`docs/simulate.md` says what it holds).

Only the options are here, so that `--help` and a mistyped option need not wait for scipy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONTRASTS = ("T1w", "T2w", "FLAIR")
MOST = 99_999
MOST_EFFECT = 4.0
RESOLUTION_MM = (0.7, 4.0)
FIELD_OF_VIEW_MM = (100.0, 320.0)


@dataclass(frozen=True, kw_only=True)
class SimulateSettings:
    """What to simulate; units in the names, noise and bias as of `simulation.acquisition.Protocol`."""

    out: Path
    participants: int
    seed: int
    contrasts: tuple[str, ...]
    rho: float
    muscle_effect: float
    resolution_mm: float
    field_of_view_mm: tuple[float, float, float]
    noise: float
    bias: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    settings = parse_args(argv)
    from bids_refacer.cli.simulate_run import run

    return run(settings)


def parse_args(argv: Sequence[str] | None = None) -> SimulateSettings:
    """Read the command line; a sentence and code 2 when it cannot be used."""
    parser = build_parser()
    typed = vars(parser.parse_args(argv))
    typed["out"] = typed["out"].expanduser().absolute()
    typed["contrasts"] = tuple(contrast for contrast in CONTRASTS if contrast in typed["contrasts"])
    typed["field_of_view_mm"] = tuple(typed["field_of_view_mm"])
    settings = SimulateSettings(**typed)
    problem = _problem(settings)
    if problem:
        parser.error(problem)
    return settings


def _problem(settings: SimulateSettings) -> str | None:
    """A sentence on the first setting that cannot be used."""
    if not 1 <= settings.participants <= MOST:
        return f"--participants is {settings.participants}: give a number from 1 to {MOST}."
    if settings.seed < 0:
        return f"--seed is {settings.seed}: give 0 or a larger whole number."
    if not -1 <= settings.rho <= 1:
        return f"--rho is {settings.rho:g}: a correlation lies between -1 and 1."
    if not 0 <= settings.muscle_effect <= MOST_EFFECT:
        return f"--muscle-effect is {settings.muscle_effect:g}: give 0 (none) to {MOST_EFFECT:g}."
    low, high = RESOLUTION_MM
    if not low <= settings.resolution_mm <= high:
        return f"--resolution is {settings.resolution_mm:g} mm: give {low:g} to {high:g} mm."
    low, high = FIELD_OF_VIEW_MM
    for side in settings.field_of_view_mm:
        if not low <= side <= high:
            return f"--field-of-view holds {side:g} mm: give {low:g} to {high:g} mm for each side."
    for name, value in (("noise", settings.noise), ("bias", settings.bias)):
        if not 0 <= value <= 0.5:
            return f"--{name} is {value:g}: give 0 (none) to 0.5, or no head is left in the image."
    return out_problem(settings.out)


def out_problem(out: Path) -> str | None:
    """Why nothing can be written to a folder, a sentence, or None."""
    if out.exists() and not out.is_dir():
        return f"The output {out} is a file: give a folder."
    if out.is_dir() and any(out.iterdir()):
        return f"The output {out} is not empty, and nothing in it is replaced: give a new folder, or empty this one."
    return None


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog="bids_refacer simulate",
        description="Write a BIDS dataset of synthetic heads with known faces and known phenotypes. No head is a "
        "person's; the same seed makes the same heads.",
        epilog="To audit a dataset in a folder called 'simulate', write ./simulate.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the dataset: a new or empty folder")
    add = parser.add_argument
    add("--participants", type=int, default=12, metavar="N", help="how many; the first are the same for any N")
    add("--seed", type=int, default=0, metavar="S", help="of everything that is drawn")
    add("--contrasts", nargs="+", choices=CONTRASTS, default=["T1w"], help="images of each participant")
    add(
        "--rho", type=float, default=0.5, metavar="R", help="correlation, beyond age and sex, of muscle radiodensity "
        "with the density of the facial muscles",
    )  # fmt: skip
    add(
        "--muscle-effect", type=float, default=1.0, metavar="X", help="how strongly muscle density shows in the face: "
        "1 is 12 percent of the muscle's intensity and 1.5 mm of fat per standard deviation",
    )  # fmt: skip
    add("--resolution", dest="resolution_mm", type=float, default=2.0, metavar="MM", help="edge of the voxels")
    add(
        "--field-of-view", dest="field_of_view_mm", type=float, nargs=3, default=[192.0, 256.0, 256.0],
        metavar=("X", "Y", "Z"), help="left-right, back-front, down-up, in mm, about the middle of the head",
    )  # fmt: skip
    add("--noise", type=float, default=0.03, metavar="S", help="standard deviation, in medians of the brain")
    add("--bias", type=float, default=0.1, metavar="S", help="standard deviation of the log of the bias field")
    return parser


if __name__ == "__main__":
    sys.exit(main())
