"""Findings in plain language: what follows from a tool's figures and their uncertainty, and no more than that.

Every sentence is a function of rows of the group's tables. A difference is called one only where its adjusted p value
is below 0.05; where it is not, the sentence says that none was shown, never that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from scipy import stats

from bids_refacer.dataset.rows.group import GroupImageRow, GroupParticipantRow, SummaryRow, ToolsRow
from bids_refacer.dataset.rows.group_people import PhenotypeRow
from bids_refacer.reports.group_tables import headline_part, matching
from bids_refacer.reports.page import shown
from bids_refacer.wording import counted, listed

LEVEL = 0.05

GAIN_MM = 0.1
"""A gain over an average face that is smaller counts as none."""

HIGHEST_RATE = 0.1
"""Share of people found again that must be ruled out before a tool withstood: it takes 36 people with none found."""

_GRADES = {"pass": "yes", "warn": "partly", "fail": "no"}
_UNJUDGED = "not judged"


@dataclass(frozen=True)
class Marks:
    """Two answers that are never one: ``removed`` yes, partly, no, not judged; ``withstood`` yes, not shown, no."""

    removed: str
    withstood: str


def image_marks(face_verdict: str | None, recovered_mm: float | None, average_mm: float | None) -> Marks:
    """Marks of one image with one tool. One image shows at most that a tool did not withstand."""
    known = recovered_mm is not None and average_mm is not None
    beaten = known and (average_mm or 0) - (recovered_mm or 0) >= GAIN_MM
    return Marks(_GRADES.get(str(face_verdict), _UNJUDGED), "no" if beaten else "not shown")


def tool_marks(row: SummaryRow) -> Marks:
    """Marks of a tool over all its images."""
    return Marks(_removed(row), _withstood(row))


def _removed(row: SummaryRow) -> str:
    if not row.n_judged:
        return _UNJUDGED
    return "no" if row.n_face_fail else "partly" if row.n_face_warn else "yes"


def _withstood(row: SummaryRow) -> str:
    difference, p_value, low = row.difference_mm, row.difference_p_holm, row.difference_low_mm
    nearer = difference is not None and difference < 0 and p_value is not None and p_value < LEVEL
    if is_found(row) or (nearer and (low or 0) <= -GAIN_MM):
        return "no"
    gained_nothing = low is not None and low > -GAIN_MM
    nobody = row.rank1_p_holm is not None and highest_rate(row) <= HIGHEST_RATE
    return "yes" if gained_nothing and nobody and not failed_images(row) and _removed(row) == "yes" else "not shown"


def is_found(row: SummaryRow) -> bool:
    """Whether people are found again more often than by chance."""
    return row.rank1_p_holm is not None and row.rank1_p_holm < LEVEL


def gains(row: SummaryRow) -> bool:
    """Whether the interval says that the recovered face is nearer than an average face, whatever a test can confirm."""
    return row.difference_high_mm is not None and row.difference_high_mm < 0


def failed_images(row: SummaryRow) -> int:
    """Images that the tool failed on: a face that is left, a brain that is cut, no image at all."""
    return max(row.n_excluded or 0, row.n_face_fail or 0) + (row.n_failed or 0)


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
        f"In {fail} of {counted(judged, 'image')} {failed}: to do again."
        if fail
        else f"None of {counted(judged, 'image')} failed."
    )
    if warn:
        return f"{first} In {warn}{' more' if fail else ''} {warned}: to look at."
    return first if fail else f"None of {counted(judged, 'image')} failed or has to be looked at."


def distance_line(row: SummaryRow, tests: int) -> str:
    """Does the attack come nearer to the true face than an average face does? `tests`: tools that are tested."""
    pairs, difference, p_value = row.n_pairs or 0, row.difference_mm, row.difference_p_holm
    if difference is None or p_value is None:
        if row.recovered_mm is not None:
            return "One participant: no test. Look at the figures as at a single case."
        return "Not measured: no participant has a recovered face that counts."
    if p_value < LEVEL and difference < 0:
        return f"The attack comes {gain_words(row)}: the defaced image gives the face away in part."
    if p_value < LEVEL:
        return f"The attack stays {gain_words(row)}. It gained nothing here; a better one may."
    away = " The interval excludes 0: take the face as given away in part." if gains(row) else ""
    if pairs < fewest_participants(tests):
        return f"{few_words(pairs, tests)} The estimate: {gain_words(row)}.{away}"
    if away:
        return f"The attack comes {gain_words(row)}; the test does not confirm it (p {shown(p_value, 3)}, Holm).{away}"
    interval = _interval(row)
    return f"No difference from an average face was shown ({interval}); one inside this interval is not ruled out."


def gain_words(row: SummaryRow) -> str:
    """``0.55 mm nearer to the true face than an average face (95 % CI ...; nearer in 6 of 6 participants)``."""
    difference, people = row.difference_mm or 0.0, counted(row.n_pairs or 0, "participant")
    how = "nearer to" if difference < 0 else "farther from"
    return (
        f"{shown(abs(difference))} mm {how} the true face than an average face (difference: {_interval(row)}; "
        f"nearer in {row.n_closer or 0} of {people})"
    )


def _interval(row: SummaryRow) -> str:
    return f"95 % CI {shown(row.difference_low_mm)} to {shown(row.difference_high_mm)} mm"


def fewest_participants(tests: int) -> int:
    """The fewest pairs with which one of several tests can reach p < 0.05.

    The smallest two-sided p value of Wilcoxon's test is 2 / 2**n, and Holm multiplies the smallest of them by their
    number.
    """
    number = 1
    while 2 / 2**number * max(tests, 1) >= LEVEL:
        number += 1
    return number


def few_words(pairs: int, tests: int) -> str:
    """That there are too few participants for any test, and how many are needed."""
    among = f" and {tests} tools" if tests > 1 else ""
    after = " after Holm's correction" if tests > 1 else ""
    return (
        f"With {counted(pairs, 'participant')}{among} this test cannot reach p < {LEVEL}{after}, whatever the "
        f"difference: {fewest_participants(tests)} participants are needed."
    )


def highest_rate(row: SummaryRow) -> float:
    """The largest share of people found again that is not ruled out (exact 97.5 % bound of Clopper and Pearson)."""
    people = row.n_looked_up or 0
    if not people:
        return 1.0
    found = int((row.rank1 or 0.0) * people + 1e-9)
    return float(stats.binomtest(found, people).proportion_ci(0.95).high)


def identity_line(row: SummaryRow) -> str:
    """Are people found in the gallery by the recovered face?"""
    people, rate, p_value = row.n_looked_up or 0, row.rank1, row.rank1_p_holm
    if not people or rate is None or p_value is None:
        return "Not measured: no recovered face could be looked up (see group.md)."
    found = f"{_percent(rate, 0)} of {people} people were found at rank 1 (chance {_percent(row.rank1_chance, 1)})"
    if p_value < LEVEL:
        return f"{found}: more than by chance. After this tool, people can be found again by the shape of their face."
    return f"{found}: more than chance was not shown. A rate up to {_percent(highest_rate(row), 0)} is not ruled out."


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


def sure_lines(summary: Sequence[SummaryRow], tools: Sequence[ToolsRow]) -> list[str]:
    """On how many people the choice rests, and whether the tools differ at all."""
    people_of = [row.n_pairs or 0 for row in summary]
    if not any(people_of):
        return ["Not sure at all: nothing could be compared."]
    few, many = min(people_of), max(people_of)
    people_compared = counted(many, "participant") if few == many else f"{few} to {many} participants"
    lines = [f"The figures rest on {people_compared} for each tool."]
    recovered_type = next((row.recovered_type for row in summary if row.recovered_type), None)
    tests = matching(tools, test="friedman", part=headline_part(summary), gate="passed", image_type=recovered_type)
    if tests and tests[0].p_value is not None:
        p_value, people = tests[0].p_value, tests[0].n_participants or 0
        differ = "differ in how near the attack comes" if p_value < LEVEL else "were not shown to differ"
        p_words = f"Friedman p {shown(p_value, 3)}"
        lines.append(f"Over {counted(people, 'participant')} with every tool, the tools {differ} ({p_words}).")
    elif len(summary) > 1:
        lines.append("Tools could not be tested against each other: too few participants have every tool.")
    pairs = comb(sum(map(bool, people_of)), 2)
    if pairs and many < (needed := fewest_participants(pairs)):
        lines.append(f"No test can tell one tool from another with fewer than {needed} participants.")
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
    again = {row.participant_id for row in people if row.state not in ("used", "unfinished")}
    again |= {row.participant_id for row in nameless if row.state != "used"}
    yet = {row.participant_id for row in people if row.state == "unfinished"}
    look = {row.participant_id for row in people if to_look_at(row)}
    if not again:
        first = f"Nobody, of {counted(len(everyone), 'participant')}."
    else:
        names = ", ".join(sorted(again)[:8]) + (" and others" if len(again) > 8 else "")
        first = f"{len(again)} of {counted(len(everyone), 'participant')}, with one tool or more: {names}."
    first += f" Not done yet: {counted(len(yet), 'participant')}." if yet else ""
    return first + (f" Somebody should look at {len(look - again)} more." if look - again else "")


def warned_lines(people: Sequence[GroupParticipantRow]) -> list[str]:
    """What to know of the figures of participants that count, each sentence once."""
    everyone = {row.participant_id for row in people}
    warned: dict[str, set[str]] = {}
    for row in people:
        if row.state == "used" and row.reason:
            warned.setdefault(row.reason, set()).add(row.participant_id)
    return [
        f"{len(names)} of {counted(len(everyone), 'participant')} ({listed(sorted(names), 3)}): {reason}"
        for reason, names in warned.items()
    ]


def to_look_at(row: GroupParticipantRow) -> bool:
    """Whether a participant counts, but a verdict warns: somebody should look at the image."""
    return row.state == "used" and "warn" in (row.face_verdict, row.brain_verdict)


def _percent(share: float | None, digits: int) -> str:
    return shown(share, digits, percent=True)
