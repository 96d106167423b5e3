"""Faces are looked up in a gallery of true faces: by their face maps, and the nearest again by their surfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from bids_refacer.group.faces import Member, Probe, surface_of
from bids_refacer.problems import AuditProblem
from bids_refacer.statistics.identification import Identification, Probes, identify
from bids_refacer.surfaces.face_distance import FaceShape, face_distance
from bids_refacer.surfaces.face_map import read_face_map
from bids_refacer.surfaces.face_matching import Gallery, Matches, match, reranked
from bids_refacer.surfaces.gifti import GiftiError, read_surface

EXCHANGES = 20
"""Times that labels are exchanged for the check, whose mean AUC then scatters little (docs/group.md)."""
_CHECKED = 4000  # probes of that check at most, for its time in large galleries
_SHAPES_KEPT = 400  # in memory: the same few members are near to many probes


class UnreadableFacesError(AuditProblem):
    """Surfaces that a search needs cannot be read; `reasons` has a sentence for each, by the path of the face map."""

    def __init__(self, reasons: Mapping[Path, str]) -> None:
        super().__init__(" ".join(reasons.values()))
        self.reasons = reasons


@dataclass(frozen=True, kw_only=True)
class FaceGallery:
    """The true faces in which others are looked up.

    Attributes
    ----------
    members : the persons, in the order of the gallery
    maps : (members, rows, columns) float32, mm, their face maps
    index : the same, laid out for comparison
    shape : reads the surface of a member, given the path of its face map
    """

    members: Sequence[Member]
    maps: np.ndarray
    index: Gallery
    shape: Callable[[Path], FaceShape]

    @property
    def persons(self) -> np.ndarray:
        """Name of each member: (members,) str."""
        return np.array([member.person for member in self.members])


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """How probes fared in a gallery.

    Attributes
    ----------
    matches : by the face maps
    ranks : (p,) float64, rank of each probe's own member, after the nearest were compared again
    persons : (p,) str, who each probe is
    own : (p,) int, the member of the gallery that is the probe's own
    n_gallery : members that each probe was compared with
    n_fillers : members of the gallery who were not looked up
    n_reranked : nearest members that were compared again by their surfaces; 0 when none were
    """

    matches: Matches
    ranks: np.ndarray
    persons: np.ndarray
    own: np.ndarray
    n_gallery: int
    n_fillers: int
    n_reranked: int = 0

    def of(self, probes: np.ndarray) -> SearchResult:
        """The result of some probes, (p,) bool."""
        found = self.matches
        own = self.own[probes]
        return SearchResult(
            matches=Matches(found.genuine[probes], found.ranks[probes], found.counter.of(probes), found.nearest),
            ranks=self.ranks[probes],
            persons=self.persons[probes],
            own=own,
            n_gallery=self.n_gallery,
            n_fillers=self.n_fillers + len(np.unique(self.own)) - len(np.unique(own)),
            n_reranked=self.n_reranked,
        )

    def figures(self, seed: int) -> Identification:
        """How often persons are found, with bootstrap intervals."""
        found = self.matches
        return identify(Probes(self.ranks, found.genuine, found.counter, self.persons, self.n_gallery), seed)


def open_gallery(members: Sequence[Member], maps: np.ndarray) -> FaceGallery:
    """A gallery of two or more members and their face maps, as `group.faces.load_faces` reads them."""
    shape = lru_cache(maxsize=_SHAPES_KEPT)(_read_shape)
    return FaceGallery(members=members, maps=maps, index=Gallery(maps), shape=shape)


def search(gallery: FaceGallery, probes: Sequence[Probe], maps: np.ndarray, rerank: int) -> SearchResult:
    """Look faces up by their maps; `rerank` of the nearest members are compared again by their surfaces.

    Raises
    ------
    UnreadableFacesError
        When surfaces cannot be read: all that the search needs.
    """
    own = np.array([probe.own for probe in probes])
    found = match(maps, gallery.index, own, nearest=max(rerank, 1))
    exact = _surface_distances(gallery, probes, found.nearest) if rerank > 1 else np.full(found.nearest.shape, np.nan)
    compared = ~np.isnan(exact).any(axis=1)
    ranks = found.ranks.copy()
    ranks[compared] = reranked(ranks[compared], found.nearest[compared], own[compared], exact[compared])
    return SearchResult(
        matches=found,
        ranks=ranks,
        persons=np.array([probe.participant for probe in probes]),
        own=own,
        n_gallery=len(gallery.members),
        n_fillers=len(gallery.members) - len(np.unique(own)),
        n_reranked=found.nearest.shape[1] if compared.any() else 0,
    )


def search_true_faces(gallery: FaceGallery, persons: Sequence[str]) -> SearchResult | None:
    """Look up the true faces of some persons, as they are in the gallery; None when none of them is there."""
    wanted = set(persons)
    own = np.array([number for number, name in enumerate(gallery.persons) if name in wanted], dtype=int)
    return _search_members(gallery, own, own) if len(own) else None


def search_exchanged(gallery: FaceGallery, seed: int) -> SearchResult:
    """Look everyone up under the labels of others: what is found is chance.

    Each member is looked up several times, each time under another's label: members in a random order, turned by one
    place, two, and so on. Its own true face, at distance 0, is left out, as it would be an impostor.
    """
    count = len(gallery.members)
    order = np.random.default_rng(seed).permutation(count)
    turns = range(1, 1 + min(EXCHANGES, count - 1, max(1, _CHECKED // count)))
    probes = np.tile(order, len(turns))
    return _search_members(gallery, probes, np.concatenate([np.roll(order, turn) for turn in turns]), barred=probes)


def _search_members(
    gallery: FaceGallery, probes: np.ndarray, labels: np.ndarray, barred: np.ndarray | None = None
) -> SearchResult:
    """Look members up as if they were the members `labels`; each probe's `barred` member is left out: all (p,) int."""
    found = match(gallery.maps[probes], gallery.index, labels, barred=barred)
    size = len(gallery.members)
    return SearchResult(
        matches=found,
        ranks=found.ranks,
        persons=gallery.persons[probes],
        own=labels,
        n_gallery=size - (barred is not None),
        n_fillers=size - len(np.unique(labels)),
    )


def _surface_distances(gallery: FaceGallery, probes: Sequence[Probe], nearest: np.ndarray) -> np.ndarray:
    """Distances of probes to their nearest members by surfaces: (p, n), mm; NaN where one of these is not kept."""
    distances = np.full(nearest.shape, np.nan)
    unreadable: dict[Path, str] = {}
    for number, probe in enumerate(probes):
        others = [gallery.members[member].path for member in nearest[number]]
        if all(surface_of(path).is_file() for path in (probe.path, *others)):
            try:
                face = _read_shape(probe.path)
                distances[number] = [face_distance(face, gallery.shape(path)) for path in others]
            except GiftiError:
                unreadable.update(_unreadable((probe.path, *others)))
    if unreadable:
        raise UnreadableFacesError(unreadable)
    return distances


def _read_shape(face_map: Path) -> FaceShape:
    return FaceShape(read_surface(surface_of(face_map)), read_face_map(face_map).rigid)


def _unreadable(face_maps: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Those whose surface cannot be read, and why."""
    for path in face_maps:
        try:
            _read_shape(path)
        except GiftiError as error:
            yield path, str(error)
