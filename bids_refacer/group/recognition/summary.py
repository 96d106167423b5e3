"""The figures of recognition that stand in the first table of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bids_refacer.dataset.rows.group import GroupParticipantRow, SummaryRow
from bids_refacer.dataset.rows.recognition import CrowdRow, GroupRecognitionRow
from bids_refacer.group.recognition.tables import RECOVERED, RecognitionTables
from bids_refacer.recognition.own import SHAPES

TOWN = 10_000
"""People in the town that the page tells of."""


def with_recognition(
    summary: Sequence[SummaryRow], recognition: Sequence[GroupRecognitionRow], crowd: Sequence[CrowdRow]
) -> list[SummaryRow]:
    """Rows of the summary with the recogniser that finds most people by the recovered face, and how many in a town."""
    return [_with_best(row, recognition, crowd) for row in summary]


def _with_best(row: SummaryRow, recognition: Sequence[GroupRecognitionRow], crowd: Sequence[CrowdRow]) -> SummaryRow:
    own = [
        one
        for one in recognition
        if (one.suffix, one.tool, one.gate, one.scan) == (row.suffix, row.tool, "passed", "same")
        and one.recogniser not in SHAPES
        and one.n_participants
    ]
    of_type = next((some for kind in RECOVERED if (some := [one for one in own if one.image_type == kind])), [])
    if not of_type:
        return row
    best = max(of_type, key=lambda one: (one.rank1 or 0.0, -(one.mean_rank or 0.0)))
    key = (best.suffix, best.tool, best.recogniser, best.image_type, best.gate, TOWN)
    towns = [
        one for one in crowd if (one.suffix, one.tool, one.recogniser, one.image_type, one.gate, one.gallery) == key
    ]
    town = towns[0] if towns else CrowdRow(suffix=row.suffix)
    return replace(
        row,
        recogniser=best.recogniser,
        recogniser_rank1=best.rank1,
        recogniser_rank1_low=best.rank1_low,
        recogniser_rank1_high=best.rank1_high,
        recogniser_gallery=best.n_gallery,
        town_rank1=town.rank1,
        town_rank1_low=town.rank1_low,
        town_rank1_high=town.rank1_high,
    )


def with_ranks(people: Sequence[GroupParticipantRow], found: RecognitionTables) -> list[GroupParticipantRow]:
    """Rows of participants with the rank of their own original, by each recogniser."""
    return [replace(row, recogniser_ranks=_ranks(row, found)) for row in people]


def _ranks(row: GroupParticipantRow, found: RecognitionTables) -> str | None:
    """``dlib 1 of 32, sface 4 of 32``: by the better of the recovered faces."""
    for image_type in RECOVERED:
        key = (row.suffix, row.tool, image_type)
        known = found.ranks.get((*key, row.participant_id), {})
        if known:
            return ", ".join(f"{name} {rank:g} of {size}" for name, (rank, size) in sorted(known.items()))
    return None
