"""Every search of the group level by face-recognition programs and by shape, as rows say it was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bids_refacer.dataset.rows.recognition import GroupRecognitionRow, RecognitionRow
from bids_refacer.group.cohorts import GATES
from bids_refacer.group.faces import PROBES, Member, Probe, find_gallery, find_probes, load_faces
from bids_refacer.group.outputs import ParticipantOutputs
from bids_refacer.group.recognition.people import Described, described_images, load_gallery, load_probes
from bids_refacer.group.search import EXCHANGES, SearchResult
from bids_refacer.recognition.gallery import DescriptorGallery
from bids_refacer.recognition.own import SHAPES
from bids_refacer.surfaces.face_matching import Gallery, Searchable, match

SHAPE, PAINTED = SHAPES
_KEPT_MM = 0.05  # between the maps of a defaced and a refaced face: skin that the tool left, which is the same in both
_CHECKED = 4000  # probes of the check with exchanged labels at most


@dataclass(frozen=True, kw_only=True)
class Found:
    """One search.

    Attributes
    ----------
    about : what was looked up, by what, and how many faces were found in it
    result : None when there was nobody to look up
    has_face : (p,) bool, whether a face was found in each probe
    """

    about: GroupRecognitionRow
    result: SearchResult | None = None
    has_face: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))


@dataclass(frozen=True, kw_only=True)
class _Crowd:
    """A gallery of one recogniser: its members, and all that probes are compared with."""

    recogniser: str
    members: Sequence[Member]
    index: Searchable

    @property
    def places(self) -> dict[str, int]:
        """Person -> number in the gallery."""
        return {member.person: number for number, member in enumerate(self.members)}


def searches(
    outputs: ParticipantOutputs,
    rows: Sequence[RecognitionRow],
    reasons: pd.DataFrame,
    fillers: Sequence[Path],
    suffix: str,
    seed: int,
    say: Callable[[str], None],
) -> Iterator[Found]:
    """All searches of a kind of image: by each recogniser, by shape, and by shape where the attack painted.

    Parameters
    ----------
    outputs : ParticipantOutputs
    rows : means of recognition.tsv (`people.means_of`)
    reasons : DataFrame of `group.cohorts.gate`
    fillers : output directories whose originals only fill the gallery
    suffix : of the images
    seed : of exchanged labels
    say : receives a sentence for what cannot be used
    """
    failed = {str(tool): frozenset(own["image"]) for tool, own in reasons[reasons["reason"] != ""].groupby("tool")}
    members = find_gallery(outputs, fillers, suffix)
    for recogniser in sorted({str(row.recogniser) for row in rows if row.recogniser}):
        yield from _by_recogniser(outputs, rows, members, failed, (suffix, recogniser), seed, say)
    if rows:  # shapes stand beside recognisers, and have tables of their own without them
        yield from _by_shape(outputs, members, failed, suffix, say)


def _by_recogniser(
    outputs: ParticipantOutputs,
    rows: Sequence[RecognitionRow],
    everyone: Sequence[Member],
    failed: Mapping[str, frozenset[str]],
    of_what: tuple[str, str],
    seed: int,
    say: Callable[[str], None],
) -> Iterator[Found]:
    suffix, recogniser = of_what
    members, vectors = load_gallery(everyone, recogniser, say)
    if len(members) < 2:
        say(
            f"Recognition of {suffix} by {recogniser}: {len(members)} originals have descriptors, and it needs two or "
            "more: run the participant level again with --keep-refaced and --recognition, or add --filler-dataset."
        )
        return
    crowd = _Crowd(recogniser=recogniser, members=members, index=DescriptorGallery(vectors))
    about = GroupRecognitionRow(suffix=suffix, recogniser=recogniser)
    yield from _exchanged(crowd, about, vectors, seed)
    images, missing = described_images(outputs, rows, suffix, recogniser)
    for (tool, image_type), own in _grouped(images).items():
        if image_type == "original" and tool != min(one.tool for one in images if one.image_type == "original"):
            continue  # rows of the original stand with each tool, and say the same
        about = GroupRecognitionRow(
            suffix=suffix,
            tool=None if image_type == "original" else tool,
            recogniser=recogniser,
            image_type=image_type,
        )
        kept, probes = load_probes(own, recogniser, vectors.shape[1], say)
        usable = {image.image for image in kept if image.participant in crowd.places}
        lost = {image.image for image in own} - usable | missing.get((tool, image_type), set())
        about = replace(about, n_missing=len(lost))
        yield from _looked_up(crowd, about, kept, probes, failed.get(about.tool or "", frozenset()))


def _grouped(images: Sequence[Described]) -> dict[tuple[str, str], list[Described]]:
    found: dict[tuple[str, str], list[Described]] = {}
    for image in images:
        found.setdefault((image.tool, image.image_type), []).append(image)
    return {key: found[key] for key in sorted(found)}


def _exchanged(crowd: _Crowd, about: GroupRecognitionRow, vectors: np.ndarray, seed: int) -> Iterator[Found]:
    """Everyone looked up under the labels of others, without their own face in the gallery: what is found is chance."""
    count = len(crowd.members)
    order = np.random.default_rng(seed).permutation(count)
    turns = range(1, 1 + min(EXCHANGES, count - 1, max(1, _CHECKED // count)))
    probes, labels = np.tile(order, len(turns)), np.concatenate([np.roll(order, turn) for turn in turns])
    result = _result(crowd, vectors[probes], labels, barred=probes)
    has_face = ~np.isnan(vectors[probes]).any(axis=1)
    about = replace(about, image_type="shuffled", scan="same", n_missing=0, detected=float(has_face.mean()))
    for gate in GATES:
        yield Found(about=replace(about, gate=gate), result=result, has_face=has_face)


def _looked_up(
    crowd: _Crowd,
    about: GroupRecognitionRow,
    images: Sequence[Described],
    probes: np.ndarray,
    failed: frozenset[str],
) -> Iterator[Found]:
    """Look images up, those of the same scan as the gallery's and others by themselves, behind each gate."""
    places = crowd.places
    known = np.array([image.participant in places for image in images], dtype=bool)
    scans = np.array([_scan(crowd, image) for image in images])
    passed = np.array([image.image not in failed for image in images], dtype=bool)
    for scan in ("same", "other"):
        for gate in GATES:
            chosen = known & (scans == scan) & (passed if gate == "passed" else True)
            own = [image for image, is_chosen in zip(images, chosen, strict=True) if is_chosen]
            row = replace(about, scan=scan, gate=gate, detected=_share(own))
            if own:
                result = _result(crowd, probes[chosen], np.array([places[image.participant] for image in own]))
                has_face = ~np.isnan(probes[chosen]).any(axis=1)
                yield Found(about=row, result=result, has_face=has_face)
            elif scan == "same":
                yield Found(about=row)


