"""Score one original against everything that was recovered from it: rows of figures, face surfaces, distance maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import trimesh

from bids_refacer.statistics.calibration import EDGES, LEVELS, CalibrationBins, calibration_bins
from bids_refacer.surfaces.distances import (
    FIGURES,
    FaceSurface,
    PartDistances,
    face_distances,
    mark_face,
    part_rows,
    removed_row,
)
from bids_refacer.surfaces.region import PARTS, REMOVED, face_patch, in_part
from bids_refacer.surfaces.skin import Skin, SkinError, Smoothed, find_skin, skin_surface, smoothed
from bids_refacer.surfaces.skin_left import Defacing, skin_left
from bids_refacer.volumes.grid import Alignment, Grid, Volume

Key = tuple[str, int | None]
"""Type of image ("defaced", "refaced", "refaced_mean", "average") and, for "refaced", the sample number from 1."""

TOLD_APART_MM = 1e-3
FITTED: Key = ("average-fitted", None)
"""The average face warped onto the original: a baseline that knows the truth, of which distances alone are kept."""

SAMPLE = "refaced"  # rows of this type are summed up as `refaced_sample_mean` and `refaced_best`


@dataclass(frozen=True, kw_only=True)
class ImageDistances(PartDistances):
    """`PartDistances` of one image, named by its `Key`."""

    image_type: str
    sample: int | None


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Predicted and real error of the recovered skin, where the prediction is about the same, in a part of the face.

    Attributes
    ----------
    part : of `region.PARTS`
    bin_low_mm : lower edge of the bin (`statistics.calibration.EDGES`)
    area_mm2 : of the skin in it
    predicted_mm : root mean square of the error that the spread of the samples predicts
    error_mm : of the real error of the samples' mean
    covered_50, covered_90 : shares of the area whose error lies within the intervals of these levels
    """

    part: str
    bin_low_mm: float
    area_mm2: float
    predicted_mm: float
    error_mm: float
    covered_50: float
    covered_90: float


@dataclass(frozen=True)
class Scores:
    """The result of `score_candidates` for one original.

    Attributes
    ----------
    rows : of every image and part
    face : trimesh.Trimesh
        The true face: the original's skin inside the face region, open, native world RAS+ mm.
    faces : dict
        The same of every candidate.
    maps : dict
        For every candidate (n_vertices of ``face``,) float32 mm: distance of each true vertex to the recovered surface.
    calibration : list of CalibrationBin
        Whether the spread of the samples tells how wrong they are (`calibration_rows`); empty for fewer than two.
    removed : (n,) bool, optional
        Which vertices of the true face the tool removed; None where nothing is known of the defacing.
    """

    rows: list[ImageDistances]
    face: trimesh.Trimesh
    faces: dict[Key, trimesh.Trimesh]
    maps: dict[Key, np.ndarray]
    calibration: list[CalibrationBin] = field(default_factory=list)
    removed: np.ndarray | None = None


def score_images(
    original: Volume,
    candidates: Mapping[Key, np.ndarray],
    alignment: Alignment,
    defacing: Defacing | None = None,
) -> Scores:
    """`score_candidates` against an original whose skin is yet to be found; see there."""
    return score_candidates(original_skin(original), candidates, original.grid, alignment, defacing)


def original_skin(original: Volume) -> Skin:
    """`find_skin`, with an error that says that it was the original's."""
    try:
        return find_skin(original)
    except SkinError as error:
        raise SkinError(f"No skin surface in the original image. {error}") from error


@dataclass(frozen=True)
class TrueFace:
    """The face region on the skin of an original.

    Attributes
    ----------
    surface : the complete surface with the region marked
    patch : trimesh.Trimesh, the region as an open surface
    on_surface : (n,) int64, place in ``surface.where`` of each vertex of the patch
    """

    surface: FaceSurface
    patch: trimesh.Trimesh
    on_surface: np.ndarray


def true_face(skin: Skin, grid: Grid, alignment: Alignment) -> TrueFace:
    """Find the face region on the skin of an original; see `score_candidates` for the arguments."""
    surface = mark_face(skin.mesh, alignment, grid)
    patch, kept = _face_of(surface)
    return TrueFace(surface, patch, np.searchsorted(surface.where, kept))


def score_candidates(
    skin: Skin,
    candidates: Mapping[Key, np.ndarray],
    grid: Grid,
    alignment: Alignment,
    defacing: Defacing | None = None,
) -> Scores:
    """Compare the skin of candidate images with the original's, in the face and its parts, and where it was removed.

    The skin level is estimated once, on the original, and used for every candidate: a distance is a difference of faces
    and never of thresholds. The border of the field of view is no skin and left out.

    Parameters
    ----------
    skin : Skin of the original
    candidates : mapping of `Key` to arrays on the grid of the original, of the same intensity scale
        Taken one at a time, so that a mapping may load them lazily.
    grid : of the original, in native world (RAS+ mm)
    alignment : Alignment of the original into the canonical frame
    defacing : Defacing, optional
        What the tool did to the original: the same for every candidate. Without it there is no part `region.REMOVED`.

    Returns
    -------
    Scores
        With samples among the candidates also rows ``refaced_sample_mean`` (every figure averaged over the samples) and
        ``refaced_best`` (all figures of the nearest sample: see `summary_rows`).

    Raises
    ------
    SkinError
        If an image shows no skin surface; the message names which.
    ValueError
        If a candidate lies on another grid.
    """
    truth = true_face(skin, grid, alignment)
    removed = None if defacing is None else ~skin_left(skin, defacing, truth.surface.where)
    original = None if defacing is None else smoothed(defacing.original)
    scores, samples = Scores([], truth.patch, {}, {}, removed=removed), []
    for key in candidates:
        mesh = _candidate_surface(key, Volume(candidates[key], grid.affine), skin.level, original)
        recovered = mark_face(mesh, alignment, grid)
        to_true, to_recovered = face_distances(recovered, truth.surface)
        scores.rows.extend(_labelled(key, part_rows(recovered, truth.surface, to_true, to_recovered)))
        if removed is not None:
            row = removed_row(recovered, truth.surface, (to_true, to_recovered), removed)
            scores.rows.extend(_labelled(key, [row]))
        scores.faces[key] = _face_of(recovered)[0]
        on_patch = to_recovered[truth.on_surface]
        scores.maps[key] = np.abs(on_patch).astype(np.float32)
        if key[0] == SAMPLE:
            samples.append(on_patch.astype(np.float32))
    scores.rows.extend(summary_rows(scores.rows))
    if len(samples) > 1:
        face, on_surface = truth.surface, truth.on_surface
        scores.calibration.extend(calibration_rows(np.stack(samples), face.labels[on_surface], face.areas[on_surface]))
    return scores


