"""The node that describes faces never fails an audit: what is wrong stands in its one row."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from output_folders import layout_of
from records_by_hand import add_record, image_of, selection_of
from small_datasets import STAND_IN, settings_for, start_dataset

from bids_refacer.audit.nodes.recognise import Recognise
from bids_refacer.audit.plan import make_plan
from bids_refacer.audit.results import read_results
from bids_refacer.audit.status import status_rows
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.records import read_record
from bids_refacer.dataset.rows.audit import subject_columns
from bids_refacer.dataset.rows.recognition import RecognitionRow
from bids_refacer.files import write_json

GIVEN = {"views": 2, "weights": {}, "version": "1", "gpu": "none"}


def node(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch, **inputs: object) -> Recognise:
    """A node whose command is a script, in a folder with all files that it wants."""
    script = folder / "command.py"
    script.write_text(f"import json, sys\nfrom pathlib import Path\nfolder = Path(sys.argv[2])\n{body}\n")
    monkeypatch.setattr(Recognise, "command", (sys.executable, str(script)))
    monkeypatch.chdir(folder)
    for name in ("in", "alignment", "defaced", "average", "sample", "fitted"):
        (folder / name).write_text("x")
    return Recognise(**{"alignment": str(folder / "alignment"), **GIVEN, **inputs})


WORKS = """
(folder / "original.npz").write_bytes(b"1")
rows = [{"image_type": "original", "recogniser": "dlib", "view": "mean", "similarity": 0.9}]
(folder / "recognition.json").write_text(json.dumps({"Rows": rows, "RunTime": 1.5}))
"""


def test_an_original_is_handed_on_with_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = node(tmp_path, WORKS, monkeypatch, in_file=str(tmp_path / "in")).run().outputs
    assert [Path(path).name for path in [found.files] if isinstance(found.files, str)] == ["original.npz"]
    (row,) = json.loads(Path(found.rows).read_text())
    assert row["similarity"] == 0.9 and json.loads(Path(found.details).read_text()) == {"RunTime": 1.5}
    job = json.loads((tmp_path / "job.json").read_text())
    assert job["images"] == [
        {"image_type": "original", "sample": None, "name": "original.npz", "path": str(tmp_path / "in")}
    ]


def test_what_was_made_of_it_is_described_against_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = tmp_path / "known"
    known.mkdir()
    (known / "original.npz").write_bytes(b"1")
    (known / "rows.json").write_text('[{"image_type": "original"}]')
    (known / "details.json").write_text("{}")
    found = (
        node(
            tmp_path,
            WORKS,
            monkeypatch,
            original_files=[str(known / "original.npz")],
            original_rows=str(known / "rows.json"),
            original_details=str(known / "details.json"),
            defaced=str(tmp_path / "defaced"),
            average=str(tmp_path / "average"),
            samples=[str(tmp_path / "sample")],
            fitted=str(tmp_path / "fitted"),
        )
        .run()
        .outputs
    )
    assert len(json.loads(Path(found.rows).read_text())) == 2, "the rows of the original stand with the tool's"
    job = json.loads((tmp_path / "job.json").read_text())
    kinds = [(one["image_type"], one["sample"], one["name"]) for one in job["images"]]
    assert kinds == [
        ("defaced", None, "defaced.npz"),
        ("average", None, "average.npz"),
        ("refaced", 1, "refaced-1.npz"),
        ("average-fitted", None, "average-fitted.npz"),
    ]
    assert job["described"] == str(known / "original.npz") and job["images"][-1]["path"] == str(tmp_path / "fitted")


def test_a_command_that_fails_gives_one_row_that_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "sys.exit('dlib.safetensors is not the file that was published: install it again.')"
    found = node(tmp_path, body, monkeypatch, in_file=str(tmp_path / "in")).run().outputs
    problem = "dlib.safetensors is not the file that was published: install it again."
    assert json.loads(Path(found.rows).read_text()) == [{"note": problem}]
    assert json.loads(Path(found.details).read_text())["Problem"] == problem

    other = tmp_path / "tool"
    other.mkdir()
    after = (
        node(
            other,
            "raise SystemExit('never asked')",
            monkeypatch,
            original_details=found.details,
            original_rows=found.rows,
            defaced=str(other / "defaced"),
            average=str(other / "average"),
            samples=[str(other / "sample")],
        )
        .run()
        .outputs
    )
    assert json.loads(Path(after.rows).read_text()) == [{"note": problem}], "said once, and nothing is tried in vain"


def test_the_status_says_that_nobody_could_be_recognised(tmp_path: Path) -> None:
    bids = start_dataset(tmp_path / "in")
    image, settings = image_of(bids, "sub-01_T1w"), settings_for(bids, tmp_path / "out", recognition=True)
    plan = make_plan(selection_of(image), settings, STAND_IN)
    record = add_record(tmp_path / "out", image, "quickshear", plan.jobs[0].tools[0].key)
    row = RecognitionRow(**subject_columns(image, "quickshear"), note="No disk.")
    path = OutputNames.of(layout_of(tmp_path / "out"), image).record("quickshear")
    write_json(path, replace(record, recognition=(row,)).to_json())
    assert (read_record(path) or record).recognition == (row,)
    plan = make_plan(selection_of(image), settings, STAND_IN)
    assert not plan.jobs, "a record with recognition is current"
    (status,) = status_rows(plan, read_results(plan), ())
    assert (status.status, status.message) == ("ok", "Recognition was not possible: No disk.")


def test_recognition_is_a_part_of_the_key_that_others_do_not_miss(tmp_path: Path) -> None:
    bids = start_dataset(tmp_path / "in")
    image, settings = image_of(bids, "sub-01_T1w"), settings_for(bids, tmp_path / "out", recognition=True)
    with_it = make_plan(selection_of(image), settings, STAND_IN).jobs[0].tools[0].key
    add_record(tmp_path / "out", image, "quickshear", with_it)
    without = replace(settings, recognition=False)
    assert not make_plan(selection_of(image), without, STAND_IN).jobs, "what was described all the same serves"
    for changes in ({"recognition_views": 3}, {"recognisers_file": _own(tmp_path)}):
        assert make_plan(selection_of(image), replace(settings, **changes), STAND_IN).jobs
    bare = make_plan(selection_of(image), replace(without, seed=1), STAND_IN).jobs[0].tools[0].key
    assert "Recognition" in with_it and "Recognition" not in bare


def _own(folder: Path) -> Path:
    path = folder / "own.toml"
    path.write_text("[recogniser.mine]\ncommand = 'mine {images} {vectors}'\n")
    return path
