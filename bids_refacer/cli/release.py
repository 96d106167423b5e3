"""Make the dataset that can be published: `bids_refacer release BIDS_DIR OUTPUT_DIR RELEASE_DIR --tool NAME`.

Only the options are here, so that `--help` and a mistyped option need not wait for nibabel.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bids_refacer.cli.arguments import Parser
from bids_refacer.dataset.inputs.naming import FOREIGN
from bids_refacer.release.settings import LINK_MODES, ReleaseSettings
from bids_refacer.settings_file import SettingsError

_DEFAULTS = {item.name: item.default for item in fields(ReleaseSettings)}
_LIMITS = {
    "face-left-limits": ("percent of the nose, eyes, mouth or chin that may be left", "5 20"),
    "brain-cut-limits": ("percent of the brain that may be removed", "0.1 5"),
    "brain-hole-limits": ("mL that the largest hole in the brain may have", "1 10"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    settings = parse_args(argv)
    from bids_refacer.cli.run import guarded
    from bids_refacer.release.run import run_release

    return guarded(lambda: run_release(settings, ask=answer), settings.release_dir)


def parse_args(argv: Sequence[str] | None = None) -> ReleaseSettings:
    """Read the command line; a sentence and code 2 when it cannot be used."""
    parser = build_parser()
    return settings_of(parser, vars(parser.parse_args(argv)))


def settings_of(parser: argparse.ArgumentParser, typed: dict[str, Any]) -> ReleaseSettings:
    """Settings from what was typed, with absolute paths; a sentence and code 2 when they cannot be used."""
    from bids_refacer.cli.checks import input_problem

    for name in ("bids_dir", "output_dir", "release_dir", "review_list"):
        if typed.get(name) is not None:
            typed[name] = typed[name].expanduser().absolute()
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in typed.items()}
    try:
        settings = ReleaseSettings(**values)  # type: ignore[arg-type]  # argparse gives each its type
    except SettingsError as error:
        parser.error(str(error))
    if settings.nprocs < 1:
        parser.error(f"--nprocs is {settings.nprocs}: give 1 or more.")
    if problem := input_problem(settings.bids_dir):
        parser.error(problem)
    return settings


def answer(question: str, read: Callable[[str], str] = input) -> bool:
    """Ask a person at a terminal; False where there is none."""
    if not sys.stdin.isatty():
        return False
    return read(f"{question} Type yes: ").strip().lower() == "yes"


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; options that are not typed are absent from its result."""
    parser = Parser(
        prog="bids_refacer release",
        usage="%(prog)s BIDS_DIR OUTPUT_DIR RELEASE_DIR --tool NAME [options]",
        description="Make a raw BIDS dataset that can be published from an audit: every file of BIDS_DIR, with the "
        "images of heads as the tool defaced them. An image goes only with a verdict; what is held back is named with "
        "the reason.",
        epilog="Images outside anat folders are released without a look for faces, and named in release.html. What was "
        "removed, checksums of originals and the list of images to look at stay with the audit's identifiable data.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("bids_dir", metavar="BIDS_DIR", type=Path, help="the originals; never written to")
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", type=Path, help="the output of the audit of BIDS_DIR")
    parser.add_argument("release_dir", metavar="RELEASE_DIR", type=Path, help="a new folder, or one to go on with")
    add_options(parser)
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `release` and `deface` share."""
    _add_images(parser.add_argument_group("which images"))
    _add_contents(parser.add_argument_group("other files and metadata"))
    _add_running(parser.add_argument_group("running"))


def _add_images(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tool", required=True, metavar="NAME", help="the tool whose defaced images are released")
    also = "look at the images in these folders too (func, fmap, perf, pet, dwi), and mask those that show a face"
    group.add_argument("--also", nargs="+", metavar="FOLDER", help=also)
    everything = "look at every image, whatever its folder; what cannot be judged is held back"
    group.add_argument("--scan-everything", action="store_true", help=everything)
    include = "release these folders of BIDS_DIR too; each image in them is looked at (default: they are left out)"
    group.add_argument("--include", nargs="+", choices=FOREIGN, metavar="FOLDER", help=include)
    group.add_argument(
        "--accept-warnings",
        action="store_true",
        help="release images whose verdict is a warning, without a look at each",
    )
    group.add_argument(
        "--review-list",
        type=Path,
        metavar="FILE",
        help="TSV with a person's decision on each image (columns image, decision, initials); a release writes its "
        "template, review.tsv, and names the place",
    )
    group.add_argument(
        "--i-accept-the-residual-risk",
        dest="accept_risk",
        action="store_true",
        help="release although the tool did not withstand the audit's attack; asked for at a terminal otherwise",
    )
    for name, (what, default) in _LIMITS.items():
        text = f"{what} (default: {default}); the audit's own verdict counts where it is worse"
        group.add_argument(f"--{name}", type=float, nargs=2, metavar=("WARN", "FAIL"), help=text)


def _add_contents(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--link-mode",
        choices=LINK_MODES,
        help="how files that do not change are taken over: as clones that share blocks on the disk (where the file "
        "system can, else copies), as hard links (a later edit of the release then changes the original), or as copies "
        f"(default: {_DEFAULTS['link_mode']})",
    )
    group.add_argument(
        "--keep-field", nargs="+", metavar="NAME", help="fields of sidecars and columns of tables that would be removed"
    )
    group.add_argument(
        "--shift-dates",
        action="store_true",
        help="move times in scans.tsv and sessions.tsv back, by one offset for each participant, instead of removing "
        "them",
    )
    group.add_argument("--cap-ages", action="store_true", help="write ages over 89 in tables as 89, as BIDS wants it")
    group.add_argument(
        "--release-unchecked",
        nargs="+",
        metavar="PATTERN",
        help="files that may show a head and that nobody can look into here (pictures, GIFTI, DICOM, .mgz, PDF), to be "
        "released all the same, such as 'stimuli/*'",
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--nprocs", type=int, metavar="N", help="processes at a time (default: all usable cores)")
    group.add_argument(
        "--datalad", action="store_true", help="make RELEASE_DIR a DataLad dataset and save it; datalad must be there"
    )
    group.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


if __name__ == "__main__":
    sys.exit(main())
