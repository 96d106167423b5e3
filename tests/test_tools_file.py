"""Tools from a TOML file: what is refused, and a whole run with good ones and every kind of bad one."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from output_folders import shareable
from small_datasets import DATA, STAND_IN, Done, add_image, run_with_stand_in, settings_for, start_dataset
from tool_programs_on_path import install

from bids_refacer.audit.graph.tool import build_tool
from bids_refacer.audit.nodes.deface import Deface
from bids_refacer.audit.plan import make_attack, make_plan, tool_warnings
from bids_refacer.dataset.images import find_images
from bids_refacer.dataset.tables import read_table
from bids_refacer.defacers import DefacerError
from bids_refacer.defacers.tools_file import ToolsFileError, read_tools
from bids_refacer.volumes.brain import FoundBrain
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.templates import asset

OWN = Path(__file__).with_name("own_tools.toml")
FAULTS = ("killed", "silent", "disk", "grid", "unchanged", "everything")


def the_average_brain(volume: Volume, *args: object, **options: object) -> np.ndarray:
    if volume.values.max() == 0:
        raise ImageError("no brain found")
    return asset("average_brain_mask.nii.gz").values > 0


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One head, the tool of own_tools.toml, and one tool for each fault."""
    folder = tmp_path_factory.mktemp("own")
    bids = start_dataset(folder / "in")
    add_image(bids, "sub-01_T1w")
    bad = "".join(
        f'[tool.{fault}]\ncommand = "frontcut {{input}} {{output}} --fault {fault}"\naction = "removes"\n'
        for fault in FAULTS
    )
    (folder / "tools.toml").write_text(OWN.read_text() + bad)
    with pytest.MonkeyPatch.context() as patch:
        install({"frontcut": "frontcut"}, folder / "bin", patch)
        # the extractor has its own tests, and takes its time
        patch.setattr("bids_refacer.audit.nodes.head.extract_brain", the_average_brain)
        patch.setattr(
            "bids_refacer.audit.nodes.head.find_brain", lambda *a, **o: FoundBrain(the_average_brain(*a, **o))
        )
        tools = {"deface_tools": ("frontcut", *FAULTS), "tools_file": folder / "tools.toml"}
        settings = settings_for(bids, folder / "out", **tools)
        return run_with_stand_in(settings)


def rows(done: Done, table: str) -> dict[str, dict[str, str | None]]:
    return {str(row["tool"]): row for row in read_table(shareable(done.settings.output_dir) / f"{table}.tsv")}


def test_a_tool_of_five_lines_is_audited_like_any_other(done: Done) -> None:
    lines = [line for line in OWN.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) < 10
    assert rows(done, "status")["frontcut"]["status"] == "ok"
    row = rows(done, "defacing")["frontcut"]
    assert (row["version"], row["face_verdict"], row["brain_verdict"]) == ("2.7.1", "pass", "pass")
    assert float(row["brain_dice"] or 0) > 0.98 and float(row["forehead_left_percent"] or 0) > 50
    anat = shareable(done.settings.output_dir) / "sub-01" / "anat"
    sidecar = json.loads((anat / "sub-01_desc-frontcutDefaced_T1w.json").read_text())
    assert sidecar["Command"] == "frontcut {input} {output} --mask {mask}" and sidecar["Tool"] == "frontcut"
    assert "Cutting off the front half" in (shareable(done.settings.output_dir) / "CITATION.md").read_text()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("killed", "was stopped by signal 9"),
        ("silent", "ended without an error but did not write its image"),
        ("disk", "found no space left on the disk"),
        ("grid", "wrote an image on another grid"),
        ("unchanged", "unchanged left the face as it was"),
        ("everything", "everything removed 100 % of the brain"),
    ],
)
def test_faults_are_reported_and_stop_nothing_else(done: Done, fault: str, words: str) -> None:
    row = rows(done, "status")[fault]
    assert (row["status"], row["stage"]) == ("failed", "deface")
    assert words.replace("frontcut", "") in str(row["message"]) and "sub-01_T1w.nii.gz" in str(row["message"])
    assert "Traceback" not in str(row["message"])
    assert done.code == 1 and "6 failed" in done.out
    published = [path.name for path in done.settings.output_dir.rglob("sub-*") if f"desc-{fault}" in path.name]
    assert [name for name in published if not name.endswith("_verdict.json")] == []


def test_images_that_were_written_get_their_verdict_also_where_they_go_no_further(done: Done) -> None:
    table = rows(done, "defacing")
    assert set(table) == {"frontcut", "unchanged", "everything"}
    assert (table["unchanged"]["face_verdict"], table["unchanged"]["brain_verdict"]) == ("fail", "pass")
    assert (table["everything"]["face_verdict"], table["everything"]["brain_verdict"]) == ("pass", "fail")
    assert table["everything"]["brain_volume_defaced_ml"] is None
    assert float(table["unchanged"]["nose_left_percent"] or 0) > 90


