"""Tables, their dictionaries, and files that appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.rows.audit import StatusRow, subject_columns
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.dataset.tables import (
    GROUP_TABLES,
    TABLES,
    data_dictionary,
    read_table,
    write_dictionary,
    write_table,
)
from bids_refacer.files import write_json, write_text
from bids_refacer.volumes.grid import Volume

IMAGE = HeadImage(
    path=Path("/in/sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"),
    entities={"sub": "01", "ses": "a"},
    participant="01",
    session="a",
    suffix="T1w",
    bids_uri="bids:raw:sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
)
DISTANCE_COLUMNS = (
    "participant_id session_id image tool image_type sample part masd_mm to_true_mm to_recovered_mm median_mm p95_mm "
    "hausdorff_mm signed_mean_mm n_vertices"
).split()


@pytest.mark.parametrize("table", TABLES + GROUP_TABLES)
def test_every_column_is_described(table: str, tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", table, [])
    write_dictionary(tmp_path / "t.json", table)
    columns = (tmp_path / "t.tsv").read_text().rstrip("\n").split("\t")
    written = json.loads((tmp_path / "t.json").read_text())
    about = written.pop("Description", "") if table == "participants" else "other tables have none"
    assert about and columns == list(written)
    for name, entry in written.items():
        assert entry["LongName"] and entry["Description"].endswith("."), name
        assert ("Units" in entry) == name.endswith(("_mm", "_ml", "_s", "_percent", "_fraction")), name


def test_columns_of_the_contract() -> None:
    assert list(data_dictionary("surfacedistance")) == DISTANCE_COLUMNS
    parts = list(data_dictionary("surfacedistance")["part"]["Levels"])
    assert parts == ["removed", "face", "nose", "eyes", "mouth", "chin", "cheeks", "forehead"]
    types = set(data_dictionary("surfacedistance")["image_type"]["Levels"])
    recovered = {"refaced", "refaced_mean", "refaced_best", "refaced_sample_mean"}
    assert types == {"defaced", *recovered, "average", "average-fitted"}
    assert set(data_dictionary("status")["status"]["Levels"]) == {"ok", "failed", "skipped", "running", "waiting"}


def test_defacing_columns_are_what_is_measured() -> None:
    """The numbers of the quality control are named once more in the code that makes them."""
    import numpy as np

    from bids_refacer.defacers.removed_volumes import removed_volumes

    block = np.zeros((16, 16, 16), bool)
    block[4:12, 4:12, 4:12] = True
    made = removed_volumes(Volume(block * 100.0, np.eye(4)), block, block)
    assert set(made) < set(data_dictionary("defacing"))


def test_an_undescribed_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"t.tsv: the table 'status' has no column \['colour'\]: describe it"):
        write_table(tmp_path / "t.tsv", "status", [{"colour": "red"}])
    assert not (tmp_path / "t.tsv").exists()


def test_a_value_that_is_no_level_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'done' is no level of the column 'status': use one of \['ok', 'failed'"):
        write_table(tmp_path / "t.tsv", "status", [{"status": "done"}])


def test_cells(tmp_path: Path) -> None:
    row = {**subject_columns(IMAGE, "average"), "masd_mm": 1.23456789, "p95_mm": float("nan"), "sample": None}
    write_table(tmp_path / "t.tsv", "surfacedistance", [{**row, "n_vertices": 1234567, "median_mm": 0.0}])
    (read,) = read_table(tmp_path / "t.tsv")
    assert (read["masd_mm"], read["median_mm"], read["n_vertices"]) == ("1.23457", "0", "1234567")
    assert read["p95_mm"] is read["sample"] is read["image_type"] is None
    assert (read["participant_id"], read["session_id"], read["tool"]) == ("sub-01", "ses-a", "average")
    assert read["image"] == "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"


def test_messages_stay_on_their_line(tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", "status", [{"message": "first\tline\nsecond  line"}, {"message": ""}])
    assert [row["message"] for row in read_table(tmp_path / "t.tsv")] == ["first line second line", None]


def test_absent_table_has_no_rows(tmp_path: Path) -> None:
    assert read_table(tmp_path / "absent.tsv") == []


def test_table_without_rows(tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", "status", [])
    assert read_table(tmp_path / "t.tsv") == []


def test_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tb\n1\t2\n3\n")
    with pytest.raises(ValueError, match="t.tsv has 1 cell in line 3 but 2 columns: delete the file and run again"):
        read_table(tmp_path / "t.tsv")


def test_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_same_text_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "é")
    before = path.stat()
    write_text(path, "é")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    write_text(path, "e")
    assert path.read_text() == "e"


def test_names_that_break_lines_or_control_a_terminal_leave_a_table_whole(tmp_path: Path) -> None:
    """Folders may be called anything; what is refused by such a name stands in the table all the same."""
    path = tmp_path / "status.tsv"
    names = ("sub-a\nb", "sub-c\td", "sub-e\x1b[2Jf", "sub-g\u2028h", "sub-i\rj")
    rows = [{"participant_id": name, "status": "failed", "message": f"{name}: no"} for name in names]
    write_table(path, "status", rows)
    found = read_rows(path, StatusRow)
    said = ["sub-a b", "sub-c d", r"sub-e\x1b[2Jf", "sub-g h", "sub-i j"]
    assert [row.participant_id for row in found] == said
    assert [row.message for row in found] == [f"{name}: no" for name in said]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        *(("participant_id", text) for text in ("sub-../../x", "sub-/x", "../x", "x", "/x")),
        *(("session_id", text) for text in ("ses-../x", "x")),
        *(("image", text) for text in ("../x", "/x", "a/../../x", "a//x", "")),
        *(("tool", text) for text in ("../x", "/", "-x")),
    ],
)
def test_a_table_that_names_what_cannot_be_is_refused(column: str, text: str, tmp_path: Path) -> None:
    """Pages and files are named after its cells."""
    cells = {"participant_id": "sub-01", "session_id": "ses-a", "image": "sub-01/a.nii", "tool": "t", column: text}
    path = tmp_path / "status.tsv"
    path.write_text("\t".join(cells) + "\n" + "\t".join(cells.values()) + "\n")
    with pytest.raises(DatasetError, match=rf"status.tsv, line 2: has '.*' in column '{column}', which must be"):
        read_rows(path, StatusRow)


def test_a_column_of_percent_means_one_thing() -> None:
    """``face_left_percent`` was the whole face region in one table and the worst part in another."""
    meanings: dict[str, set[str]] = {}
    for table in (*TABLES, *GROUP_TABLES):
        for name, about in data_dictionary(table).items():
            if name.endswith("_left_percent"):
                meanings.setdefault(name, set()).add(str(about["LongName"]))
    assert all(len(names) == 1 for names in meanings.values()), meanings
    assert meanings["worst_part_left_percent"] == {"Left of the worst part"}
