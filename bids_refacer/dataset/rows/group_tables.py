"""All tables of the group level together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bids_refacer.dataset.rows.group import (
    ComparisonRow,
    GroupCalibrationRow,
    GroupDistanceRow,
    GroupImageRow,
    GroupParticipantRow,
    ReferenceRow,
    SummaryRow,
    ToolsRow,
)
from bids_refacer.dataset.rows.group_people import CmcRow, IdentificationRow, PhenotypeRow, PredictionRow, RocRow
from bids_refacer.dataset.rows.recognition import CrowdRow, GroupRecognitionRow, RecognitionComparisonRow
from bids_refacer.dataset.rows.table import Row


@dataclass(frozen=True, kw_only=True)
class GroupTables:
    """The rows of each table; a table without rows is not written."""

    summary: Sequence[SummaryRow] = ()
    participants: Sequence[GroupParticipantRow] = ()
    images: Sequence[GroupImageRow] = ()
    distances: Sequence[GroupDistanceRow] = ()
    comparisons: Sequence[ComparisonRow] = ()
    tools: Sequence[ToolsRow] = ()
    calibration: Sequence[GroupCalibrationRow] = ()
    identification: Sequence[IdentificationRow] = ()
    cmc: Sequence[CmcRow] = ()
    roc: Sequence[RocRow] = ()
    recognition: Sequence[GroupRecognitionRow] = ()
    recognition_comparisons: Sequence[RecognitionComparisonRow] = ()
    crowd: Sequence[CrowdRow] = ()
    reference: Sequence[ReferenceRow] = ()
    phenotypes: Sequence[PhenotypeRow] = ()
    predictions: Sequence[PredictionRow] = ()

    def by_kind(self) -> Iterator[tuple[type[Row], Sequence[Row]]]:
        """The kind of row of each table with its rows, in the order in which the tables are listed."""
        yield SummaryRow, self.summary
        yield GroupParticipantRow, self.participants
        yield GroupImageRow, self.images
        yield GroupDistanceRow, self.distances
        yield ComparisonRow, self.comparisons
        yield ToolsRow, self.tools
        yield GroupCalibrationRow, self.calibration
        yield IdentificationRow, self.identification
        yield CmcRow, self.cmc
        yield RocRow, self.roc
        yield GroupRecognitionRow, self.recognition
        yield RecognitionComparisonRow, self.recognition_comparisons
        yield CrowdRow, self.crowd
        yield ReferenceRow, self.reference
        yield PhenotypeRow, self.phenotypes
        yield PredictionRow, self.predictions
