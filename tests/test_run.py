"""One real run over a dataset with a good head and every kind of bad input: what it does, what it leaves, what it says.

Nodes, tools, brain extractor and scoring are the real ones; only the model has a stand-in.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from output_folders import identifiable, shareable
from small_datasets import DAMAGED, Done, add_damaged_images, add_image, run_with_stand_in, settings_for, start_dataset

from bids_refacer.dataset.seeds import seed_for
from bids_refacer.dataset.tables import read_table
from bids_refacer.dataset.validation import validate
from bids_refacer.phenotypes.voxels import read_voxels
from bids_refacer.settings import RunSettings

GOOD = "sub-01/ses-a/anat/sub-01_ses-a_run-1_T1w.nii.gz"
STEM = "sub-01/ses-a/anat/sub-01_ses-a_run-1"
TOOLS = ("quickshear", "skullstrip")


def contents(root: Path, without: str = "logs") -> dict[str, tuple[int, str]]:
    """Every file's time of change and digest."""
    return {
        path.relative_to(root).as_posix(): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(root.rglob("*"))
        if path.is_file() and without not in path.parts
    }


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = start_dataset(tmp_path_factory.mktemp("run") / "a dataset")  # with a space, as people have them
    add_image(root, "sub-01_ses-a_run-1_T1w")
    add_image(root, "sub-01_ses-a_T2w", np.ones((5, 5, 5), dtype=np.uint8))
    add_damaged_images(root)
    return root


@pytest.fixture(scope="module")
def audit(bids: Path) -> Done:
    output, before = bids.parent / "out put", contents(bids)
    settings = settings_for(bids, output, deface_tools=TOOLS, num_samples=2, skip_bids_validation=False)
    folders = [bids, *(path for path in bids.rglob("*") if path.is_dir() and not path.is_symlink())]
    for folder in folders:
        folder.chmod(0o555)
    done = run_with_stand_in(settings, calls=bids.parent / "calls")
    for folder in folders:
        folder.chmod(0o755)
    assert contents(bids) == before, "the input was written to"
    return done


def rows_of(done: Done, table: str, **wanted: str) -> list[dict[str, str | None]]:
    rows = read_table(shareable(done.settings.output_dir) / f"{table}.tsv")
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


@pytest.mark.parametrize(("participant", "words"), DAMAGED.items())
def test_bad_input_is_a_sentence(audit: Done, participant: str, words: str) -> None:
    rows = rows_of(audit, "status", participant_id=participant, status="failed")
    assert rows and all(row["stage"] == "input" for row in rows)
    for row in rows:
        assert words in row["message"] and participant in row["message"] and "Error" not in row["message"]
    assert words in audit.out and "Traceback" not in audit.out + audit.err
    assert not (shareable(audit.settings.output_dir) / participant).exists()


def test_the_good_image_is_done_and_the_exit_code_tells(audit: Done) -> None:
    assert audit.code == 1 and audit.err == ""
    rows = rows_of(audit, "status", image=GOOD)
    assert [(row["tool"], row["session_id"], row["status"]) for row in rows] == [(t, "ses-a", "ok") for t in TOOLS]
    assert all(float(row["run_time_s"] or 0) > 0 for row in rows)


def test_images_that_the_run_leaves_as_they_are_have_a_row(audit: Done) -> None:
    rows = {row["participant_id"]: row for row in rows_of(audit, "status", status="skipped")}
    assert set(rows) == {"sub-01", "sub-other"} and rows["sub-01"]["tool"] is None
    said = "sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz may show the face too and was not defaced: give --apply-to-others"
    assert said in str(rows["sub-01"]["message"]) and "--suffix T2w" in str(rows["sub-01"]["message"])
    assert "2 other images may show the face and were not defaced (--apply-to-others does): sub-01/ses-a" in audit.out


