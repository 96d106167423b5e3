"""The first answer of a group: which tool, in the order of what hurts.

Images whose face is still there come first, then whether people can be found again, then the distance of the recovered
face, then the brain. No tool is named before one that did better in an earlier question.
"""

from __future__ import annotations

from collections.abc import Sequence

from bids_refacer.dataset.rows.group import SummaryRow, ToolsRow
from bids_refacer.reports.findings import (
    LEVEL,
    failed_images,
    few_words,
    fewest_participants,
    gains,
    is_found,
    tool_marks,
)
from bids_refacer.reports.group_tables import headline_part, matching
from bids_refacer.reports.page import shown
from bids_refacer.surfaces.region import PLACES
from bids_refacer.wording import counted, listed

REFERENCE = "skullstrip"
"""Keeps the brain alone, which is no choice for those who share heads."""


def answer_lines(summary: Sequence[SummaryRow], tools: Sequence[ToolsRow]) -> list[str]:
    """The first answer, the sentence that matters most first.

    Parameters
    ----------
    summary : rows of one kind of image
    tools : rows of the same kind of image
    """
    measured = [row for row in summary if row.recovered_mm is not None]
    redo = [*_left_lines(summary), _again_line(summary)]
    if not measured:
        return ["No tool has a recovered face that counts, so none can be recommended.", *redo]
    heads = _heads(measured)
    return [
        _headline(heads, [row for row in _heads(summary) if row.recovered_mm is None]),
        *_reference_line(measured, heads),
        _choice_line(heads, tools, [str(row.tool) for row in summary if row not in measured]),
        *_left_lines(summary),
        _found_line(measured),
        *_survivor_lines(heads),
        *_distance_lines(measured),
        _brain_line(summary),
        _again_line(summary),
    ]


def _heads(rows: Sequence[SummaryRow]) -> Sequence[SummaryRow]:
    """The tools that leave a head; all where there is no such tool."""
    return [row for row in rows if row.tool != REFERENCE] or rows


def _again(row: SummaryRow) -> int:
    return failed_images(row) + (row.n_missing or 0)


def _named(rows: Sequence[SummaryRow]) -> str:
    return listed([str(row.tool) for row in rows])


def _headline(heads: Sequence[SummaryRow], without: Sequence[SummaryRow]) -> str:
    by_mark = {mark: [row for row in heads if tool_marks(row).withstood == mark] for mark in ("yes", "not shown", "no")}
    fell, held = by_mark["no"], by_mark["yes"]
    lost = f" {_named(without)} left no image that counts." if without and without != heads else ""
    if len(fell) == len(heads):
        first = f"{fell[0].tool} did not withstand" if len(fell) == 1 else f"none of {_named(fell)} withstood"
        return f"No tool protects: {first} this attack.{lost} Treat the defaced images as identifiable."
    if len(held) == len(heads) and not without:
        return f"{_named(held)} withstood this attack; a better one may come."
    after = f"; after {_named(fell)} it was shown that the attack succeeds" if fell else ""
    if not held:
        return f"No tool was shown to withstand this attack{after}.{lost}{_hint(heads)}"
    rest = f"; not shown: {_named(by_mark['not shown'])}" if by_mark["not shown"] else ""
    return f"{_named(held)} withstood this attack{after}{rest}.{lost}"


def _hint(heads: Sequence[SummaryRow]) -> str:
    """What the estimates say where no test can confirm it."""
    near = [row for row in heads if tool_marks(row).withstood != "no" and gains(row)]
    if not near:
        return ""
    return (
        f" After {_named(near)} the recovered face is nearer to the true one than an average face, by an interval that "
        "excludes 0: treat the defaced images as identifiable."
    )


def _reference_line(measured: Sequence[SummaryRow], heads: Sequence[SummaryRow]) -> list[str]:
    """What the brain alone gives, for comparison."""
    said = {"yes": "it withstood", "no": "it did not withstand", "not shown": "it was not shown to withstand"}
    return [
        f"{row.tool} keeps the brain alone and is here for comparison: {said[tool_marks(row).withstood]} this attack."
        for row in measured
        if row not in heads
    ]


