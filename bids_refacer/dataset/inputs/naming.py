"""Images that cannot be used for their names: each with a sentence that says what is wrong, and a name that is right.

A name that is misread makes one image pass for another: what is not exactly a BIDS name, in the folder that the name
says, is refused and never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bids_refacer.dataset.image_key import BIDS_SUFFIXES, EXTENSIONS, NO_HEAD, split_name
from bids_refacer.dataset.names import file_name

FOREIGN = ("derivatives", "sourcedata")
"""Folders of other datasets inside a dataset: their images are not its images."""

_LABEL = re.compile(r"[0-9A-Za-z+]+")
_SUFFIX = re.compile(r"[0-9A-Za-z]+")
_ALLOWED = "letters, digits and + alone"
_MOVE = "or move it out of the dataset."


def anatomical_files(root: Path, participants: Iterable[str]) -> Iterator[Path]:
    """NIfTI images of participants (labels), by their extension in any case.

    They are all that lie below ``anat`` folders, and those elsewhere with an anatomical suffix. Hidden files, files of
    datasets inside this one, and masks and segmentations by their names are passed over.
    """
    for label in participants:
        folder = root / f"sub-{label}"
        below_anat = {*folder.glob("anat/**/*"), *folder.glob("*/anat/**/*")}
        elsewhere = {path for path in folder.rglob("*") if _extension(path.name)} - below_anat
        for path in (*below_anat, *(path for path in elsewhere if suffix_in(path.name) in BIDS_SUFFIXES)):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            foreign = any(part in FOREIGN for part in path.relative_to(root).parts)
            if not hidden and not foreign and _extension(path.name) and _stem(path.name).split("_")[-1] not in NO_HEAD:
                yield path


def suffix_in(name: str) -> str:
    """The suffix in a file name, whatever else is wrong with it, spelled as BIDS does where only its case differs."""
    _, suffix, _ = split_name(_stem(name))
    letters = _SUFFIX.match(suffix)
    return _spelled(letters[0] if letters else suffix)


def name_problem(path: Path, root: Path) -> str | None:
    """What is wrong with the name of an image, or with its place in the dataset, and what to do; None for neither.

    Parameters
    ----------
    path : of the image, below `root`
    root : of the dataset
    """
    checks = (_extension_problem, _folder_problem, _ending_problem, _suffix_problem, _entity_problem, _place_problem)
    return next((f"{path}: {problem}" for check in checks if (problem := check(path, root))), None)


def folder_label(path: Path, root: Path, entity: str) -> str | None:
    """The label of the participant (``sub``) or the session (``ses``) in whose folder a file lies; None without one."""
    start = f"{entity}-"
    parts = path.relative_to(root).parts[:-1]
    return next((part.removeprefix(start) for part in parts if part.startswith(start)), None)


def _extension_problem(path: Path, _root: Path) -> str | None:
    found = path.name[len(_stem(path.name)) :]
    if found in EXTENSIONS:
        return None
    return f"the extension {found} is {found.lower()} in BIDS: rename it to {_stem(path.name)}{found.lower()}, {_MOVE}"


def _folder_problem(path: Path, root: Path) -> str | None:
    for entity, what in (("sub", "participant"), ("ses", "session")):
        label = folder_label(path, root, entity)
        if label is not None and not _LABEL.fullmatch(label):
            return (
                f"the label {label!r} of the {what} is not one that BIDS allows ({_ALLOWED}): rename the folder and "
                f"its files, for example to {entity}-{_allowed(label)}."
            )
    return None


def _ending_problem(path: Path, _root: Path) -> str | None:
    """Converters add endings to the names of further images of a series; what these images are is not known."""
    pairs, suffix, ending = split_name(_stem(path.name))
    if not ending:
        return None
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return (
        f"its name goes on after the suffix {suffix} ({ending!r}), which BIDS does not allow, so that it is not known "
        f"what the image is: rename it to a BIDS name such as {_free_name(path, entities, suffix)}, {_MOVE}"
    )


def _suffix_problem(path: Path, _root: Path) -> str | None:
    _, suffix, _ = split_name(_stem(path.name))
    if suffix != _spelled(suffix):
        right = _stem(path.name).removesuffix(suffix) + _spelled(suffix) + _extension(path.name)
        return f"the suffix {suffix} is {_spelled(suffix)} in BIDS: rename it to {right}, {_MOVE}"
    if not _SUFFIX.fullmatch(suffix):
        return f"{suffix!r} is no suffix that BIDS allows: end its name in one, such as _T1w, {_MOVE}"
    return None


def _entity_problem(path: Path, _root: Path) -> str | None:
    pairs, _, _ = split_name(_stem(path.name))
    names = [pair.split("-", 1)[0] for pair in pairs]
    for pair, name in zip(pairs, names, strict=True):
        label = pair.removeprefix(f"{name}-")
        if "-" not in pair or not name.isalpha():
            return f"{pair!r} in its name is no entity with a label, such as acq-{_allowed(pair)}: rename it, {_MOVE}"
        if not _LABEL.fullmatch(label):
            return (
                f"the label {label!r} of {name} is not one that BIDS allows ({_ALLOWED}): rename it, for example to "
                f"{name}-{_allowed(label)}, {_MOVE}"
            )
        if names.count(name) > 1:
            return f"its name has the entity {name} more than once: rename it, {_MOVE}"
    return None


def _place_problem(path: Path, root: Path) -> str | None:
    """Outputs go where the name says: an image that lies elsewhere would take the place of another one's."""
    pairs, _, _ = split_name(_stem(path.name))
    labels = dict(pair.split("-", 1) for pair in pairs)
    if "sub" not in labels:
        return f"its name is of no participant: begin it with sub-{folder_label(path, root, 'sub')}_, {_MOVE}"
    said = Path(*[f"{entity}-{labels[entity]}" for entity in ("sub", "ses") if entity in labels], "anat")
    lies = path.relative_to(root).parent
    if lies == said:
        return None
    return (
        f"by its name it belongs into {said.as_posix()}, and it lies in {lies.as_posix()}: rename it after its folder, "
        f"move it to where it belongs, {_MOVE}"
    )


def _free_name(path: Path, entities: dict[str, str], suffix: str) -> str:
    """A BIDS name for one more image of this kind, which no file of the folder has."""
    kept = {name: _allowed(label) for name, label in entities.items()}
    names = (file_name({**kept, "run": str(run)}, suffix, _extension(path.name)) for run in range(2, 1000))
    return next(name for name in names if not (path.parent / name).exists())


def _allowed(label: str) -> str:
    """A label without what BIDS does not allow in it; 0.8 is 0p8, as labels have no decimal point."""
    return re.sub(r"[^0-9A-Za-z+]", "", re.sub(r"(?<=\d)\.(?=\d)", "p", label)) or "LABEL"


def _spelled(suffix: str) -> str:
    return next((known for known in BIDS_SUFFIXES if known.lower() == suffix.lower()), suffix)


def _stem(name: str) -> str:
    end = next((end for end in EXTENSIONS if name.lower().endswith(end)), "")
    return name[: len(name) - len(end)]


def _extension(name: str) -> str:
    """The extension as BIDS spells it; empty for other files."""
    return next((end for end in EXTENSIONS if name.lower().endswith(end)), "")
