"""Rows of the tables of identification: can a person be found in a crowd by the recovered face?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from bids_refacer.dataset.rows.group_people import CmcRow, IdentificationRow, RocRow
from bids_refacer.group.cohorts import GATES
from bids_refacer.group.faces import PROBES, Probe, find_gallery, find_probes, find_rescans, load_faces
from bids_refacer.group.outputs import ParticipantOutputs
from bids_refacer.group.search import (
    FaceGallery,
    SearchResult,
    UnreadableFacesError,
    open_gallery,
    search,
    search_exchanged,
    search_true_faces,
)
from bids_refacer.statistics.identification import FALSE_ACCEPT, Identification

Search = tuple[IdentificationRow, SearchResult | None]
"""What was looked up where, and how it fared; None when there was nobody to look up."""


@dataclass(frozen=True, kw_only=True)
class IdentityTables:
    """Rows of the three tables of identification."""

    identification: Sequence[IdentificationRow] = ()
    cmc: Sequence[CmcRow] = ()
    roc: Sequence[RocRow] = ()


def identification_tables(
    outputs: ParticipantOutputs,
    reasons: pd.DataFrame,
    fillers: Sequence[Path],
    *,
    rerank: int,
    seed: int,
    say: Callable[[str], None],
) -> IdentityTables:
    """Tables group_identification, group_cmc and group_roc.

    Parameters
    ----------
    outputs : ParticipantOutputs
    reasons : DataFrame of `group.cohorts.gate`
    fillers : output directories whose originals only fill the gallery
    rerank : how many of the nearest are compared again by their surfaces
    seed : of bootstrap and exchanged labels
    say : receives a sentence for each kind of image without true faces
    """
    searches: list[IdentityTables] = []
    for suffix in sorted(outputs.distances["suffix"].unique()):
        found = _searches_of(outputs, reasons, fillers, suffix, rerank, seed, say)
        searches += [search_tables(*one, seed) for one in found]
    return IdentityTables(
        identification=[row for tables in searches for row in tables.identification],
        cmc=[row for tables in searches for row in tables.cmc],
        roc=[row for tables in searches for row in tables.roc],
    )


def _searches_of(
    outputs: ParticipantOutputs,
    reasons: pd.DataFrame,
    fillers: Sequence[Path],
    suffix: str,
    rerank: int,
    seed: int,
    say: Callable[[str], None],
) -> list[Search]:
    """All searches of a kind of image; see `identification_tables`.

    A surface is read when it is needed. Once one cannot be read, its face is left out and everything is looked up
    again, so that all rows are about the same people.
    """
    left_out: set[Path] = set()
    said: list[str] = []

    def say_once(line: str) -> None:
        if line not in said:
            say(line)
        said.append(line)

    while True:
        chosen = [member for member in find_gallery(outputs, fillers, suffix) if member.path not in left_out]
        members, maps = load_faces(chosen, say_once)
        if len(members) < 2:
            say(
                f"Identification of {suffix}: {len(members)} true faces are stored (identifiable/*_facemap.npz), and "
                "it needs two or more: run the participant level again with --keep-refaced, or add --filler-dataset."
            )
            return []
        gallery = open_gallery(members, maps)
        look_up = partial(_probe_searches, gallery, rerank=rerank, left_out=left_out, say=say_once)
        try:
            checks = list(check_searches(gallery, suffix, outputs.participants, seed))
            return checks + list(_face_searches(outputs, reasons, gallery, suffix, look_up))
        except UnreadableFacesError as error:
            for reason in error.reasons.values():
                say_once(f"{reason} Its face is left out.")
            left_out |= set(error.reasons)


def check_searches(gallery: FaceGallery, suffix: str, participants: Sequence[str], seed: int) -> Iterator[Search]:
    """The true faces of the participants looked up as they are, and everyone's with their labels exchanged."""
    found = {"original": search_true_faces(gallery, participants), "shuffled": search_exchanged(gallery, seed)}
    for image_type, result in found.items():
        for gate in GATES if result else ():
            about = IdentificationRow(suffix=suffix, image_type=image_type, scan="same", gate=gate, n_missing=0)
            yield about, result


def _face_searches(
    outputs: ParticipantOutputs,
    reasons: pd.DataFrame,
    gallery: FaceGallery,
    suffix: str,
    look_up: Callable[..., Iterator[Search]],
) -> Iterator[Search]:
    """Other scans of the participants, then what each tool left and what was recovered from it.

    `look_up` is `_probe_searches` with the gallery.
    """
    rescans = find_rescans(outputs, gallery.members, suffix)
    if rescans:
        about = IdentificationRow(suffix=suffix, image_type="original")
        yield from look_up(about, rescans)
    failed = {tool: frozenset(rows["image"]) for tool, rows in reasons[reasons["reason"] != ""].groupby("tool")}
    of_kind = outputs.distances[outputs.distances["suffix"] == suffix]
    for tool in sorted(of_kind["tool"].unique()):
        types = set(of_kind.loc[of_kind["tool"] == tool, "image_type"])
        for image_type in [name for name in PROBES if name in types]:
            probes, missing = find_probes(outputs, gallery.members, suffix, tool, image_type)
            about = IdentificationRow(suffix=suffix, tool=tool, image_type=image_type, n_missing=missing)
            yield from look_up(about, probes, failed.get(tool, frozenset()))


