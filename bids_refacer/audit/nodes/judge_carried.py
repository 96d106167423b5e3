"""The node that judges an image that was defaced as another one of its session was, before it is published."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from nipype.interfaces.base.support import Bunch

from bids_refacer.audit.nodes.carry import carried
from bids_refacer.audit.nodes.reports import read_report, write_report
from bids_refacer.dataset.details import FIGURES, VERDICT, number
from bids_refacer.defacers import DefacerError
from bids_refacer.surfaces.skin import SkinError, find_skin
from bids_refacer.surfaces.skin_left import Defacing
from bids_refacer.surfaces.verdicts import face_left, verdict_json, worst_part
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.masks import head_mask
from bids_refacer.volumes.nifti import read_mask, read_scan
from bids_refacer.volumes.registration import LEAST_OVERLAP, head_overlap
from bids_refacer.volumes.scan import Scan


class _JudgeCarriedInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="the image, before it was defaced")
    head_file = File(exists=True, mandatory=True, desc="the same, or, of a phase image, its magnitude on the same grid")
    reference = File(exists=True, mandatory=True, desc="the audited image")
    brain_mask = File(exists=True, mandatory=True, desc="of the reference")
    matrix = File(exists=True, mandatory=True, desc="of `Register`")
    alignment = File(exists=True, mandatory=True, desc="of `Register`")
    files = InputMultiObject(File(exists=True), mandatory=True, desc="defaced image and mask of what was removed")
    details = File(exists=True, mandatory=True, desc="JSON of the defacing node")
    most_left = traits.Float(mandatory=True, desc="percent of a part of the face; more is not published")
    limits = traits.List(
        traits.List(traits.Float()), mandatory=True, desc="of the verdicts: face left, brain cut, hole"
    )
    version = traits.Str(mandatory=True, desc="of this app; part of the hash")


class _JudgeCarriedOutput(TraitedSpec):
    files = OutputMultiObject(File(), desc="as they came in, once they passed")
    details = File(desc="what came in, with the verdict's figures")


class JudgeCarried(SimpleInterface):
    """Stop an image whose face a carried mask missed: of no other node does anyone look at it again."""

    input_spec = _JudgeCarriedInput
    output_spec = _JudgeCarriedOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        started = time.perf_counter()
        given = self.inputs
        report = read_report(given.details)
        findings = self._findings()
        if sentence := findings.refusal(given.in_file, str(report.get("Tool")), given.most_left):
            raise DefacerError(sentence)
        run_time_s = round(number(report, "RunTime") + time.perf_counter() - started, 2)
        judged = {
            FIGURES: {"FaceLeft": findings.face_left},
            VERDICT: verdict_json(findings.face_left, None, None, given.limits),
            "HeadOverlap": round(findings.head_overlap, 3),
        }
        path = write_report(Path(runtime.cwd) / "details.json", {**report, **judged, "RunTime": run_time_s})
        self._results.update(files=list(given.files), details=path)
        return runtime

    def _findings(self) -> Findings:
        given = self.inputs
        head, reference = read_scan(given.head_file), read_scan(given.reference)
        matrix = np.array(json.loads(Path(given.matrix).read_text()))
        own, removed = head_mask(head.volume), read_mask(given.files[1]).values
        brain = carried(given.brain_mask, head, matrix, continued=False)
        return Findings(
            head_overlap=head_overlap(head.volume, reference.volume, matrix),
            brain_in_head=float((brain & own).sum() / max(int(brain.sum()), 1)) if brain.any() else 1.0,
            removed_of_head=int((removed & own).sum()),
            face_left=self._face_left(head, removed),
        )

    def _face_left(self, head: Scan, removed: np.ndarray) -> dict[str, float | None]:
        given = self.inputs
        own = head.volume
        defaced = np.where(removed, 0, own.values)
        if given.head_file == given.in_file:
            defaced = _values(given.files[0], head)
        try:
            alignment = Alignment.from_json(Path(given.alignment))
            return face_left(Defacing(own, defaced, removed), alignment, find_skin(own))
        except SkinError as error:
            raise DefacerError(
                f"{given.in_file} is not published, as no skin is found in it, so that nobody can say whether its face "
                f"is gone ({error}): deface it by hand, or leave it out."
            ) from error


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What shows that a mask was carried to the right place.

    Attributes
    ----------
    head_overlap : Dice of the image's own head and the audited image's, moved onto it
    brain_in_head : share of the carried brain mask that lies in the image's own head; 1 where none is in view
    removed_of_head : voxels of the image's own head that were removed or replaced
    face_left : percent of the image's own skin that is left, for each part of the face; None for parts not in view
    """

    head_overlap: float
    brain_in_head: float
    removed_of_head: int
    face_left: dict[str, float | None]

    def refusal(self, image: str, tool: str, most_left: float) -> str | None:
        """A sentence when the image must not be published; `most_left` in percent."""
        by_hand = "have it audited itself where its contrast allows (--suffix), or deface it by hand."
        if min(self.head_overlap, self.brain_in_head) < LEAST_OVERLAP:
            return (
                f"{image} is not published: the head of the audited image, brought onto its own, overlaps with it by "
                f"{self.head_overlap:.2f} (Dice) and its brain by {self.brain_in_head:.2f}; {LEAST_OVERLAP} is "
                f"expected at least, so that the mask of {tool} is not where the face is: check that both show the "
                f"same head and the positions in their headers, {by_hand}"
            )
        if not self.removed_of_head:
            return (
                f"{image} is not published, as nothing of the head in it was removed: the mask of {tool} lies outside "
                f"its field of view. Look whether it shows a part of the face; if so, {by_hand}"
            )
        part, share = worst_part(self.face_left)
        if share is not None and share > most_left:
            return (
                f"{image} is not published: {tool} left {share:.0f} % of the {part} in it (more than {most_left:g} % "
                f"fails, by --face-left-limits): take another tool, {by_hand}"
            )
        return None


def _values(path: str, head: Scan) -> np.ndarray:
    try:
        return read_scan(path).values
    except ImageError:  # one value everywhere: everything was removed
        return np.zeros(head.stored.shape, dtype=np.float32)
