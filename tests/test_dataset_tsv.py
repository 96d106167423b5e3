"""Every table is read by one function, and all tables about participants by one more."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bids_refacer.dataset.participants import MISSING, read_participants
from bids_refacer.dataset.rows.tsv import TableError, TextTable, read_tsv
from bids_refacer.group.cohorts import read_subgroups, subgroup_notes
from bids_refacer.group.phenotype_tables import read_phenotypes
from bids_refacer.training.data.selection import read_rows, table_notes

PACKAGE = Path(__file__).parent.parent / "bids_refacer"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., TextTable]:
    def read(text: str, **options: bool) -> TextTable:
        (tmp_path / "t.tsv").write_text(text, newline="")
        return read_tsv(tmp_path / "t.tsv", "mend it.", **options)

    return read


def test_cells_are_texts_as_they_stand(read: Callable[..., TextTable]) -> None:
    table = read('a\tb \n1\t"n/a\n 2\t\n')
    assert table.columns == ("a", "b")
    assert table.rows() == [{"a": "1", "b": '"n/a'}, {"a": " 2", "b": ""}]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa\tb\n1\t2\n",
        "a\tb\r\n1\t2\r\n",
        "\na\tb\n\n1\t2\n\t\n\n",
        "a\tb\t\n1\t2\t\t\n",
        "a\tb\n1\t2\t",
        "a\tb\n1\t2",
    ],
)
def test_marks_blank_lines_and_blank_cells_at_the_end_are_passed_over(
    text: str, read: Callable[..., TextTable]
) -> None:
    assert read(text) == TextTable(columns=("a", "b"), cells=[["1", "2"]])


def test_a_table_may_have_no_rows(read: Callable[..., TextTable]) -> None:
    assert read("a\tb\n").rows() == []
    assert list(read("a\tb\n").frame(missing=MISSING)) == ["a", "b"]


def test_a_column_that_comes_twice_is_numbered(read: Callable[..., TextTable]) -> None:
    assert read("a\tb\ta\ta\n1\t2\t3\t4\n").rows() == [{"a": "1", "b": "2", "a.1": "3", "a.2": "4"}]


@pytest.mark.parametrize(("rows", "count"), [("3\n", "1 cell"), ("3\t4\t5\n", "3 cells")])
def test_a_row_that_does_not_fit_is_named_with_its_line(rows: str, count: str, read: Callable[..., TextTable]) -> None:
    with pytest.raises(TableError, match=rf"t.tsv has {count} in line 4 but 2 columns: mend it\.$"):
        read("a\tb\n\n1\t2\n" + rows)


def test_rows_may_lack_their_last_cells_where_that_is_allowed(read: Callable[..., TextTable]) -> None:
    assert read("a\tb\tc\n1\n", short_rows=True).cells == [["1", "", ""]]
    with pytest.raises(TableError, match="has 4 cells in line 2 but 3 columns"):
        read("a\tb\tc\n1\t2\t3\t4\n", short_rows=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is no table that can be read (No such file or directory): mend it."),
        (b"", "is no table (No columns to parse from file): mend it."),
        (b"\n \n", "is no table (No columns to parse from file): mend it."),
        (b"a\tb\n\xff\t2\n", "is no table ('utf-8' codec can't decode byte 0xff in position 4"),
    ],
)
def test_what_is_no_table_is_named(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError, match=re.escape(f"{path} {words}")):
        read_tsv(path, "mend it.")


def test_a_frame_has_gaps_where_a_text_says_so(read: Callable[..., TextTable]) -> None:
    table = read("a\tb\tc\nn/a\t\tn/a\nx\t1\tn/a\n")
    assert table.frame(missing=MISSING).isna().to_numpy().tolist() == [[True, True, True], [False, False, True]]
    assert table.frame(missing=["n/a"])["b"].tolist() == ["", "1"]
    assert table.frame(missing=MISSING)["a"].dropna().tolist() == ["x"]


def test_labels_with_and_without_sub_are_the_same_participant(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_text("\ufeffage\tparticipant_id\tsex\n30\t01 \tF\n\n40\tsub-02\n50\tsub-02\tM\t\n60\tn/a\tM\n\t\tF\n")
    rows = read_participants(path).rows()
    assert [tuple(row.values()) for row in rows] == [("30", "sub-01", "F"), ("40", "sub-02", ""), ("50", "sub-02", "M")]


def test_a_table_about_nobody_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_text("name,age\n01,30\n")
    with pytest.raises(TableError, match=r"participants.tsv has no column 'participant_id': add it, or remove the "):
        read_participants(path)


def test_all_who_read_participants_tsv_know_the_same_participants(tmp_path: Path) -> None:
    """Labels without ``sub-``, a byte order mark, and blanks at the end, which spreadsheets leave."""
    text = "\ufeffparticipant_id\tsex\tage\tfat\t\n1\tF\t30\t7.5\t\n2\tM\t50\t8\t\n3\tM\n\t\t\t\n"
    (tmp_path / "participants.tsv").write_text(text)
    assert read_subgroups(tmp_path) == {
        "sex": {"sub-1": "F", "sub-2": "M", "sub-3": "M"},
        "age": {"sub-1": "18-39", "sub-2": "40-59"},
    }
    phenotypes = read_phenotypes(tmp_path, None, ("fat",), ("age",))
    assert phenotypes is not None
    assert phenotypes.targets["fat"].dropna().to_dict() == {"sub-1": 7.5, "sub-2": 8.0}
    assert phenotypes.covariates["age"].dropna().to_dict() == {"sub-1": 30.0, "sub-2": 50.0}
    rows = read_rows(tmp_path, ["1", "2", "3"])
    assert {label: (row["sex"], row["age"]) for label, row in rows.items()} == {
        **{"1": ("F", "30"), "2": ("M", "50")},
        **{"3": ("M", "")},
    }


def people(root: Path, *labels: str) -> Path:
    """A dataset of participants without images; its table."""
    for label in labels:
        (root / f"sub-{label}").mkdir(parents=True)
    return root / "participants.tsv"


def test_labels_that_lost_their_zeros_are_matched_and_said(tmp_path: Path) -> None:
    """As a spreadsheet or a data frame writes them."""
    path = people(tmp_path, "001", "002", "010", "A1")
    path.write_text("participant_id\tsex\tage\n1\tF\t20\n2.0\tM\t30\n10\tF\t70\nA1\tM\t80\n")
    assert read_subgroups(tmp_path)["sex"] == {"sub-001": "F", "sub-002": "M", "sub-010": "F", "sub-A1": "M"}
    (note,) = subgroup_notes(tmp_path, ["sub-001", "sub-002", "sub-010", "sub-A1"])
    assert note == (
        "participants.tsv: labels without their leading zeros are matched: 1 is sub-001, 2.0 is sub-002, 10 is sub-010."
    )
    phenotypes = read_phenotypes(tmp_path, None, ("age",), ("sex",))
    assert phenotypes is not None and phenotypes.unmatched == (note,)
    assert phenotypes.targets["age"]["sub-001"] == 20
    assert read_rows(tmp_path, ["001", "002", "010", "A1"])["002"]["sex"] == "M"
    assert table_notes(tmp_path, ["001", "002", "010", "A1"]) == (note,)


@pytest.mark.parametrize(
    ("labels", "rows", "words"),
    [
        (("01", "001"), "1\n", "1 may be sub-001 or sub-01, which is not clear"),
        (("001",), "1\n01\n", "1, 01 may be sub-001, which is not clear"),
        (
            ("001",),
            "1\n001\n",
            "1 may be sub-001, which is not clear, so that nobody is taken for it: write the labels",
        ),
    ],
)
def test_zeros_are_not_guessed(tmp_path: Path, labels: tuple[str, ...], rows: str, words: str) -> None:
    path = people(tmp_path, *labels)
    path.write_text(f"participant_id\n{rows}")
    table = read_participants(path, sorted(labels))
    assert words in table.notes[0]
    assert [row["participant_id"] for row in table.rows()] == [f"sub-{label}" for label in rows.split()]


def test_a_table_that_names_nobody_of_the_dataset_is_said(tmp_path: Path) -> None:
    path = people(tmp_path, "a", "b")
    path.write_text("participant_id\tage\nx\t20\ny\t30\n")
    (note,) = subgroup_notes(tmp_path, ["sub-a", "sub-b"])
    assert note == (
        "participants.tsv names none of the participants of the dataset (it has x, y; the dataset has a, b), so that "
        "nothing in it is used: correct its column participant_id."
    )
    path.write_text("participant_id\tage\na\t20\n")
    assert subgroup_notes(tmp_path, ["sub-b"]) == [
        "participants.tsv names none of the participants that have results: no subgroups."
    ]
    path.unlink()
    assert subgroup_notes(tmp_path, ["sub-b"]) == []


def test_subgroups_without_anyone_are_said(tmp_path: Path) -> None:
    path = people(tmp_path, "a", "b")
    path.write_text("participant_id\tage\tsex\tsite\tweight\na\told\tn/a\tx\t7\nc\t30\tM\ty\t8\n")
    assert subgroup_notes(tmp_path, ["sub-a", "sub-b"]) == [
        "participants.tsv does not name 1 of 2 participants, who are in no subgroup: sub-b",
        "participants.tsv: the column age has no value, such as 'old', that makes subgroups.",
        "participants.tsv: the column sex has no value that makes subgroups.",
    ]


def test_a_covariate_that_nobody_has_is_said(tmp_path: Path) -> None:
    path = people(tmp_path, "a", "b")
    path.write_text("participant_id\tage\tfat\na\t\t7\nb\tn/a\t8\nc\t40\t\n")
    phenotypes = read_phenotypes(tmp_path, None, ("fat",), ("age",))
    assert phenotypes is not None
    assert phenotypes.unmatched == ("The covariate age (participants.tsv) has no value for anyone who has a target.",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "participant_id\tsite\n1\tK\u00f6ln\n".encode("latin-1"),
            "it is text in Latin-1 or Windows-1252, not in UTF-8 (line 2): save it as UTF-8, for example with "
            "`iconv -f ISO-8859-1 -t UTF-8 participants.tsv > new.tsv`.",
        ),
        (
            "participant_id\tsite\n1\tK\u00f6ln\n".encode("utf-16"),
            "it is text in UTF-16, not in UTF-8 (line 1): save it as UTF-8, for example with "
            "`iconv -f UTF-16 -t UTF-8 participants.tsv > new.tsv`.",
        ),
        (b"participant_id\n\x00\x01\xff\n", "invalid start byte): give a tab-separated file."),
    ],
)
def test_another_encoding_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = people(tmp_path, "1")
    path.write_bytes(content)
    with pytest.raises(TableError, match=re.escape(words)):
        read_participants(path)


def test_no_other_reader_of_tables_is_left() -> None:
    by_hand = re.compile(r"read_csv|csv\.(Dict)?[rR]eader|split\(\"\\t\"\)")
    users = [path for path in PACKAGE.rglob("*.py") if by_hand.search(path.read_text())]
    assert [path.relative_to(PACKAGE).as_posix() for path in users] == ["dataset/rows/tsv.py"]