def _scan(crowd: _Crowd, image: Described) -> str:
    """Whether the original in the gallery is of the same scan as an image."""
    number = crowd.places.get(image.participant)
    if number is None:
        return "none"
    own = image.path.name.split("_desc-")[0]
    return "same" if own == crowd.members[number].path.name.split("_desc-")[0] else "other"


def _share(images: Sequence[Described]) -> float | None:
    views = sum(image.n_views for image in images)
    return sum(image.n_detected for image in images) / views if views else None


def _by_shape(
    outputs: ParticipantOutputs,
    everyone: Sequence[Member],
    failed: Mapping[str, frozenset[str]],
    suffix: str,
    say: Callable[[str], None],
) -> Iterator[Found]:
    """By face maps: of the whole face, and of the part that the attack painted alone."""
    members, maps = load_faces(list(everyone), say)
    if len(members) < 2:
        return
    crowd = _Crowd(recogniser=SHAPE, members=members, index=Gallery(maps))
    of_kind = outputs.distances[outputs.distances["suffix"] == suffix]
    for tool in sorted(of_kind["tool"].unique()):
        left = _loaded(outputs, crowd, suffix, tool, "defaced", say)
        for image_type in PROBES:
            probes = left if image_type == "defaced" else _loaded(outputs, crowd, suffix, tool, image_type, say)
            for name, faces in (
                (SHAPE, probes),
                (PAINTED, None if image_type == "defaced" else _painted(probes, left)),
            ):
                if faces is not None and faces.people:
                    about = GroupRecognitionRow(
                        suffix=suffix, tool=tool, recogniser=name, image_type=image_type, n_missing=faces.missing
                    )
                    yield from _shapes(replace(crowd, recogniser=name), about, faces, failed.get(tool, frozenset()))


@dataclass(frozen=True, kw_only=True)
class _Faces:
    """Faces to look up and their maps; `missing` images have none."""

    people: Sequence[Probe]
    maps: np.ndarray
    missing: int


def _loaded(
    outputs: ParticipantOutputs,
    crowd: _Crowd,
    suffix: str,
    tool: str,
    image_type: str,
    say: Callable[[str], None],
) -> _Faces:
    found, missing = find_probes(outputs, crowd.members, suffix, tool, image_type)
    people, maps = load_faces(found, say)
    lost = {probe.image for probe in found} - {probe.image for probe in people}
    return _Faces(people=people, maps=maps, missing=missing + len(lost))


def _painted(probes: _Faces, left: _Faces) -> _Faces:
    """The same without the skin that the tool left: where the map is that of the defaced face."""
    kept = {probe.image: number for number, probe in enumerate(left.people)}
    maps = probes.maps.copy()
    for number, probe in enumerate(probes.people):
        if probe.image in kept:
            with np.errstate(invalid="ignore"):
                maps[number][np.abs(maps[number] - left.maps[kept[probe.image]]) < _KEPT_MM] = np.nan
    has_any = np.isfinite(maps).any(axis=(1, 2))
    people = [probe for probe, is_there in zip(probes.people, has_any, strict=True) if is_there]
    gone = {probe.image for probe in probes.people} - {probe.image for probe in people}
    return _Faces(people=people, maps=maps[has_any], missing=probes.missing + len(gone))


def _shapes(crowd: _Crowd, about: GroupRecognitionRow, faces: _Faces, failed: frozenset[str]) -> Iterator[Found]:
    scans = np.array([probe.scan for probe in faces.people])
    passed = np.array([probe.image not in failed for probe in faces.people])
    for scan in ("same", "other"):
        for gate in GATES:
            chosen = (scans == scan) & (passed if gate == "passed" else True)
            row = replace(about, scan=scan, gate=gate)
            if chosen.any():
                own = np.array([probe.own for probe in faces.people])[chosen]
                result = _result(crowd, faces.maps[chosen], own)
                yield Found(about=row, result=result, has_face=np.ones(len(own), dtype=bool))


def _result(crowd: _Crowd, probes: np.ndarray, own: np.ndarray, barred: np.ndarray | None = None) -> SearchResult:
    found = match(probes, crowd.index, own, barred=barred)
    size = len(crowd.members)
    persons = np.array([member.person for member in crowd.members])
    return SearchResult(
        matches=found,
        ranks=found.ranks,
        persons=persons[own if barred is None else barred],
        own=own,
        n_gallery=size - (barred is not None),
        n_fillers=size - len(np.unique(own)),
    )
