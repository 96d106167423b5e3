"""Options of an audit, in the groups in which ``--help`` shows them."""

from __future__ import annotations

import argparse
from pathlib import Path

from bids_refacer import __version__
from bids_refacer.cli.arguments import ListTools, Memory, Needless, Parser, add_directory, add_flag
from bids_refacer.cli.option_groups.defaults import default_of
from bids_refacer.cli.option_groups.group_level import add_group_level, add_phenotypes
from bids_refacer.cli.option_groups.recognition import add_recognition
from bids_refacer.settings import (
    ANALYSIS_LEVELS,
    ATTACKS,
    DEFACE_TOOLS,
    GPU_POLICIES,
    SAMPLERS,
    SUFFIXES,
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of an audit. Options that are not typed are absent from its result, so that the file's values hold."""
    parser = Parser(
        prog="bids_refacer",
        usage="%(prog)s bids_dir output_dir {participant,group} [options]",
        description="Audit of MRI defacing: deface each head with several tools, paint the face back with a "
        "diffusion model, and measure (mm) how close the recovered face comes to the true one.",
        epilog="output_dir/bids_refacer is a BIDS derivative that may be shared. Recovered faces are identifiable "
        "data: they go to output_dir/identifiable, which is not for sharing. Other commands, each with its own --help: "
        "release and deface make the dataset to publish, verify checks it, train and simulate.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("bids_dir", type=Path, help="root of the input BIDS dataset; never written to")
    parser.add_argument("output_dir", type=Path, help="folder for the two derivative datasets; made when missing")
    parser.add_argument(
        "analysis_level", choices=ANALYSIS_LEVELS, help="one image after the other, or the tables of a group"
    )
    parser.add_argument("--version", action="version", version=f"bids_refacer {__version__}")
    parser.add_argument(
        "--list-tools",
        action=ListTools,
        nargs=0,
        help="print every defacing tool, whether it can run here, how to get it, and end; --tools-file has to come "
        "before it",
    )
    _add_both(parser.add_argument_group("both levels"))
    _add_selection(parser.add_argument_group("participant level: which images"))
    _add_defacing(parser.add_argument_group("participant level: defacing"))
    _add_refacing(parser.add_argument_group("participant level: refacing"))
    add_recognition(parser.add_argument_group("participant level: recognition"))
    _add_resources(parser.add_argument_group("participant level: performance"))
    _add_running(parser.add_argument_group("participant level: running and output"))
    add_group_level(parser.add_argument_group("group level: which results"))
    add_phenotypes(parser.add_argument_group("group level: phenotypes"))
    return parser


def _add_both(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--participant-label",
        "--participant_label",
        nargs="+",
        metavar="LABEL",
        help="participants, with or without 'sub-' (default: all)",
    )
    group.add_argument(
        "--seed",
        "--random-seed",
        type=int,
        metavar="N",
        help=f"of the run; each image derives its own from it {default_of('seed')}",
    )
    add_directory(
        group, "--identifiable-dir", "where recovered faces, records and logs go (default: output_dir/identifiable)"
    )
    add_flag(group, "--dry-run", "say what would be done, a line for each participant (-v: each file), and do nothing")
    add_flag(group, "--reports-only", "make the pages again from outputs that are there, and nothing else")
    group.add_argument(
        "--config-file",
        type=Path,
        metavar="FILE",
        help="TOML with the same settings, such as the settings.toml of an earlier run; the command line wins",
    )
    group.add_argument("-v", "--verbose", action="count", help="say more (-vv: everything)")
    group.add_argument("--notrack", action=Needless, nargs=0, help=argparse.SUPPRESS)


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--session-label",
        "--session_label",
        nargs="+",
        metavar="LABEL",
        help="sessions, with or without 'ses-' (default: all)",
    )
    group.add_argument("--suffix", nargs="+", choices=SUFFIXES, help=f"kinds of image {default_of('suffix')}")
    group.add_argument(
        "--bids-filter-file",
        type=Path,
        metavar="FILE",
        help='JSON with pybids filters by suffix, such as {"T1w": {"acquisition": "mprage", "run": 1}}',
    )
    group.add_argument(
        "--bids-database-dir",
        type=Path,
        metavar="DIR",
        help="folder that keeps the index of a large dataset for the next run",
    )
    add_flag(group, "--skip-bids-validation", "do not check the input with bids-validator-deno")


def _add_defacing(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--deface-tools",
        nargs="+",
        metavar="NAME",
        help=f"tools to audit, of {', '.join(DEFACE_TOOLS)}, or of the tools file {default_of('deface_tools')}; see "
        "--list-tools",
    )
    add_flag(
        group,
        "--apply-to-others",
        "also deface all other images of the sessions (T2w, FLAIR, echoes, ...), with the audited image's mask, "
        "carried by a rigid registration; they are not attacked",
    )
    add_flag(
        group,
        "--keep-header-text",
        "keep texts and extensions of the originals' NIfTI headers (descrip, DICOM, ...), which may name a person; "
        "they are left out of every image by default",
    )
    group.add_argument("--tools-file", type=Path, metavar="FILE", help="TOML that defines more tools (docs/tools.md)")
    group.add_argument(
        "--tool-timeout", type=float, metavar="S", help=f"seconds that a tool may take {default_of('tool_timeout')}"
    )
    group.add_argument(
        "--face-left-limits",
        type=float,
        nargs=2,
        metavar=("WARN", "FAIL"),
        help=f"percent of the nose, eyes, mouth or chin that may be left {default_of('face_left_limits')}",
    )
    group.add_argument(
        "--brain-cut-limits",
        type=float,
        nargs=2,
        metavar=("WARN", "FAIL"),
        help=f"percent of the brain that may be removed {default_of('brain_cut_limits')}",
    )
    group.add_argument(
        "--brain-hole-limits",
        type=float,
        nargs=2,
        metavar=("WARN", "FAIL"),
        help=f"mL that the largest hole in the brain may have {default_of('brain_hole_limits')}",
    )


def _add_refacing(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--num-samples", type=int, metavar="K", help=f"faces drawn for each defaced image {default_of('num_samples')}"
    )
    group.add_argument(
        "--attack",
        choices=ATTACKS,
        help="on tools that replace the face: paint over the zone they are known to replace, take their face for the "
        f"true one, or run a removing tool first {default_of('attack')}",
    )
    group.add_argument("--sampler", choices=SAMPLERS, help=f"how faces are drawn {default_of('sampler')}")
    group.add_argument("--steps", type=int, metavar="N", help="sampling steps (default: what the model recommends)")
    group.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        help="model weights: default, stages (its second network paints the faces), linear, kriged, or the folder of a "
        f"model of your own {default_of('model')}",
    )
    add_flag(
        group, "--keep-refaced", "keep recovered faces in output_dir/identifiable (default), or remove them once scored"
    )


