"""Plain language: what follows from a tool's figures and their uncertainty, and no more than that.

Every sentence is a function of rows of the group's tables. A difference is called one only where its adjusted p value
is below 0.05; where it is not, the sentence says that none was shown, never that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

from bids_refacer.reports.page import shown
from bids_refacer.reports.rows import Row

LEVEL = 0.05
_FEWEST_PAIRS = 6  # the smallest two-sided p of Wilcoxon's test is 2 / 2**n: 0.0625 for five


def value(row: Row, name: str) -> float | None:
    """A cell as a number; None where there is none."""
    text = row.get(name)
    return None if text is None else float(text)


def count(row: Row, name: str) -> int:
    """A cell as a whole number; 0 where there is none."""
    return int(float(row.get(name) or 0))


def face_line(row: Row) -> str:
    """Was a face left after defacing?"""
    judged, fail, warn = (count(row, name) for name in ("n_judged", "n_face_fail", "n_face_warn"))
    return _verdict_line(judged, fail, warn, "a face was left", "facial skin was left")


def brain_line(row: Row) -> str:
    """Was the brain cut?"""
    judged, fail, warn = (count(row, name) for name in ("n_judged", "n_brain_fail", "n_brain_warn"))
    return _verdict_line(judged, fail, warn, "the brain was cut", "a little brain was removed")


def _verdict_line(judged: int, fail: int, warn: int, failed: str, warned: str) -> str:
    if not judged:
        return "Not judged: defacing.tsv has no row for this tool."
    first = f"In {fail} of {_images(judged)} {failed}: to do again." if fail else f"None of {_images(judged)} failed."
    if warn:
        return f"{first} In {warn}{' more' if fail else ''} {warned}: to look at."
    return first if fail else f"None of {_images(judged)} failed or has to be looked at."


def distance_line(row: Row) -> str:
    """Does the attack come nearer to the true face than an average face does?"""
    pairs, difference, p_value = count(row, "n_pairs"), value(row, "difference_mm"), value(row, "difference_p_holm")
    if difference is None or p_value is None:
        if value(row, "recovered_mm") is not None:
            return "One participant: no test. Look at the figures as at a single case."
        return "Not measured: no participant has a recovered face that counts."
    interval = f"95 % CI {_mm(row, 'difference_low_mm')} to {_mm(row, 'difference_high_mm')} mm"
    if p_value < LEVEL and difference < 0:
        closer = f"nearer in {count(row, 'n_closer')} of {pairs} participants"
        return (
            f"The attack comes nearer to the true face than an average face, by {_mm(row, 'difference_mm', True)} mm "
            f"(difference: {interval}; {closer}): the defaced image gives the face away in part."
        )
    if p_value < LEVEL:
        return (
            f"The attack stays farther from the true face than an average face, by {_mm(row, 'difference_mm')} mm "
            f"({interval}). It gained nothing here; a better one may."
        )
    line = f"No difference from an average face was shown ({interval}); one inside this interval is not ruled out."
    if pairs < _FEWEST_PAIRS:
        line += f" With {_people(pairs)} this test cannot reach p < {LEVEL}, whatever the difference."
    return line


def identity_line(row: Row) -> str:
    """Are people found in the gallery by the recovered face?"""
    people, rate, p_value = count(row, "n_looked_up"), value(row, "rank1"), value(row, "rank1_p_holm")
    if not people or rate is None or p_value is None:
        return "Not measured: no recovered face could be looked up (see group.md)."
    found = f"{shown(str(rate), 0, True)} of {people} people were found at rank 1 (chance {_chance(row)})"
    if p_value < LEVEL:
        return f"{found}: more than by chance. After this tool, people can be found again by the shape of their face."
    most = 1 - 0.025 ** (1 / people)
    ruled = f" A rate up to {shown(str(most), 0, True)} is not ruled out." if rate == 0 else ""
    return f"{found}: more than chance was not shown.{ruled}"


def _chance(row: Row) -> str:
    return shown(row["rank1_chance"] or "nan", 1, True)


def phenotype_line(original: Row | None, defaced: Row | None) -> str:
    """What is left of the phenotype's signal in the defaced image?"""
    if original is None or original.get("spearman_rho") is None:
        return "Not measured: too few participants have this phenotype."
    if (value(original, "p_permutation") or 0) >= LEVEL:
        return "It could not be predicted from the originals either: nothing can be said of what defacing costs."
    if defaced is None or defaced.get("p_holm") is None:
        return "Not measured for this tool."
    before, after = shown(original["spearman_rho"] or "nan"), shown(defaced["spearman_rho"] or "nan")
    low, high = (shown(defaced[name] or "nan") for name in ("difference_ci_low", "difference_ci_high"))
    change = f"rho {before} from originals, {after} from defaced images (loss: 95 % CI {low} to {high})"
    if (value(defaced, "p_holm") or 0) < LEVEL:
        lost = (value(defaced, "rho_difference") or 0) > 0
        return f"Signal is {'lost' if lost else 'stronger after defacing, which asks for an explanation'}: {change}."
    return f"No loss was shown: {change}; one inside this interval is not ruled out."


