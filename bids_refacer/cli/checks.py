"""Checks of a run's settings against the disk, before anything is imported or written.

Each check returns a sentence that says what is wrong and what to do, or None.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from bids_refacer.audit.plugin_file import PluginFileError, read_plugin_file
from bids_refacer.cli.container import bind_advice, lost_with_container, owner_advice
from bids_refacer.dataset.descriptions.derivatives import read_description, shareable_of
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.filters import read_filter_file
from bids_refacer.dataset.images import participant_labels, session_labels
from bids_refacer.layout import Layout, is_shareable_part, pointer
from bids_refacer.settings import RunSettings


def first_problem(settings: RunSettings) -> str | None:
    """The first problem that keeps this run from starting, as a sentence; None when it can start."""
    for check in _CHECKS:
        problem = check(settings)
        if problem:
            return problem
    return None


def check_input(settings: RunSettings) -> str | None:
    """The input is a BIDS dataset."""
    return input_problem(settings.bids_dir)


def input_problem(bids_dir: Path) -> str | None:
    """A sentence where a folder is no BIDS dataset that can be read."""
    if not bids_dir.is_dir():
        advice = bind_advice(bids_dir, ":ro")
        return f"The input {bids_dir} is not a folder: give the root of a BIDS dataset.{advice}"
    if not (bids_dir / "dataset_description.json").is_file():
        return (
            f"The input {bids_dir} has no dataset_description.json: give the root of a BIDS dataset, "
            'or add the file with at least {"Name": "...", "BIDSVersion": "1.10.0"}.'
        )
    try:
        read_description(bids_dir)  # pybids reads it too, and fails with a traceback
    except DatasetError as error:
        return str(error)
    return None


def check_output_place(settings: RunSettings) -> str | None:
    """The output folder is neither the input nor another program's dataset.

    It may lie inside the input only as ``derivatives/<name>``.
    """
    output, source = settings.output_dir.resolve(), settings.bids_dir.resolve()
    if output == source:
        return (
            f"The output {settings.output_dir} is the input itself, which is never written to: "
            f"use {settings.bids_dir / 'derivatives' / 'bids_refacer'} or a folder elsewhere."
        )
    derivatives = source / "derivatives"
    if output.is_relative_to(source) and not (output.is_relative_to(derivatives) and output != derivatives):
        return (
            f"The output {settings.output_dir} is inside the input: "
            f"use {settings.bids_dir / 'derivatives' / 'bids_refacer'} or a folder elsewhere."
        )
    if is_shareable_part(settings.output_dir):
        return (
            f"The output {settings.output_dir} is the part of an output that may be shared: give the folder that it is "
            f"in, {settings.output_dir.parent}."
        )
    for folder in (settings.output_dir, settings.layout.shareable):
        if _is_foreign_dataset(folder):
            return (
                f"The output {folder} is a dataset that bids_refacer did not make (see its "
                "dataset_description.json): give a new or empty folder."
            )
    return None


def check_identifiable_place(settings: RunSettings) -> str | None:
    """Faces are kept neither in what may be shared nor in the input, and in one place alone."""
    if settings.identifiable_dir is None:
        return _lost_faces(settings)
    private, output = settings.identifiable_dir.resolve(), settings.output_dir.resolve()
    usual = Layout.beside(settings.output_dir)
    if private.is_relative_to(usual.shareable.resolve()) or usual.shareable.resolve().is_relative_to(private):
        return (
            f"The folder {settings.identifiable_dir} of --identifiable-dir overlaps with {usual.shareable}, which may "
            "be shared: give a folder elsewhere, as it is for recovered faces."
        )
    if private.is_relative_to(settings.bids_dir.resolve()) and not private.is_relative_to(output):
        return (
            f"The folder {settings.identifiable_dir} of --identifiable-dir is inside the input, which is never written "
            "to: give a folder elsewhere."
        )
    return _second_place(settings, usual)


def _lost_faces(settings: RunSettings) -> str | None:
    """A sentence where an earlier run kept faces elsewhere, and they are there no more."""
    layout = settings.layout
    path, text = pointer(layout)
    own = shareable_of(layout.identifiable)
    if text is None or (own and own.resolve() == layout.shareable.resolve()):
        return None
    return (
        f"The faces and records of {settings.output_dir} were kept in {layout.identifiable}, says {path.name}, and "
        "they are not there: give --identifiable-dir with the folder where they are now."
    )


def _second_place(settings: RunSettings, usual: Layout) -> str | None:
    """A sentence where an earlier run keeps the faces in another folder, which is there."""
    for known in (usual.identifiable, Layout.of(settings.output_dir).identifiable):
        if known.is_dir() and settings.identifiable_dir and known.resolve() != settings.identifiable_dir.resolve():
            return (
                f"The faces and records of {settings.output_dir} are in {known}: move that folder to "
                f"{settings.identifiable_dir}, or leave --identifiable-dir out."
            )
    place = settings.identifiable_dir or usual.identifiable
    other = shareable_of(place)
    if other is None and place != usual.identifiable and place.is_dir() and any(place.iterdir()):
        return (
            f"The folder {place} of --identifiable-dir holds something else, and would be closed to others: give a new "
            "or empty folder, or the one with the faces of this output."
        )
    if other and other.is_dir() and other.resolve() != usual.shareable.resolve():
        return (
            f"The folder {settings.identifiable_dir} of --identifiable-dir holds the faces of {other}: give a folder "
            "of its own to each output."
        )
    return None


def check_work_place(settings: RunSettings) -> str | None:
    """The work folder, whose images show faces, is neither in the input nor in the shareable output."""
    work, output = settings.work_dir.resolve(), settings.output_dir.resolve()
    private = settings.layout.identifiable
    if work.is_relative_to(output) and not work.is_relative_to(private.resolve()):
        return (
            f"The work folder {settings.work_dir} is inside the output, and intermediate images show faces: use a "
            f"folder elsewhere, such as {private / 'work'}, or leave --work-dir out to have one in a temporary place."
        )
    if work == private.resolve():
        return f"The work folder {settings.work_dir} holds the identifiable results: use a folder inside it."
    if work.is_relative_to(settings.bids_dir.resolve()) and not work.is_relative_to(output):
        return f"The work folder {settings.work_dir} is inside the input, which is never written to: use another."
    home = [Path(os.environ["HOME"])] if os.environ.get("HOME") else []  # a user of a container may have none
    kept = (settings.bids_dir, settings.output_dir, *home)
    if settings.clean_work_dir and any(place.resolve().is_relative_to(work) for place in kept):
        return (
            f"The work folder {settings.work_dir} holds more than intermediate images, and --clean-work-dir would "
            "remove it all: give a folder of its own to --work-dir."
        )
    return None


def check_database_place(settings: RunSettings) -> str | None:
    """The pybids database, which names paths, is neither in the input nor in the shareable output."""
    folder, output, private = settings.bids_database_dir, settings.output_dir.resolve(), settings.layout.identifiable
    place = folder.resolve() if folder else None
    if place and place.is_relative_to(output) and not place.is_relative_to(private.resolve()):
        return (
            f"The database folder {folder} is inside the output, and the database names paths of this machine: use a "
            f"folder elsewhere, or one in {private}."
        )
    if folder and folder.resolve().is_relative_to(settings.bids_dir.resolve()):
        return f"The database folder {folder} is inside the input, which is never written to: use another."
    return None


def check_writable(settings: RunSettings) -> str | None:
    """The output folder, the work folder and the database folder can be written to."""
    for name, path in (
        ("output", settings.output_dir),
        ("identifiable", settings.identifiable_dir),
        ("work", settings.work_dir),
        ("database", settings.bids_database_dir),
    ):
        if path is None:
            continue
        nearest = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
        if not nearest.is_dir():
            return f"The {name} folder {path} cannot be made, as {nearest} is not a folder: give another path."
        if not os.access(nearest, os.W_OK | os.X_OK):
            advice = bind_advice(path) if lost_with_container(path) else owner_advice()
            return (
                f"The {name} folder {path} cannot be written to by user {os.getuid()}, who may not write to {nearest}: "
                f"change its permissions, or give another path.{advice}"
            )
    for name, path in (("output", settings.output_dir), ("identifiable", settings.identifiable_dir)):
        if path and lost_with_container(path):
            return f"The {name} folder {path} is inside the container, and would be gone with it.{bind_advice(path)}"
    return None


def check_labels(settings: RunSettings) -> str | None:
    """Participants and sessions that were asked for are in the dataset."""
    present = participant_labels(settings.bids_dir)
    for label in settings.participant_label:
        if label not in present:
            return (
                f"The dataset {settings.bids_dir} has no participant '{label}': "
                f"use --participant-label with some of its {len(present)} ({_some(present)})."
            )
    if settings.session_label:
        sessions = session_labels(settings.bids_dir, settings.participant_label)
        for label in settings.session_label:
            if label not in sessions:
                return (
                    f"The participants of {settings.bids_dir} have no session '{label}': "
                    f"use --session-label with some of their {len(sessions)} ({_some(sessions)}), or leave it out."
                )
    return None


def check_files(settings: RunSettings) -> str | None:
    """The filter file and the plugin file can be used."""
    try:
        if settings.bids_filter_file:
            read_filter_file(settings.bids_filter_file, settings.suffix)
        if settings.nipype_plugin_file:
            read_plugin_file(settings.nipype_plugin_file)
    except (DatasetError, PluginFileError) as error:
        return str(error)
    return None


def check_tools_file(settings: RunSettings) -> str | None:
    """The tools file defines tools that can be used."""
    if not settings.tools_file:
        return None
    from bids_refacer.defacers.tools_file import ToolsFileError, read_definitions  # loads all tools

    try:
        read_definitions(settings.tools_file)
    except ToolsFileError as error:
        return str(error)
    return None


def check_recognisers_file(settings: RunSettings) -> str | None:
    """The recognisers file defines recognisers that can be used."""
    if not settings.recognisers_file:
        return None
    from bids_refacer.recognition.own import RecogniserError, read_recognisers

    try:
        read_recognisers(settings.recognisers_file)
    except RecogniserError as error:
        return str(error)
    return None


_CHECKS: tuple[Callable[[RunSettings], str | None], ...] = (
    check_input,
    check_output_place,
    check_identifiable_place,
    check_work_place,
    check_database_place,
    check_writable,
    check_labels,
    check_files,
    check_tools_file,
    check_recognisers_file,
)


def _some(labels: list[str]) -> str:
    return ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "") if labels else "none"


def _is_foreign_dataset(folder: Path) -> bool:
    """Whether another program made the dataset in this folder, as when the two arguments were swapped."""
    try:
        description = json.loads((folder / "dataset_description.json").read_text(encoding="utf-8"))
        makers = [entry["Name"] for entry in description.get("GeneratedBy", [])]
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return True
    return "bids_refacer" not in makers
