"""What the attack is given: a defaced image, and the brain that was found in it alone. Never the original."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.pipeline.engine import Node, Workflow
from small_datasets import STAND_IN, add_image, settings_for, start_dataset

from bids_refacer.audit.graph.tool import build_tool
from bids_refacer.audit.nodes import head, reface
from bids_refacer.audit.nodes.head import DefacedBrain
from bids_refacer.audit.nodes.reface import Reface
from bids_refacer.audit.nodes.verdict import Judge
from bids_refacer.audit.plan import make_attack, make_plan
from bids_refacer.cli.reface import _defaced_image
from bids_refacer.dataset.images import find_images
from bids_refacer.volumes import brain as brain_module
from bids_refacer.volumes import registration
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_mask, write_volume


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The graph of one tool."""
    folder = tmp_path_factory.mktemp("hand-over")
    bids = start_dataset(folder / "in")
    add_image(bids, "sub-01_T1w")
    settings = settings_for(bids, folder / "out", deface_tools=("spm-rule",))
    plan = make_plan(find_images(bids), settings, STAND_IN)
    return build_tool(job=plan.jobs[0], tool=plan.jobs[0].tools[0], attack=make_attack(settings, STAND_IN))


def given(part: Workflow, name: str) -> set[tuple[str, str, str]]:
    """(node, its output, input) of everything that a node of the graph is given."""
    node: Node = part.get_node(name)
    edges = part._graph.in_edges(node, data=True)
    return {(source.name, out, into) for source, _, data in edges for out, into in data["connect"]}


def test_the_attack_is_given_the_defaced_image_and_its_brain(part: Workflow) -> None:
    assert given(part, "reface") == {
        ("verdict", "defaced", "defaced"),
        ("defaced_brain", "brain_mask", "brain_mask"),
    }
    assert given(part, "defaced_brain") == {("deface", "defaced", "in_file")}
    assert ("defaced_brain", "brain_mask", "found") in given(part, "verdict")
    assert {name for name in Judge.output_spec().get() if "brain" in name} == set()


@pytest.fixture
def defaced(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(1, 900, (12, 10, 8)).astype(np.int16)
    path = tmp_path / "defaced.nii.gz"
    nib.Nifti1Image(values, np.diag([2.0, 2, 2, 1])).to_filename(path)
    return path


def test_the_brain_is_found_in_the_defaced_image(
    defaced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(head, "extract_brain", lambda volume, **_: volume.values > 450)
    found = DefacedBrain(in_file=str(defaced), version="1").run(cwd=str(tmp_path)).outputs.brain_mask
    np.testing.assert_array_equal(read_mask(found).values, np.asarray(nib.load(defaced).dataobj) > 450)


def test_where_no_brain_is_found_nothing_is_handed_over(
    defaced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(volume: Volume, **_: object) -> np.ndarray:
        raise ImageError("no brain")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(head, "extract_brain", none)
    outputs = DefacedBrain(in_file=str(defaced), version="1").run(cwd=str(tmp_path)).outputs
    assert "brain_mask" not in outputs.get_traitsfree()


def test_the_child_takes_the_mask_or_finds_it(defaced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = Alignment(np.eye(4), np.eye(4))
    monkeypatch.setattr(registration, "align_brain", lambda volume, brain: still)
    monkeypatch.setattr(brain_module, "extract_brain", lambda volume, **_: volume.values > 100)
    mask, path = np.indices((12, 10, 8))[0] > 5, tmp_path / "brain.nii.gz"
    write_volume(path, Volume(mask, np.eye(4)), np.uint8)
    np.testing.assert_array_equal(_defaced_image(defaced, path, 1).brain, mask)
    np.testing.assert_array_equal(_defaced_image(defaced, None, 1).brain, np.asarray(nib.load(defaced).dataobj) > 100)
    write_volume(path, Volume(mask[1:], np.eye(4)), np.uint8)
    with pytest.raises(ValueError, match=r"The brain mask .*brain.nii.gz has shape \(11, 10, 8\), .* \(12, 10, 8\)"):
        _defaced_image(defaced, path, 1)


def test_the_command_in_the_sidecar_names_no_mask(
    defaced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who repeats the command has no such file, and its path is that of a work folder."""
    mask, commands = tmp_path / "a brain.nii.gz", []
    mask.write_bytes(b"")

    def child(command: list[str], **_: object) -> None:
        commands.append(command)
        (tmp_path / "refaced").mkdir()
        (tmp_path / "refaced" / "attack.json").write_text("{}")

    monkeypatch.setattr(reface, "run_child", child)
    monkeypatch.chdir(tmp_path)
    attack = {"sampler": "heun", "model": "m", "seeds": [1], "weights": {}, "gpu": "none"}
    node = Reface(defaced=str(defaced), brain_mask=str(mask), **attack)
    node._run_interface(type("Runtime", (), {"cwd": str(tmp_path)})())
    assert commands[0][commands[0].index("--brain-mask") + 1] == str(mask)
    said = (tmp_path / "details.json").read_text()
    assert "brain-mask" not in said and os.fspath(tmp_path) not in said and "--seeds 1" in said
    assert "--brain-mask" in shlex.split(node.cmdline)
