"""Findings in plain language: what follows from a tool's figures and their uncertainty, and no more than that.

Every sentence is a function of rows of the group's tables. A difference is called one only where its adjusted p value
is below 0.05; where it is not, the sentence says that none was shown, never that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

from bids_refacer.dataset.rows.group import GroupImageRow, GroupParticipantRow, SummaryRow, ToolsRow
from bids_refacer.dataset.rows.group_people import PhenotypeRow
from bids_refacer.reports.group_tables import headline_part, matching
from bids_refacer.reports.page import shown

LEVEL = 0.05
_FEWEST_PAIRS = 6  # the smallest two-sided p of Wilcoxon's test is 2 / 2**n: 0.0625 for five


def face_line(row: SummaryRow) -> str:
    """Was a face left after defacing?"""
    counts = row.n_judged or 0, row.n_face_fail or 0, row.n_face_warn or 0
    return _verdict_line(*counts, "a face was left", "facial skin was left")


def brain_line(row: SummaryRow) -> str:
    """Was the brain cut?"""
    counts = row.n_judged or 0, row.n_brain_fail or 0, row.n_brain_warn or 0
    return _verdict_line(*counts, "the brain was cut", "a little brain was removed")


def _verdict_line(judged: int, fail: int, warn: int, failed: str, warned: str) -> str:
    if not judged:
        return "Not judged: defacing.tsv has no row for this tool."
    first = (
        f"In {fail} of {_counted_images(judged)} {failed}: to do again."
        if fail
        else f"None of {_counted_images(judged)} failed."
    )
    if warn:
        return f"{first} In {warn}{' more' if fail else ''} {warned}: to look at."
    return first if fail else f"None of {_counted_images(judged)} failed or has to be looked at."


def distance_line(row: SummaryRow) -> str:
    """Does the attack come nearer to the true face than an average face does?"""
    pairs, difference, p_value = row.n_pairs or 0, row.difference_mm, row.difference_p_holm
    if difference is None or p_value is None:
        if row.recovered_mm is not None:
            return "One participant: no test. Look at the figures as at a single case."
        return "Not measured: no participant has a recovered face that counts."
    interval = f"95 % CI {shown(row.difference_low_mm)} to {shown(row.difference_high_mm)} mm"
    if p_value < LEVEL and difference < 0:
        closer = f"nearer in {row.n_closer or 0} of {pairs} participants"
        return (
            f"The attack comes nearer to the true face than an average face, by {shown(abs(difference))} mm "
            f"(difference: {interval}; {closer}): the defaced image gives the face away in part."
        )
    if p_value < LEVEL:
        return (
            f"The attack stays farther from the true face than an average face, by {shown(difference)} mm "
            f"({interval}). It gained nothing here; a better one may."
        )
    line = f"No difference from an average face was shown ({interval}); one inside this interval is not ruled out."
    if pairs < _FEWEST_PAIRS:
        line += f" With {_counted_participants(pairs)} this test cannot reach p < {LEVEL}, whatever the difference."
    return line


def identity_line(row: SummaryRow) -> str:
    """Are people found in the gallery by the recovered face?"""
    people, rate, p_value = row.n_looked_up or 0, row.rank1, row.rank1_p_holm
    if not people or rate is None or p_value is None:
        return "Not measured: no recovered face could be looked up (see group.md)."
    found = f"{_percent(rate, 0)} of {people} people were found at rank 1 (chance {_percent(row.rank1_chance, 1)})"
    if p_value < LEVEL:
        return f"{found}: more than by chance. After this tool, people can be found again by the shape of their face."
    largest_rate = 1 - 0.025 ** (1 / people)
    not_ruled_out = f" A rate up to {_percent(largest_rate, 0)} is not ruled out." if rate == 0 else ""
    return f"{found}: more than chance was not shown.{not_ruled_out}"


def phenotype_line(original: PhenotypeRow | None, defaced: PhenotypeRow | None) -> str:
    """What is left of the phenotype's signal in the defaced image?"""
    if original is None or original.spearman_rho is None:
        return "Not measured: too few participants have this phenotype."
    if (original.p_permutation or 0) >= LEVEL:
        return "It could not be predicted from the originals either: nothing can be said of what defacing costs."
    if defaced is None or defaced.p_holm is None:
        return "Not measured for this tool."
    low, high = shown(defaced.difference_ci_low), shown(defaced.difference_ci_high)
    change = (
        f"rho {shown(original.spearman_rho)} from originals, {shown(defaced.spearman_rho)} from defaced images "
        f"(loss: 95 % CI {low} to {high})"
    )
    if defaced.p_holm < LEVEL:
        lost = (defaced.rho_difference or 0) > 0
        return f"Signal is {'lost' if lost else 'stronger after defacing, which asks for an explanation'}: {change}."
    return f"No loss was shown: {change}; one inside this interval is not ruled out."