def test_failures_come_first_in_the_summary(audit: Done) -> None:
    lines = audit.out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith("failed or were not done:"))
    assert lines[start].split()[0] == str(len(rows_of(audit, "status", status="failed")))
    assert sum("sub-zero" in line for line in lines[start:]) == 1, "tools that fail alike share a line"
    place = next(number for number, line in enumerate(lines) if line.startswith("2 image x tool done; results in "))
    assert "identifiable" in lines[place + 1] and place > start
    for tool in TOOLS:
        assert any(
            re.match(rf"{tool}: .*; the attack came nearer than an average face in \d of 1\.", line) for line in lines
        )
    assert lines[-2] == "The same command again does what failed or was not done, and nothing else."
    assert lines[-1] == f"Next: bids_refacer '{audit.settings.bids_dir}' '{audit.settings.output_dir}' group"


def test_a_line_for_each_image_and_stage(audit: Done) -> None:
    label = "sub-01 ses-a run-1 T1w"
    for words in ("brain found in", "aligned in"):
        assert f"{label}: {words}" in audit.out
    for tool in TOOLS:
        for stage in ("defaced in", "refaced in", "scored in", "recovered to"):
            assert f"{label} {tool}: {stage}" in audit.out
    assert "sub-zero T1w: failed while reading the image" in audit.out


def test_both_datasets_are_valid(audit: Done) -> None:
    for folder in (shareable, identifiable):
        said = validate(folder(audit.settings.output_dir), warnings=True)
        assert [line for line in said if "NIFTI_UNIT" not in line] == [], "the original's header has no unit either"


def test_outputs(audit: Done) -> None:
    output = audit.settings.output_dir
    shared = shareable(output)
    published = {path.relative_to(shared).as_posix() for path in shared.glob("sub-*/**/*") if path.is_file()}
    expected = {f"{STEM}_desc-brain_mask"}
    for tool in TOOLS:
        expected |= {f"{STEM}_desc-{tool}Defaced_T1w", f"{STEM}_mod-T1w_desc-{tool}_defacemask"}
    tables = {f"{STEM}_mod-T1w_desc-{tool}_surfacedistance" for tool in TOOLS}
    assert published == {f"{name}{end}" for name in expected for end in (".nii.gz", ".json")} | {
        f"{name}{end}" for name in tables for end in (".tsv", ".json")
    }
    private = identifiable(output)
    for name in ("Refaced1", "Refaced2", "RefacedMean", "AverageFace"):
        assert (private / f"{STEM}_desc-quickshear{name}_T1w.nii.gz").is_file()
        assert (private / f"{STEM}_mod-T1w_desc-quickshear{name}_face.surf.gii").is_file()
        assert (private / f"{STEM}_mod-T1w_desc-quickshear{name}_distance.shape.gii").is_file()
        assert (private / f"{STEM}_mod-T1w_desc-quickshear{name}_facemap.npz").is_file()
    tools_own = ("quickshearDefaced", "quickshearRefaced1", "skullstripRefacedMean", "skullstripAverageFace")
    for name in ("original", *tools_own):
        assert read_voxels(private / f"{STEM}_mod-T1w_desc-{name}_facialvoxels.npz").any()
        assert (private / f"{STEM}_mod-T1w_desc-{name}_facialvoxels.json").is_file()
    assert not list(private.glob("**/*Refaced2_facialvoxels*")), "one sample says what a sample can"
    assert (private / f"{STEM}_mod-T1w_desc-original_facemap.json").is_file()
    assert rows_of(audit, "participants") == [{"participant_id": "sub-01"}]


