"""The parts of a run by themselves: seeds, records, crashes, progress, the child command."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from output_folders import identifiable, layout_of, shareable

from bids_refacer.audit.crash_files import Crash, read_crashes, sentence
from bids_refacer.audit.graph import stages
from bids_refacer.audit.graph.tool import build_tool
from bids_refacer.audit.nodes.child import ChildError, run_child
from bids_refacer.audit.nodes.publish import Output, Publish, WriteRecord
from bids_refacer.audit.nodes.reface import Reface
from bids_refacer.audit.nodes.reports import write_report
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.records import discard, fingerprint, is_current, read_record
from bids_refacer.dataset.seeds import seed_for
from bids_refacer.dataset.sidecars import Sidecar
from bids_refacer.dataset.tables import data_dictionary
from bids_refacer.layout import Layout
from bids_refacer.problems import AuditProblem, problem_names

IMAGES = [f"sub-{number:02}/anat/sub-{number:02}_T1w.nii.gz" for number in range(20)]


def test_seeds_do_not_depend_on_order_and_never_meet() -> None:
    about = list(itertools.product((0, 1), IMAGES, ("quickshear", "niimath"), (1, 2, 11)))
    forward = {item: seed_for(*item) for item in about}
    backward = {item: seed_for(*item) for item in reversed(about)}
    assert forward == backward
    assert len(set(forward.values())) == len(about)
    assert all(0 <= seed < 2**63 for seed in forward.values())


def test_seeds_stay_what_they_are() -> None:
    """A new version of the app must not change faces silently."""
    assert seed_for(0, "sub-01/anat/sub-01_T1w.nii.gz", "quickshear", 1) == 1616434022368930705


@pytest.fixture
def recorded(tmp_path: Path) -> SimpleNamespace:
    original, output = tmp_path / "in.nii.gz", tmp_path / "out"
    original.write_bytes(b"voxels")
    for path in (shareable(output) / "sub-01/a.nii.gz", identifiable(output) / "sub-01/b.nii.gz"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"1234")
    record = {
        "Key": {"Seed": 0},
        "Input": fingerprint(original).to_json(),
        "Image": "sub-01/anat/sub-01_T1w.nii.gz",
        "Tool": "x",
        "KeptRefaced": True,
        "Outputs": {"sub-01/a.nii.gz": 4, "identifiable/sub-01/b.nii.gz": 4},
        "Rows": [],
        "Deface": {},
        "Reface": {},
        "RunTime": 1.0,
    }
    (tmp_path / "record.json").write_text(json.dumps(record))
    image = HeadImage(
        path=original, entities={"sub": "01"}, participant="01", session=None, suffix="T1w", bids_uri="bids:raw:in"
    )

    def current(key: dict | None = None, *, keep: bool = True) -> bool:
        record = read_record(tmp_path / "record.json")
        return is_current(record, key or {"Seed": 0}, image, layout_of(output), keep_refaced=keep)

    return SimpleNamespace(current=current, original=original, output=output, path=tmp_path / "record.json")


def test_a_record_is_current(recorded: SimpleNamespace) -> None:
    assert recorded.current()
    assert not recorded.current({"Seed": 1})
    os.utime(recorded.original, (1, 1))
    assert recorded.current(), "same content, other time"
    recorded.original.write_bytes(b"VOXELS")
    assert not recorded.current()


def test_a_record_without_its_outputs(recorded: SimpleNamespace) -> None:
    (identifiable(recorded.output) / "sub-01/b.nii.gz").unlink()
    assert not recorded.current()
    assert recorded.current(keep=False)
    (shareable(recorded.output) / "sub-01/a.nii.gz").write_bytes(b"1")
    assert not recorded.current(keep=False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Key": {}}'])
def test_a_damaged_record_is_none(recorded: SimpleNamespace, text: str) -> None:
    recorded.path.write_text(text)
    assert read_record(recorded.path) is None and not recorded.current()


def test_discard(recorded: SimpleNamespace) -> None:
    discard(recorded.path, layout_of(recorded.output), keep=frozenset({"sub-01/a.nii.gz"}))
    assert not recorded.path.exists()
    assert [path.name for path in recorded.output.rglob("*.gz")] == ["a.nii.gz"]
    discard(recorded.path, layout_of(recorded.output))


@pytest.mark.parametrize(
    ("traceback", "expected"),
    [
        (
            "Traceback:\n\tFile x\n\tbids_refacer.volumes.nifti.ImageError: /a.nii is bad: mend it.\n\nmore",
            "/a.nii is bad: mend it.",
        ),
        (
            "ValueError: first\n\nDuring handling\n\nDefacerError: the tool\n  failed; do this.\n",
            "the tool failed; do this.",
        ),
        ("KeyError: 'x'\n", "Unexpected KeyError: 'x' (see crash.txt)."),
        (
            "OSError: [Errno 28] No space left on device: '/w/a.nii'\n",
            "There is no space left on the disk ([Errno 28] No space left on device: '/w/a.nii'): free some, or give "
            "another folder with --work-dir.",
        ),
        ("OSError: [Errno 5] x\n", "Unexpected OSError: [Errno 5] x (see crash.txt)."),
        ("nothing of use", "It stopped without saying why; see crash.txt."),
    ],
)
def test_the_sentence_of_a_traceback(traceback: str, expected: str) -> None:
    assert sentence(traceback, Path("crash.txt")) == expected


def test_every_exception_of_ours_is_a_sentence() -> None:
    """Crash files name the class alone; an exception that is new in the package needs no entry anywhere."""

    class BrandNewError(AuditProblem):
        pass

    assert build_tool, "a run has built its graph, and so loaded all that nodes raise, before it reads a crash file"
    names = problem_names() - {"AuditProblem"}
    assert {"ImageError", "RegistrationError", "SkinError", "GiftiError", "DefacerError", "ChildError"} <= names
    for name in (*names, BrandNewError.__name__):
        assert sentence(f"{name}: It failed; do this.\n", Path("crash.txt")) == "It failed; do this."


def test_every_node_has_a_stage(tmp_path: Path) -> None:
    """Stages are those of the table of status; a node that nobody named only writes results."""
    levels = data_dictionary("status")["stage"]["Levels"]
    assert {stage.status for stage in stages.STAGES.values()} <= set(levels)
    assert stages.stage_of("publish_voxel") == stages.RECORD != stages.stage_of("voxels")
    assert stages.publish("voxel").node == "publish_voxel"


def test_crash_files_of_a_full_disk_stop_nothing(tmp_path: Path) -> None:
    for number, text in enumerate(
        ("", "Node: r", "Node: run.sub_1.niimath.deface\nDefacerError: It failed; do this.\n")
    ):
        (tmp_path / f"crash-{number}.txt").write_text(text)
    found = Crash(image="sub_1", tool="niimath", stage="deface", message="It failed; do this.")
    assert read_crashes(tmp_path) == [found]
    assert read_crashes(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "import sys; print('bar 1\\rbar 2\\nIt failed: do this.', file=sys.stderr); sys.exit(1)",
            "^It failed: do this.$",
        ),
        ("import sys; sys.exit(3)", "^image: the process ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "^image: the process was stopped by signal 9; it probably ran out of"),
    ],
)
def test_a_child_that_fails(tmp_path: Path, code: str, words: str) -> None:
    with pytest.raises(ChildError, match=words):
        run_child([sys.executable, "-c", code], cwd=str(tmp_path), environ=os.environ, show=False, about="image")


def test_the_command_of_the_attack(tmp_path: Path) -> None:
    """Paths with spaces survive; what does not change a face does not change the hash."""
    defaced = tmp_path / "a 'defaced' head.nii.gz"
    defaced.write_bytes(b"")
    attack = {"sampler": "heun", "model": "my model", "seeds": [1, 2**62], "weights": {"a": "b"}}
    given = dict(defaced=str(defaced), gpu="try", **attack)
    node = Reface(**given, num_threads=3, use_gpu=True, progress=True)
    words = shlex.split(node.cmdline)
    start = words.index("bids_refacer.cli.reface") + 1
    assert "--steps" not in words
    assert words[start : start + 2] == [str(defaced), "refaced"]
    assert words[words.index("--seeds") + 1 : words.index("--seeds") + 3] == ["1", str(2**62)]
    assert words[words.index("--model") + 1] == "my model"
    assert node.inputs.get_hashval()[1] == Reface(**given).inputs.get_hashval()[1]
    assert node.inputs.get_hashval()[1] != Reface(**{**given, "seeds": [1, 3]}).inputs.get_hashval()[1]


def test_publish(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "details.json").write_text('{"RunTime": 2.0, "Options": {"x": 1}}')
    target = tmp_path / "out" / "sub-01_T1w.nii.gz"
    sidecar = SimpleNamespace(complete=lambda report: {"Description": "d", "RunTime": report["RunTime"]})
    output = Output(target=target, sidecar=sidecar)
    files = [str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz")]
    node = Publish(files=files, outputs={"a.nii.gz": output}, details=str(tmp_path / "details.json"))
    assert node.run().outputs.out_files == [str(target), str(target.with_name("sub-01_T1w.json"))]
    assert target.read_bytes() == b"a.nii.gz"
    assert json.loads(target.with_name("sub-01_T1w.json").read_text()) == {"Description": "d", "RunTime": 2.0}
    assert sorted(path.name for path in target.parent.iterdir()) == ["sub-01_T1w.json", "sub-01_T1w.nii.gz"]


def test_what_could_not_be_measured_is_null(tmp_path: Path) -> None:
    """A figure that is NaN, such as the contrast of tissues that look alike, must not keep an image from its record."""
    nowhere, published = tmp_path / "a.surf.gii", tmp_path / "out" / "sub-01_face.surf.gii"
    nowhere.write_text("")
    report = write_report(tmp_path / "details.json", {"RunTime": 1.5, "Contrast": float("nan"), "Far": [float("inf")]})
    output = Output(target=published, sidecar=Sidecar(description="d", sources=(), members={}))
    files = Publish(files=[str(nowhere)], outputs={nowhere.name: output}, details=report).run().outputs.out_files
    sidecar = json.loads((tmp_path / "out" / "sub-01_face.json").read_text())
    assert (sidecar["RunTime"], sidecar["Contrast"], sidecar["Far"]) == (1.5, None, [None])
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"image_type": "defaced", "sample": None, "part": "nose", "masd_mm": None}]))
    start = {"Image": "sub-01/anat/sub-01_T1w.nii.gz", "Tool": "t", "Key": {}, "Input": {}, "KeptRefaced": True}
    parts = {name: report for name in ("deface_details", "reface_details", "score_details")}
    record = tmp_path / "record.json"
    layout = Layout(output_dir=tmp_path, shareable=tmp_path, identifiable=tmp_path / "identifiable")
    WriteRecord(target=str(record), layout=layout, content=start, rows=str(rows), surface_files=files, **parts).run()
    found = read_record(record)
    assert found is not None and found.deface.content["Contrast"] is None and found.distances[0].masd_mm is None
    sizes = {Path(file).relative_to(tmp_path).as_posix(): Path(file).stat().st_size for file in files}
    assert (found.run_time_s, found.outputs) == (4.5, sizes)


def test_warnings_of_the_brain_mask_reach_the_record(tmp_path: Path) -> None:
    from bids_refacer.audit.nodes.publish import _warned

    sidecar, mask = tmp_path / "brain.json", tmp_path / "brain.nii.gz"
    sidecar.write_text('{"Warnings": ["The head is tilted."]}')
    files = [str(mask), str(sidecar)]
    assert _warned({"Model": "x", "Warnings": ["Own."]}, files)["Warnings"] == ["The head is tilted.", "Own."]
    sidecar.write_text("{}")
    assert _warned({"Model": "x"}, files) == {"Model": "x"}