def choice_lines(summary: Sequence[Row], tools: Sequence[Row], reference: str = "skullstrip") -> list[str]:
    """Which tool leaves the attack least, and which others cannot be told apart from it.

    Parameters
    ----------
    summary : rows of group_summary of one kind of image
    tools : rows of group_tools of the same kind of image
    reference : the tool that keeps the brain alone, which is no choice for those who share heads
    """
    known = [row for row in summary if value(row, "recovered_mm") is not None]
    if not known:
        return ["No tool has a recovered face that counts, so none can be recommended."]
    ranked = sorted(known, key=lambda row: -(value(row, "recovered_mm") or 0))
    heads = [row for row in ranked if row["tool"] != reference] or ranked
    shown = {row["tool"] for row in ranked}
    lines = [_best_line(heads, tools, [str(row["tool"]) for row in summary if row["tool"] not in shown])]
    if any(row["tool"] == reference for row in ranked) and heads is not ranked:
        bare = next(row for row in ranked if row["tool"] == reference)
        lines.append(
            f"{reference} keeps the brain alone and is here for comparison: {_mm(bare, 'recovered_mm')} mm on average."
        )
    lines.append(_found_line(known))
    lines.append(_again_line(summary))
    return lines


def _again_line(summary: Sequence[Row]) -> str:
    """Images that have to be done again, by tool, the fewest first."""
    ranked = sorted(summary, key=lambda row: _trouble(row) / max(count(row, "n_images"), 1))
    if not any(map(_trouble, ranked)):
        return "No tool left an image to do again."
    named = [f"{row['tool']} {_trouble(row)} of {count(row, 'n_images')}" for row in ranked]
    return f"Images to do again: {', '.join(named)}."


def sure_lines(summary: Sequence[Row], tools: Sequence[Row]) -> list[str]:
    """On how many people the choice rests, and whether the tools differ at all."""
    pairs = [count(row, "n_pairs") for row in summary]
    if not any(pairs):
        return ["Not sure at all: nothing could be compared."]
    few, many = min(pairs), max(pairs)
    lines = [f"The figures rest on {_people(many) if few == many else f'{few} to {many} participants'} for each tool."]
    kind = next((row["recovered_type"] for row in summary if row.get("recovered_type")), None)
    tests = [
        row
        for row in tools
        if (row["test"], row["part"], row["gate"], row["image_type"]) == ("friedman", "face", "passed", kind)
    ]
    if tests and value(tests[0], "p_value") is not None:
        p_value, people = tests[0]["p_value"] or "nan", count(tests[0], "n_participants")
        differ = "differ in how near the attack comes" if float(p_value) < LEVEL else "were not shown to differ"
        lines.append(f"Over {people} participants who have every tool, the tools {differ} (Friedman p {_p(p_value)}).")
    elif len(summary) > 1:
        lines.append("Tools could not be tested against each other: too few participants have every tool.")
    if many < _FEWEST_PAIRS:
        lines.append(f"With fewer than {_FEWEST_PAIRS} participants no paired test can reach p < {LEVEL}.")
    lines.append("Another dataset, scanner or model can turn the order round; nothing here says how it would be there.")
    return lines


