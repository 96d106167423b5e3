"""What a group's tables say, in words: which images count, what is missing, and how to read the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bids_refacer import __version__
from bids_refacer.dataset.rows.group import ComparisonRow, GroupImageRow
from bids_refacer.dataset.rows.group_people import IdentificationRow
from bids_refacer.dataset.rows.group_tables import GroupTables
from bids_refacer.environment import matplotlib_at_home
from bids_refacer.group.outputs import ParticipantOutputs
from bids_refacer.group.phenotype_rows import phenotype_lines
from bids_refacer.layout import Layout
from bids_refacer.reports.answer import answer_lines
from bids_refacer.reports.notes.recognition import town_lines
from bids_refacer.reports.notes.same_cut import same_cut_lines, summary_same_cut
from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.region import PLACES, headline
from bids_refacer.wording import counted

_MOST = 5  # names in a sentence

THREAT_MODEL = (
    "Threat model of the identification: closed set (the person is known to be in the gallery), from the population to "
    "the sample (any participant is looked up among all), by the shape of the face alone, in millimetres, in the head "
    "frame that the brain gives. Hair, skin, ears outside the face region and everything that is not shape are not "
    "used. With scan 'same', probe and true face come from one scan and share its pose and noise, which makes finding "
    "easier than from another photograph or scan; rows with scan 'other' say how much. A person who is not found this "
    "way may be found in another."
)
_RULES = (
    "A participant counts once: values of the images of a session are averaged, then those of sessions. Rows of gate "
    "'passed' leave out images whose defacing failed (group_images.tsv lists them); rows of gate 'all' have every "
    "image. Intervals are 95 % percentile bootstraps over participants; p values are adjusted by Holm over tools."
)


def summary_lines(outputs: ParticipantOutputs, tables: GroupTables, absent: Sequence[str]) -> list[str]:
    """The end of a run, for the terminal: what counts, what is missing, and the figures people came for."""
    lines = [f"{counted(len(outputs.participants), 'participant')} in {', '.join(map(str, outputs.folders))}"]
    return lines + _findings(outputs, tables, absent)


def _findings(outputs: ParticipantOutputs, tables: GroupTables, absent: Sequence[str]) -> list[str]:
    lines = [*_answers(tables), *outputs.notes]
    for state, words in (
        ("failed", "failed at the participant level"),
        ("missing", "have no result with a tool that others have"),
        ("excluded", "are kept out of gate 'passed', as their defacing failed"),
    ):
        some = [row for row in tables.images if row.state == state]
        if some:
            subjects = [f"{row.image or row.participant_id} {row.tool or ''}".strip() for row in some]
            lines.append(f"{len(some)} image x tool {words}: {_some(subjects)}")
    if unfinished := unfinished_images(tables):
        subjects = [f"{row.image} {row.tool}" for row in unfinished]
        lines.append(
            f"{len(unfinished)} image x tool are not done yet, and these figures are without them "
            f"(group_images.tsv names all): {_some(subjects)}"
        )
    if absent:
        lines.append(f"{counted(len(absent), 'participant')} of the raw dataset without result yet: {_some(absent)}")
    lines += [_distance_line(row) for row in _main_comparisons(tables.comparisons)]
    lines += [_identity_line(row) for row in _main_identities(tables.identification)]
    lines += phenotype_lines(tables.phenotypes)
    return lines


def unfinished_images(tables: GroupTables) -> list[GroupImageRow]:
    """Images and tools that a run had not ended when the tables were read."""
    return [row for row in tables.images if row.state == "unfinished"]


def _answers(tables: GroupTables) -> list[str]:
    """The first answer, for each kind of image."""
    lines: list[str] = []
    for suffix in sorted({row.suffix for row in tables.summary}):
        own = [row for row in tables.summary if row.suffix == suffix]
        answer = answer_lines(own, [row for row in tables.tools if row.suffix == suffix])
        more = (*town_lines(own), *same_cut_lines(summary_same_cut(own)))
        lines += [f"{suffix}: {line}" for line in (*answer, *more)]
    return lines


def report_text(settings: RunSettings, outputs: ParticipantOutputs, tables: GroupTables, absent: Sequence[str]) -> str:
    """group.md: the same, with how to read it. It may be shared, so it names folders without where they lie."""
    first = f"# Group level of bids_refacer {__version__}\n\n{_RULES}\n\n{THREAT_MODEL}\n"
    people = counted(len(outputs.participants), "participant")
    if len(outputs.folders) > 1:
        people += f" in {counted(len(outputs.folders), 'output')}: {', '.join(path.name for path in outputs.folders)}"
    listed = "\n".join(f"- {line}" for line in [people, *_findings(outputs, tables, absent)])
    made = ["", "## Made with", "", f"- seed: {settings.seed}", f"- re-ranked by surface: {settings.rerank}"]
    made += [f"- gallery filled with: {path.name}" for path in settings.filler_dataset]
    made += [f"- reference dataset: {settings.reference_dataset.name}"] if settings.reference_dataset else []
    return "\n".join([first, "## What was found", "", listed, *made]) + "\n"


def _main_comparisons(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Headline part, passed, everyone, against the average; the mean image where there is one."""
    wanted = ("passed", headline({row.part for row in rows}), "all", "average")
    some = [row for row in rows if (row.gate, row.part, row.subgroup_column, row.compared_with) == wanted]
    best = {(row.suffix, row.tool): row for row in some}  # refaced_mean comes last
    return [row for row in best.values() if row.p_value is not None]


def _distance_line(row: ComparisonRow) -> str:
    place = PLACES[str(row.part)]
    return (
        f"{row.suffix} {row.tool}: recovered minus average face {row.mean_difference_mm:+.2f} mm {place} (95 % CI "
        f"{row.ci_low_mm:.2f} to {row.ci_high_mm:.2f}), nearer in {row.n_closer} of {row.n_pairs}, "
        f"p (Holm) {row.p_holm:.2g}"
    )


def _main_identities(rows: Sequence[IdentificationRow]) -> list[IdentificationRow]:
    """Passed, somebody was looked up: recovered and average faces, and the checks; defaced ones are in the table."""
    return [row for row in rows if row.gate == "passed" and row.n_participants and row.image_type != "defaced"]


def _identity_line(row: IdentificationRow) -> str:
    return (
        f"{row.suffix} {row.tool or 'no tool'} {row.image_type} ({row.scan} scan): rank-1 "
        f"{row.rank1:.2f} (chance {row.rank1_chance:.3f}), rank-5 {row.rank5:.2f}, AUC {row.auc:.2f}, "
        f"{row.n_participants} looked up among {row.n_gallery}"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")


def make_group_page(layout: Layout) -> Path:
    """Make ``group.html`` from the tables of the group level; `reports.group_page.PageError` when there are none."""
    with matplotlib_at_home(layout):
        from bids_refacer.reports.group_page import write_group_page

        return write_group_page(layout)