def _add_resources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--nprocs",
        *("--n-procs", "--n_procs", "--nthreads", "--n-cpus", "--n_cpus"),
        type=int,
        metavar="N",
        help="processes at a time (default: all usable cores)",
    )
    group.add_argument("--omp-nthreads", type=int, metavar="N", help="threads per process (default: nprocs / tools)")
    group.add_argument(
        "--mem-gb",
        "--mem_gb",
        type=float,
        metavar="GB",
        help="memory to use (default: what there is); also --mem with a unit (16G, 16000M), and --mem-mb",
    )
    group.add_argument("--mem", "--mem-mb", "--mem_mb", action=Memory, dest="mem_gb", help=argparse.SUPPRESS)
    group.add_argument(
        "--gpu",
        choices=GPU_POLICIES,
        help=f"stop without a GPU, use one when there is one, or never {default_of('gpu')}",
    )
    group.add_argument(
        "--nipype-plugin-file",
        "--use-plugin",
        type=Path,
        metavar="FILE",
        help='JSON or TOML, such as {"plugin": "SLURM", "plugin_args": {"sbatch_args": "-p long"}}',
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    add_directory(
        group,
        "-w",
        "--work-dir",
        "folder for intermediate images, which show faces (default: a folder in $SLURM_TMPDIR, $TMPDIR or /tmp)",
    )
    add_flag(group, "--clean-work-dir", "empty the work folder before the run")
    add_flag(group, "--write-graph", "draw the graph of the workflow into the log folder")
    add_flag(group, "--stop-on-first-crash", "stop at the first image that fails, instead of doing the others")