def _face_of(surface: FaceSurface) -> tuple[trimesh.Trimesh, np.ndarray]:
    """`region.face_patch` of the marked vertices."""
    marked = np.zeros(len(surface.mesh.vertices), dtype=bool)
    marked[surface.where] = True
    return face_patch(surface.mesh, marked)


def calibration_rows(samples: np.ndarray, labels: np.ndarray, areas: np.ndarray) -> list[CalibrationBin]:
    """Predicted and real error of the recovered skin at the vertices of the true face, part by part.

    Only of vertices that samples tell apart (`TOLD_APART_MM`): skin that the tool left is the same in all of them, and
    says nothing of how sure they are.

    Parameters
    ----------
    samples : (k, n) float, mm, signed distance of every true vertex to each sample's surface; in mirrored pairs
    labels : (n,) int8, parts of the vertices (`region.part_of`)
    areas : (n,) float, mm^2 that each vertex stands for

    Returns
    -------
    list of CalibrationBin, one for each part and bin of `statistics.calibration.EDGES` that has vertices
    """
    rows: list[CalibrationBin] = []
    painted = np.ptp(samples, axis=0) > TOLD_APART_MM
    for part in PARTS:
        here = in_part(labels, part) & painted
        if not here.any():
            continue
        bins = calibration_bins(samples[:, here], np.zeros(int(here.sum())), areas[here])
        rows.extend(_calibration_bin(part, bins, int(number)) for number in np.nonzero(bins.weight)[0])
    return rows


def _calibration_bin(part: str, bins: CalibrationBins, number: int) -> CalibrationBin:
    shares = {f"covered_{level * 100:.0f}": float(bins.covered[number, at]) for at, level in enumerate(LEVELS)}
    return CalibrationBin(
        part=part,
        bin_low_mm=EDGES[number],
        area_mm2=float(bins.weight[number]),
        predicted_mm=float(bins.predicted[number]),
        error_mm=float(bins.error[number]),
        **shares,
    )


def summary_rows(rows: list[ImageDistances]) -> list[ImageDistances]:
    """Rows ``refaced_sample_mean`` and ``refaced_best`` from the rows of the samples; none without samples.

    The mean is taken of every figure by itself, over the samples that have it; NaN where none has. The best sample is
    the one with the lowest MASD of the removed skin, or of the whole face where no skin was removed or it was not
    measured; its rows are repeated with its number.
    """
    samples = [row for row in rows if row.image_type == SAMPLE]
    if not samples:
        return []
    means = [
        _mean_row([row for row in samples if row.part == part]) for part in dict.fromkeys(row.part for row in samples)
    ]
    best = _nearest_sample(samples)
    return means + [replace(row, image_type=f"{SAMPLE}_best") for row in samples if row.sample == best]


def _mean_row(rows: list[ImageDistances]) -> ImageDistances:
    """Figures of one part averaged over the samples."""
    return ImageDistances(
        image_type=f"{SAMPLE}_sample_mean",
        sample=None,
        part=rows[0].part,
        n_vertices=round(_mean([row.n_vertices for row in rows])),
        **{figure: _mean([getattr(row, figure) for row in rows]) for figure in FIGURES},
    )


def _nearest_sample(rows: list[ImageDistances]) -> int | None:
    """Number of the sample with the lowest MASD of removed skin; the whole face decides where that is not known."""
    masd = {(row.sample, row.part): row.masd_mm for row in rows if not np.isnan(row.masd_mm)}
    numbers = dict.fromkeys(row.sample for row in rows)
    return min(numbers, key=lambda number: [masd.get((number, part), np.inf) for part in (REMOVED, PARTS[0])])


def _candidate_surface(key: Key, image: Volume, level: np.ndarray, original: Smoothed | None) -> trimesh.Trimesh:
    """The skin of a candidate; errors name it."""
    if image.values.shape != level.shape:
        shape = image.values.shape
        raise ValueError(f"The {_name(key)} image has shape {shape}, the original {level.shape}: resample it.")
    try:
        return skin_surface(image, level, original)
    except SkinError as error:
        raise SkinError(f"No skin surface in the {_name(key)} image. {error}") from error


def _name(key: Key) -> str:
    return key[0] if key[1] is None else f"{key[0]} (sample {key[1]})"


def _labelled(key: Key, rows: list[PartDistances]) -> list[ImageDistances]:
    return [ImageDistances(image_type=key[0], sample=key[1], **vars(row)) for row in rows]


def _mean(figures: Sequence[float]) -> float:
    numbers = [figure for figure in figures if not np.isnan(figure)]
    return float(np.mean(numbers)) if numbers else float("nan")
