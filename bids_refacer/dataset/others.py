"""The other images of a session: those that a run does not audit, and whose faces nobody must forget.

Everything in ``anat`` that is an image of a head shows the face: other contrasts, other runs, the other echoes or parts
of an image of which one is audited. Each gets the image of its session whose deface mask fits it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bids_refacer.dataset.image_key import EXTENSIONS
from bids_refacer.dataset.images import HeadImage, ImageProblem, Selection, head_image, participant_labels, usable

PARTS = ("echo", "part", "inv", "flip", "mt")
"""Entities by which the files of one acquisition differ: they are in register, and share one mask."""

_NO_FACE = ("defacemask", "mask", "dseg", "probseg")  # not images of a head


@dataclass(frozen=True, kw_only=True)
class OtherImage:
    """An image to be defaced as another one was.

    `reference` is an audited image of its session, None where there is none; `leader` is the one of its own parts that
    is registered, in the name of all; `parts` is how many there are of them.
    """

    image: HeadImage
    leader: HeadImage
    reference: HeadImage | None
    parts: int = 1

    @property
    def in_register(self) -> bool:
        """Whether it is a part of the reference itself, and needs no registration."""
        return self.reference is not None and _acquisition(self.image) == _acquisition(self.reference)


def one_of_parts(selection: Selection) -> Selection:
    """The selection with one image of each acquisition: its first echo, as magnitude."""
    kept: dict[object, HeadImage] = {}
    for image in sorted(selection.images, key=_rank):
        kept.setdefault(_acquisition(image), image)
    return replace(selection, images=tuple(sorted(kept.values(), key=lambda image: image.bids_path)))


def find_others(
    bids_dir: Path, selection: Selection, *, participants: tuple[str, ...] = (), sessions: tuple[str, ...] = ()
) -> tuple[list[OtherImage], list[ImageProblem]]:
    """All images below the ``anat`` folders that are not in the selection, and what is wrong with files among them.

    Parameters
    ----------
    selection : what is audited (`one_of_parts`); files that it has problems with are not told about again
    participants, sessions : labels; all when empty
    """
    images, problems = usable(unseen(bids_dir, selection, participants=participants, sessions=sessions))
    acquisitions: dict[object, list[HeadImage]] = {}
    for image in sorted(images, key=_rank):
        acquisitions.setdefault(_acquisition(image), []).append(image)
    others = []
    for image in images:
        parts = acquisitions[_acquisition(image)]
        reference = _reference(image, selection.images)
        others.append(OtherImage(image=image, leader=parts[0], reference=reference, parts=len(parts)))
    return others, problems


def unseen(
    bids_dir: Path, selection: Selection, *, participants: tuple[str, ...] = (), sessions: tuple[str, ...] = ()
) -> list[HeadImage]:
    """Images below the ``anat`` folders that the selection does not know, whatever state their files are in."""
    known = {image.bids_path for image in selection.images} | {problem.bids_path for problem in selection.problems}
    labels = participants or tuple(participant_labels(bids_dir))
    found = [image for image in _anatomy(bids_dir, labels, sessions) if image.bids_path not in known]
    return sorted(found, key=lambda image: image.bids_path)


def _anatomy(bids_dir: Path, participants: Iterable[str], sessions: tuple[str, ...]) -> Iterator[HeadImage]:
    for label in participants:
        folder = bids_dir / f"sub-{label}"
        for path in (*folder.glob("anat/*"), *folder.glob("ses-*/anat/*")):
            image = head_image(path, bids_dir) if path.name.endswith(EXTENSIONS) else None
            if image and image.suffix not in _NO_FACE and (not sessions or image.session in sessions):
                yield image


def _reference(image: HeadImage, audited: Iterable[HeadImage]) -> HeadImage | None:
    """The audited image of the same session that is most like it; a T1w before others, which most tools know less."""
    own = [one for one in audited if (one.participant, one.session) == (image.participant, image.session)]

    def unlike(one: HeadImage) -> tuple[bool, bool, int, str]:
        apart = set(one.entities.items()) ^ set(image.entities.items())
        return _acquisition(one) != _acquisition(image), one.suffix != "T1w", len(apart), one.bids_path

    return min(own, key=unlike, default=None)


def _acquisition(image: HeadImage) -> tuple[str, frozenset[tuple[str, str]]]:
    """What the parts of one acquisition have in common."""
    kept = frozenset((name, label) for name, label in image.entities.items() if name not in PARTS)
    return image.suffix, kept


def _rank(image: HeadImage) -> tuple[bool, int, str]:
    """Magnitude before phase, then by echo: late echoes are dark."""
    echo = image.entities.get("echo", "1")
    return image.entities.get("part", "mag") != "mag", int(echo) if echo.isdigit() else 0, image.bids_path
