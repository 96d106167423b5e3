"""Every table is read by one function, and all tables about participants by one more."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bids_refacer.dataset.participants import MISSING, read_participants
from bids_refacer.dataset.rows.tsv import TableError, TextTable, read_tsv
from bids_refacer.group.cohorts import read_subgroups
from bids_refacer.group.phenotype_tables import read_phenotypes
from bids_refacer.training.data.selection import read_rows

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


def test_no_other_reader_of_tables_is_left() -> None:
    by_hand = re.compile(r"read_csv|csv\.(Dict)?[rR]eader|split\(\"\\t\"\)")
    users = [path for path in PACKAGE.rglob("*.py") if by_hand.search(path.read_text())]
    assert [path.relative_to(PACKAGE).as_posix() for path in users] == ["dataset/rows/tsv.py"]