def _choice_line(heads: Sequence[SummaryRow], tools: Sequence[ToolsRow], without: Sequence[str]) -> str:
    """The tool to take, or between which there is a tie, and what speaks against each of the others."""
    if len(heads) == 1:
        alone = (
            f"the others ({listed(without)}) have no image that counts"
            if without
            else "it is the only tool that leaves a head"
        )
        return f"{heads[0].tool}: {alone}, so nothing can be said of which is better."
    left, behind = list(heads), []
    best = min(map(_removal_rank, left))
    behind += [f"{row.tool} ({_against_removal(row)})" for row in left if _removal_rank(row) > best]
    left = [row for row in left if _removal_rank(row) == best]
    if not all(map(is_found, left)):
        behind += [f"{row.tool} (people are found again)" for row in left if is_found(row)]
        left = [row for row in left if not is_found(row)]
    left, nearer = _farthest(left, tools)
    behind += [f"{row.tool} (its recovered face is nearer, by more than chance explains)" for row in nearer]
    fewest = min(map(_brains, left))
    behind += [f"{row.tool} (brain cut more often)" for row in left if _brains(row) > fewest]
    left = [row for row in left if _brains(row) == fewest]
    return f"{_lead(left)}." + (f" Behind: {', '.join(behind)}." if behind else "")


def _lead(left: Sequence[SummaryRow]) -> str:
    if any(map(failed_images, left)):
        first = "Every tool has failed images; the smallest share"
    else:
        first = "First choice" if all(tool_marks(row).withstood == "yes" for row in left) else "Least harm"
    if len(left) == 1:
        return f"{first}: {left[0].tool}"
    if max(row.n_pairs or 0 for row in left) < 2:
        return f"{first}: a tie of {_named(left)}; one participant is a single case, by which they cannot be told apart"
    return f"{first}: a tie of {_named(left)}; no difference between them was shown"


def _removal_rank(row: SummaryRow) -> tuple[int, float]:
    failed = failed_images(row)
    level = 3 if failed else {"yes": 0, "partly": 1}.get(tool_marks(row).removed, 2)
    return level, failed / max(row.n_images or 0, 1)


def _against_removal(row: SummaryRow) -> str:
    if failed := failed_images(row):
        return f"failed on {failed} of {counted(row.n_images or 0, 'image')}"
    return "skin is left" if tool_marks(row).removed == "partly" else "not judged"


def _farthest(rows: Sequence[SummaryRow], tools: Sequence[ToolsRow]) -> tuple[list[SummaryRow], list[SummaryRow]]:
    """Those whose recovered face stays farthest or may as well, and those of whom the tests show that it is nearer."""
    best = max(rows, key=lambda row: row.recovered_mm or 0)
    nearer = [row for row in rows if row is not best and _differ(best, row, tools)]
    return [row for row in rows if row not in nearer], nearer


def _brains(row: SummaryRow) -> float:
    return ((row.n_brain_fail or 0) + (row.n_brain_warn or 0)) / max(row.n_judged or 0, 1)


def _differ(first: SummaryRow, second: SummaryRow, tools: Sequence[ToolsRow]) -> bool:
    """Whether the test of two tools against each other showed a difference."""
    part = headline_part([first])
    tests = matching(tools, test="wilcoxon", image_type=first.recovered_type, part=part, gate="passed")
    pair = {first.tool, second.tool}
    p_values = [row.p_holm for row in tests if {row.tool, row.other_tool} == pair]
    return bool(p_values) and p_values[0] is not None and p_values[0] < LEVEL


def _left_lines(summary: Sequence[SummaryRow]) -> list[str]:
    """(1) Images whose face is still there, the worst tool first."""
    judged = [row for row in summary if row.n_judged]
    ranked = sorted(judged, key=lambda row: (-_share(row.n_face_fail, row), -_share(row.n_face_warn, row)))
    lines = []
    if fail := [row for row in ranked if row.n_face_fail]:
        said = [f"{row.tool} in {row.n_face_fail} of {counted(row.n_judged or 0, 'image')}" for row in fail]
        lines.append(f"A face is still there after {', '.join(said)}: not for sharing.")
    if warn := [row for row in ranked if row.n_face_warn]:
        said = [f"{row.tool} in {row.n_face_warn} of {counted(row.n_judged or 0, 'image')}" for row in warn]
        lines.append(f"Facial skin is left, to look at, after {', '.join(said)}.")
    if judged and not lines:
        lines.append("Every tool removed the face from every image that was judged.")
    if unknown := [row for row in summary if not row.n_judged]:
        lines.append(f"Whether a face is left was not judged for {_named(unknown)}.")
    return lines