def test_identifiable_data_is_closed(audit: Done) -> None:
    for folder in (identifiable(audit.settings.output_dir), audit.settings.work_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_distances(audit: Done) -> None:
    for tool in TOOLS:
        rows = rows_of(audit, "surfacedistance", tool=tool, part="face")
        found = {(row["image_type"], row["sample"]): float(row["masd_mm"] or "nan") for row in rows}
        kinds = [("defaced", None), ("average", None), ("refaced", "1"), ("refaced", "2"), ("refaced_mean", None)]
        kinds += [("refaced_sample_mean", None), ("refaced_best", "1"), ("average-fitted", None)]
        assert set(found) == set(kinds)
        # the stand-in paints the very face back
        assert found["refaced", "1"] == pytest.approx(0, abs=1e-4)
        assert found["defaced", None] > 2
    own = read_table(shareable(audit.settings.output_dir) / f"{STEM}_mod-T1w_desc-quickshear_surfacedistance.tsv")
    assert own == rows_of(audit, "surfacedistance", tool="quickshear")
    assert rows_of(audit, "calibration", tool="quickshear") == [], "the stand-in's samples are equal"
    (quickshear, skullstrip) = rows_of(audit, "defacing")
    assert float(quickshear["brain_removed_ml"] or "nan") == 0
    assert float(skullstrip["removed_head_ml"] or 0) > float(quickshear["removed_head_ml"] or 0) > 100


def test_sidecars(audit: Done) -> None:
    private = identifiable(audit.settings.output_dir)
    sample = json.loads((private / f"{STEM}_desc-quickshearRefaced2_T1w.json").read_text())
    assert sample["Seeds"] == [seed_for(0, GOOD, "quickshear", 1)], "that of sample 1"
    assert sample["Description"].endswith("sample 2: the other side of sample 1, mirrored about the learned mean")
    assert sample["Synthetic"] is True and sample["WeightsSHA256"] == {"prior.safetensors": "0" * 64}
    assert sample["Sources"] == [f"bids:shareable:{STEM}_desc-quickshearDefaced_T1w.nii.gz"]
    assert sample["Options"]["Sampler"] == "dpmpp2m" and sample["RunTime"] > 0
    assert "--seeds" in sample["Command"] and "--tool" not in sample["Command"]
    assert str(audit.settings.output_dir) not in json.dumps(sample)
    average = json.loads((private / f"{STEM}_desc-quickshearAverageFace_T1w.json").read_text())
    assert average["WeightsSHA256"] == {} and average["Seeds"] == [] and average["Synthetic"] is True
    defaced = json.loads((shareable(audit.settings.output_dir) / f"{STEM}_desc-quickshearDefaced_T1w.json").read_text())
    assert defaced["Sources"] == [f"bids:raw:{GOOD}", f"bids::{STEM}_desc-brain_mask.nii.gz"]
    assert defaced["Tool"] == "quickshear" and defaced["Command"] and defaced["RunTime"] > 0


def test_pages(audit: Done) -> None:
    output = audit.settings.output_dir
    assert {path.name for path in shareable(output).glob("*.html")} == {
        "sub-01.html",
        *(f"{name}.html" for name in DAMAGED),
    }
    (with_faces,) = identifiable(output).glob("*.html")
    assert with_faces.name == "sub-01.html" and "Do not share" in with_faces.read_text()
    assert "is truncated or damaged" in (shareable(output) / "sub-trunc.html").read_text()
    assert f"Pages: {shareable(output)}/sub-*.html; with faces, not for sharing: {identifiable(output)}/" in audit.out


def test_log_and_citation(audit: Done) -> None:
    (folder,) = (identifiable(audit.settings.output_dir) / "logs").iterdir()
    assert RunSettings.from_toml(folder / "settings.toml") == audit.settings
    log = (folder / "run.log").read_text()
    assert "sub-01 ses-a run-1 T1w quickshear: defaced in" in log and "is truncated or damaged" in log
    citation = (shareable(audit.settings.output_dir) / "CITATION.md").read_text()
    assert "quickshear" in citation and "2 faces were drawn" in citation and "pydeface" not in citation


# what follows runs the app again on the same output; each test leaves it as complete as it found it ---------------


def again(audit: Done, fails: str = "", **changes: object) -> tuple[Done, int]:
    """Run once more on the good participant; also how often the model was called."""
    calls = audit.settings.output_dir.parent / "calls again"
    calls.write_text("")
    values = {"deface_tools": TOOLS, "num_samples": 2, "participant_label": ("01",)}
    settings = settings_for(audit.settings.bids_dir, audit.settings.output_dir, **{**values, **changes})
    return run_with_stand_in(settings, fails=fails, calls=calls), len(calls.read_text().splitlines())


def test_again_nothing_is_computed_and_nothing_changes(audit: Done) -> None:
    before = contents(audit.settings.output_dir, without="")
    done, calls = again(audit)
    assert (done.code, calls) == (0, 0)
    assert contents(audit.settings.output_dir, without="") == before
    assert "2 image x tool done, 2 of them by an earlier run" in done.out


def test_an_input_with_a_new_time_is_the_same_input(audit: Done) -> None:
    path = audit.settings.bids_dir / GOOD
    shutil.copyfile(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)
    before = contents(audit.settings.output_dir, without="")
    assert again(audit)[0].code == 0
    assert contents(audit.settings.output_dir, without="") == before


def test_what_is_missing_is_put_back(audit: Done) -> None:
    sample = identifiable(audit.settings.output_dir) / f"{STEM}_desc-quickshearRefaced2_T1w.nii.gz"
    content = sample.read_bytes()
    sample.unlink()
    done, calls = again(audit)
    assert (done.code, calls) == (0, 1), "one tool alone is run again"
    assert sample.read_bytes() == content


def test_one_tool_fails_and_the_other_is_done_with_new_settings(audit: Done) -> None:
    output = audit.settings.output_dir
    done, calls = again(audit, fails="skullstrip", seed=9, num_samples=1)
    assert (done.code, calls) == (1, 2)
    quickshear, skullstrip = rows_of(audit, "status", image=GOOD)
    assert quickshear["status"] == "ok"
    assert (skullstrip["stage"], skullstrip["status"]) == ("reface", "failed")
    assert skullstrip["message"] == "The stand-in cannot reface this."
    private = identifiable(output) / "sub-01/ses-a/anat"
    assert not list(private.glob("*quickshearRefaced2*")), "there is one sample now"
    assert not list(private.glob("*skullstrip*")), "results of other settings must not outlive a failure"
    assert {row["tool"] for row in rows_of(audit, "surfacedistance")} == {"quickshear"}
    assert len(rows_of(audit, "status", participant_id="sub-zero")) == 2, "rows about others stay"
    sidecar = json.loads((private / f"{Path(STEM).name}_desc-quickshearRefaced1_T1w.json").read_text())
    assert sidecar["Seeds"] == [seed_for(9, GOOD, "quickshear", 1)]
    assert again(audit)[0].code == 0
    assert {row["tool"] for row in rows_of(audit, "surfacedistance")} == set(TOOLS)


def test_pages_are_made_again_from_outputs(audit: Done) -> None:
    pages = [folder(audit.settings.output_dir) / "sub-01.html" for folder in (shareable, identifiable)]
    before = [page.read_bytes() for page in pages]
    for page in pages:
        page.unlink()
    done, calls = again(audit, reports_only=True)
    assert (done.code, calls) == (0, 0) and [page.read_bytes() for page in pages] == before


def test_recovered_faces_are_removed_on_request(audit: Done) -> None:
    output = audit.settings.output_dir
    distances = (shareable(output) / "surfacedistance.tsv").read_text()
    for _ in range(2):  # and it is no reason to compute anything again
        done, calls = again(audit, keep_refaced=False)
        assert (done.code, calls) == (0, 0)
        private = identifiable(output)
        left = {path.name for path in private.iterdir()} - {"work"}
        assert left == {".bidsignore", ".bids_refacer", "README", "dataset_description.json", "logs"}
        # other runs may be at work on the participants that this one was not asked for
        nodes = {path.name for path in (private / "work").glob("bids_refacer-*/*/*")}
        assert nodes and not any("01" in name for name in nodes)
        assert (shareable(output) / "surfacedistance.tsv").read_text() == distances
    assert validate(shareable(output)) == []
