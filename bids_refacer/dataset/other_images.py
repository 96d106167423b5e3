"""The other images of a session: those that a run does not audit, and that show the face all the same.

They are other contrasts, other runs, and the other echoes or parts of an audited image. Each is paired with the audited
image of its session whose deface mask fits it best.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bids_refacer.dataset.image_key import EXTENSIONS
from bids_refacer.dataset.images import HeadImage, ImageProblem, Selection, head_image, participant_labels, usable

PARTS = ("echo", "part", "inv", "flip", "mt")
"""Entities by which the files of one acquisition differ: they are in register, and share one mask."""

Acquisition = tuple[str, frozenset[tuple[str, str]]]
"""Suffix and all entities but `PARTS`, which are the same in all files of one acquisition."""

_NO_FACE = ("defacemask", "mask", "dseg", "probseg")  # not images of a head


@dataclass(frozen=True, kw_only=True)
class OtherImage:
    """An image that is defaced with the mask of an audited image of its session.

    `reference` is the audited image, None where the session has none. `parts` is the number of files of the image's
    acquisition (echoes, magnitude and phase); `leader` is the file among them that is registered to the reference, for
    all of them.
    """

    image: HeadImage
    leader: HeadImage
    reference: HeadImage | None
    parts: int = 1

    @property
    def in_register(self) -> bool:
        """Whether image and reference are of the same acquisition, so that no registration is needed."""
        return self.reference is not None and _acquisition(self.image) == _acquisition(self.reference)


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
    images, problems = usable(unseen(bids_dir, selection, participants=participants, sessions=sessions))
    acquisitions: dict[Acquisition, list[HeadImage]] = {}
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
    """Images below the ``anat`` folders that the selection does not list; their files may be broken."""
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
    return image.entities.get("part", "mag") != "mag", int(echo) if echo.isdigit() else 0, image.bids_path