def choice_lines(summary: Sequence[SummaryRow], tools: Sequence[ToolsRow], reference: str = "skullstrip") -> list[str]:
    """Which tool leaves the attack least, and which others cannot be told apart from it.

    Parameters
    ----------
    summary : rows of one kind of image
    tools : rows of the same kind of image
    reference : the tool that keeps the brain alone, which is no choice for those who share heads
    """
    measured = [row for row in summary if row.recovered_mm is not None]
    if not measured:
        return ["No tool has a recovered face that counts, so none can be recommended."]
    ranked = sorted(measured, key=lambda row: -(row.recovered_mm or 0))
    heads = [row for row in ranked if row.tool != reference] or ranked
    without = [str(row.tool) for row in summary if row.tool not in {other.tool for other in ranked}]
    lines = [_best_line(heads, tools, without)]
    bare = matching(ranked, tool=reference)
    if bare and heads is not ranked:
        distance = shown(bare[0].recovered_mm)
        lines.append(f"{reference} keeps the brain alone and is here for comparison: {distance} mm on average.")
    lines.append(_found_line(measured))
    lines.append(_again_line(summary))
    return lines


def _again_line(summary: Sequence[SummaryRow]) -> str:
    """Images that have to be done again, by tool, the fewest first."""
    ranked = sorted(summary, key=lambda row: _images_to_redo(row) / max(row.n_images or 0, 1))
    if not any(map(_images_to_redo, ranked)):
        return "No tool left an image to do again."
    named = [f"{row.tool} {_images_to_redo(row)} of {row.n_images or 0}" for row in ranked]
    return f"Images to do again: {', '.join(named)}."


def sure_lines(summary: Sequence[SummaryRow], tools: Sequence[ToolsRow]) -> list[str]:
    """On how many people the choice rests, and whether the tools differ at all."""
    pairs = [row.n_pairs or 0 for row in summary]
    if not any(pairs):
        return ["Not sure at all: nothing could be compared."]
    few, many = min(pairs), max(pairs)
    people_compared = _counted_participants(many) if few == many else f"{few} to {many} participants"
    lines = [f"The figures rest on {people_compared} for each tool."]
    recovered_type = next((row.recovered_type for row in summary if row.recovered_type), None)
    tests = matching(tools, test="friedman", part=headline_part(summary), gate="passed", image_type=recovered_type)
    if tests and tests[0].p_value is not None:
        p_value, people = tests[0].p_value, tests[0].n_participants or 0
        differ = "differ in how near the attack comes" if p_value < LEVEL else "were not shown to differ"
        p_words = f"Friedman p {shown(p_value, 3)}"
        lines.append(f"Over {people} participants who have every tool, the tools {differ} ({p_words}).")
    elif len(summary) > 1:
        lines.append("Tools could not be tested against each other: too few participants have every tool.")
    if many < _FEWEST_PAIRS:
        lines.append(f"With fewer than {_FEWEST_PAIRS} participants no paired test can reach p < {LEVEL}.")
    lines.append("Another dataset, scanner or model can turn the order round; nothing here says how it would be there.")
    return lines