def redo_line(people: Sequence[Row], nameless: Sequence[Row]) -> str:
    """How many participants have to be done again, and for how many somebody should look.

    Parameters
    ----------
    people : rows of group_participants
    nameless : rows of group_images without a tool: images that failed before any, participants without result
    """
    again = {row["participant_id"] for row in [*people, *nameless] if row["state"] != "used"}
    look = {
        row["participant_id"]
        for row in people
        if row["state"] == "used" and "warn" in (row.get("face_verdict"), row.get("brain_verdict"))
    }
    everyone = {row["participant_id"] for row in [*people, *nameless]}
    if not again:
        first = f"Nobody, of {_people(len(everyone))}."
    else:
        names = ", ".join(sorted(map(str, again))[:8]) + (" and others" if len(again) > 8 else "")
        first = f"{len(again)} of {_people(len(everyone))}, with one tool or more: {names}."
    return first + (f" Somebody should look at {len(look - again)} more." if look - again else "")


def _people(number: int) -> str:
    return f"{number} participant{'' if number == 1 else 's'}"


def _images(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"


def _p(text: str) -> str:
    return shown(text, 3)


def _best_line(ranked: Sequence[Row], tools: Sequence[Row], without: Sequence[str]) -> str:
    """`ranked` are rows of group_summary, the best first; `without` are tools of which no image counts."""
    best, *others = ranked
    first = (
        f"The recovered face stays farthest from the true one after {best['tool']}: {_mm(best, 'recovered_mm')} mm on "
        f"average over {_people(count(best, 'n_pairs'))} (an average face: {_mm(best, 'average_mm')} mm)."
    )
    if not others:
        alone = f"The others ({', '.join(without)}) have no image that counts" if without else "It is the only tool"
        return f"{first} {alone}, so nothing can be said of which is better."
    tied = [str(row["tool"]) for row in others if not _told_apart(best, row, tools)]
    worse = [str(row["tool"]) for row in others if row["tool"] not in tied]
    if tied:
        first += f" Not shown to differ from it: {', '.join(tied)}; between these, brain cut, phenotype signal and run "
        first += "time decide (table below)."
    if worse:
        first += f" The attack comes nearer, by more than chance explains (p < {LEVEL}, Holm), after: "
        first += f"{', '.join(worse)}."
    return first


def _told_apart(first: Row, second: Row, tools: Sequence[Row]) -> bool:
    pair = {first["tool"], second["tool"]}
    for row in tools:
        of_pair = row["test"] == "wilcoxon" and {row["tool"], row["other_tool"]} == pair
        if of_pair and (row["image_type"], row["part"], row["gate"]) == (first["recovered_type"], "face", "passed"):
            return (value(row, "p_holm") if row.get("p_holm") is not None else 1.0) < LEVEL  # type: ignore[operator]
    return False


def _found_line(rows: Sequence[Row]) -> str:
    looked = [row for row in rows if value(row, "rank1_p_holm") is not None]
    found = [str(row["tool"]) for row in looked if (value(row, "rank1_p_holm") or 0) < LEVEL]
    if not looked:
        return "Whether people can be found again by the recovered face was not measured."
    if len(found) == len(looked):
        return "After every tool, people were found by the recovered face more often than by chance: none withstands."
    if not found:
        return "After no tool was it shown that people are found by the recovered face more often than by chance."
    return f"People were found by the recovered face more often than by chance after: {', '.join(found)}."


def _trouble(row: Row) -> int:
    return sum(count(row, name) for name in ("n_excluded", "n_failed", "n_missing"))


def _mm(row: Row, name: str, absolute: bool = False) -> str:
    text = row.get(name) or "nan"
    return shown(text.lstrip("-") if absolute else text)
