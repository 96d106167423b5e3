"""Rows of the two tables that the group page opens with: each tool's figures, and each participant's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bids_refacer.dataset.image_key import suffix_of
from bids_refacer.dataset.rows.audit import DefacingRow
from bids_refacer.dataset.rows.group import ComparisonRow, GroupImageRow, GroupParticipantRow, SummaryRow
from bids_refacer.dataset.rows.group_people import IdentificationRow
from bids_refacer.dataset.rows.group_tables import GroupTables
from bids_refacer.group.cohorts import Cohort, per_participant
from bids_refacer.group.outputs import ParticipantOutputs
from bids_refacer.reports.notes.same_cut import SAME_CUT
from bids_refacer.statistics.paired import holm
from bids_refacer.surfaces.region import PARTS
from bids_refacer.surfaces.verdicts import GRADES, JUDGED

STATES = ("failed", "excluded", "missing", "unfinished", "used")  # the worst first
_PROBE = {"refaced_mean": "refaced_mean", "refaced_sample_mean": "refaced"}
"""Recovered faces whose distance is in the tables, the better first -> the face of theirs that is looked up."""


def participant_rows(
    outputs: ParticipantOutputs, images: Sequence[GroupImageRow], of_group: Sequence[Cohort]
) -> list[GroupParticipantRow]:
    """Table group_participants: how each participant fared with each tool.

    Parameters
    ----------
    outputs : ParticipantOutputs
    images : rows of group_images
    of_group : every kind of image behind every gate
    """
    judged = {(row.image, row.tool): row for row in outputs.defacing}
    distances = {
        (row.participant_id, row.suffix, row.tool): row
        for cohort in of_group
        if cohort.gate == "passed"
        for row in _distance_rows(cohort)
    }
    rows = []
    for (participant, suffix, tool), own in _by_person(images).items():
        about = GroupParticipantRow(participant_id=participant, suffix=suffix, tool=tool)
        row = distances.get((participant, suffix, tool), about)
        row = replace(
            row,
            state=min((image.state for image in own if image.state), key=STATES.index),
            reason="; ".join(dict.fromkeys(image.reason for image in own if image.reason)) or None,
            n_images=len(own),
            n_used=sum(image.state == "used" for image in own),
        )
        rows.append(_with_worst(row, [judged[image.image, tool] for image in own if (image.image, tool) in judged]))
    return rows


def summary_rows(outputs: ParticipantOutputs, tables: GroupTables) -> list[SummaryRow]:
    """Table group_summary: the figures of each tool that people choose by, gathered from the other tables."""
    images: dict[tuple[str, str], list[GroupImageRow]] = {}
    for (_, suffix, tool), own in _by_person(tables.images).items():
        images.setdefault((suffix, tool), []).extend(own)
    rows = []
    for suffix, tool in sorted(images):
        people = [row for row in tables.participants if (row.suffix, row.tool) == (suffix, tool)]
        row = _with_states(SummaryRow(suffix=suffix, tool=tool, n_participants=len(people)), images[suffix, tool])
        names = {image.image for image in images[suffix, tool]}
        row = _with_verdicts(row, [known for known in outputs.defacing if known.tool == tool and known.image in names])
        row = _with_distances(row, people, tables.comparisons)
        rows.append(_with_identification(row, tables.identification))
    return _with_chance_test(rows)


def _by_person(images: Sequence[GroupImageRow]) -> dict[tuple[str, str, str], list[GroupImageRow]]:
    """Participant, suffix and tool -> the rows of group_images, those that name an image and a tool."""
    found: dict[tuple[str, str, str], list[GroupImageRow]] = {}
    for row in images:
        if row.image and row.tool:
            suffix = suffix_of(row.image)
            found.setdefault((row.participant_id, suffix, row.tool), []).append(row)
    return found


def _face_left(row: DefacingRow) -> float | None:
    """Percent of the part of which most is left, among those that decide the verdict."""
    return _largest(getattr(row, f"{part}_left_percent") for part in JUDGED)


def _with_worst(row: GroupParticipantRow, defacing: Sequence[DefacingRow]) -> GroupParticipantRow:
    """The row with the worst verdicts and figures of the participant's images."""
    return replace(
        row,
        face_verdict=_worst_grade(known.face_verdict for known in defacing),
        brain_verdict=_worst_grade(known.brain_verdict for known in defacing),
        worst_part_left_percent=_largest(map(_face_left, defacing)),
        brain_removed_percent=_largest(known.brain_removed_percent for known in defacing),
        run_time_s=_mean(known.run_time_s for known in defacing),
    )


