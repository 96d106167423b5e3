"""The other images of a session: those that a run does not audit, and that show the face all the same.

They are other contrasts, other runs, and the other echoes or parts of an audited image. Each is paired with the audited
image of its session whose deface mask fits it best.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bids_refacer.dataset.image_key import NO_HEAD
from bids_refacer.dataset.images import HeadImage, ImageProblem, Selection, participant_labels, sort_out, usable
from bids_refacer.dataset.inputs.naming import anatomical_files
from bids_refacer.dataset.inputs.registers import Placement, read_placement

PARTS = ("echo", "part", "inv", "flip", "mt")
"""Entities by which the files of one acquisition differ: they share one mask where their headers show one place."""

Acquisition = tuple[str, frozenset[tuple[str, str]]]
"""Suffix and all entities but `PARTS`, which are the same in all files of one acquisition."""


@dataclass(frozen=True, kw_only=True)
class OtherImage:
    """An image that is defaced with the mask of an audited image of its session.

    `reference` is the audited image, None where the session has none; `in_register` is whether it is of the same
    acquisition and in the same place, so that no registration is needed. `parts` is the number of files of the image's
    acquisition (echoes, magnitude and phase); `leader` is the first file among them that is in the same place, which
    is registered to the reference for all of these.
    """

    image: HeadImage
    leader: HeadImage
    reference: HeadImage | None
    parts: int = 1
    in_register: bool = False

    @property
    def shown_by(self) -> HeadImage:
        """The image in which the head can be seen: the image itself, or, of a phase, a magnitude in the same place."""
        if _is_magnitude(self.image):
            return self.image
        candidates = [self.leader, *([self.reference] if self.reference is not None and self.in_register else [])]
        return next((image for image in candidates if _is_magnitude(image)), self.image)


def one_of_parts(selection: Selection) -> Selection:
    """The selection with one image of each acquisition: its first echo, as magnitude."""
    kept: dict[Acquisition, HeadImage] = {}
    for image in sorted(selection.images, key=_rank):
        kept.setdefault(_acquisition(image), image)
    return replace(selection, images=tuple(sorted(kept.values(), key=lambda image: image.bids_path)))


def find_others(
    bids_dir: Path, selection: Selection, *, participants: tuple[str, ...] = (), sessions: tuple[str, ...] = ()
) -> tuple[list[OtherImage], list[ImageProblem]]:
    """All images below the ``anat`` folders that are not in the selection, and the problems with these images.

    Parameters
    ----------
    selection : the audited images (`one_of_parts`); problems that it lists are not listed again
    participants, sessions : labels; all when empty
    """
    found, misnamed = unseen(bids_dir, selection, participants=participants, sessions=sessions)
    images, problems = usable(found)
    acquisitions: dict[Acquisition, list[HeadImage]] = {}
    for image in sorted(images, key=_rank):
        acquisitions.setdefault(_acquisition(image), []).append(image)
    others = [one for parts in acquisitions.values() for one in _of_acquisition(parts, selection.images)]
    return sorted(others, key=lambda other: other.image.bids_path), misnamed + problems


def unseen(
    bids_dir: Path, selection: Selection, *, participants: tuple[str, ...] = (), sessions: tuple[str, ...] = ()
) -> tuple[list[HeadImage], list[ImageProblem]]:
    """Images below the ``anat`` folders that the selection does not list, and those that have no name to go by.

    Their files may be broken.
    """
    known = {image.bids_path for image in selection.images} | {problem.bids_path for problem in selection.problems}
    labels = participants or tuple(participant_labels(bids_dir))
    paths = anatomical_files(bids_dir, labels)
    left = [path for path in paths if path.relative_to(bids_dir).as_posix() not in known]
    images, problems = sort_out(left, bids_dir, sessions)
    return [image for image in images if image.suffix not in NO_HEAD], problems


def _of_acquisition(parts: Sequence[HeadImage], audited: Iterable[HeadImage]) -> list[OtherImage]:
    """The files of one acquisition, by rank: those in one place have one leader, the first of them."""
    reference = _reference(parts[0], audited)
    same = reference is not None and _acquisition(parts[0]) == _acquisition(reference)
    alone = len(parts) == 1 and not same
    placements = {} if alone else {image.path: read_placement(image.path) for image in parts}
    anchor = read_placement(reference.path) if reference is not None and same else None
    others: list[OtherImage] = []
    for image in parts:
        placement = placements.get(image.path)
        other = OtherImage(
            image=image,
            leader=image,
            reference=reference,
            parts=len(parts),
            in_register=_agree(placement, [anchor]),
        )
        for leader in dict.fromkeys(one.leader for one in others if one.in_register == other.in_register):
            if _agree(placement, [placements.get(one.image.path) for one in others if one.leader == leader]):
                other = replace(other, leader=leader)
                break
        others.append(other)
    return others


def _agree(placement: Placement | None, others: Iterable[Placement | None]) -> bool:
    """Whether an image is in the place of all others; what cannot be read is not."""
    return placement is not None and all(other is not None and placement.agrees(other) for other in others)


def _reference(image: HeadImage, audited: Iterable[HeadImage]) -> HeadImage | None:
    """The audited image of the same session that is most alike.

    The same acquisition comes first, then T1w, which most tools are made for, then the fewest different entities.
    """
    own = [one for one in audited if (one.participant, one.session) == (image.participant, image.session)]

    def difference(one: HeadImage) -> tuple[bool, bool, int, str]:
        entities = set(one.entities.items()) ^ set(image.entities.items())
        return _acquisition(one) != _acquisition(image), one.suffix != "T1w", len(entities), one.bids_path

    return min(own, key=difference, default=None)


def _acquisition(image: HeadImage) -> Acquisition:
    kept = frozenset((name, label) for name, label in image.entities.items() if name not in PARTS)
    return image.suffix, kept


def _rank(image: HeadImage) -> tuple[bool, int, str]:
    """Magnitude before phase, then by echo: late echoes are dark."""
    echo = image.entities.get("echo", "1")
    return not _is_magnitude(image), int(echo) if echo.isdigit() else 0, image.bids_path


def _is_magnitude(image: HeadImage) -> bool:
    return image.entities.get("part", "mag") == "mag"
