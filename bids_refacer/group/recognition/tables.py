"""Rows of the three tables of recognition at the group level."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from bids_refacer.dataset.rows.recognition import CrowdRow, GroupRecognitionRow, RecognitionComparisonRow
from bids_refacer.group.cohorts import GATES
from bids_refacer.group.outputs import ParticipantOutputs
from bids_refacer.group.recognition.people import means_of, problems_of
from bids_refacer.group.recognition.search import Found, searches
from bids_refacer.group.search import SearchResult
from bids_refacer.recognition.own import SHAPES
from bids_refacer.statistics.bootstrap import bootstrap_means
from bids_refacer.statistics.crowd import SIZES, crowd
from bids_refacer.statistics.paired import holm, wilcoxon_paired

RECOVERED = ("refaced_mean", "refaced")
"""Types of recovered image, the better first."""
_PAIRS = tuple((one, other) for one in (*RECOVERED, "average") for other in ("defaced", "average", "average-fitted"))
_DEEP = 10
PersonKey = tuple[str, str | None, str | None, str]
"""Suffix, tool, type of image, participant."""


@dataclass(frozen=True, kw_only=True)
class RecognitionTables:
    """Rows of the three tables of recognition.

    `ranks` has, for (suffix, tool, type of recovered image, participant), each recogniser with rank and gallery.
    """

    recognition: Sequence[GroupRecognitionRow] = ()
    comparisons: Sequence[RecognitionComparisonRow] = ()
    crowd: Sequence[CrowdRow] = ()
    ranks: Mapping[PersonKey, Mapping[str, tuple[float, int]]] = field(default_factory=dict)


def recognition_tables(
    outputs: ParticipantOutputs,
    reasons: pd.DataFrame,
    fillers: Sequence[Path],
    *,
    seed: int,
    say: Callable[[str], None],
) -> RecognitionTables:
    """Tables group_recognition, group_recognition_comparison and group_crowd.

    Parameters
    ----------
    outputs : ParticipantOutputs
    reasons : DataFrame of `group.cohorts.gate`
    fillers : output directories whose originals only fill the gallery
    seed : of bootstrap, exchanged labels and draws
    say : receives a sentence for what cannot be used
    """
    for problem in problems_of(outputs):
        say(problem)
    rows = means_of(outputs)
    found: list[Found] = []
    for suffix in sorted(outputs.distances["suffix"].unique()) if rows else ():
        found += searches(outputs, rows, reasons, fillers, suffix, seed, say)
    return RecognitionTables(
        recognition=[_row(one, seed) for one in found],
        comparisons=_comparisons(found, seed),
        crowd=[row for one in found for row in _crowd_rows(one, seed)],
        ranks=_ranks(found),
    )


def _ranks(found: Sequence[Found]) -> dict[PersonKey, dict[str, tuple[float, int]]]:
    ranks: dict[PersonKey, dict[str, tuple[float, int]]] = {}
    for one in found:
        about, result = one.about, one.result
        is_told = (about.scan, about.gate) == ("same", GATES[1]) and about.image_type in RECOVERED
        if result is None or not is_told or about.recogniser in SHAPES:
            continue
        values = _by_person(result, result.ranks)
        for person, rank in zip(np.unique(result.persons).tolist(), values.tolist(), strict=True):
            key = (about.suffix, about.tool, about.image_type, person)
            ranks.setdefault(key, {})[str(about.recogniser)] = round(rank, 1), result.n_gallery
    return ranks


def _row(found: Found, seed: int) -> GroupRecognitionRow:
    """How one search fared."""
    result = found.result
    if result is None:
        return replace(found.about, n_participants=0, n_probes=0)
    figures = result.figures(seed)
    ranks = _by_person(result, result.ranks)
    hits = _by_person(result, (result.ranks <= 1).astype(float))
    low, high = bootstrap_means(ranks[:, None], seed, 1000)
    fifth, tenth = (min(rank, len(figures.cmc)) - 1 for rank in (5, _DEEP))
    exact = _exact(hits)
    return replace(
        found.about,
        n_participants=figures.n_participants,
        n_probes=figures.n_probes,
        n_gallery=figures.n_gallery,
        n_fillers=result.n_fillers,
        n_without_face=int((~found.has_face).sum()),
        n_found=int(hits.sum()) if exact else None,
        rank1=float(figures.cmc[0]),
        rank1_low=float(figures.cmc_low[0]),
        rank1_high=float(figures.cmc_high[0]),
        rank1_exact_low=exact[0] if exact else None,
        rank1_exact_high=exact[1] if exact else None,
        rank1_chance=min(1 / figures.n_gallery, 1.0),
        rank5=float(figures.cmc[fifth]),
        rank5_low=float(figures.cmc_low[fifth]),
        rank5_high=float(figures.cmc_high[fifth]),
        rank5_chance=min(5 / figures.n_gallery, 1.0),
        rank10=float(figures.cmc[tenth]),
        mean_rank=float(ranks.mean()),
        mean_rank_low=float(low[0]),
        mean_rank_high=float(high[0]),
        auc=figures.auc.estimate,
        auc_low=figures.auc.low,
        auc_high=figures.auc.high,
        eer=figures.eer.estimate,
        eer_low=figures.eer.low,
        eer_high=figures.eer.high,
        similarity=_similarity(found, result),
    )


def _similarity(found: Found, result: SearchResult) -> float | None:
    """Mean over participants of the similarity to their own original; None for shapes, and where no face was found."""
    if found.about.recogniser in SHAPES or not found.has_face.any():
        return None
    return float(np.nanmean(_own_similarity(result)))


def _own_similarity(result: SearchResult) -> np.ndarray:
    """Of each participant, NaN where no face was found: (participants,)."""
    genuine = result.matches.genuine.astype(np.float64)
    return _by_person(result, np.where(np.isfinite(genuine), 1 - genuine, np.nan))


def _by_person(result: SearchResult, values: np.ndarray) -> np.ndarray:
    """Means of the probes of each person, in the order of their names; NaN where none has a value."""
    return pd.Series(values).groupby(result.persons).mean().to_numpy()


def _exact(hits: np.ndarray) -> tuple[float, float] | None:
    """Clopper and Pearson's interval (1934, doi:10.1093/biomet/26.4.404); None where one is found at times."""
    if not np.isin(hits, (0.0, 1.0)).all():
        return None
    interval = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="exact")
    return float(interval.low), float(interval.high)