def _worst_grade(verdicts: Iterable[str | None]) -> str | None:
    return max((verdict for verdict in verdicts if verdict in GRADES), key=GRADES.index, default=None)


def _distance_rows(cohort: Cohort) -> Iterator[GroupParticipantRow]:
    """Distances by participant and tool; recovered and average face on the images that have both."""
    for tool in cohort.images.columns.unique("tool"):
        of_tool = cohort.images[tool]
        headline = of_tool.xs(cohort.headline, axis=1, level="part")
        kind = next((name for name in _PROBE if name in headline and headline[name].notna().any()), None)
        columns = _distances_of(headline, kind, "")
        columns |= _distances_of(of_tool.xs(PARTS[0], axis=1, level="part"), kind, "face_")
        for participant, values in pd.DataFrame(columns).iterrows():
            known = {str(name): float(value) for name, value in values.items() if not np.isnan(value)}
            yield GroupParticipantRow(
                participant_id=str(participant),
                suffix=cohort.suffix,
                tool=tool,
                headline_part=cohort.headline,
                defaced_mm=known.get("defaced_mm"),
                recovered_type=kind if "recovered_mm" in known else None,
                recovered_mm=known.get("recovered_mm"),
                average_mm=known.get("average_mm"),
                average_fitted_mm=known.get("average_fitted_mm"),
                face_defaced_mm=known.get("face_defaced_mm"),
                face_recovered_mm=known.get("face_recovered_mm"),
                face_average_mm=known.get("face_average_mm"),
            )


def _distances_of(images: pd.DataFrame, kind: str | None, prefix: str) -> dict[str, pd.Series]:
    """Columns of `GroupParticipantRow` from the distances of images in one part; `kind` is the recovered face."""
    columns: dict[str, pd.Series] = {}
    if "defaced" in images:
        columns["defaced_mm"] = per_participant(images["defaced"].to_frame())["defaced"]
    if "average-fitted" in images and not prefix:
        columns["average_fitted_mm"] = per_participant(images["average-fitted"].to_frame())["average-fitted"]
    if kind and "average" in images:
        pairs = per_participant(images[[kind, "average"]].dropna())
        columns |= {"recovered_mm": pairs[kind], "average_mm": pairs["average"]}
    return {f"{prefix}{name}": values for name, values in columns.items()}


def _with_states(row: SummaryRow, images: Sequence[GroupImageRow]) -> SummaryRow:
    states = [image.state for image in images]
    return replace(
        row,
        n_images=len(images),
        n_used=states.count("used"),
        n_excluded=states.count("excluded"),
        n_failed=states.count("failed"),
        n_missing=states.count("missing"),
        n_unfinished=states.count("unfinished"),
    )


def _with_verdicts(row: SummaryRow, defacing: Sequence[DefacingRow]) -> SummaryRow:
    if not defacing:
        return replace(row, n_judged=0)
    face = [known.face_verdict for known in defacing]
    brain = [known.brain_verdict for known in defacing]
    removed = [known.brain_removed_percent for known in defacing]
    head = _median(known.removed_head_fraction for known in defacing)
    return replace(
        row,
        **_same_cut(defacing),
        version=", ".join(sorted({known.version for known in defacing if known.version is not None})) or None,
        n_judged=len(defacing),
        n_face_fail=face.count("fail"),
        n_face_warn=face.count("warn"),
        worst_part_left_median_percent=_median(map(_face_left, defacing)),
        n_brain_fail=brain.count("fail"),
        n_brain_warn=brain.count("warn"),
        brain_removed_median_percent=_median(removed),
        brain_removed_max_percent=_largest(removed),
        head_removed_median_percent=None if head is None else 100 * head,
        run_time_median_s=_median(known.run_time_s for known in defacing),
    )