def _probe_searches(
    gallery: FaceGallery,
    about: IdentificationRow,
    probes: Sequence[Probe],
    failed: frozenset[str] = frozenset(),
    *,
    rerank: int,
    left_out: Set[Path],
    say: Callable[[str], None],
) -> Iterator[Search]:
    """Look probes up, those of the same scan and of other scans by themselves; `failed` images do not pass the gate.

    Faces that cannot be read are named, and count as missing, as do those that are `left_out` (paths of face maps).
    """
    found, maps = load_faces([probe for probe in probes if probe.path not in left_out], say)
    missing = (about.n_missing or 0) + len({probe.image for probe in probes} - {probe.image for probe in found})
    probes, scans = found, np.array([probe.scan for probe in found])
    for scan in ("same", "other"):
        chosen = [probe for probe in probes if probe.scan == scan]
        result = search(gallery, chosen, maps[scans == scan], rerank) if chosen else None
        passed = np.array([probe.image not in failed for probe in chosen])
        lost = len({probe.image for probe in chosen} & failed)
        if result is not None:
            row = replace(about, scan=scan, gate="passed", n_missing=missing + lost)
            yield row, result.of(passed) if passed.any() else None
            yield replace(about, scan=scan, gate="all", n_missing=missing), result
    if not probes:
        for gate in GATES:
            yield replace(about, scan="same", gate=gate, n_missing=missing), None


def search_tables(about: IdentificationRow, result: SearchResult | None, seed: int) -> IdentityTables:
    """The rows of one search; `about` says what was looked up, `result` is None when there was nobody."""
    if result is None:
        return IdentityTables(identification=[replace(about, n_participants=0, n_probes=0)])
    figures = result.figures(seed)
    return IdentityTables(
        identification=[_identification_row(about, result, figures)],
        cmc=list(_cmc_rows(about, figures)),
        roc=list(_roc_rows(about, figures)),
    )


def _identification_row(about: IdentificationRow, result: SearchResult, figures: Identification) -> IdentificationRow:
    first, fifth = 0, min(5, len(figures.cmc)) - 1
    return replace(
        about,
        n_participants=figures.n_participants,
        n_probes=figures.n_probes,
        n_gallery=figures.n_gallery,
        n_fillers=result.n_fillers,
        n_reranked=result.n_reranked,
        rank1=float(figures.cmc[first]),
        rank1_low=float(figures.cmc_low[first]),
        rank1_high=float(figures.cmc_high[first]),
        rank1_chance=min(1 / figures.n_gallery, 1.0),
        rank5=float(figures.cmc[fifth]),
        rank5_low=float(figures.cmc_low[fifth]),
        rank5_high=float(figures.cmc_high[fifth]),
        rank5_chance=min(5 / figures.n_gallery, 1.0),
        auc=figures.auc.estimate,
        auc_low=figures.auc.low,
        auc_high=figures.auc.high,
        eer=figures.eer.estimate,
        eer_low=figures.eer.low,
        eer_high=figures.eer.high,
        genuine_median_mm=float(np.median(result.matches.genuine)),
    )


def _cmc_rows(about: IdentificationRow, figures: Identification) -> Iterator[CmcRow]:
    curve: Iterable[tuple[float, float, float]] = zip(
        figures.cmc.tolist(), figures.cmc_low.tolist(), figures.cmc_high.tolist(), strict=True
    )
    for rank, (rate, low, high) in enumerate(curve, start=1):
        yield CmcRow(
            suffix=about.suffix,
            tool=about.tool,
            image_type=about.image_type,
            scan=about.scan,
            gate=about.gate,
            rank=rank,
            rate=rate,
            rate_low=low,
            rate_high=high,
            chance=rank / figures.n_gallery,
        )


def _roc_rows(about: IdentificationRow, figures: Identification) -> Iterator[RocRow]:
    for false_accept, true_accept in zip(FALSE_ACCEPT.tolist(), figures.roc.tolist(), strict=True):
        yield RocRow(
            suffix=about.suffix,
            tool=about.tool,
            image_type=about.image_type,
            scan=about.scan,
            gate=about.gate,
            false_accept=false_accept,
            true_accept=true_accept,
        )
