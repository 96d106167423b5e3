"""Options of the group level."""

from __future__ import annotations

import argparse
from pathlib import Path

from bids_refacer.cli.arguments import add_directory, add_flag
from bids_refacer.cli.option_groups.defaults import default_of
from bids_refacer.settings import PHENOTYPE_MODELS


def add_group_level(group: argparse._ArgumentGroup) -> None:
    """Which results count, and what they are compared with."""
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
        help=f"compare the N nearest faces again by the distance between surfaces; 0: never {default_of('rerank')}",
    )
    add_flag(group, "--allow-mixed", "take results of different versions, models or seeds together")


def add_phenotypes(group: argparse._ArgumentGroup) -> None:
    """What is predicted from facial voxels, and how."""
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
        f"GPU {default_of('phenotype_models')}",
    )
    group.add_argument(
        "--cnn-permutations",
        type=int,
        metavar="N",
        help="permuted phenotypes for each p value of the network; 19 are the fewest for p = 0.05, and its time goes "
        f"with N + 1 {default_of('cnn_permutations')}",
    )
