"""Folders of participants may be called anything: what BIDS does not allow is refused by name, the rest is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_datasets import add_image, start_dataset

from bids_refacer.dataset.images import find_images

SMALL = np.zeros((5, 5, 5), dtype=np.uint8)


@pytest.mark.parametrize(("label", "shown"), [("a\nb", r"'a\nb'"), ("a\tb", r"'a\tb'"), ("a\x1b[2J", r"'a\x1b[2J'")])
def test_labels_that_break_lines_are_refused_by_name(label: str, shown: str, tmp_path: Path) -> None:
    """Written so that the line stays whole; the other participant is found."""
    bids = start_dataset(tmp_path / "bids")
    for name in ("01", label):
        add_image(bids, f"sub-{name}_T1w", SMALL)
    found = find_images(bids)
    assert [image.participant for image in found.images] == ["01"]
    (problem,) = found.problems
    assert f"the label {shown} of the participant is not one that BIDS allows" in problem.message
    assert problem.message.isprintable()
