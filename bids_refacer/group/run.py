"""The group level: the tables of participant outputs in, the tables of a paper out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.dataset.images import participant_labels
from bids_refacer.dataset.names import dataset_table
from bids_refacer.dataset.tables import GROUP_TABLES, write_dictionary, write_table
from bids_refacer.files import write_text
from bids_refacer.group.calibration import calibration_group_rows
from bids_refacer.group.cohorts import Cohort, Subgroup, cohorts, read_subgroups, subgroup_members
from bids_refacer.group.distances import comparison_rows, description_rows, reference_rows, tools_rows
from bids_refacer.group.gates import gate
from bids_refacer.group.identity import identification_rows
from bids_refacer.group.outputs import Audit, AuditError, read_audit
from bids_refacer.group.phenotypes import phenotype_tables, phenotypes_of
from bids_refacer.group.report import image_rows, make_group_page, report_text, summary_lines
from bids_refacer.group.summary import participant_rows, summary_rows
from bids_refacer.settings import RunSettings

Row = dict[str, Any]
Tables = dict[str, list[Row]]


def run_group(settings: RunSettings, say: Callable[[str], None] = print) -> int:
    """Write the tables of the group level.

    Returns
    -------
    int
        0; what is missing is said, and is no failure. 1 when no image has a result: tables and page say why.

    Raises
    ------
    AuditError
        When the participant outputs cannot be used together.
    """
    audit = _read(settings)
    phenotypes = phenotypes_of(settings)  # a wrong column must not be told after minutes of work
    reasons = gate(audit, settings.max_brain_removed, settings.min_face_change)
    if audit.defacing.empty:
        audit.notes.append("There is no defacing.tsv: whether a tool cut the brain cannot be checked, and no one is "
                           "kept out for it.")  # fmt: skip
    if settings.dry_run:
        say(f"{len(audit.participants)} participants in {', '.join(map(str, audit.outputs))}. Would write")
        for table in GROUP_TABLES:
            say(f"  {table}.tsv")
        say("Nothing was written.")
        return 0
    tables = _tables(settings, audit, reasons, say)
    tables |= phenotype_tables(settings, audit, reasons, phenotypes, say)
    write_datasets(settings.output_dir, settings.bids_dir)
    if not dataset_table(settings.output_dir, "participants").is_file():  # an output that only gathers others
        dataset_table(settings.output_dir, "participants").with_suffix(".json").unlink(missing_ok=True)
    absent = _never_run(settings, audit)
    why = {"state": "absent", "reason": "no result yet: run the participant level"}
    tables["group_images"] += [{"participant_id": name, **why} for name in absent]
    _write(settings.output_dir, tables)
    for line in summary_lines(audit, tables, absent):
        say(line)
    write_text(settings.output_dir / "group.md", report_text(settings, audit, tables, absent))
    say(f"Tables: {settings.output_dir}/group_*.tsv; what they say and how to read them: group.md")
    say(f"Open first: {make_group_page(settings.output_dir)}")
    if audit.distances.empty:
        say("No image has a result with any tool: see why in the page, then run the participant level again.")
        return 1
    return 0


def _read(settings: RunSettings) -> Audit:
    own = [settings.output_dir] if dataset_table(settings.output_dir, "surfacedistance").is_file() else []
    outputs = own + [path for path in settings.merge_output if path.resolve() != settings.output_dir.resolve()]
    audit = read_audit(outputs or [settings.output_dir], allow_mixed=settings.allow_mixed)
    if not settings.participant_label:
        return audit
    wanted = {f"sub-{label}" for label in settings.participant_label}
    names = ("distances", "defacing", "status", "calibration")
    chosen = {name: _of(getattr(audit, name), wanted) for name in names}
    if chosen["distances"].empty:
        raise AuditError(
            f"None of the participants of --participant-label has results in {' and '.join(map(str, outputs))}: run "
            "the participant level for them first, or leave the option out."
        )
    return replace(audit, **chosen)


def _of(table: pd.DataFrame, participants: set[str]) -> pd.DataFrame:
    return table[table["participant_id"].isin(participants)].reset_index(drop=True)


def _tables(settings: RunSettings, audit: Audit, reasons: pd.DataFrame, say: Callable[[str], None]) -> Tables:
    """All rows of all tables; a table without rows is not written."""
    members = subgroup_members(read_subgroups(settings.bids_dir), audit.participants)
    tables: Tables = {"group_images": image_rows(audit, reasons)}
    of_group = list(cohorts(audit, reasons))
    tables |= _distance_tables(of_group, members, settings.seed)
    tables["group_calibration"] = calibration_group_rows(audit, reasons, settings.seed)
    tables |= identification_rows(
        audit, reasons, settings.filler_dataset, rerank=settings.rerank, seed=settings.seed, say=say
    )
    tables["group_participants"] = participant_rows(audit, tables["group_images"], of_group)
    tables["group_summary"] = summary_rows(audit, tables)
    tables["group_reference"] = _reference(settings, of_group) if settings.reference_dataset else []
    return tables


def _distance_tables(of_group: Iterable[Cohort], members: Mapping[Subgroup, list[str]], seed: int) -> Tables:
    """The three tables of distances; a gate that keeps nothing out has the rows of the gate before."""
    tables: Tables = {"group_surfacedistance": [], "group_comparison": [], "group_tools": []}
    last: tuple[pd.DataFrame, Tables] | None = None
    for cohort in of_group:
        if last is None or not last[0].equals(cohort.images):
            rows: Tables = {
                "group_surfacedistance": list(description_rows(cohort, members, seed)),
                "group_comparison": comparison_rows(cohort, members, seed),
                "group_tools": tools_rows(cohort),
            }
            last = cohort.images, rows
        for name, known in last[1].items():
            tables[name] += [{**row, "gate": cohort.gate} for row in known]
    return tables


def _reference(settings: RunSettings, ours: Iterable[Cohort]) -> list[Row]:
    """This dataset beside the one of ``--reference-dataset``."""
    path = settings.reference_dataset
    assert path is not None
    if path.resolve() == settings.output_dir.resolve():
        raise AuditError(f"The reference dataset {path} is the output itself: give the output of another dataset.")
    audit = read_audit([path], allow_mixed=settings.allow_mixed)
    reasons = gate(audit, settings.max_brain_removed, settings.min_face_change)
    theirs = {(cohort.suffix, cohort.gate): cohort for cohort in cohorts(audit, reasons)}
    rows: list[Row] = []
    for cohort in ours:
        if (cohort.suffix, cohort.gate) in theirs:
            rows += reference_rows(cohort, theirs[cohort.suffix, cohort.gate], settings.seed)
    if not rows:
        raise AuditError(
            f"The reference dataset {path} has no kind of image and tool in common with {settings.output_dir}: run the "
            "same tools on both."
        )
    return rows


def _write(output_dir: Path, tables: Mapping[str, list[Row]]) -> None:
    """Write tables with rows and their dictionaries; remove those that an earlier run wrote and this one has not."""
    for table in GROUP_TABLES:
        path = dataset_table(output_dir, table)
        if tables[table]:
            write_table(path, table, tables[table])
            write_dictionary(path.with_suffix(".json"), table)
        else:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)


def _never_run(settings: RunSettings, audit: Audit) -> list[str]:
    """Participants of the raw dataset of whom the outputs know nothing."""
    known = set(audit.participants)
    wanted = settings.participant_label or tuple(participant_labels(settings.bids_dir))
    return [f"sub-{label}" for label in wanted if f"sub-{label}" not in known]
