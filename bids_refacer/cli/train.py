"""Train an attack model: `bids_refacer train BIDS_DIR OUT` (`docs/training.md` says how, and what OUT holds).

Killed at any moment and called again, it goes on where it was. Only the options are here, so that `--help` and a
mistyped option need not wait for torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from bids_refacer.cli.arguments import Parser
from bids_refacer.settings import ANALYSIS_LEVELS, EXPORTS, PRECISIONS, TrainSettings
from bids_refacer.settings_file import SettingsError, read_settings_file

_DEFAULTS = {item.name: item.default for item in fields(TrainSettings)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    settings, prepare_only = parse_args(argv)
    from bids_refacer.training.run import run

    return run(settings, prepare_only)


def parse_args(argv: Sequence[str] | None = None) -> tuple[TrainSettings, bool]:
    """Read the command line, laid over the configuration file; a sentence and code 2 when it cannot be used.

    Returns
    -------
    settings : with absolute paths
    prepare_only : whether to stop before training
    """
    parser = build_parser()
    typed = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    config_file, prepare_only = typed.pop("config_file", None), typed.pop("prepare_only", False)
    try:
        values = {**(read_settings_file(config_file, TrainSettings) if config_file else {}), **typed}
        for name in ("bids_dir", "out"):
            if name not in values:
                parser.error(f"{name.upper()} is missing: give it, or a --config-file that has the key '{name}'.")
            values[name] = values[name].expanduser().absolute()
        settings = TrainSettings(**values)
    except SettingsError as error:
        parser.error(str(error))
    problem = _place_problem(settings)
    if problem:
        parser.error(problem)
    return settings, prepare_only


def _place_problem(settings: TrainSettings) -> str | None:
    bids, out = settings.bids_dir.resolve(), settings.out.resolve()
    if out.name in ANALYSIS_LEVELS and not out.exists():
        return (
            f"'train' is the command that trains a model, and {out.name!r} would be its output folder: for an audit "
            "of a dataset in a folder called 'train', write ./train; for training, choose another folder."
        )
    if out == bids or bids in out.parents:
        return f"The output {settings.out} is inside the input, which is never written to: give a folder elsewhere."
    if out.exists() and not out.is_dir():
        return f"The output {settings.out} is a file: give a folder."
    return None


def build_parser() -> argparse.ArgumentParser:
    """The parser; an option that is not typed leaves no trace, so that the configuration file can speak."""
    parser = Parser(
        prog="bids_refacer train",
        usage="%(prog)s BIDS_DIR OUT [options]",
        description="Train an attack model on the T1w images of a BIDS dataset whose faces are there. Killed at any "
        "moment and called again, it goes on where it was.",
        epilog="OUT holds the heads of the cache, which show faces: it is not for sharing, but for OUT/model. "
        "On several GPUs: torchrun --nproc-per-node N -m bids_refacer.cli.train BIDS_DIR OUT ...",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("bids_dir", metavar="BIDS_DIR", type=Path, nargs="?", default=None, help="never written to")
    parser.add_argument(
        "out", metavar="OUT", type=Path, nargs="?", default=None, help="cache, checkpoints, tables, model"
    )
    config = "TOML with the same settings, such as OUT/train.toml; the command line wins"
    parser.add_argument("--config-file", type=Path, metavar="FILE", help=config)
    prepare = "look at the dataset (again), fill the cache, say what is left out and why, and stop"
    parser.add_argument("--prepare-only", action="store_true", help=prepare)
    _add_data(parser.add_argument_group("data"))
    _add_model(parser.add_argument_group("model"))
    _add_learning(parser.add_argument_group("learning"))
    _add_saving(parser.add_argument_group("saving and validating"))
    _add_resources(parser.add_argument_group("performance"))
    return parser


def _add_data(group: argparse._ArgumentGroup) -> None:
    _add(group, "--val-share", float, "share of the participants to hold out, without a column 'split'")
    _add(group, "--split-seed", int, "of the choice of participants to hold out")
    _add(group, "--max-roughness-mm", float, "leave out rougher skin, where participants.tsv has roughness_mm")
    _add(group, "--max-dental-void-cm2", float, "leave out larger voids, where it has dental_void_cm2")
    keep = "train also on heads whose nose the field of view cuts off; what is cut is masked from the loss"
    group.add_argument("--keep-cut-faces", action="store_true", help=keep)


def _add_model(group: argparse._ArgumentGroup) -> None:
    _add(group, "--name", str, "name of the model")
    _add(group, "--init-from", str, "start from these weights: a shipped model or a folder with a model.json")
    _add(group, "--modes", int, "principal modes of the linear estimate")
    _add(group, "--ridge", float, "noise variance of the linear estimate")


def _add_learning(group: argparse._ArgumentGroup) -> None:
    _add(group, "--coarse-steps", int, "steps of the coarse stage")
    _add(group, "--fine-steps", int, "steps of the fine stage")
    _add(group, "--batch", int, "heads a step, over all processes")
    _add(group, "--noises", int, "noise levels drawn for each head")
    again = "make so many examples for each stage, keep them in OUT and use them again, mirrored every other time"
    _add(group, "--examples", int, f"{again} (default: new ones at every step)")
    _add(group, "--crop", int, "side of the fine stage's training cubes, voxels of 2 mm")
    _add(group, "--rate", float, "peak learning rate")
    _add(group, "--warmup", int, "steps until the learning rate has its peak")
    _add(group, "--ema", float, "decay of the averaged weights")
    _add(group, "--clip", float, "largest norm of the gradient")
    _add(group, "--seed", int, "of weights, examples and noise")


def _add_saving(group: argparse._ArgumentGroup) -> None:
    _add(group, "--checkpoint-every", int, "steps between checkpoints")
    _add(group, "--keep-checkpoints", int, "the newest so many are kept")
    _add(group, "--validate-every", int, "steps between validations")
    _add(group, "--validate-items", int, "held-out examples of the loss that validation reports")
    _add(group, "--best-by", str, "figure of the validation by which the best weights are chosen")
    _add(group, "--export", str, "which averaged weights become the model", EXPORTS)


def _add_resources(group: argparse._ArgumentGroup) -> None:
    _add(group, "--precision", str, "arithmetic of the network; float16 on CUDA only", PRECISIONS)
    _add(group, "--threads", int, "threads of each process")
    _add(group, "--workers", int, "processes that make examples, for each training process")


def _add(
    group: argparse._ArgumentGroup, option: str, kind: type, text: str, choices: tuple[str, ...] | None = None
) -> None:
    default = _DEFAULTS[option.removeprefix("--").replace("-", "_")]
    words = text if default is None else f"{text} (default: {default})"
    group.add_argument(option, type=kind, choices=choices, metavar=None if choices else "X", help=words)


if __name__ == "__main__":
    sys.exit(main())
