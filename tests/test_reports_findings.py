"""Sentences on the group page never say more than the figures do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bids_refacer.dataset.rows.audit import DistanceRow
from bids_refacer.dataset.rows.group import GroupImageRow, GroupParticipantRow, SummaryRow
from bids_refacer.dataset.rows.group_people import PhenotypeRow
from bids_refacer.reports import findings
from bids_refacer.reports.page import markdown, number, shown

SUMMARY = SummaryRow(
    suffix="T1w",
    tool="a",
    n_images=10,
    n_excluded=0,
    n_failed=0,
    n_missing=0,
    n_judged=10,
    n_face_fail=0,
    n_face_warn=0,
    n_brain_fail=0,
    n_brain_warn=0,
    n_pairs=10,
    recovered_type="refaced_mean",
    recovered_mm=2.5,
    average_mm=3.0,
    difference_mm=-0.5,
    difference_low_mm=-0.8,
    difference_high_mm=-0.2,
    n_closer=9,
    difference_p_holm=0.01,
    n_looked_up=10,
    rank1=0.5,
    rank1_chance=0.02,
    rank1_p_holm=0.0001,
)


@pytest.mark.parametrize(
    ("changes", "words", "never"),
    [
        ({}, "The attack comes 0.50 mm nearer to the true face than an average face", "No difference"),
        (
            {"difference_p_holm": 0.2, "difference_high_mm": 0.1},
            "No difference from an average face was shown",
            "nearer",
        ),
        (
            {"difference_mm": 0.5},
            "The attack stays 0.50 mm farther from the true face than an average face",
            "gives the",
        ),
        (
            {"n_pairs": 4, "difference_p_holm": 0.125, "n_closer": 4},
            "With 4 participants and 3 tools this test cannot reach p < 0.05 after Holm's correction, whatever the "
            "difference: 7 participants are needed. The estimate: 0.50 mm nearer to the true face than an average face "
            "(difference: 95 % CI \u22120.80 to \u22120.20 mm; nearer in 4 of 4 participants). The interval excludes "
            "0: take the face as given away in part.",
            "No difference",
        ),
        (
            {"n_pairs": 4, "difference_p_holm": 0.5, "difference_high_mm": 0.2},
            "7 participants are needed. The estimate: 0.50 mm nearer",
            "excludes 0",
        ),
        (
            {"n_pairs": 8, "difference_p_holm": 0.08},
            "the test does not confirm it (p 0.080, Holm). The interval excludes 0",
            "No difference",
        ),
        ({"difference_mm": None, "difference_p_holm": None}, "One participant: no test", "nearer"),
        ({"difference_mm": None, "difference_p_holm": None, "recovered_mm": None}, "Not measured", "nearer"),
    ],
)
def test_distance(changes: dict[str, Any], words: str, never: str) -> None:
    line = findings.distance_line(replace(SUMMARY, **changes), tests=3)
    assert words in line and never not in line


@pytest.mark.parametrize(
    ("changes", "words", "never"),
    [
        ({}, "50\u2009% of 10 people were found at rank 1 (chance 2.0\u2009%): more than by chance", "not shown"),
        ({"rank1_p_holm": 0.3}, "not shown. A rate up to 81\u2009% is not ruled out", "more than by chance"),
        ({"rank1": 0, "rank1_p_holm": 1}, "A rate up to 31\u2009% is not ruled out", "more than by chance"),
        ({"rank1": None}, "Not measured", "found at"),
    ],
)
def test_identity(changes: dict[str, Any], words: str, never: str) -> None:
    line = findings.identity_line(replace(SUMMARY, **changes))
    assert words in line and never not in line


@pytest.mark.parametrize(
    ("fail", "warn", "judged", "sentence"),
    [
        (0, 0, 10, "None of 10 images failed or has to be looked at."),
        (1, 0, 1, "In 1 of 1 image a face was left: to do again."),
        (0, 2, 10, "None of 10 images failed. In 2 facial skin was left: to look at."),
        (3, 1, 10, "In 3 of 10 images a face was left: to do again. In 1 more facial skin was left: to look at."),
        (0, 0, 0, "Not judged: defacing.tsv has no row for this tool."),
    ],
)
def test_faces_left(fail: int, warn: int, judged: int, sentence: str) -> None:
    row = replace(SUMMARY, n_face_fail=fail, n_face_warn=warn, n_judged=judged)
    assert findings.face_line(row) == sentence


ORIGINAL = PhenotypeRow(suffix="T1w", spearman_rho=0.6, p_permutation=0.001)
DEFACED = PhenotypeRow(
    suffix="T1w",
    spearman_rho=0.2,
    p_holm=0.01,
    rho_difference=0.4,
    difference_ci_low=0.1,
    difference_ci_high=0.7,
)


@pytest.mark.parametrize(
    ("original", "defaced", "words"),
    [
        (ORIGINAL, DEFACED, "Signal is lost: rho 0.60 from originals, 0.20 from defaced images"),
        (ORIGINAL, replace(DEFACED, p_holm=0.6), "No loss was shown"),
        (ORIGINAL, replace(DEFACED, rho_difference=-0.4), "stronger after defacing, which asks for an explanation"),
        (replace(ORIGINAL, p_permutation=0.3), DEFACED, "could not be predicted from the originals either"),
        (ORIGINAL, None, "Not measured for this tool"),
        (None, None, "Not measured: too few participants"),
    ],
)
def test_phenotypes(original: PhenotypeRow | None, defaced: PhenotypeRow | None, words: str) -> None:
    assert words in findings.phenotype_line(original, defaced)


def test_whom_to_do_again() -> None:
    used = GroupParticipantRow(participant_id="sub-1", suffix="T1w", state="used", face_verdict="pass")
    look = GroupParticipantRow(participant_id="sub-2", suffix="T1w", state="used", brain_verdict="warn")
    failed = GroupImageRow(participant_id="sub-3", state="failed")
    assert findings.redo_line([used], []) == "Nobody, of 1 participant."
    assert findings.redo_line([used, look], []) == "Nobody, of 2 participants. Somebody should look at 1 more."
    line = findings.redo_line([used, look], [failed])
    assert line == "1 of 3 participants, with one tool or more: sub-3. Somebody should look at 1 more."


def test_a_warning_is_said_once_for_each_head() -> None:
    said = "This head differs."
    rows = [
        GroupParticipantRow(participant_id=f"sub-{number}", suffix="T1w", tool=tool, state="used", reason=reason)
        for number, reason in ((1, said), (2, None), (3, said))
        for tool in "ab"
    ]
    failed = GroupParticipantRow(participant_id="sub-4", suffix="T1w", tool="a", state="excluded", reason="face left")
    assert findings.warned_lines([*rows, failed]) == ["2 of 4 participants (sub-1 and sub-3): This head differs."]
    assert findings.warned_lines(rows[2:4]) == []


@pytest.mark.parametrize(
    ("value", "digits", "percent", "expected"),
    [
        (0.123456, 2, False, "0.12"),
        (-0.5, 2, False, "\u22120.50"),
        (1e-06, 3, False, "<\u20090.001"),
        (0, 2, False, "0.00"),
        (0.416667, 1, True, "41.7\u2009%"),
        (-1e-05, 2, False, ">\u2009-0.01"),
        (None, 2, False, "nan"),
    ],
)
def test_numbers(value: float | None, digits: int, percent: bool, expected: str) -> None:
    assert shown(value, digits, percent) == expected


def test_a_number_keeps_the_text_of_its_table() -> None:
    row = DistanceRow(participant_id="sub-01", masd_mm=0.123456, p95_mm=1e-06, n_vertices=1234567)
    assert 'value="0.123456"' in number(row, "masd_mm") and 'value="1e-06"' in number(row, "p95_mm")
    assert 'value="1234567"' in number(row, "n_vertices")
    assert "n/a" in number(row, "median_mm") and "n/a" in number(None, "masd_mm")


def test_markdown_is_escaped() -> None:
    made = markdown("# Title <b>\n\nOne\ntwo & **three**\n\n- a\n- b\n\n1. <i>c</i>")
    assert made == (
        "<h3>Title &lt;b&gt;</h3>\n<p>One\ntwo &amp; <strong>three</strong></p>\n"
        "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<ol>\n<li>&lt;i&gt;c&lt;/i&gt;</li>\n</ol>\n"
    )
    assert "<h6>" in markdown("###### f"), "HTML has six levels"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("sub-<script>alert(1)</script>", "sub-&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<div onclick='x'>\n</div>", "&lt;div onclick='x'&gt;\n&lt;/div&gt;"),
        ("[a](javascript:alert(1))", "[a](javascript:alert(1))"),
        ("![a](https://example.org/a.png)", "![a](https://example.org/a.png)"),
        ("<https://example.org> and https://example.org", "&lt;https://example.org&gt; and https://example.org"),
        ("`a` \\* &lt; refaced_mean, a_b_c", "`a` \\* &amp;lt; refaced_mean, a_b_c"),
    ],
)
def test_markdown_has_no_elements_of_others(text: str, html: str) -> None:
    assert markdown(text) == f"<p>{html}</p>\n"
    assert markdown(f"- {text}").startswith("<ul>\n<li>") and "<script" not in markdown(f"- {text}")
