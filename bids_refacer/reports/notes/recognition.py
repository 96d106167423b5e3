"""What face-recognition programs find, in words."""

from __future__ import annotations

from collections.abc import Sequence

from bids_refacer.dataset.rows.group import SummaryRow
from bids_refacer.dataset.rows.recognition import RecognitionRow
from bids_refacer.wording import counted

WIDEST = 0.9
"""A projection with a wider interval is not put into a sentence: its estimate would be read, and it says nothing."""


def recognition_line(row: SummaryRow) -> str:
    """How many people a face-recognition program finds by the recovered face; in a town, too."""
    if row.recogniser_rank1 is None:
        return "Whether face-recognition programs find people again was not measured."
    people = counted(row.recogniser_gallery or 0, "person", "people")
    found = f"Among {people}, {row.recogniser} finds {_percent(row.recogniser_rank1)} first."
    return f"{found} {town_sentence(row)}".strip()


def town_sentence(row: SummaryRow) -> str:
    """The projection to a town; empty without one."""
    if row.town_rank1 is None:
        return ""
    if not _says_something(row):
        return "What that means for a town cannot be told from so few people."
    bounds = f"{_percent(row.town_rank1_low)} to {_percent(row.town_rank1_high)}"
    return (
        f"In a town of 10,000, an attacker with these programs would find about {_percent(row.town_rank1)} ({bounds}): "
        "a projection, not a measurement."
    )


def town_lines(summary: Sequence[SummaryRow]) -> list[str]:
    """The same for every tool, for the first answer."""
    projected = [row for row in summary if row.town_rank1 is not None]
    known = [row for row in projected if _says_something(row)]
    if not projected:
        return []
    if not known:
        return [
            "Whether face-recognition programs would find these people in a town cannot be told: every projection from "
            "this gallery leaves nearly all rates open. More participants, or --filler-dataset, narrow it."
        ]
    said = "; ".join(
        f"after {row.tool} about {_percent(row.town_rank1)} ({_percent(row.town_rank1_low)} to "
        f"{_percent(row.town_rank1_high)})"
        for row in known
    )
    return [
        f"In a town of 10,000 people, an attacker with face-recognition programs would find {said}. This is projected "
        "from this dataset's own gallery."
    ]


def _says_something(row: SummaryRow) -> bool:
    """Whether the interval of a projection is no wider than `WIDEST`."""
    low, high = row.town_rank1_low, row.town_rank1_high
    return low is not None and high is not None and high - low <= WIDEST


def recognised_lines(rows: Sequence[RecognitionRow], ranks: str | None) -> list[str]:
    """What face-recognition programs see of one image after one tool; `ranks` as the group level found them."""
    notes = [f"Face recognition was not measured: {row.note}" for row in rows if row.note]
    means = [row for row in rows if row.view == "mean"]
    recovered = [row for kind in ("refaced_mean", "refaced") for row in means if row.image_type == kind]
    first = {str(row.recogniser): row for row in reversed(recovered)}
    if not first:
        return notes
    said = "; ".join(_seen(name, row, means) for name, row in sorted(first.items()))
    lines = [f"Face recognition, by the recovered face: {said}."]
    if ranks:
        lines.append(f"Rank of the own original among all originals of the group, by the recovered face: {ranks}.")
    return [*lines, *notes]


def _seen(name: str, row: RecognitionRow, means: Sequence[RecognitionRow]) -> str:
    """``dlib sees a face in 6 of 6 views, 0.94 alike to the original (the original under another light: 0.98)``."""
    seen = f"{name} sees a face in {row.n_detected or 0} of {counted(row.n_views or 0, 'view')}"
    if row.similarity is None:
        return seen
    same = [one for one in means if (one.image_type, one.recogniser) == ("original", name)]
    most = f" (the original under another light: {same[0].similarity:.2f})" if same and same[0].similarity else ""
    return f"{seen}, {row.similarity:.2f} alike to the original{most}"


def _percent(share: float | None) -> str:
    """A share in percent, small ones with a digit more."""
    if share is None:
        return "n/a"
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"
