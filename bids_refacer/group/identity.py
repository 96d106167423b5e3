"""Rows of the tables of identification: can a person be found in a crowd by the recovered face?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_refacer.group.cohorts import GATES
from bids_refacer.group.faces import (
    PROBES,
    Member,
    Probe,
    find_gallery,
    find_probes,
    find_rescans,
    load_maps,
    surface_of,
)
from bids_refacer.group.outputs import Audit, AuditError
from bids_refacer.statistics.identification import FALSE_ACCEPT, Identification, identify
from bids_refacer.surfaces.face_distance import FaceShape, face_distance
from bids_refacer.surfaces.face_map import read_face_map
from bids_refacer.surfaces.face_matching import Gallery, Matches, match, reranked
from bids_refacer.surfaces.gifti import GiftiError, read_surface

Row = dict[str, Any]

EXCHANGES = 20
"""Times that labels are exchanged for the check: with 72 faces, the AUC of one exchange has a standard deviation of
0.035, of twenty 0.005 (measured on synthetic faces; 38 and 39 of 40 intervals hold 0.5)."""
_CHECKED = 4000  # probes of that check at most, for its time in large galleries


class Search:
    """Looks probes up in one gallery and tells how that went, for the rows of both tables."""

    def __init__(self, members: Sequence[Member], suffix: str, *, rerank: int, seed: int) -> None:
        """Take who is in the gallery; `rerank` is how many of the nearest are compared again by their surfaces."""
        self.members, self.suffix, self.rerank, self.seed = members, suffix, rerank, seed
        self._member_shape = lru_cache(maxsize=400)(_shape)  # the same few members are near to many probes
        self.maps = load_maps([member.path for member in members])
        self.gallery = Gallery(self.maps)
        self.summary: list[Row] = []
        self.curves: list[Row] = []
        self.roc: list[Row] = []

    def check(self, participants: Sequence[str]) -> None:
        """Look the true faces of the participants up as they are, and everyone's with their labels exchanged."""
        wanted = set(participants)
        names = np.array([member.person for member in self.members])
        own = np.array([number for number, name in enumerate(names) if name in wanted], dtype=int)
        if len(own):
            self._tell_check("original", own, own, None)
        probes, labels = self._exchanged(len(names))
        self._tell_check("shuffled", probes, labels, probes)  # a true face at distance 0 is no impostor

    def _tell_check(self, image_type: str, probes: np.ndarray, labels: np.ndarray, barred: np.ndarray | None) -> None:
        """Look the gallery's own faces up under these labels."""
        found = match(self.maps[probes], self.gallery, labels, barred=barred)
        people = np.array([self.members[number].person for number in probes])
        for gate in GATES:
            about = {"image_type": image_type, "scan": "same", "gate": gate, "n_missing": 0}
            self._tell(about, found, found.ranks, people, labels, compared=0, left_out=int(barred is not None))

    def look_up(
        self, probes: Sequence[Probe], about: Row, missing: int = 0, kept_out: frozenset[str] = frozenset()
    ) -> None:
        """Look probes up, those of the same scan and of other scans by themselves; `kept_out` are images."""
        for scan in ("same", "other"):
            chosen = [probe for probe in probes if probe.scan == scan]
            if not chosen:
                continue
            own = np.array([probe.own for probe in chosen])
            found = match(load_maps([probe.path for probe in chosen]), self.gallery, own, nearest=max(self.rerank, 1))
            ranks, compared = self._reranked(chosen, found, own)
            people = np.array([probe.participant for probe in chosen])
            passed = np.array([probe.image not in kept_out for probe in chosen])
            for gate, which in zip(GATES, (passed, np.ones(len(chosen), dtype=bool)), strict=True):
                lost = {probe.image for probe, inside in zip(chosen, which, strict=True) if not inside}
                row = {**about, "scan": scan, "gate": gate, "n_missing": missing + len(lost)}
                if which.any():
                    some = Matches(found.genuine[which], found.ranks[which], found.counter.of(which), found.nearest)
                    self._tell(row, some, ranks[which], people[which], own[which], compared)
                else:
                    self._tell_nothing(row)
        if not probes:
            for gate in GATES:
                self._tell_nothing({**about, "scan": "same", "gate": gate, "n_missing": missing})

    def _exchanged(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Everyone several times, each time under another's label: a random order, turned by one place, two, ..."""
        order = np.random.default_rng(self.seed).permutation(count)
        turns = range(1, 1 + min(EXCHANGES, count - 1, max(1, _CHECKED // count)))
        return np.tile(order, len(turns)), np.concatenate([np.roll(order, turn) for turn in turns])

    def _reranked(self, probes: Sequence[Probe], found: Matches, own: np.ndarray) -> tuple[np.ndarray, int]:
        """Ranks after the nearest were compared by their surfaces, where these are kept; how many were compared."""
        exact = np.full(found.nearest.shape, np.nan)
        for number, probe in enumerate(probes if self.rerank > 1 else ()):
            others = [self.members[member].path for member in found.nearest[number]]
            if all(surface_of(path).is_file() for path in (probe.path, *others)):
                face = _shape(probe.path)
                exact[number] = [face_distance(face, self._member_shape(path)) for path in others]
        compared = ~np.isnan(exact).any(axis=1)
        ranks = found.ranks.copy()
        ranks[compared] = reranked(ranks[compared], found.nearest[compared], own[compared], exact[compared])
        return ranks, found.nearest.shape[1] if compared.any() else 0

    def _tell_nothing(self, about: Row) -> None:
        self.summary.append({"suffix": self.suffix, **about, "n_participants": 0, "n_probes": 0})

    def _tell(
        self,
        about: Row,
        found: Matches,
        ranks: np.ndarray,
        people: np.ndarray,
        own: np.ndarray,
        compared: int,
        left_out: int = 0,
    ) -> None:
        """Add the rows of one search; `left_out` members of the gallery were barred for each probe."""
        size = len(self.members) - left_out
        result = identify(ranks, found.genuine, found.counter, people, size, self.seed)
        row: Row = {"suffix": self.suffix, **about, "n_reranked": compared}
        row["n_fillers"] = len(self.members) - len(np.unique(own))
        row["genuine_median_mm"] = float(np.median(found.genuine))
        self.summary.append({**row, **_figures(result)})
        kind = {name: row.get(name) for name in ("suffix", "tool", "image_type", "scan", "gate")}
        for depth, rate in enumerate(result.cmc):
            bounds = {"rate_low": float(result.cmc_low[depth]), "rate_high": float(result.cmc_high[depth])}
            chance = (depth + 1) / size
            self.curves.append({**kind, "rank": depth + 1, "rate": float(rate), **bounds, "chance": chance})
        pairs = zip(FALSE_ACCEPT, result.roc, strict=True)
        self.roc += [{**kind, "false_accept": float(false), "true_accept": float(true)} for false, true in pairs]


def identification_rows(
    audit: Audit,
    reasons: pd.DataFrame,
    fillers: Sequence[Path],
    *,
    rerank: int,
    seed: int,
    say: Callable[[str], None],
) -> dict[str, list[Row]]:
    """Tables group_identification, group_cmc and group_roc.

    Parameters
    ----------
    audit : Audit
    reasons : DataFrame of `group.gates.gate`
    fillers : output directories whose originals only fill the gallery
    rerank : how many of the nearest are compared again by their surfaces
    seed : of bootstrap and exchanged labels
    say : told what is missing
    """
    tables: dict[str, list[Row]] = {name: [] for name in ("group_identification", "group_cmc", "group_roc")}
    failed = {tool: frozenset(rows["image"]) for tool, rows in reasons[reasons["reason"] != ""].groupby("tool")}
    for suffix in sorted(audit.distances["suffix"].unique()):
        members = find_gallery(audit, fillers, suffix)
        if len(members) < 2:
            say(
                f"Identification of {suffix}: {len(members)} true faces are stored (identifiable/*_facemap.npz), and "
                "it needs two or more: run the participant level again with --keep-refaced, or add --filler-dataset."
            )
            continue
        search = Search(members, suffix, rerank=rerank, seed=seed)
        search.check(audit.participants)
        rescans = find_rescans(audit, members, suffix)
        if rescans:
            search.look_up(rescans, {"image_type": "original"})
        of_kind = audit.distances[audit.distances["suffix"] == suffix]
        for tool in sorted(of_kind["tool"].unique()):
            types = set(of_kind.loc[of_kind["tool"] == tool, "image_type"])
            for image_type in [name for name in PROBES if name in types]:
                probes, missing = find_probes(audit, members, suffix, tool, image_type)
                about = {"tool": tool, "image_type": image_type}
                search.look_up(probes, about, missing, failed.get(tool, frozenset()))
        for rows, found in zip(tables.values(), (search.summary, search.curves, search.roc), strict=True):
            rows += found
    return tables


def _figures(result: Identification) -> Row:
    row: Row = {"n_participants": result.n_participants, "n_probes": result.n_probes, "n_gallery": result.n_gallery}
    for depth in (1, 5):
        at = min(depth, len(result.cmc)) - 1
        row |= {
            f"rank{depth}": float(result.cmc[at]),
            f"rank{depth}_low": float(result.cmc_low[at]),
            f"rank{depth}_high": float(result.cmc_high[at]),
            f"rank{depth}_chance": min(depth / result.n_gallery, 1.0),
        }
    for name, interval in (("auc", result.auc), ("eer", result.eer)):
        row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row


def _shape(path: Path) -> FaceShape:
    try:
        return FaceShape(read_surface(surface_of(path)), read_face_map(path).rigid)
    except GiftiError as error:
        raise AuditError(f"{error} It was to be compared again: --rerank 0 does without.") from error
