"""Who is trained on and who is held out: decided for participants, so that all images of one stay together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

TRAIN, VAL = "train", "val"


def split_of(participant: str, row: Mapping[str, str], seed: int, val_share: float) -> str:
    """The split of a participant: what the column `split` says, else a seeded hash of the label.

    Adding or removing participants moves no other, and neither does their order.

    Parameters
    ----------
    participant : label without "sub-"
    row : of participants.tsv; its `split` is taken as it is (only "train" and "val" are used)
    seed : another seed holds out others
    val_share : share of the participants to hold out, 0 to 1

    Returns
    -------
    "train", "val", or another word of the column
    """
    if "split" in row:
        return row["split"].strip()
    digest = hashlib.sha256(f"{seed}:{participant}".encode()).digest()
    return VAL if int.from_bytes(digest[:8], "big") < val_share * 2**64 else TRAIN
