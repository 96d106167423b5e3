"""Make a dataset of synthetic heads: `bids_refacer simulate OUT` (`docs/simulate.md` says what it holds).

Only the options are here, so that `--help` and a mistyped option need not wait for scipy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bids_refacer.cli.arguments import Parser
from bids_refacer.files import new_folder_problem
from bids_refacer.settings import SimulateSettings
from bids_refacer.settings_file import SettingsError
from bids_refacer.simulation.contrast import CONTRASTS


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
    try:
        settings = SimulateSettings(**typed)
    except SettingsError as error:
        parser.error(str(error))
    problem = new_folder_problem(settings.out)
    if problem:
        parser.error(problem)
    return settings


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = Parser(
        prog="bids_refacer simulate",
        usage="%(prog)s OUT [options]",
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
    planted = "correlation, beyond age and sex, of muscle radiodensity with the density of the facial muscles"
    add("--rho", type=float, default=0.5, metavar="R", help=planted)
    effect = (
        "how strongly muscle density shows in the face: 1 is 12 percent of the muscle's intensity and 1.5 mm of fat "
        "per standard deviation"
    )
    add("--muscle-effect", type=float, default=1.0, metavar="X", help=effect)
    add("--resolution", dest="resolution_mm", type=float, default=2.0, metavar="MM", help="edge of the voxels")
    add(
        "--field-of-view",
        dest="field_of_view_mm",
        type=float,
        nargs=3,
        default=[192.0, 256.0, 256.0],
        metavar=("X", "Y", "Z"),
        help="left-right, back-front, down-up, in mm, about the middle of the head",
    )
    add("--noise", type=float, default=0.03, metavar="S", help="standard deviation, in medians of the brain")
    add("--bias", type=float, default=0.1, metavar="S", help="standard deviation of the log of the bias field")
    return parser


if __name__ == "__main__":
    sys.exit(main())
