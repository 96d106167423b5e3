"""How well people are found: ranks in a gallery, and telling genuine from impostor pairs. Numbers in, numbers out.

A probe is compared with every member of a gallery. *Genuine* is the distance to the member who is the probe's person,
*impostor* every other. All figures count each participant once, however many probes there are of one.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bids_refacer.statistics.bootstrap import draw_counts, percentile_interval
from bids_refacer.statistics.paired import Interval

FALSE_ACCEPT = np.concatenate([[0.0, 0.001, 0.002, 0.005, 0.01, 0.02], np.arange(1, 21) / 20])
"""Shares of impostor pairs accepted at which the ROC curve is given."""

SLOTS = 512  # thresholds kept of each probe; exact for as many probes, a fine quantile grid for more


class ScoreCounter:
    """Counts impostor distances between genuine ones, block by block, so that no matrix of distances is ever kept.

    Slots 0, 2, 4 ... lie below, between and above the sorted distinct thresholds, slots 1, 3 ... on them.

    Attributes
    ----------
    thresholds : (m,) float32, distinct genuine distances (at most `SLOTS` quantiles of them), ascending
    impostors : (p, 2 m + 1) int32, of each probe
    """

    def __init__(self, genuine: np.ndarray) -> None:
        distinct = np.unique(np.asarray(genuine, dtype=np.float32))
        if len(distinct) > SLOTS:
            distinct = distinct[np.round(np.linspace(0, len(distinct) - 1, SLOTS)).astype(int)]
        self.thresholds = distinct
        self.impostors = np.zeros((len(genuine), 2 * len(distinct) + 1), dtype=np.int32)

    def slots(self, distances: np.ndarray) -> np.ndarray:
        """Slot of each distance: int64, in the shape of the input."""
        found = np.searchsorted(self.thresholds, distances)
        on = self.thresholds[np.minimum(found, len(self.thresholds) - 1)] == distances
        return np.asarray(2 * found + on)

    def add(self, start: int, distances: np.ndarray, own: np.ndarray, barred: np.ndarray | None = None) -> None:
        """Count a block of distances.

        Parameters
        ----------
        start : number of the block's first probe
        distances : (b, g) float32, of b probes to all g members of the gallery
        own : (b,) int, the member that is the probe's own, which is no impostor
        barred : (b,) int, optional, another member of each probe that counts as neither
        """
        block, width = len(distances), self.impostors.shape[1]
        slots = self.slots(distances)
        flat = slots + np.arange(block)[:, None] * width
        counts = np.bincount(flat.ravel(), minlength=block * width).reshape(block, width)
        rows = np.arange(block)
        for left_out in (own,) if barred is None else (own, barred):
            counts[rows, slots[rows, left_out]] -= 1
        self.impostors[start : start + block] = counts

    def of(self, probes: np.ndarray) -> "ScoreCounter":
        """The counts of some probes, (p,) bool."""
        part = ScoreCounter(self.thresholds)
        part.impostors = self.impostors[probes]
        return part


@dataclass(frozen=True)
class Identification:
    """What `identify` found; intervals are 95 % percentile bootstraps over participants, the gallery held fixed.

    Attributes
    ----------
    cmc, cmc_low, cmc_high : (r,) float64, share of participants whose own member is among the first 1 to r
    auc : Interval, probability that a genuine pair lies nearer than an impostor pair (ties count half)
    eer : Interval, rate at which as many genuine pairs are refused as impostor pairs are accepted
    roc : (len(FALSE_ACCEPT),) float64, share of genuine pairs accepted where `FALSE_ACCEPT` of the impostors are
    n_participants, n_probes, n_gallery : int
    """

    cmc: np.ndarray
    cmc_low: np.ndarray
    cmc_high: np.ndarray
    auc: Interval
    eer: Interval
    roc: np.ndarray
    n_participants: int
    n_probes: int
    n_gallery: int


@dataclass(frozen=True)
class Probes:
    """Probes that were compared with a gallery.

    Attributes
    ----------
    ranks : (p,) float, rank of the own member of each probe, from 1; members at equal distance share their ranks
    genuine : (p,) float, distance of each probe to its own member
    counter : ScoreCounter made of `genuine`, with the impostors counted
    participants : (p,) of any kind, who each probe is; a participant's probes share one vote
    n_gallery : members of the gallery
    """

    ranks: np.ndarray
    genuine: np.ndarray
    counter: ScoreCounter
    participants: np.ndarray
    n_gallery: int


def identify(probes: Probes, seed: int, resamples: int = 1000, deepest: int = 50) -> Identification:
    """Figures of a set of probes.

    Parameters
    ----------
    seed, resamples : of the bootstrap
    deepest : last rank of the cumulative match curve
    """
    hits, accepted, impostors = _of_participants(probes, deepest)
    people = len(hits)
    drawn = [
        (counts @ hits / people, *_curve_figures(counts @ accepted, counts @ impostors))
        for counts in draw_counts(people, seed, resamples)
    ]
    cmc, auc, eer = (percentile_interval(np.concatenate(part)) for part in zip(*drawn, strict=True))
    auc_of_all, eer_of_all = _curve_figures(accepted.sum(0, keepdims=True), impostors.sum(0, keepdims=True))
    return Identification(
        cmc=hits.mean(axis=0),
        cmc_low=cmc[0],
        cmc_high=cmc[1],
        auc=Interval(float(auc_of_all[0]), *map(float, auc)),
        eer=Interval(float(eer_of_all[0]), *map(float, eer)),
        roc=roc_curve(accepted.sum(0), impostors.sum(0)),
        n_participants=people,
        n_probes=len(probes.ranks),
        n_gallery=probes.n_gallery,
    )


def _of_participants(probes: Probes, deepest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over the probes of each participant: hits up to each rank, genuine pairs and impostors in each slot."""
    counter = probes.counter
    _, who = np.unique(probes.participants, return_inverse=True)
    share = 1.0 / np.bincount(who)[who]
    depth = np.arange(1, min(deepest, probes.n_gallery) + 1)
    accepted = np.zeros(counter.impostors.shape)
    accepted[np.arange(len(who)), counter.slots(np.asarray(probes.genuine, dtype=np.float32))] = share
    weighted = ((probes.ranks[:, None] <= depth) * share[:, None], accepted, counter.impostors * share[:, None])
    hits, genuine, impostors = (_sums(values, who) for values in weighted)
    return hits, genuine, impostors


