"""Find the images of heads in a BIDS dataset, and say which of them cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.filters import Filters, pybids_arguments, read_filter_file
from bids_refacer.dataset.image_key import EXTENSIONS, ImageKey, without_extension
from bids_refacer.dataset.inputs.naming import FOREIGN, anatomical_files, folder_label, name_problem, suffix_in
from bids_refacer.problems import printable

if TYPE_CHECKING:
    from bids import BIDSLayout


@dataclass(frozen=True, kw_only=True)
class HeadImage(ImageKey):
    """One image of a head in the input dataset: where it is, and what its name says.

    `bids_uri` is ``bids:raw:sub-01/anat/...``.
    """

    path: Path
    bids_uri: str

    @property
    def bids_path(self) -> str:
        """Path in the dataset, with forward slashes: the image's name in tables and in seeds."""
        return self.bids_uri.removeprefix("bids:raw:")

    @property
    def stem(self) -> str:
        """The file name without its extension: ``sub-01_ses-1_T1w``."""
        return without_extension(self.path.name)

    @property
    def label(self) -> str:
        """What a person calls the image: ``sub-01 ses-1 T1w``."""
        return self.stem.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class ImageProblem:
    """An image that cannot be used (`bids_path`), or a participant without any (None); `message` is a sentence."""

    participant: str
    session: str | None
    bids_path: str | None
    message: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The images of a run, and the problems with other images and participants that were asked for; both sorted."""

    images: tuple[HeadImage, ...]
    problems: tuple[ImageProblem, ...]


def find_images(
    bids_dir: Path,
    *,
    participants: tuple[str, ...] = (),
    sessions: tuple[str, ...] = (),
    suffixes: tuple[str, ...] = ("T1w",),
    filter_file: Path | None = None,
    database_dir: Path | None = None,
) -> Selection:
    """Find the images of the given participants and sessions (all when empty) with the given suffixes.

    Where T1w images are asked for, a session that has none gives its UNIT1 image (MP2RAGE), unless there are filters.

    Labels are without ``sub-`` and ``ses-``. The dataset is never written to; `database_dir` keeps pybids' index
    (made when it is missing) for the next run.

    Raises
    ------
    DatasetError
        When the filter file or the database cannot be used.
    """
    filters: dict[str, Filters] = dict.fromkeys(suffixes, {})
    if filter_file:
        filters = read_filter_file(filter_file, suffixes)
    layout = _layout(bids_dir, database_dir)
    root = Path(layout.root)
    asked = set(participants or participant_labels(bids_dir))
    paths = {path for suffix in suffixes for path in _query(layout, suffix, filters[suffix], filter_file)}
    if "T1w" in suffixes and "UNIT1" not in suffixes and not filter_file:
        paths |= _in_place_of_t1w(layout, paths, root)
    paths |= {path for path in _misnamed(root, asked) if filters.get(suffix_in(path.name)) == {}}
    images, problems = sort_out((path for path in paths if folder_label(path, root, "sub") in asked), root, sessions)
    found = {image.participant for image in images} | {problem.participant for problem in problems}
    good, unusable = usable(images)
    problems += unusable + _without_images(bids_dir, asked - found, sessions, suffixes, filters)
    problems.sort(key=lambda problem: (problem.participant, problem.bids_path or ""))
    return Selection(images=tuple(good), problems=tuple(problems))


def sort_out(
    paths: Iterable[Path], root: Path, sessions: tuple[str, ...] = ()
) -> tuple[list[HeadImage], list[ImageProblem]]:
    """Images of some sessions (labels; all when empty), sorted, and the problems with names and places of the others.

    Files of datasets inside this one are left out.
    """
    images: list[HeadImage] = []
    problems: list[ImageProblem] = []
    for path in sorted(paths):
        message, image = name_problem(path, root), head_image(path, root)
        session = folder_label(path, root, "ses")
        if sessions and session not in sessions:
            continue
        if image and message is None:
            images.append(image)
        elif not _is_foreign(path.relative_to(root)):
            problems.append(_misplaced(path, root, printable(str(message))))
    images.sort(key=lambda image: image.bids_path)
    return images, problems


def _misplaced(path: Path, root: Path, message: str) -> ImageProblem:
    """The problem with a name or a place; whose image it is, its folder says."""
    return ImageProblem(
        participant=folder_label(path, root, "sub") or "",
        session=folder_label(path, root, "ses"),
        bids_path=path.relative_to(root).as_posix(),
        message=message,
    )


def _misnamed(root: Path, participants: set[str]) -> list[Path]:
    """Images that pybids may not find, or not as what they are, for their names."""
    return [path for path in anatomical_files(root, participants) if name_problem(path, root)]


def participant_labels(bids_dir: Path) -> list[str]:
    """Labels of all participants, without ``sub-``, sorted; folders that are broken links are among them."""
    return sorted(
        entry.name.removeprefix("sub-")
        for entry in bids_dir.glob("sub-*")
        if entry.is_dir() or (entry.is_symlink() and not entry.exists() and "." not in entry.name)
    )


def session_labels(bids_dir: Path, participants: tuple[str, ...] = ()) -> list[str]:
    """Labels of all sessions of the given participants (all when empty), without ``ses-``, sorted."""
    chosen = participants or tuple(participant_labels(bids_dir))
    return sorted(
        {
            entry.name.removeprefix("ses-")
            for participant in chosen
            for entry in (bids_dir / f"sub-{participant}").glob("ses-*")
            if entry.is_dir()
        }
    )


def _layout(bids_dir: Path, database_dir: Path | None) -> BIDSLayout:
    """Index the dataset by file names alone: metadata are not needed, and would take minutes in a large dataset."""
    from bids import BIDSLayout
    from bids.layout import BIDSLayoutIndexer

    ignore = [re.compile(r"/\."), re.compile(r"^/(code|models|stimuli|phenotype|sourcedata|derivatives)(/|$)")]
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignore)
    remedy = "delete it, or give another folder to --bids-database-dir."
    try:
        layout = BIDSLayout(bids_dir, validate=False, indexer=indexer, database_path=database_dir)
    except Exception as error:  # sqlalchemy, sqlite and pybids each have their own for an unusable database
        if database_dir is None:
            raise
        reason = str(error).splitlines()[0]
        raise DatasetError(f"The pybids database {database_dir} cannot be read or made ({reason}): {remedy}") from error
    # pybids takes the database of any other dataset without a word
    if Path(layout.root).resolve() != bids_dir.resolve():
        raise DatasetError(f"The pybids database {database_dir} was made for {layout.root}, not {bids_dir}: {remedy}")
    return layout


def _query(layout: BIDSLayout, suffix: str, filters: Filters, filter_file: Path | None) -> list[Path]:
    standard = {"datatype": "anat", "suffix": suffix, "extension": list(EXTENSIONS)}
    query = {**standard, **pybids_arguments(filters)}
    try:
        return [Path(path) for path in layout.get(return_type="filename", **query)]
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"The filters for {suffix} in {filter_file} cannot be used ({error}): use pybids entity names."
        ) from error


def _in_place_of_t1w(layout: BIDSLayout, paths: Iterable[Path], root: Path) -> set[Path]:
    """UNIT1 images of sessions without a T1w image."""

    def session(path: Path) -> tuple[str | None, str | None]:
        return folder_label(path, root, "sub"), folder_label(path, root, "ses")

    have = {session(path) for path in paths if suffix_in(path.name) == "T1w"}
    return {path for path in _query(layout, "UNIT1", {}, None) if session(path) not in have}


def head_image(path: Path, root: Path) -> HeadImage | None:
    """The image of a path below `root`; None for a file of a nested dataset and for a name without a participant."""
    relative = path.relative_to(root)
    if _is_foreign(relative):
        return None
    try:
        key = ImageKey.of(path)
    except DatasetError:
        return None
    return HeadImage(**vars(key), path=path, bids_uri=f"bids:raw:{relative.as_posix()}")


def _is_foreign(relative: Path) -> bool:
    return any(part in FOREIGN for part in relative.parts)


def usable(images: list[HeadImage]) -> tuple[list[HeadImage], list[ImageProblem]]:
    """Split images into those that can be used, and problems: no content, or the same name but for the extension."""
    good: list[HeadImage] = []
    problems: list[ImageProblem] = []
    taken: dict[str, HeadImage] = {}
    for image in images:
        message = missing_content(image.path)
        name = without_extension(image.bids_path)
        if message is None and name in taken:
            message = (
                f"{image.path} has the same name as {taken[name].path.name} but for its extension: "
                "remove one of the two; only the other one is used."
            )
        if message is None:
            taken[name] = image
            good.append(image)
        else:
            problems.append(problem_of(image, message))
    return good, problems


def missing_content(path: Path) -> str | None:
    """A sentence where a path leads to no file: a broken link, or a name that is listed and not there."""
    if path.exists():
        return None
    if path.is_symlink():
        target = path.readlink()
        remedy = (
            "its content was not fetched: run 'git annex get' or 'datalad get' on it."
            if "annex" in target.parts
            else "repair the link or remove it."
        )
        return f"{path} is a broken link to {target}; {remedy}"
    return f"{path} is listed in the pybids database but is not on disk: delete the database so that it is made anew."


def problem_of(image: HeadImage, message: str) -> ImageProblem:
    """A problem with one image."""
    return ImageProblem(
        participant=image.participant, session=image.session, bids_path=image.bids_path, message=message
    )


def _without_images(
    bids_dir: Path,
    participants: set[str],
    sessions: tuple[str, ...],
    suffixes: tuple[str, ...],
    filters: Mapping[str, Filters],
) -> list[ImageProblem]:
    """One problem for each participant of whom nothing was found."""
    problems = []
    for label in sorted(participants):
        folder = bids_dir / f"sub-{label}"
        where = f" in session {' or '.join(sessions)}" if sessions else ""
        matching = " that matches the filter file" if any(filters.values()) else ""
        message = (
            f"{folder} has no {' or '.join(suffixes)} image{where}{matching}: add one below an anat folder, "
            "ask for another suffix with --suffix, or leave the participant out with --participant-label."
        )
        if folder.is_symlink() and not folder.exists():
            message = f"{folder} is a broken link to {folder.readlink()}: repair the link or remove it."
        problems.append(ImageProblem(participant=label, session=None, bids_path=None, message=printable(message)))
    return problems
