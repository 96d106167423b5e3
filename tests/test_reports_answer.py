"""The first answer of a group, case by case: what hurts most is said first, and no sentence soothes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bids_refacer.dataset.rows.group import SummaryRow, ToolsRow
from bids_refacer.reports.answer import answer_lines
from bids_refacer.reports.findings import Marks, fewest_participants, image_marks, tool_marks

FORTY = SummaryRow(
    suffix="T1w", tool="a", n_images=40, n_used=40, n_excluded=0, n_failed=0, n_missing=0,
    n_judged=40, n_face_fail=0, n_face_warn=0, n_brain_fail=0, n_brain_warn=0,
    n_pairs=40, recovered_type="refaced_mean", recovered_mm=2.0, average_mm=1.9,
    difference_mm=0.1, difference_low_mm=-0.05, difference_high_mm=0.3, n_closer=18, difference_p_holm=0.4,
    n_looked_up=40, rank1=0.0, rank1_chance=0.025, rank1_p_holm=1.0,
)  # fmt: skip  # a line for each question: the images, the verdicts, the distances, the search
"""A tool that withstood."""

BEATEN = replace(
    FORTY,
    recovered_mm=0.9,
    average_mm=1.4,
    difference_mm=-0.5,
    difference_low_mm=-0.6,
    difference_high_mm=-0.4,
    n_closer=40,
    difference_p_holm=1e-6,
    rank1=1.0,
    rank1_p_holm=1e-6,
)
SIX = replace(
    BEATEN,
    n_images=6,
    n_used=6,
    n_judged=6,
    n_pairs=6,
    n_closer=6,
    difference_low_mm=-0.61,
    difference_mm=-0.55,
    difference_high_mm=-0.49,
    difference_p_holm=0.09375,
    n_looked_up=0,
    rank1=None,
    rank1_p_holm=None,
)
ONE = replace(
    SIX,
    n_images=1,
    n_used=1,
    n_judged=1,
    n_pairs=1,
    n_closer=None,
    difference_mm=None,
    difference_low_mm=None,
    difference_high_mm=None,
    difference_p_holm=None,
)
ALL_LEFT = replace(FORTY, recovered_mm=None, n_used=0, n_excluded=40, n_face_fail=40)


def named(row: SummaryRow, names: str) -> list[SummaryRow]:
    return [replace(row, tool=name) for name in names]


def pair(first: str, second: str, p_value: float, part: str = "face") -> ToolsRow:
    about = {"suffix": "T1w", "test": "wilcoxon", "image_type": "refaced_mean", "part": part, "gate": "passed"}
    return ToolsRow(**about, tool=first, other_tool=second, p_holm=p_value)


AGAIN = "Treat the defaced images as identifiable."
FAILED = replace(FORTY, tool="c", recovered_mm=5.0, n_used=38, n_excluded=2, n_face_fail=2, n_face_warn=5)
CASES: dict[str, tuple[Sequence[SummaryRow], Sequence[ToolsRow], list[str]]] = {
    "nothing protects": (
        named(BEATEN, "abc"),
        [],
        [
            f"No tool protects: none of a, b and c withstood this attack. {AGAIN}",
            "Least harm: a tie of a, b and c; no difference between them was shown.",
            "After every tool, people were found by the recovered face more often than by chance.",
        ],
    ),
    "one tool": (
        [BEATEN],
        [],
        [
            f"No tool protects: a did not withstand this attack. {AGAIN}",
            "a: it is the only tool that leaves a head, so nothing can be said of which is better.",
        ],
    ),
    "nothing protects but a bare brain": (
        [*named(BEATEN, "ab"), replace(FORTY, tool="skullstrip", recovered_mm=3.4)],
        [],
        [
            f"No tool protects: none of a and b withstood this attack. {AGAIN}",
            "skullstrip keeps the brain alone and is here for comparison: it withstood this attack.",
            "more often than by chance after a and b; after skullstrip that was not shown.",
        ],
    ),
    "all protect": (
        named(FORTY, "ab"),
        [],
        [
            "a and b withstood this attack; a better one may come.",
            "First choice: a tie of a and b; no difference between them was shown.",
            "Every tool removed the face from every image that was judged.",
            "No tool cut a brain.",
        ],
    ),
    "a tool that failed is not chosen, however far its recovered faces": (
        [*named(FORTY, "ab"), FAILED],
        [pair("c", "a", 1e-4), pair("c", "b", 1e-4)],
        [
            "a and b withstood this attack; not shown: c.",
            "First choice: a tie of a and b; no difference between them was shown. Behind: c (failed on 2 of 40 "
            "images).",
            "A face is still there after c in 2 of 40 images: not for sharing.",
            "Facial skin is left, to look at, after c in 5 of 40 images.",
            "Figures of the attack on c are of 38 of 40 images: those that it failed on are not in them.",
        ],
    ),
    "survivors only": (
        [FAILED, replace(FAILED, tool="d", n_used=30, n_excluded=10, n_face_fail=10)],
        [],
        [
            "No tool was shown to withstand this attack.",
            "Every tool has failed images; the smallest share: c. Behind: d (failed on 10 of 40 images).",
            "A face is still there after d in 10 of 40 images, c in 2 of 40 images: not for sharing.",
        ],
    ),
    "no image counts": (
        [ALL_LEFT],
        [],
        [
            "No tool has a recovered face that counts, so none can be recommended.",
            "A face is still there after a in 40 of 40 images: not for sharing.",
            "Images to do again: a 40 of 40.",
        ],
    ),
    "of one tool no image counts": (
        [BEATEN, replace(ALL_LEFT, tool="z")],
        [],
        [
            f"No tool protects: a did not withstand this attack. z left no image that counts. {AGAIN}",
            "a: the others (z) have no image that counts, so nothing can be said of which is better.",
        ],
    ),
    "people are found after one of two": (
        [replace(FORTY, rank1=0.5, rank1_p_holm=1e-4, recovered_mm=9.0), replace(FORTY, tool="b")],
        [],
        [
            "b withstood this attack; after a it was shown that the attack succeeds.",
            "First choice: b. Behind: a (people are found again).",
            "People were found by the recovered face more often than by chance after a; after b that was not shown.",
        ],
    ),
    "the distance decides": (
        [FORTY, replace(FORTY, tool="b", recovered_mm=4.0)],
        [pair("a", "b", 0.001), pair("a", "b", 0.9, "nose")],
        ["First choice: b. Behind: a (its recovered face is nearer, by more than chance explains)."],
    ),
    "a distance without a test decides nothing": (
        [FORTY, replace(FORTY, tool="b", recovered_mm=2.06)],
        [pair("a", "b", 0.3)],
        ["First choice: a tie of a and b; no difference between them was shown."],
    ),
    "the brain decides a tie": (
        [replace(FORTY, n_brain_warn=3), replace(FORTY, tool="b")],
        [],
        [
            "First choice: b. Behind: a (brain cut more often).",
            "A little brain was removed, to look at, by a in 3 of 40 images.",
        ],
    ),
    "a brain that was cut is a failed image": (
        [replace(FORTY, n_used=39, n_excluded=1, n_brain_fail=1), replace(FORTY, tool="b")],
        [],
        [
            "First choice: b. Behind: a (failed on 1 of 40 images).",
            "The brain was cut by a in 1 of 40 images.",
            "Every tool removed the face from every image that was judged.",
        ],
    ),
    "six of six nearer": (
        named(SIX, "abc"),
        [],
        [
            "No tool was shown to withstand this attack. After a, b and c the recovered face is nearer to the true one "
            f"than an average face, by an interval that excludes 0: {AGAIN[0].lower()}{AGAIN[1:]}",
            "a 0.90 mm, an average face 1.40 mm (difference \u22120.55 mm, 95 % CI \u22120.61 to \u22120.49; nearer in "
            "6 of 6)",
            "With 6 participants and 3 tools this test cannot reach p < 0.05 after Holm's correction, whatever the "
            "difference: 7 participants are needed. Read the intervals instead.",
        ],
    ),
    "one participant": (
        [replace(ONE, recovered_mm=1.5, n_face_warn=1), *named(ONE, "bc")[:2]],
        [],
        [
            "No tool was shown to withstand this attack.",
            "Least harm: a tie of b and c; one participant is a single case, by which they cannot be told apart. "
            "Behind: a (skin is left).",
            "Facial skin is left, to look at, after a in 1 of 1 image.",
        ],
    ),
    "not judged": (
        [replace(FORTY, n_judged=0), replace(FORTY, tool="b")],
        [],
        [
            "First choice: b. Behind: a (not judged).",
            "Whether a face is left was not judged for a.",
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_answer(name: str) -> None:
    summary, tools, expected = CASES[name]
    lines = answer_lines(summary, tools)
    for sentence in expected:
        assert any(sentence in line for line in lines), (sentence, lines)
    if "withst" in expected[0] or "recommended" in expected[0]:
        assert expected[0] in lines[0], "the first sentence says whether a tool protects"
    whole = " ".join(lines)
    assert "1 images" not in whole and "1 participants" not in whole and "No difference" not in whole


def test_what_hurts_comes_in_order() -> None:
    lines = answer_lines([*named(FORTY, "ab"), FAILED], [])
    words = (
        "withstood",
        "First choice",
        "A face is still there",
        "Facial skin",
        "people are found",
        "Figures of",
        "Distance of",
        "brain",
        "Images to do again",
    )
    places = [next(number for number, line in enumerate(lines) if word in line) for word in words]
    assert places == sorted(places) == list(range(len(lines)))


@pytest.mark.parametrize(
    ("row", "removed", "withstood"),
    [
        (FORTY, "yes", "yes"),
        (replace(FORTY, n_face_warn=1), "partly", "not shown"),
        (FAILED, "no", "not shown"),
        (replace(FORTY, n_judged=0), "not judged", "not shown"),
        (BEATEN, "yes", "no"),
        (replace(BEATEN, rank1_p_holm=0.4, rank1=0.03), "yes", "no"),
        (replace(FORTY, rank1_p_holm=0.01, rank1=0.2), "yes", "no"),
        (replace(FORTY, rank1_p_holm=None), "yes", "not shown"),
        (replace(FORTY, n_looked_up=35), "yes", "not shown"),
        (replace(FORTY, n_looked_up=36), "yes", "yes"),
        (replace(FORTY, difference_low_mm=-0.2), "yes", "not shown"),
        (SIX, "yes", "not shown"),
        (ONE, "yes", "not shown"),
    ],
)
def test_two_marks_of_a_tool(row: SummaryRow, removed: str, withstood: str) -> None:
    """A face that was removed is not one that cannot be recovered."""
    assert tool_marks(row) == Marks(removed, withstood)


@pytest.mark.parametrize(
    ("verdict", "recovered", "average", "removed", "withstood"),
    [
        ("pass", 0.9, 1.4, "yes", "no"),
        ("pass", 1.35, 1.4, "yes", "not shown"),
        ("warn", 2.0, 1.4, "partly", "not shown"),
        ("fail", None, None, "no", "not shown"),
        (None, None, 1.4, "not judged", "not shown"),
    ],
)
def test_two_marks_of_an_image(
    verdict: str | None, recovered: float | None, average: float | None, removed: str, withstood: str
) -> None:
    assert image_marks(verdict, recovered, average) == Marks(removed, withstood)


@pytest.mark.parametrize(("tests", "needed"), [(0, 6), (1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (10, 9)])
def test_how_many_participants_a_test_needs(tests: int, needed: int) -> None:
    assert fewest_participants(tests) == needed
    assert 2 / 2**needed * max(tests, 1) < 0.05 <= 2 / 2 ** (needed - 1) * max(tests, 1)