def roc_curve(genuine: np.ndarray, impostors: np.ndarray) -> np.ndarray:
    """Share of genuine pairs accepted at each of `FALSE_ACCEPT`, linear between thresholds: (len(FALSE_ACCEPT),).

    Parameters
    ----------
    genuine, impostors : (s,) float, counts in slots of ascending distance
    """
    if not genuine.sum() or not impostors.sum():
        return np.full(len(FALSE_ACCEPT), np.nan)
    accepted, false = (np.append(0.0, np.cumsum(part) / part.sum()) for part in (genuine, impostors))
    return np.asarray(np.interp(FALSE_ACCEPT, false, accepted))  # where the curve rises steeply, its upper end counts


def _sums(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Sums of rows by group: (n, c) -> (groups, c) float64."""
    rows = np.arange(len(group))
    return np.asarray(
        sparse.csr_array((np.ones(len(group)), (group, rows)), shape=(int(group.max()) + 1, len(group))) @ values
    )


def _curve_figures(genuine: np.ndarray, impostors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area under the ROC curve and equal error rate from counts in slots of ascending distance.

    Parameters
    ----------
    genuine, impostors : (r, s) float, counts in each slot; every row is a curve of its own

    Returns
    -------
    auc, eer : (r,) float64; NaN where there is no genuine or no impostor pair
    """
    zero = np.zeros((len(genuine), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        accepted, false = (
            np.hstack([zero, np.cumsum(part, axis=1) / part.sum(axis=1, keepdims=True)])
            for part in (genuine, impostors)
        )
    auc = np.sum(np.diff(false) * (accepted[:, 1:] + accepted[:, :-1]) / 2, axis=1)
    gap = false - (1 - accepted)  # rises from -1 to 1; zero where both errors are equal
    after = np.argmax(gap >= 0, axis=1)
    rows, before = np.arange(len(gap)), np.maximum(after - 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = -gap[rows, before] / (gap[rows, after] - gap[rows, before])
        eer = false[rows, before] + part * (false[rows, after] - false[rows, before])
    return auc, np.where(np.isnan(auc), np.nan, eer)
