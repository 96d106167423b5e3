"""The group level: the tables of participant outputs in, the tables of a paper out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.images import participant_labels
from bids_refacer.dataset.names import dataset_table, lock_file, records_dir
from bids_refacer.dataset.rows.group import GroupImageRow, ReferenceRow
from bids_refacer.dataset.rows.group_tables import GroupTables
from bids_refacer.dataset.rows.table import write_rows
from bids_refacer.dataset.tables import GROUP_TABLES, write_dictionary
from bids_refacer.files import one_writer, write_text
from bids_refacer.group.calibration import calibration_group_rows
from bids_refacer.group.cohorts import (
    Cohort,
    cohorts,
    gate,
    image_rows,
    read_subgroups,
    subgroup_members,
    subgroup_notes,
)
from bids_refacer.group.distances import distance_tables, reference_rows
from bids_refacer.group.identity import identification_tables
from bids_refacer.group.outputs import GroupError, ParticipantOutputs, read_outputs
from bids_refacer.group.phenotypes import phenotype_tables, phenotypes_of
from bids_refacer.group.recognition.summary import with_ranks, with_recognition
from bids_refacer.group.recognition.tables import RecognitionTables, recognition_tables
from bids_refacer.group.report import make_group_page, report_text, summary_lines, unfinished_images
from bids_refacer.group.summary import participant_rows, summary_rows
from bids_refacer.layout import Layout
from bids_refacer.settings import RunSettings
from bids_refacer.wording import counted


def run_group(settings: RunSettings, say: Callable[[str], None] = print) -> int:
    """Write the tables of the group level.

    Returns
    -------
    int
        0; what is missing is said, and is no failure. 1 when no image has a result: tables and page say why.

    Raises
    ------
    GroupError
        When the participant outputs cannot be used together.
    """
    with nullcontext() if settings.dry_run else _while_no_tables_are_written(settings.layout):
        outputs = _read(settings)
    phenotypes = phenotypes_of(settings)  # a wrong column must not be found after minutes of work
    unmatched = phenotypes.unmatched if phenotypes else ()
    notes = (*outputs.notes, *subgroup_notes(settings.bids_dir, outputs.participants), *unmatched)
    outputs = replace(outputs, notes=tuple(dict.fromkeys(notes)))
    if settings.dry_run:
        _say_plan(outputs, say)
        return 0
    reasons = gate(outputs, settings.max_brain_removed, settings.min_face_change)
    tables = _tables(settings, outputs, reasons, say)
    predicted = phenotype_tables(settings, outputs, reasons, phenotypes, say)
    absent = _never_run(settings, outputs)
    tables = replace(
        tables,
        phenotypes=predicted.phenotypes,
        predictions=predicted.predictions,
        images=[*tables.images, *map(_absent_row, absent)],
    )
    with _while_no_tables_are_written(settings.layout):
        _write(settings, outputs, tables, absent)
    for line in summary_lines(outputs, tables, absent):
        say(line)
    if waiting := sorted({*absent, *(row.participant_id for row in unfinished_images(tables))}):
        words = ["bids_refacer", str(settings.bids_dir), str(settings.output_dir), "participant", "--participant-label"]
        labels = [name.removeprefix("sub-") for name in waiting]
        say(f"For those without result: {shlex.join([*words, *labels])}")
    say(f"Tables: {settings.layout.shareable}/group_*.tsv; what they say and how to read them: group.md")
    say(f"Open first: {make_group_page(settings.layout)}")
    if outputs.distances.empty:
        say("No image has a result with any tool: see why in the page, then run the participant level again.")
        return 1
    return 0


def _while_no_tables_are_written(layout: Layout) -> AbstractContextManager[object]:
    """Participant levels that end meanwhile wait: their tables must agree with each other."""
    return one_writer(lock_file(layout)) if records_dir(layout).is_dir() else nullcontext()


def _read(settings: RunSettings) -> ParticipantOutputs:
    own = [settings.output_dir] if dataset_table(settings.layout, "surfacedistance").is_file() else []
    folders = own + [path for path in settings.merge_output if path.resolve() != settings.output_dir.resolve()]
    outputs = read_outputs(folders or [settings.output_dir], allow_mixed=settings.allow_mixed)
    places = _places(settings)  # outputs of earlier versions name whole paths in messages
    outputs = replace(outputs, status=tuple(map(places.shareable_row, outputs.status)))
    if settings.participant_label:
        outputs = _chosen(outputs, settings.participant_label)
    if not outputs.defacing:
        note = (
            "There is no defacing.tsv: whether a tool cut the brain cannot be checked, and no one is kept out for it. "
            "Run the participant level again to have it."
        )
        outputs = replace(outputs, notes=(*outputs.notes, note))
    return outputs


def _places(settings: RunSettings) -> Places:
    """The folders of the run, whose paths are no part of what may be shared."""
    return Places(bids_dir=settings.bids_dir, layout=settings.layout, hidden=(settings.work_dir,))


def _chosen(outputs: ParticipantOutputs, labels: Sequence[str]) -> ParticipantOutputs:
    """The outputs of some participants."""
    wanted = {f"sub-{label}" for label in labels}
    chosen = replace(
        outputs,
        distances=_of(outputs.distances, wanted),
        calibration=_of(outputs.calibration, wanted),
        defacing=tuple(row for row in outputs.defacing if row.participant_id in wanted),
        status=tuple(row for row in outputs.status if row.participant_id in wanted),
    )
    if chosen.distances.empty:
        folders = " and ".join(map(str, outputs.folders))
        raise GroupError(
            f"None of the participants of --participant-label has results in {folders}: run the participant level for "
            "them first, or leave the option out."
        )
    return chosen


def _of(table: pd.DataFrame, participants: set[str]) -> pd.DataFrame:
    return table[table["participant_id"].isin(participants)].reset_index(drop=True)


def _say_plan(outputs: ParticipantOutputs, say: Callable[[str], None]) -> None:
    say(f"{counted(len(outputs.participants), 'participant')} in {', '.join(map(str, outputs.folders))}. Would write")
    for table in GROUP_TABLES:
        say(f"  {table}.tsv")
    say("Nothing was written.")


def _tables(
    settings: RunSettings, outputs: ParticipantOutputs, reasons: pd.DataFrame, say: Callable[[str], None]
) -> GroupTables:
    """All tables but those of phenotypes."""
    members = subgroup_members(read_subgroups(settings.bids_dir), outputs.participants)
    images = image_rows(outputs, reasons)
    of_group = list(cohorts(outputs, reasons))
    distances = distance_tables(of_group, members, settings.seed)
    calibration = calibration_group_rows(outputs, reasons, settings.seed)
    identity = identification_tables(
        outputs, reasons, settings.filler_dataset, rerank=settings.rerank, seed=settings.seed, say=say
    )
    recognised = (
        recognition_tables(outputs, reasons, settings.filler_dataset, seed=settings.seed, say=say)
        if settings.recognition
        else RecognitionTables()
    )
    tables = GroupTables(
        images=images,
        distances=distances.distances,
        comparisons=distances.comparisons,
        tools=distances.tools,
        calibration=calibration,
        identification=identity.identification,
        cmc=identity.cmc,
        roc=identity.roc,
        recognition=recognised.recognition,
        recognition_comparisons=recognised.comparisons,
        crowd=recognised.crowd,
        participants=with_ranks(participant_rows(outputs, images, of_group), recognised),
    )
    reference = _reference(settings, settings.reference_dataset, of_group) if settings.reference_dataset else ()
    summary = with_recognition(summary_rows(outputs, tables), tables.recognition, tables.crowd)
    return replace(tables, summary=summary, reference=reference)


def _reference(settings: RunSettings, reference: Path, ours: Iterable[Cohort]) -> list[ReferenceRow]:
    """This dataset beside another one, given by its output."""
    if reference.resolve() == settings.output_dir.resolve():
        raise GroupError(f"The reference dataset {reference} is the output itself: give the output of another dataset.")
    outputs = read_outputs([reference], allow_mixed=settings.allow_mixed)
    reasons = gate(outputs, settings.max_brain_removed, settings.min_face_change)
    theirs = {(cohort.suffix, cohort.gate): cohort for cohort in cohorts(outputs, reasons)}
    rows: list[ReferenceRow] = []
    for cohort in ours:
        if (cohort.suffix, cohort.gate) in theirs:
            rows += reference_rows(cohort, theirs[cohort.suffix, cohort.gate], settings.seed)
    if not rows:
        raise GroupError(
            f"The reference dataset {reference} has no kind of image and tool in common with {settings.output_dir}: "
            "run the same tools on both."
        )
    return rows


def _write(settings: RunSettings, outputs: ParticipantOutputs, tables: GroupTables, absent: Sequence[str]) -> None:
    """Write group.md and the tables that have rows, with their dictionaries; remove tables of an earlier run."""
    layout = settings.layout
    write_datasets(layout, settings.bids_dir)
    if not dataset_table(layout, "participants").is_file():  # an output that only gathers others
        dataset_table(layout, "participants").with_suffix(".json").unlink(missing_ok=True)
    for kind, rows in tables.by_kind():
        path = dataset_table(layout, kind.table)
        if rows:
            write_rows(path, kind, rows)
            write_dictionary(path.with_suffix(".json"), kind.table)
        else:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
    text = report_text(settings, outputs, tables, absent)
    write_text(layout.shareable / "group.md", _places(settings).shareable(text))


def _absent_row(participant: str) -> GroupImageRow:
    return GroupImageRow(participant_id=participant, state="absent", reason="no result yet: run the participant level")


def _never_run(settings: RunSettings, outputs: ParticipantOutputs) -> list[str]:
    """Participants of the raw dataset of whom the outputs know nothing."""
    known = set(outputs.participants)
    wanted = settings.participant_label or tuple(participant_labels(settings.bids_dir))
    return [f"sub-{label}" for label in wanted if f"sub-{label}" not in known]
