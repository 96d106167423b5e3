"""The seed of each pair of samples: it depends on the run's seed, the image, the tool and the number alone."""

from __future__ import annotations

import hashlib
import json


def seed_for(run_seed: int, bids_path: str, tool: str, number: int) -> int:
    """The seed of one pair of samples, 0 to 2**63 - 1.

    Order, parallelism and resumed runs do not change a face, and no two images share their noise. Synthetic
    participants, which are numbered as well, get their seeds here too.

    Parameters
    ----------
    run_seed : the run's ``--seed``
    bids_path : path of the original in its dataset, with forward slashes
    tool : name of the defacing tool
    number : of the pair, from 1
    """
    # JSON keeps the parts apart: ("a", "bc") and ("ab", "c") must not meet
    text = json.dumps([run_seed, bids_path, tool, number])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
