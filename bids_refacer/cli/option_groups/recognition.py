"""Options of recognition by face-recognition programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from bids_refacer.cli.arguments import add_flag
from bids_refacer.cli.option_groups.defaults import default_of


def add_recognition(group: argparse._ArgumentGroup) -> None:
    """Whether, from how many sides, and by whom faces are recognised."""
    add_flag(
        group,
        "--recognition",
        "describe heads as face-recognition programs see them (default), which says at the group level who is found "
        "again; descriptors are biometric data, and go to output_dir/identifiable",
    )
    group.add_argument(
        "--recognition-views",
        type=int,
        metavar="N",
        help=f"pictures drawn of each head, from as many sides {default_of('recognition_views')}",
    )
    group.add_argument(
        "--recognisers-file",
        type=Path,
        metavar="FILE",
        help="TOML that defines more recognisers (docs/recognition.md)",
    )
