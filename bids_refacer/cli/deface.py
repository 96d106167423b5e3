"""Deface and release without an attack: `bids_refacer deface BIDS_DIR RELEASE_DIR --tool NAME`.

Only the options are here, so that `--help` and a mistyped option need not wait for Nipype.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.cli.arguments import Parser
from bids_refacer.cli.release import add_options, answer, settings_of
from bids_refacer.release.settings import ReleaseSettings
from bids_refacer.settings import RunSettings
from bids_refacer.settings_file import SettingsError
from bids_refacer.wording import counted

_OF_RUN = ("tools_file", "skip_bids_validation", "omp_nthreads", "participant_label", "work_dir")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for: a run that defaces, and the release of what it made."""

    run: RunSettings
    release: ReleaseSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    asked = parse_args(argv)
    from bids_refacer.cli.run import guarded

    return guarded(lambda: deface_and_release(asked), asked.release.release_dir)


def deface_and_release(asked: Asked) -> int:
    """Deface all heads, then make the release; what an earlier call did is not done again."""
    from bids_refacer.release.defacing import deface_dataset, images_to_deface
    from bids_refacer.release.run import check_places, run_release

    check_places(asked.release)  # before minutes are spent
    if asked.release.dry_run:
        waiting = images_to_deface(asked.run)
        print(f"{counted(waiting, 'image')} would be defaced with {asked.release.tool}. Nothing was written.")
        return 0 if waiting or asked.run.participant_label else run_release(asked.release, ask=answer)
    if asked.run.participant_label:
        failed = deface_dataset(asked.run)
        print("No release is made of some participants: run the same command without --participant-label for it.")
        return 1 if failed else 0
    deface_dataset(asked.run)
    return run_release(asked.release, ask=answer)


def parse_args(argv: Sequence[str] | None = None) -> Asked:
    """Read the command line; a sentence and code 2 when it cannot be used."""
    parser = build_parser()
    typed = vars(parser.parse_args(argv))
    of_run = {name: typed.pop(name) for name in _OF_RUN if name in typed}
    if "participant_label" in of_run:
        of_run["participant_label"] = tuple(label.removeprefix("sub-") for label in of_run["participant_label"])
    place = typed["release_dir"].expanduser().absolute()
    typed["output_dir"] = typed.pop("audit_dir", place.with_name(f"{place.name}-audit"))
    release = settings_of(parser, typed)
    limits = {name: getattr(release, name) for name in ("face_left_limits", "brain_cut_limits", "brain_hole_limits")}
    for name in {"tools_file", "work_dir"} & of_run.keys():
        of_run[name] = of_run[name].expanduser().absolute()
    from bids_refacer.cli.checks import first_problem
    from bids_refacer.release.defacing import audit_settings

    try:
        run = audit_settings(
            release.bids_dir, release.output_dir, release.tool, nprocs=release.nprocs, **limits, **of_run
        )
    except SettingsError as error:
        parser.error(str(error))
    if problem := first_problem(run):
        parser.error(problem)
    return Asked(run, release)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; options that are not typed are absent from its result."""
    parser = Parser(
        prog="bids_refacer deface",
        usage="%(prog)s BIDS_DIR RELEASE_DIR --tool NAME [options]",
        description="Deface all images of heads with one tool, judge them, and make a raw BIDS dataset that can be "
        "published, as bids_refacer release does. Nothing is attacked, so that nothing is known of whether people can "
        "be found again.",
        epilog="Defaced images, masks, verdicts and records lie in the audit's folder, whose part identifiable is not "
        "for sharing. bids_refacer BIDS_DIR AUDIT_DIR participant may attack them later.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("bids_dir", metavar="BIDS_DIR", type=Path, help="the originals; never written to")
    parser.add_argument("release_dir", metavar="RELEASE_DIR", type=Path, help="a new folder, or one to go on with")
    add_options(parser)
    group = parser.add_argument_group("defacing")
    place = "folder for what is made on the way, as an audit makes it (default: RELEASE_DIR-audit, beside it)"
    group.add_argument("--audit-dir", type=Path, metavar="DIR", help=place)
    some = "deface these participants alone and make no release: for the tasks of an array (docs/release.md)"
    group.add_argument("--participant-label", "--participant_label", nargs="+", metavar="LABEL", help=some)
    group.add_argument(
        "-w", "--work-dir", type=Path, metavar="DIR", help="folder for intermediate files, emptied at the end"
    )
    group.add_argument("--tools-file", type=Path, metavar="FILE", help="TOML that defines more tools (docs/tools.md)")
    group.add_argument("--omp-nthreads", type=int, metavar="N", help="threads in each process (default: 8 at most)")
    group.add_argument(
        "--skip-bids-validation", action="store_true", help="do not check the input with bids-validator-deno"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
