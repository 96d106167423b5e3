"""Options of an audit, in the groups in which ``--help`` shows them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from bids_refacer import __version__
from bids_refacer.cli.arguments import ListTools, Memory, Needless, Parser, add_directory, add_flag
from bids_refacer.settings import (
    ANALYSIS_LEVELS,
    ATTACKS,
    DEFACE_TOOLS,
    GPU_POLICIES,
    PHENOTYPE_MODELS,
    SAMPLERS,
    SUFFIXES,
    RunSettings,
)

_DEFAULTS = {item.name: item.default for item in fields(RunSettings)}


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
    _add_resources(parser.add_argument_group("participant level: performance"))
    _add_running(parser.add_argument_group("participant level: running and output"))
    _add_group_level(parser.add_argument_group("group level: which results"))
    _add_phenotypes(parser.add_argument_group("group level: phenotypes"))
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
        help=f"of the run; each image derives its own from it {_default('seed')}",
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
    group.add_argument("--suffix", nargs="+", choices=SUFFIXES, help=f"kinds of image {_default('suffix')}")
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
        help=f"tools to audit, of {', '.join(DEFACE_TOOLS)}, or of the tools file {_default('deface_tools')}; see "
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
        "--tool-timeout", type=float, metavar="S", help=f"seconds that a tool may take {_default('tool_timeout')}"
    )
    group.add_argument(
        "--face-left-limits",
        type=float,
        nargs=2,
        metavar=("WARN", "FAIL"),
        help=f"percent of the nose, eyes, mouth or chin that may be left {_default('face_left_limits')}",
    )
    group.add_argument(
        "--brain-cut-limits",
        type=float,
        nargs=2,
        metavar=("WARN", "FAIL"),
        help=f"percent of the brain that may be removed {_default('brain_cut_limits')}",
    )
    group.add_argument(
        "--brain-hole-limits",
        type=float,
        nargs=2,
        metavar=("WARN", "FAIL"),
        help=f"mL that the largest hole in the brain may have {_default('brain_hole_limits')}",
    )


def _add_refacing(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--num-samples", type=int, metavar="K", help=f"faces drawn for each defaced image {_default('num_samples')}"
    )
    group.add_argument(
        "--attack",
        choices=ATTACKS,
        help="on tools that replace the face: paint over the zone they are known to replace, take their face for the "
        f"true one, or run a removing tool first {_default('attack')}",
    )
    group.add_argument("--sampler", choices=SAMPLERS, help=f"how faces are drawn {_default('sampler')}")
    group.add_argument("--steps", type=int, metavar="N", help="sampling steps (default: what the model recommends)")
    group.add_argument("--model", metavar="NAME_OR_PATH", help=f"model weights {_default('model')}")
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
        help=f"stop without a GPU, use one when there is one, or never {_default('gpu')}",
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


def _add_group_level(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--merge-output",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="more participant outputs of the same dataset, such as those of a cluster's array jobs",
    )
    group.add_argument(
        "--filler-dataset",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="outputs whose true faces fill the gallery of the identification, and are not looked up",
    )
    add_directory(group, "--reference-dataset", "output of another dataset, to be put beside this one")
    group.add_argument(
        "--max-brain-removed",
        type=float,
        metavar="PERCENT",
        help="keep out images that lost more of their brain (default: the participant level's verdict, or 5)",
    )
    group.add_argument(
        "--min-face-change",
        type=float,
        metavar="MM",
        help="keep out images whose defaced skin lies nearer to the true one (default: the participant level's "
        "verdict, or 1)",
    )
    group.add_argument(
        "--rerank",
        type=int,
        metavar="N",
        help=f"compare the N nearest faces again by the distance between surfaces; 0: never {_default('rerank')}",
    )
    add_flag(group, "--allow-mixed", "take results of different versions, models or seeds together")


def _add_phenotypes(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--phenotype",
        type=Path,
        metavar="FILE",
        help="table (TSV) of what is to be predicted from facial voxels (participants.tsv and phenotype/*.tsv of the "
        "dataset are searched as well)",
    )
    group.add_argument(
        "--target",
        nargs="+",
        metavar="COLUMN",
        help="numeric columns to predict (default: muscle_radiodensity_abdomen, _thigh and _shin, where there are any)",
    )
    group.add_argument(
        "--covariates",
        nargs="+",
        metavar="COLUMN",
        help="columns to regress out of the targets; 'none': none (default: age and sex, where there are any)",
    )
    group.add_argument(
        "--phenotype-models",
        nargs="+",
        choices=PHENOTYPE_MODELS,
        help="ridge regression and partial least squares, or a 3-D convolutional network, which takes long without a "
        f"GPU {_default('phenotype_models')}",
    )
    group.add_argument(
        "--cnn-permutations",
        type=int,
        metavar="N",
        help="permuted phenotypes for each p value of the network; 19 are the fewest for p = 0.05, and its time goes "
        f"with N + 1 {_default('cnn_permutations')}",
    )


def _default(name: str) -> str:
    value = _DEFAULTS[name]
    return f"(default: {' '.join(map(str, value)) if isinstance(value, tuple) else value})"
