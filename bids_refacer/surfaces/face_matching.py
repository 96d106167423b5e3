"""Look faces up in a crowd: every probe's face map against every gallery member's, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bids_refacer.statistics.identification import ScoreCounter

BLOCK_PROBES = 128  # compared with the whole gallery at a time: 128 x 20 000 distances are 10 MB
LEAST_SHARE = 0.25  # of a probe's skin that a member must show too; below, the pair is never a match


@dataclass(frozen=True)
class Matches:
    """The result of `match`.

    Attributes
    ----------
    genuine : (p,) float32, mm, distance of each probe to its own member
    ranks : (p,) float64, rank of the own member, from 1; members at the same distance share their ranks
    counter : ScoreCounter, the impostor distances counted
    nearest : (p, n) int64, members by ascending distance, the nearest first
    """

    genuine: np.ndarray
    ranks: np.ndarray
    counter: ScoreCounter
    nearest: np.ndarray


class Searchable(Protocol):
    """Members that probes of any kind are compared with, as `Gallery` compares face maps."""

    def __len__(self) -> int: ...

    def distances(self, probes: np.ndarray, /) -> np.ndarray:
        """Distance of each probe to each member: (b, g) float32."""

    def own_distances(self, probes: np.ndarray, own: np.ndarray, /) -> np.ndarray:
        """Distance of each probe to one member: (p,) float32."""


class Gallery:
    """Face maps laid out for comparison; made once, searched often."""

    def __init__(self, maps: np.ndarray) -> None:
        """Take (g, rows, columns) float32 maps, mm, NaN where there is no skin."""
        flat = maps.reshape(len(maps), -1)
        known = np.isfinite(flat)
        self.places = np.nonzero(known.any(axis=0))[0]  # all others would add nothing but time
        known, flat = known[:, self.places], flat[:, self.places]
        # Moved to the mean face: squares of small numbers keep their digits in float32.
        total = np.where(known, flat, 0).sum(axis=0, dtype=np.float64)
        self.centre = (total / known.sum(axis=0)).astype(np.float32)
        self.known = known.astype(np.float32)
        self.depth = np.where(known, flat - self.centre, 0).astype(np.float32)
        self.squares = self.depth**2

    def __len__(self) -> int:
        return len(self.known)

    def laid_out(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maps at the gallery's places: depth from the mean face (0 where unknown), and 1 where known; float32."""
        flat = maps.reshape(len(maps), -1)[:, self.places]
        known = np.isfinite(flat)
        return np.where(known, flat - self.centre, 0).astype(np.float32), known.astype(np.float32)

    def distances(self, maps: np.ndarray) -> np.ndarray:
        """Root mean square difference of depth over the places where both faces show skin.

        Parameters
        ----------
        maps : (b, rows, columns) float32, mm, NaN where there is no skin

        Returns
        -------
        (b, g) float32, mm; infinite where both show less than `LEAST_SHARE` of the probe's skin
        """
        depth, known = self.laid_out(maps)
        squares = depth**2 @ self.known.T
        squares += known @ self.squares.T
        squares -= 2 * (depth @ self.depth.T)
        common = known @ self.known.T
        enough = common >= LEAST_SHARE * np.maximum(known.sum(axis=1, keepdims=True), 1)
        distance = np.sqrt(np.maximum(squares, 0) / np.maximum(common, 1))
        return np.where(enough & (common > 0), distance, np.inf).astype(np.float32)

    def own_distances(self, maps: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Distance of each probe to one member, summed in float64: a face is at 0.0 from itself. (p,) float32, mm."""
        result = np.empty(len(maps), dtype=np.float32)
        for start, block in _blocks(maps):
            depth, known = self.laid_out(block)
            members = own[start : start + len(block)]
            both = known * self.known[members]
            squares = (both * (depth - self.depth[members]).astype(np.float64) ** 2).sum(axis=1)
            common = both.sum(axis=1)
            enough = (common >= LEAST_SHARE * known.sum(axis=1)) & (common > 0)
            result[start : start + len(block)] = np.where(enough, np.sqrt(squares / np.maximum(common, 1)), np.inf)
        return result


def match(
    probes: np.ndarray, gallery: Searchable, own: np.ndarray, nearest: int = 1, barred: np.ndarray | None = None
) -> Matches:
    """Compare every probe with every member of the gallery.

    Parameters
    ----------
    probes : (p, ...) float32, p >= 1: face maps in mm, NaN where there is no skin, or what else the gallery compares
    gallery : Gallery, or another of the same kind
    own : (p,) int, the member of the gallery that is the probe's own
    nearest : how many of the nearest members to name for each probe
    barred : (p,) int, optional, another member of each probe that is left out, as if it were not in the gallery
    """
    genuine = gallery.own_distances(probes, own)
    counter = ScoreCounter(genuine)
    ranks = np.empty(len(probes))
    nearest = min(nearest, len(gallery))
    members = np.empty((len(probes), nearest), dtype=np.int64)
    for start, block in _blocks(probes):
        rows, stop = np.arange(len(block)), start + len(block)
        distances = gallery.distances(block)
        theirs, mine = own[start:stop], genuine[start:stop]
        distances[rows, theirs] = mine
        if barred is not None:
            distances[rows, barred[start:stop]] = np.inf
        counter.add(start, distances, theirs, None if barred is None else barred[start:stop])
        closer = (distances < mine[:, None]).sum(axis=1)
        level = (distances == mine[:, None]).sum(axis=1) - 1
        ranks[start:stop] = 1 + closer + level / 2
        first = np.argpartition(distances, nearest - 1, axis=1)[:, :nearest]
        order = np.argsort(np.take_along_axis(distances, first, axis=1), axis=1, kind="stable")
        members[start:stop] = np.take_along_axis(first, order, axis=1)
    return Matches(genuine, ranks, counter, members)


def reranked(ranks: np.ndarray, nearest: np.ndarray, own: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Ranks after the nearest members were compared again by a better distance.

    Parameters
    ----------
    ranks : (p,) float, of `match`
    nearest : (p, n) int, members that were compared again
    own : (p,) int
    exact : (p, n) float, mm, the better distance to each of them

    Returns
    -------
    (p,) float64
        Unchanged where the own member is not among the nearest: the better distance orders these alone.
    """
    is_own = nearest == own[:, None]
    mine = np.where(is_own, exact, np.inf).min(axis=1)
    level = (exact == mine[:, None]).sum(axis=1) - 1
    better = 1 + (exact < mine[:, None]).sum(axis=1) + level / 2
    return np.where(is_own.any(axis=1), better, ranks)


def _blocks(maps: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(maps), BLOCK_PROBES):
        yield start, maps[start : start + BLOCK_PROBES]
