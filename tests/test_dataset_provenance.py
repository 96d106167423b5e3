"""Sidecars say where an output came from; the methods text says what ran, and nothing that did not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bids_refacer import __version__
from bids_refacer.dataset import sidecars
from bids_refacer.dataset.descriptions.citation import AttackUse, ToolUse, citation_text
from bids_refacer.dataset.images import HeadImage

IMAGE = HeadImage(
    path=Path("/in/sub-01/anat/sub-01_T1w.nii.gz"),
    entities={"sub": "01"},
    participant="01",
    session=None,
    suffix="T1w",
    bids_uri="bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
)
DETAILS = {"Tool": "t", "Version": "9", "Command": "t IN OUT", "Options": {"a": 1}, "Registration": "niimath 1"}
QUICKSHEAR = ToolUse(name="quickshear", version="1.2.0", citation="Schimke N, Hale J (2011). Quickshear.")
PYDEFACE = ToolUse(name="pydeface", version="2.1.0", citation="Gulban OF. pydeface", registration="niimath 1.0")
ATTACK = AttackUse(card="ixi heads", sampler="dpmpp2m", steps=20, num_samples=1, seed=7)
VERSIONS = {"nipype": "1.11.0", "torch": "2.13.0"}


def test_defaced() -> None:
    made = sidecars.defaced_sidecar(IMAGE, "pydeface", brain_mask_uri="bids::m.nii.gz").complete(
        {**DETAILS, "RunTime": 1.23456}
    )
    assert made["Sources"] == [IMAGE.bids_uri, "bids::m.nii.gz"]
    assert {name: made[name] for name in DETAILS} == DETAILS
    assert (made["SkullStripped"], made["RunTime"]) == (False, 1.23) and "Defaced" not in made
    assert made["SoftwarePackages"]["bids_refacer"] == __version__
    assert "Synthetic" not in made


@pytest.mark.parametrize(("tool", "stripped"), [("skullstrip", True), ("average", False)])
def test_only_skullstrip_strips_the_skull(tool: str, stripped: bool) -> None:
    made = sidecars.defaced_sidecar(IMAGE, tool, brain_mask_uri=None).complete({"RunTime": 0})
    assert (made["SkullStripped"], made["Sources"]) == (stripped, [IMAGE.bids_uri])


def test_refaced_is_synthetic_and_comes_from_the_defaced_image_alone() -> None:
    report = {
        "Command": "python -m bids_refacer.cli.reface",
        "Options": {"Sampler": "heun", "Steps": 18},
        "WeightsSHA256": {"coarse.safetensors": "ab"},
        "Device": "cpu",
        "RunTime": 2,
    }
    made = sidecars.refaced_sidecar(IMAGE, "Sample 1", defaced_uri="bids:shareable:d.nii.gz", seeds=(4,)).complete(
        report
    )
    average = sidecars.refaced_sidecar(IMAGE, "Average", defaced_uri="bids:shareable:d.nii.gz", seeds=()).complete(
        report
    )
    assert (average["Options"], average["WeightsSHA256"], average["Command"]) == ({}, {}, report["Command"])
    assert made["Sources"] == ["bids:shareable:d.nii.gz"]
    assert made["Synthetic"] is made["Identifiable"] is True
    assert (made["Seeds"], made["WeightsSHA256"]) == ([4], {"coarse.safetensors": "ab"})
    assert (made["Options"], made["Device"]) == ({"Sampler": "heun", "Steps": 18}, "cpu")
    assert json.loads(json.dumps(made)) == made


def test_masks() -> None:
    mask = sidecars.defacemask_sidecar(IMAGE, "t", defaced_uri="bids::d.nii.gz").complete({**DETAILS, "RunTime": 0})
    brain = sidecars.brain_mask_sidecar(IMAGE).complete({"RunTime": 0})
    assert (mask["Type"], mask["Sources"]) == ("Face", [IMAGE.bids_uri, "bids::d.nii.gz"])
    assert (brain["Type"], brain["Tool"], brain["Version"]) == (
        "Brain",
        "deepbet",
        sidecars.software_versions()["deepbet"],
    )


def test_versions_leave_out_what_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecars, "_PACKAGES", ("numpy", "no-such-package"))
    assert set(sidecars.software_versions()) == {"bids_refacer", "python", "numpy"}


def test_methods_of_a_whole_run() -> None:
    text = citation_text([QUICKSHEAR, PYDEFACE], ATTACK, VERSIONS)
    assert "quickshear 1.2.0 [5] and pydeface 2.1.0 [6] (registration: niimath 1.0)." in text
    assert "Nipype 1.11.0" in text and "PyTorch 2.13.0" in text and "weights: ixi heads" in text
    assert "one face was drawn with DPM-Solver++(2M) [10] in 20 steps (seed of the run: 7)" in text
    for identifier in ("2501.18834", "2206.00364", "2106.15282", "2211.01095", "joss.01294", "fninf.2011.00013"):
        assert identifier in text


def test_references_are_numbered_as_the_text_needs_them() -> None:
    text = citation_text([QUICKSHEAR, PYDEFACE], ATTACK, VERSIONS)
    methods, references = text.split("# References\n")
    cited = [int(number) for number in re.findall(r"\[(\d+)\]", methods)]
    listed = [int(number) for number in re.findall(r"^(\d+)\. ", references, flags=re.MULTILINE)]
    assert list(dict.fromkeys(cited)) == listed == list(range(1, len(listed) + 1))


@pytest.mark.parametrize(
    ("sampler", "words", "reference"),
    [
        ("heun", "Heun's second-order method", "2206.00364"),
        ("dpmpp2m", "DPM-Solver++(2M)", "2211.01095"),
        ("ddpm", "ancestral DDPM sampling", "2006.11239"),
    ],
)
def test_only_the_sampler_that_ran_is_named(sampler: str, words: str, reference: str) -> None:
    attack = AttackUse(card="c", sampler=sampler, steps=5, num_samples=4, seed=0)
    text = citation_text([QUICKSHEAR], attack, {})
    assert f"4 faces were drawn in mirrored pairs with {words}" in text and reference in text
    assert ("2211.01095" in text) == (sampler == "dpmpp2m")
    assert ("2006.11239" in text) == (sampler == "ddpm")


def test_methods_say_how_faces_were_drawn() -> None:
    """A model that draws with the template has one diffusion model; the other has two, and the reference for that."""
    painted, drawn = (citation_text([QUICKSHEAR], replace(ATTACK, drawn=way), VERSIONS) for way in (False, True))
    assert "with cascaded diffusion models [" in painted and "2106.15282" in painted and "warped" not in painted
    assert "with a diffusion model in the formulation of [" in drawn and "2106.15282" not in drawn
    assert "of where skin and tissue lie, to which an average head was warped (weights: ixi heads" in drawn


def test_what_did_not_run_is_not_mentioned() -> None:
    text = citation_text([QUICKSHEAR], None, VERSIONS)
    assert "quickshear" in text
    assert not any(word in text for word in ("pydeface", "diffusion", "2501.18834", "surface", "PyTorch"))
    nothing = citation_text([], None, VERSIONS)
    assert "deepbet" not in nothing and "pybids" in nothing


def test_a_reference_is_listed_once() -> None:
    skullstrip = ToolUse(
        name="skullstrip",
        version="1.0.2",
        citation="Fisch L, Zumdick S, Barkhau C, et al. (2024). deepbet: Fast brain extraction of T1-weighted MRI "
        "using convolutional neural networks. Computers in Biology and Medicine 179:108845. "
        "doi:10.1016/j.compbiomed.2024.108845",
    )
    assert citation_text([skullstrip], None, {}).count("compbiomed.2024.108845") == 1
