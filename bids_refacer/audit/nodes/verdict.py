"""The node that judges a defaced image: is a face left, was brain cut, do brain measures change?"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, isdefined, traits
from nipype.interfaces.base.support import Bunch

from bids_refacer.audit.nodes.reports import read_report, write_report
from bids_refacer.dataset.details import (
    FIGURES,
    VERDICT,
    BrainCut,
    BrainMeasures,
    DefaceDetails,
    DefacingFigures,
    number,
)
from bids_refacer.defacers import DefacerError
from bids_refacer.files import write_json
from bids_refacer.surfaces.skin import Skin, find_skin, read_skin
from bids_refacer.surfaces.skin_left import Defacing
from bids_refacer.surfaces.verdicts import JUDGED, brain_cut, brain_measures, face_left, verdict_json, worst_part
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_mask, read_scan
from bids_refacer.volumes.scan import Scan

WHOLE_FACE = 75.0
"""Percent of nose, eyes, mouth and chin, of each, that is left where a tool did nothing; it is near 100 then."""

MOST_BRAIN = 50.0
"""Percent of the brain; where more is gone, nobody has a use for the image."""


class _VerdictInput(BaseInterfaceInputSpec):
    original = File(exists=True, mandatory=True)
    brain_mask = File(exists=True, mandatory=True, desc="of the original")
    alignment = File(exists=True, mandatory=True, desc="of the original")
    skin = File(exists=True, mandatory=True, desc="of the original")
    brain = File(exists=True, mandatory=True, desc="JSON: brain measures of the original")
    defaced = File(exists=True, mandatory=True)
    defacemask = File(exists=True, mandatory=True, desc="to be published")
    region = File(exists=True, mandatory=True, desc="what the tool removed or replaced")
    details = File(exists=True, mandatory=True, desc="JSON of the defacing node")
    target = traits.Str(mandatory=True, desc="where the verdict goes, for images whose face is not painted back")
    version = traits.Str(mandatory=True, desc="of this app and its brain extractor; part of the hash")
    limits = traits.List(
        traits.List(traits.Float()), mandatory=True, desc="of the verdicts: face left, brain cut, hole"
    )
    found = File(exists=True, desc="brain of the defaced image, found in it alone; none where there is none")


class _VerdictOutput(TraitedSpec):
    defaced = File(desc="as it came in, once it passed")
    files = traits.List(File(), desc="defaced image and mask, once they passed")
    details = File(desc="what came in, with the verdict's figures")


class Judge(SimpleInterface):
    """Judge a defaced image, and stop here with one whose face is untouched, or whose brain is gone."""

    input_spec = _VerdictInput
    output_spec = _VerdictOutput
    _always_run = True  # a cached node knows nothing of a verdict that someone removed

    def _run_interface(self, runtime: Bunch) -> Bunch:
        started = time.perf_counter()
        given = self.inputs
        scan, brain = read_scan(given.original), read_scan(given.brain_mask).stored > 0
        removed = read_mask(given.region).values
        alignment = Alignment.from_json(Path(given.alignment))
        original = OriginalMeasures(read_skin(Path(given.skin)), BrainMeasures.from_json(read_report(given.brain)))
        defaced = _values(given.defaced, scan)
        found = read_mask(given.found).values if isdefined(given.found) else None
        figures = judge(scan, defaced, removed, brain, alignment, original, found)
        report = read_report(given.details)
        run_time_s = round(number(report, "RunTime") + time.perf_counter() - started, 2)
        path = Path(runtime.cwd) / "details.json"
        verdict = verdict_json(figures.face_left, figures.brain_cut.percent, figures.brain_cut.hole_ml, given.limits)
        write_report(path, {**report, FIGURES: figures.to_json(), VERDICT: verdict, "RunTime": run_time_s})
        details = DefaceDetails.from_json(read_report(path))
        write_json(Path(given.target), details.content)
        if sentence := refusal(details.figures, given.original, str(details.tool)):
            raise DefacerError(sentence)
        self._results.update(details=str(path), defaced=given.defaced, files=[given.defaced, given.defacemask])
        return runtime


@dataclass(frozen=True)
class OriginalMeasures:
    """The original's skin, and what its brain is like: measured once for all tools."""

    skin: Skin
    brain: BrainMeasures


def judge(
    scan: Scan,
    defaced: np.ndarray,
    removed: np.ndarray,
    brain: np.ndarray,
    alignment: Alignment,
    measures: OriginalMeasures | None,
    found: np.ndarray | None,
) -> DefacingFigures:
    """All figures of the verdicts.

    Parameters
    ----------
    scan : the original
    defaced : (i, j, k) float, the defaced image
    removed, brain : (i, j, k) bool
    measures : of the original; made here where there are none
    found : (i, j, k) bool, the brain that was found in the defaced image; None where there is none: the missing figures
        say so, and BrainCut why
    """
    image, after_image = scan.volume, Volume(defaced, scan.affine)
    measures = measures or measures_before(image, brain)
    return DefacingFigures(
        face_left=face_left(Defacing(image, defaced, removed), alignment, measures.skin),
        brain_cut=BrainCut(**asdict(brain_cut(Volume(brain, scan.affine), removed))),
        original=measures.brain,
        defaced=BrainMeasures() if found is None else measures_after(after_image, found, brain),
    )


def measures_before(image: Volume, brain: np.ndarray) -> OriginalMeasures:
    """What is measured of an original, by its brain mask, (i, j, k) bool."""
    return OriginalMeasures(find_skin(image), BrainMeasures(**asdict(brain_measures(image, brain))))


def measures_after(defaced: Volume, found: np.ndarray, brain: np.ndarray) -> BrainMeasures:
    """`brain_measures` of a defaced image by its own brain mask, and ``dice`` of that mask and the original's."""
    dice = round(float(2 * (found & brain).sum() / (found.sum() + brain.sum())), 4)
    return BrainMeasures(**asdict(brain_measures(defaced, found)), dice=dice)


def refusal(figures: DefacingFigures, image: str, tool: str) -> str | None:
    """A sentence when the image must not go on: a face that is all there would be published, a bare hole attacked."""
    left = figures.face_left
    judged = [share for part in JUDGED if (share := left.get(part)) is not None]
    if judged and min(judged) >= WHOLE_FACE:
        part, share = worst_part(left)
        return (
            f"{image}: {tool} left the face as it was ({share:.0f} % of the {part} is there), so that the image is not "
            f"published; check that the tool can read it, or leave the tool out."
        )
    if (lost := figures.brain_cut.percent or 0.0) >= MOST_BRAIN:
        return (
            f"{image}: {tool} removed {lost:.0f} % of the brain, so that nothing is left to audit; check the "
            f"orientation in the image header, or leave the tool out."
        )
    return None


def _values(path: str, scan: Scan) -> np.ndarray:
    try:
        return read_scan(path).values
    except ImageError:  # one value everywhere: a tool that removed everything
        return np.zeros(scan.stored.shape, dtype=np.float32)