def _same_cut(defacing: Sequence[DefacingRow]) -> dict[str, Any]:
    """The other tool that made nearly the same cut in most images, and in how many."""
    same = Counter(row.most_alike for row in defacing if row.most_alike and (row.most_alike_dice or 0) > SAME_CUT)
    tool, count = same.most_common(1)[0] if same else (None, 0)
    return {"most_alike": tool, "n_same_cut": count}


def _with_distances(
    row: SummaryRow, people: Sequence[GroupParticipantRow], comparisons: Sequence[ComparisonRow]
) -> SummaryRow:
    """The row with the mean distances of its participants, and the test of recovered against average faces."""
    row = replace(
        row,
        defaced_mm=_mean(person.defaced_mm for person in people),
        recovered_mm=_mean(person.recovered_mm for person in people),
        average_mm=_mean(person.average_mm for person in people),
        average_fitted_mm=_mean(person.average_fitted_mm for person in people),
        face_defaced_mm=_mean(person.face_defaced_mm for person in people),
        face_recovered_mm=_mean(person.face_recovered_mm for person in people),
        face_average_mm=_mean(person.face_average_mm for person in people),
        headline_part=next((person.headline_part for person in people if person.headline_part), None),
        recovered_type=next((person.recovered_type for person in people if person.recovered_type), None),
    )
    if row.recovered_type is None:
        return replace(row, n_pairs=0)
    wanted = (row.suffix, row.tool, row.recovered_type, "average", "passed", "all")
    tests = {
        test.part: test
        for test in reversed(comparisons)
        if (test.suffix, test.tool, test.image_type, test.compared_with, test.gate, test.subgroup_column) == wanted
    }
    whole, test = tests.get(PARTS[0]), tests.get(row.headline_part)
    row = replace(row, face_difference_mm=whole.mean_difference_mm if whole else None)
    if test is None:
        return row
    return replace(
        row,
        n_pairs=test.n_pairs,
        difference_mm=test.mean_difference_mm,
        difference_low_mm=test.ci_low_mm,
        difference_high_mm=test.ci_high_mm,
        n_closer=test.n_closer,
        difference_p_holm=test.p_holm,
        rank_biserial=test.rank_biserial,
    )


def _with_identification(row: SummaryRow, searches: Sequence[IdentificationRow]) -> SummaryRow:
    """The row with how often people are found by the recovered face, and by the average face."""
    own = {
        search.image_type: search
        for search in reversed(searches)
        if (search.suffix, search.tool, search.scan, search.gate) == (row.suffix, row.tool, "same", "passed")
    }
    average = own.get("average")
    row = replace(row, n_looked_up=0, average_rank1=average.rank1 if average else None)
    probe = own.get(_PROBE.get(row.recovered_type or ""))
    if probe is None:
        return row
    return replace(
        row,
        n_looked_up=probe.n_participants,
        n_gallery=probe.n_gallery,
        rank1=probe.rank1,
        rank1_low=probe.rank1_low,
        rank1_high=probe.rank1_high,
        rank1_chance=probe.rank1_chance,
        rank5=probe.rank5,
        rank5_chance=probe.rank5_chance,
        auc=probe.auc,
    )


def _with_chance_test(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """The rows with a test of whether more people are found than by chance, Holm over the tools of a kind of image.

    An exact test, as bootstrap intervals have no width where all or none are found.
    """
    adjusted: dict[SummaryRow, float] = {}
    for suffix in {row.suffix for row in rows}:
        p_values = {row: p for row in rows if row.suffix == suffix and (p := _chance_p(row)) is not None}
        adjusted |= dict(zip(p_values, map(float, holm(np.array(list(p_values.values())))), strict=True))
    return [replace(row, rank1_p_holm=adjusted.get(row)) for row in rows]


def _chance_p(row: SummaryRow) -> float | None:
    if row.rank1 is None or row.n_looked_up is None:
        return None
    found = int(row.rank1 * row.n_looked_up + 1e-9)  # a participant with several probes counts in parts
    return float(stats.binomtest(found, row.n_looked_up, row.rank1_chance, alternative="greater").pvalue)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _largest(values: Iterable[float | None]) -> float | None:
    return max(_known(values), default=None)


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return float(np.mean(known)) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return float(np.median(known)) if known else None
