"""Every tool of the registry on the average head: what it removes, what it keeps, what it says."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from defaced_head import DefacedHead

from bids_refacer.defacers import DEFACERS
from bids_refacer.defacers.removed_volumes import removed_volumes
from bids_refacer.volumes.grid import Volume

TOOLS = ("quickshear", "pydeface", "niimath", "spm-rule", "skullstrip", "average", "niimath-reface")
"""Those that come with the package; the others are in test_defacer_contracts.py and test_deepdefacer.py."""

REMOVERS = tuple(name for name in TOOLS if DEFACERS[name].action == "removes")


def test_the_case_is_the_average_head_turned(case: DefacedHead) -> None:
    assert nib.aff2axcodes(case.scan.affine) == ("P", "S", "L")
    assert case.brain[case.at(0, 0, 10)] and not case.brain[case.at(0, 100, 10)]
    assert case.scan.values.min() == 0.0 and case.scan.stored.min() == 50


@pytest.mark.parametrize("tool", TOOLS)
def test_kept_voxels_are_bit_identical(case: DefacedHead, tool: str) -> None:
    result = case.result(tool)
    assert result.stored.dtype == case.scan.stored.dtype and result.removed.dtype == bool
    assert result.stored.shape == result.removed.shape == case.scan.stored.shape
    np.testing.assert_array_equal(result.stored[~result.removed], case.scan.stored[~result.removed])


@pytest.mark.parametrize("tool", REMOVERS)
def test_removed_voxels_are_zero(case: DefacedHead, tool: str) -> None:
    result = case.result(tool)
    assert (result.stored[result.removed] == 50).all(), "50 is how this image stores zero"


@pytest.mark.parametrize("tool", TOOLS)
def test_the_nose_goes_and_the_brain_stays(case: DefacedHead, tool: str) -> None:
    result = case.result(tool)
    head = case.scan.values > 20
    front = [case.at(0, y, -50) for y in np.arange(40, 120, 2.0)]
    nose = [voxel for voxel in front if head[voxel]][-1]
    assert result.removed[nose]
    assert result.removed[case.at(0, 116, -50)], "air in front of the nose"
    assert not result.removed[case.at(0, 0, 10)]
    assert result.details["QualityControl"]["brain_removed_percent"] < 0.05
    assert 0.02 < result.details["QualityControl"]["removed_head_fraction"] < (0.75 if tool == "skullstrip" else 0.3)


@pytest.mark.parametrize("tool", TOOLS)
def test_air_that_was_zero_before_is_in_the_mask(case: DefacedHead, tool: str) -> None:
    """The mask is the tool's region: a difference image would have holes where the air was zero."""
    removed = case.result(tool).removed
    zero = case.scan.stored == 50
    here = np.s_[:20]  # the front of the image, posterior being the first axis
    share_of_zeros, share_of_others = removed[here][zero[here]].mean(), removed[here][~zero[here]].mean()
    assert share_of_zeros > 0.3
    assert share_of_zeros == pytest.approx(share_of_others, abs=0.05)


@pytest.mark.parametrize("tool", TOOLS)
def test_details_tell_what_ran(case: DefacedHead, tool: str) -> None:
    details = case.result(tool).details
    assert details["Version"] == DEFACERS[tool].version() != "not installed"
    assert details["Tool"].replace(" -", "-").startswith(tool) and details["Command"] and details["Options"]
    assert details.get("FillValue") == (0.0 if DEFACERS[tool].action == "removes" else None)
    json.dumps(details)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_scan_is_not_touched(case: DefacedHead, tool: str) -> None:
    before = case.scan.path.read_bytes()
    case.result(tool)
    assert case.scan.path.read_bytes() == before


def test_registry_entries_are_complete() -> None:
    for name, tool in DEFACERS.items():
        assert tool.name == name
        assert tool.action in ("removes", "replaces")
        assert tool.requirement and "doi:" in tool.citation or "Proceedings" in tool.citation
        assert tool.licence and tool.contrasts and tool.memory_gb > 0
        assert (tool.missing() is None) == (name in TOOLS), "what the package brings along can run, nothing else"


@pytest.mark.parametrize(
    "tool, package",
    [
        ("quickshear", "quickshear"),
        ("pydeface", "pydeface"),
        ("pydeface", "niimath"),
        ("niimath", "niimath"),
        ("niimath", "pydeface"),
        ("skullstrip", "deepbet"),
        ("average", "niimath"),
    ],
)
def test_an_absent_tool_says_how_to_get_it(tool: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        "bids_refacer.defacers.installed.find_spec", lambda name: None if name == package else find_spec(name)
    )
    monkeypatch.delenv("FSLDIR", raising=False)
    assert DEFACERS[tool].missing() == (
        f"The tool {tool} needs the Python package {package}, which is not installed: run `pip install {package}`."
    )


def test_quality_numbers_of_boxes() -> None:
    values = np.random.default_rng(0).uniform(0, 8, (40, 40, 40)).astype(np.float32)
    values[8:32, 8:32, 8:32] = 100.0
    brain, removed = np.zeros(values.shape, dtype=bool), np.zeros(values.shape, dtype=bool)
    brain[14:26, 14:26, 14:26] = True
    removed[20:40] = True
    numbers = removed_volumes(Volume(values, np.diag([2.0, 2.0, 2.0, 1.0])), removed, brain)
    assert numbers["removed_ml"] == pytest.approx(20 * 40 * 40 * 8 / 1000)
    assert numbers["removed_head_fraction"] == pytest.approx(0.5, abs=0.02)
    assert numbers["removed_head_ml"] == pytest.approx(12 * 24 * 24 * 8 / 1000, rel=0.05)
    assert numbers["brain_removed_ml"] == pytest.approx(6 * 12 * 12 * 8 / 1000)
    assert numbers["brain_removed_percent"] == pytest.approx(50.0)