def redo_line(people: Sequence[GroupParticipantRow], nameless: Sequence[GroupImageRow]) -> str:
    """How many participants have to be done again, and for how many somebody should look.

    Parameters
    ----------
    people : participants with each tool
    nameless : images without a tool: those that failed before any, and participants without result
    """
    everyone = {row.participant_id for row in people} | {row.participant_id for row in nameless}
    again = {row.participant_id for row in people if row.state != "used"}
    again |= {row.participant_id for row in nameless if row.state != "used"}
    look = {row.participant_id for row in people if to_look_at(row)}
    if not again:
        first = f"Nobody, of {_counted_participants(len(everyone))}."
    else:
        names = ", ".join(sorted(again)[:8]) + (" and others" if len(again) > 8 else "")
        first = f"{len(again)} of {_counted_participants(len(everyone))}, with one tool or more: {names}."
    return first + (f" Somebody should look at {len(look - again)} more." if look - again else "")


def to_look_at(row: GroupParticipantRow) -> bool:
    """Whether a participant counts, but a verdict warns: somebody should look at the image."""
    return row.state == "used" and "warn" in (row.face_verdict, row.brain_verdict)


def _counted_participants(number: int) -> str:
    return f"{number} participant{'' if number == 1 else 's'}"


def _counted_images(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"


def _percent(share: float | None, digits: int) -> str:
    return shown(share, digits, percent=True)


def _best_line(ranked: Sequence[SummaryRow], tools: Sequence[ToolsRow], without: Sequence[str]) -> str:
    """`ranked` are tools, the best first; `without` are tools of which no image counts."""
    best, *others = ranked
    first = (
        f"The recovered face stays farthest from the true one after {best.tool}: {shown(best.recovered_mm)} mm on "
        f"average over {_counted_participants(best.n_pairs or 0)} (an average face: {shown(best.average_mm)} mm)."
    )
    if not others:
        alone = f"The others ({', '.join(without)}) have no image that counts" if without else "It is the only tool"
        return f"{first} {alone}, so nothing can be said of which is better."
    tied = [str(row.tool) for row in others if not _differ(best, row, tools)]
    worse = [str(row.tool) for row in others if row.tool not in tied]
    if tied:
        first += f" Not shown to differ from it: {', '.join(tied)}; between these, brain cut, phenotype signal and run "
        first += "time decide (table below)."
    if worse:
        first += f" The attack comes nearer, by more than chance explains (p < {LEVEL}, Holm), after: "
        first += f"{', '.join(worse)}."
    return first


def _differ(first: SummaryRow, second: SummaryRow, tools: Sequence[ToolsRow]) -> bool:
    """Whether the test of two tools against each other showed a difference."""
    tests = matching(
        tools, test="wilcoxon", image_type=first.recovered_type, part=headline_part([first]), gate="passed"
    )
    pair = {first.tool, second.tool}
    p_values = [row.p_holm for row in tests if {row.tool, row.other_tool} == pair]
    return bool(p_values) and p_values[0] is not None and p_values[0] < LEVEL


def _found_line(rows: Sequence[SummaryRow]) -> str:
    tested = [row for row in rows if row.rank1_p_holm is not None]
    found = [str(row.tool) for row in tested if (row.rank1_p_holm or 0) < LEVEL]
    if not tested:
        return "Whether people can be found again by the recovered face was not measured."
    if len(found) == len(tested):
        return "After every tool, people were found by the recovered face more often than by chance: none withstands."
    if not found:
        return "After no tool was it shown that people are found by the recovered face more often than by chance."
    return f"People were found by the recovered face more often than by chance after: {', '.join(found)}."


def _images_to_redo(row: SummaryRow) -> int:
    return (row.n_excluded or 0) + (row.n_failed or 0) + (row.n_missing or 0)