def deface_node(tmp_path: Path, **inputs: object) -> Deface:
    Alignment(np.eye(4), np.eye(4)).to_json(tmp_path / "alignment.json")
    return Deface(
        in_file=str(DATA / "average_head.nii.gz"),
        brain_mask=str(DATA / "average_brain_mask.nii.gz"),
        alignment=str(tmp_path / "alignment.json"),
        version="1",
        keep_header_text=False,
        **inputs,
    )


def test_a_tool_that_hangs_is_stopped_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its child holds the pipes: waiting for them to close would take ten minutes."""
    monkeypatch.chdir(tmp_path)
    table = {"command": f"sh -c 'sleep 600.{os.getpid()} & sleep 600' {{input}} {{output}}", "action": "removes"}
    node = deface_node(tmp_path, tool="hangs", definition=table, timeout_s=1.0)
    started = time.monotonic()
    with pytest.raises(DefacerError, match="nii.gz: sh ran longer than 1 s and was stopped; give it longer"):
        node.run(cwd=str(tmp_path))
    assert time.monotonic() - started < 60
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert f"sleep 600.{os.getpid()}" not in left
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alignment.json"], "nothing half-written"


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bids_refacer.audit.nodes import deface as module

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "defaced.nii.gz")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "write_scan", full)
    with pytest.raises(DefacerError, match=r"average_head.nii.gz: there is no space left in the work folder .*--work"):
        deface_node(tmp_path, tool="spm-rule").run(cwd=str(tmp_path))


def test_the_timeout_of_the_command_line_reaches_the_node(tmp_path: Path) -> None:
    bids = start_dataset(tmp_path / "in")
    add_image(bids, "sub-01_T2w")
    settings = settings_for(
        bids,
        tmp_path / "out",
        suffix=("T2w",),
        tool_timeout=77.0,
        deface_tools=("pydeface", "frontcut"),
        tools_file=OWN,
    )
    plan = make_plan(find_images(bids, suffixes=("T2w",)), settings, STAND_IN)
    own, shipped = plan.jobs[0].tools[1], plan.jobs[0].tools[0]
    part = build_tool(job=plan.jobs[0], tool=own, attack=make_attack(settings, STAND_IN))
    node = part.get_node("deface").interface.inputs
    assert node.timeout_s == 77.0 and node.definition["action"] == "removes"
    assert shipped.definition is None and "made for T1w, not for T2w" in tool_warnings(plan)[0]
    changed = {**own.definition, "command": "frontcut -x {input} {output}"}
    assert changed != own.key["ToolDefinition"] == own.definition, "another command is another result"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "defines no tool: begin each with a line [tool.NAME]"),
        ("x = 1\n[tool.a]\ncommand='a {input} {output}'\naction='removes'", "defines no tool"),
        ("[tool", "is not a TOML file"),
        ("[tool.quickshear]\n", "tool quickshear: its name is that of the tool quickshear"),
        ("[tool.niimathReface]\n", "tool niimathReface: its name is that of the tool niimath-reface, or too like it"),
        ("[tool.'a b']\n", "tool a b: a name has letters, digits, - and _ alone"),
        ("[tool.a]\ncomand = 'x'\n", "tool a: the key comand is not known: use command, action"),
        ("[tool.a]\ncommand = 'x {input} {output}'\n", 'tool a: action must be "removes"'),
        ("[tool.a]\ncommand = 3\naction = 'removes'\n", "tool a: command must be a text in quotes"),
        ("[tool.a]\naction = 'removes'\n", "tool a: command is missing"),
        ("[tool.a]\ncommand = 'x {input}'\naction = 'removes'\n", "command must have {input} and {output} in it"),
        ("[tool.a]\ncommand = 'x {input} {output} {face}'\naction = 'removes'\n", "command has {face}, which is not"),
        ("[tool.a]\ncommand = 'x {input} {output'\naction = 'removes'\n", "command cannot be read"),
        ("[tool.a]\ncommand = '{input} {output} \"'\naction = 'removes'\n", "command cannot be read"),
        ("[tool.a]\ncommand = '{input} {output}'\naction = 'removes'\ncontrasts = 'T1w'", "contrasts must be a list"),
    ],
)
def test_bad_definitions_are_sentences(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "tools.toml"
    path.write_text(text)
    with pytest.raises(ToolsFileError, match=re.escape(words)) as caught:
        read_tools(path)
    assert str(path) in str(caught.value)


def test_a_program_that_is_not_there_is_reported_with_how_to_get_it(tmp_path: Path) -> None:
    path = tmp_path / "tools.toml"
    path.write_text("[tool.a]\ncommand = 'notthere {input} {output}'\naction = 'removes'\nget = 'ask Anna for it'\n")
    assert read_tools(path)["a"].missing() == (
        "The tool a needs the program notthere, which is not on the path: ask Anna for it."
    )