def _share(number: int | None, row: SummaryRow) -> float:
    return (number or 0) / max(row.n_judged or 0, 1)


def _found_line(rows: Sequence[SummaryRow]) -> str:
    """(2) Whether people can be found again."""
    tested = [row for row in rows if row.rank1_p_holm is not None]
    found = [row for row in tested if is_found(row)]
    if not tested:
        return "Whether people can be found again by the recovered face was not measured."
    if len(found) == len(tested) and len(tested) > 1:
        return "After every tool, people were found by the recovered face more often than by chance."
    if not found:
        return "After no tool was it shown that people are found by the recovered face more often than by chance."
    rest = [row for row in tested if row not in found]
    line = f"People were found by the recovered face more often than by chance after {_named(found)}"
    return f"{line}; after {_named(rest)} that was not shown." if rest else f"{line}."


def _survivor_lines(heads: Sequence[SummaryRow]) -> list[str]:
    """Figures of a tool with failed images are of those that it did not fail on."""
    return [
        f"Figures of the attack on {row.tool} are of {row.n_used} of {counted(row.n_images or 0, 'image')}: those that "
        "it failed on are not in them."
        for row in heads
        if failed_images(row) and row.n_used is not None
    ]


def _distance_lines(measured: Sequence[SummaryRow]) -> list[str]:
    """(3) The distance of the recovered face against that of an average face, the nearest first."""
    ranked = sorted(measured, key=lambda row: row.recovered_mm or 0)
    lines = [
        f"Distance of the recovered face from the true one, {PLACES[headline_part(measured)]}: "
        + "; ".join(map(_distance, ranked))
        + "."
    ]
    tests, pairs = number_of_tests(measured), [row.n_pairs or 0 for row in measured]
    if tests and max(pairs) < fewest_participants(tests):
        lines.append(few_words(max(pairs), tests) + " Read the intervals instead.")
    return lines


def _distance(row: SummaryRow) -> str:
    words = f"{row.tool} {shown(row.recovered_mm)} mm, an average face {shown(row.average_mm)} mm"
    if row.difference_mm is None:
        return words
    interval = f"{shown(row.difference_low_mm)} to {shown(row.difference_high_mm)}"
    closer = f"nearer in {row.n_closer or 0} of {row.n_pairs or 0}"
    return f"{words} (difference {shown(row.difference_mm)} mm, 95 % CI {interval}; {closer})"


def number_of_tests(summary: Sequence[SummaryRow]) -> int:
    """How many tools were tested against the average face: Holm's correction is over these."""
    return sum(row.difference_p_holm is not None for row in summary)


def _brain_line(summary: Sequence[SummaryRow]) -> str:
    """(4) Brains that were cut."""
    fail = [row for row in summary if row.n_brain_fail]
    warn = [row for row in summary if row.n_brain_warn]
    if not any(row.n_judged for row in summary):
        return "Whether the brain was cut was not judged."
    if not fail and not warn:
        return "No tool cut a brain."
    cut = [f"{row.tool} in {row.n_brain_fail} of {counted(row.n_judged or 0, 'image')}" for row in fail]
    little = [f"{row.tool} in {row.n_brain_warn} of {counted(row.n_judged or 0, 'image')}" for row in warn]
    said = [f"The brain was cut by {', '.join(cut)}."] if cut else []
    said += [f"A little brain was removed, to look at, by {', '.join(little)}."] if little else []
    return " ".join(said)


def _again_line(summary: Sequence[SummaryRow]) -> str:
    """Images that have to be done again, by tool, the fewest first."""
    ranked = sorted(summary, key=lambda row: _again(row) / max(row.n_images or 0, 1))
    if not any(map(_again, ranked)):
        return "No tool left an image to do again."
    named = [f"{row.tool} {_again(row)} of {row.n_images or 0}" for row in ranked]
    return f"Images to do again: {', '.join(named)}."
