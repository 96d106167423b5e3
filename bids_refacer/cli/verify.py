"""Look at a release again: `bids_refacer verify RELEASE_DIR`.

Only the options are here, so that `--help` and a mistyped option need not wait for nibabel.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bids_refacer.cli.arguments import Parser
from bids_refacer.limits import usable_cpus


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 when nothing is wrong."""
    parser = build_parser()
    typed = parser.parse_args(argv)
    root, nprocs = typed.release_dir.expanduser().absolute(), typed.nprocs
    if not root.is_dir():
        parser.error(f"The release {root} is not a folder: give the folder of a release.")
    if nprocs < 1:
        parser.error(f"--nprocs is {nprocs}: give 1 or more.")
    from bids_refacer.cli.run import guarded
    from bids_refacer.release.verify import verify_release

    keep, validator = tuple(typed.keep_field), not typed.skip_bids_validation
    return guarded(lambda: verify_release(root, keep=keep, with_validator=validator, nprocs=nprocs), root)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = Parser(
        prog="bids_refacer verify",
        usage="%(prog)s RELEASE_DIR [options]",
        description="Check a release again: each file against its checksum and its row in release.tsv, verdicts, masks "
        "of defaced images, texts of headers, identifying fields and columns, and that it is valid BIDS. Nothing is "
        "written.",
        epilog="It needs the release alone. Images that were released without a look for faces are not looked at here.",
    )
    parser.add_argument("release_dir", metavar="RELEASE_DIR", type=Path, help="what bids_refacer release made")
    parser.add_argument(
        "--keep-field",
        nargs="+",
        default=[],
        metavar="NAME",
        help="fields and columns that the release kept on purpose, as given to bids_refacer release",
    )
    parser.add_argument("--skip-bids-validation", action="store_true", help="do not ask bids-validator-deno")
    parser.add_argument(
        "--nprocs", type=int, default=usable_cpus(), metavar="N", help="processes at a time (default: all usable cores)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
