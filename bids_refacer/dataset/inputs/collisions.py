"""No two images share an output: those that would are all refused, each naming the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from bids_refacer.dataset.images import HeadImage, ImageProblem, participant_labels, problem_of, session_labels

_MOST = 3  # names in a sentence


def keep_apart(
    images: Sequence[HeadImage], claims: Callable[[HeadImage], Iterable[str]]
) -> tuple[list[HeadImage], list[ImageProblem]]:
    """Images whose outputs are theirs alone, and a problem for each of the others.

    Parameters
    ----------
    images : all that a run would write outputs for
    claims : of an image, everything that is named after it: paths of outputs, names in the graph. They are compared
        without case, as some file systems do
    """
    folders: dict[str, list[HeadImage]] = defaultdict(list)
    for image in images:
        folders[image.participant.casefold()].append(image)
    met: dict[str, set[str]] = defaultdict(set)
    for own in folders.values():
        if len(own) > 1:
            _find_meetings(own, claims, met)
    good = [image for image in images if image.bids_path not in met]
    meeting = [image for image in images if image.bids_path in met]
    return good, [problem_of(image, _sentence(image, met[image.bids_path])) for image in meeting]


def twins(bids_dir: Path, participants: Collection[str]) -> dict[tuple[str, str | None], str]:
    """Participant and session (None for all) -> a sentence, where labels of the dataset differ in case alone."""
    found: dict[tuple[str, str | None], str] = {}
    people = participant_labels(bids_dir)
    for label, others in _alike(people).items():
        found[label, None] = _case(f"sub-{label}", [f"sub-{other}" for other in others])
    for label in set(participants) & set(people):
        for session, others in _alike(session_labels(bids_dir, (label,))).items():
            found[label, session] = _case(f"ses-{session}", [f"ses-{other}" for other in others])
    return found


def _find_meetings(
    images: Sequence[HeadImage],
    claims: Callable[[HeadImage], Iterable[str]],
    met: dict[str, set[str]],
) -> None:
    """Fill `met`: path of an image -> paths of the others that claim the same."""
    first: dict[str, list[HeadImage]] = defaultdict(list)
    for image in images:
        for claim in {claim.casefold() for claim in claims(image)}:
            for other in first[claim]:
                met[image.bids_path].add(other.bids_path)
                met[other.bids_path].add(image.bids_path)
            first[claim].append(image)


def _sentence(image: HeadImage, others: set[str]) -> str:
    named = ", ".join(sorted(others)[:_MOST]) + (f" and {len(others) - _MOST} more" if len(others) > _MOST else "")
    if image.bids_path.casefold() in {other.casefold() for other in others}:
        return f"{image.path}: {_case(image.bids_path, sorted(others))}"
    return (
        f"{image.path}: its outputs would have the same names as those of {named}, so that none of these images is "
        "used: rename them so that they differ in more than the order of entities or in desc (run-1 and run-2 do), "
        "choose one with --bids-filter-file, or move the others out of the dataset."
    )


def _case(name: str, others: Sequence[str]) -> str:
    return (
        f"{name} differs in case alone from {', '.join(others)}, which some file systems do not tell apart, so that "
        "none of them is used: rename all but one."
    )


def _alike(labels: Sequence[str]) -> dict[str, list[str]]:
    """Label -> the others that are the same but for case, where there are any."""
    counts = Counter(label.casefold() for label in labels)
    shared = [label for label in labels if counts[label.casefold()] > 1]
    return {
        label: [other for other in shared if other != label and other.casefold() == label.casefold()]
        for label in shared
    }