def _comparisons(found: Sequence[Found], seed: int) -> list[RecognitionComparisonRow]:
    """Recovered against other faces of the same participants; Holm over those of a recogniser and figure."""
    of_type = {
        (one.about.suffix, one.about.tool, one.about.recogniser, one.about.image_type, one.about.gate): one
        for one in found
        if (one.about.scan, one.about.gate) == ("same", GATES[0]) and one.result is not None
    }
    rows: list[RecognitionComparisonRow] = []
    for suffix, tool, recogniser, first, gate in of_type:
        for second in [other for one, other in _PAIRS if one == first and other != first]:
            pair = of_type[suffix, tool, recogniser, first, gate], of_type.get((suffix, tool, recogniser, second, gate))
            about = RecognitionComparisonRow(
                suffix=suffix, tool=tool, recogniser=recogniser, image_type=first, compared_with=second, gate=gate
            )
            rows += _compared(about, pair[0], pair[1], seed) if pair[1] else []
    return _adjusted(rows)


def _compared(
    about: RecognitionComparisonRow, one: Found, other: Found, seed: int
) -> Iterator[RecognitionComparisonRow]:
    for figure in ("rank",) if about.recogniser in SHAPES else ("similarity", "rank"):
        values = pd.concat([_figure(one, figure), _figure(other, figure)], axis=1).dropna()
        if len(values) < 2:
            continue
        first, second = values.iloc[:, 0].to_numpy(), values.iloc[:, 1].to_numpy()
        test, difference = wilcoxon_paired(first, second), first - second
        low, high = bootstrap_means(difference[:, None], seed, 1000)
        yield replace(
            about,
            figure=figure,
            n_pairs=len(values),
            mean_difference=float(difference.mean()),
            ci_low=float(low[0]),
            ci_high=float(high[0]),
            n_larger=int((difference > 0).sum()),
            statistic=test.statistic,
            p_value=test.p_value,
        )


def _figure(found: Found, figure: str) -> pd.Series:
    """Participant -> similarity to the own original, or rank."""
    assert found.result is not None
    names = np.unique(found.result.persons)
    values = _own_similarity(found.result) if figure == "similarity" else _by_person(found.result, found.result.ranks)
    return pd.Series(values, index=names)


def _adjusted(rows: Sequence[RecognitionComparisonRow]) -> list[RecognitionComparisonRow]:
    families: dict[tuple[str | None, ...], list[int]] = {}
    for number, row in enumerate(rows):
        families.setdefault((row.suffix, row.recogniser, row.gate, row.figure), []).append(number)
    adjusted = list(rows)
    for numbers in families.values():
        p_values = holm(np.array([rows[number].p_value for number in numbers], dtype=float))
        for number, p_value in zip(numbers, p_values.tolist(), strict=True):
            adjusted[number] = replace(rows[number], p_holm=p_value)
    return adjusted


def _crowd_rows(found: Found, seed: int) -> Iterator[CrowdRow]:
    """How often people would be found in crowds, by what was seen in this gallery, in its own scans."""
    result, about = found.result, found.about
    is_told = (about.scan, about.gate) == ("same", GATES[0]) and about.image_type != "shuffled"
    if result is None or not is_told or result.n_gallery < 2:
        return
    sizes = sorted({*SIZES, result.n_gallery})
    nearer = np.where(found.has_face, result.ranks - 1, np.nan)
    rates = crowd(nearer, result.n_gallery - 1, result.persons, np.array(sizes), seed)
    for place, size in enumerate(sizes):
        bounds = [float(part[place, rank]) for rank in (0, 1) for part in (rates.rates, rates.low, rates.high)]
        names = ("rank1", "rank1_low", "rank1_high", "rank5", "rank5_low", "rank5_high")
        yield CrowdRow(
            suffix=about.suffix,
            tool=about.tool,
            recogniser=about.recogniser,
            image_type=about.image_type,
            gate=about.gate,
            n_probes=len(result.ranks),
            gallery=size,
            source="measured" if rates.is_measured[place] else "extrapolated",
            **dict(zip(names, bounds, strict=True)),
        )
