"""Which files of an acquisition share a mask: headers and times decide, not names."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_refacer.dataset.images import find_images
from bids_refacer.dataset.inputs.registers import are_in_register, read_placement
from bids_refacer.dataset.other_images import OtherImage, find_others, one_of_parts

AFFINE = np.diag([1.5, 2.0, 2.5, 1.0])
AFFINE[:3, 3] = (-90, -120, -70)


def add(root: Path, name: str, *, moved: float = 0.0, shape: tuple[int, ...] = (9, 8, 7), **sidecar: str) -> Path:
    path = root / name.split("_")[0] / "anat" / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = AFFINE.copy()
    affine[1, 3] += moved
    nib.Nifti1Image(np.ones(shape, np.uint8), affine).to_filename(path)
    if sidecar:
        path.with_name(f"{name}.json").write_text(json.dumps(sidecar))
    return path


def others_of(root: Path) -> dict[str, OtherImage]:
    """Name without participant -> what is planned for it, with the T1w audited."""
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    others, problems = find_others(root, one_of_parts(find_images(root)))
    assert problems == []
    return {other.image.stem.split("_", 1)[1]: other for other in others}


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ({}, {}, True),
        ({}, {"moved": 0.004}, True),  # what a header rounds
        ({}, {"moved": 0.5}, False),
        ({}, {"shape": (9, 8, 6)}, False),
        ({}, {"shape": (9, 8, 7, 1)}, True),
        ({"AcquisitionTime": "10:11:12.5"}, {"AcquisitionTime": "10:11:13.25"}, True),
        ({"AcquisitionTime": "10:11:12"}, {"AcquisitionTime": "101112.000000"}, True),
        ({"AcquisitionTime": "10:11:12"}, {"AcquisitionTime": "10:14:12"}, False),
        ({"AcquisitionTime": "10:11:12"}, {}, True),
        ({"AcquisitionTime": "10:11:12"}, {"AcquisitionDateTime": "2020-01-02T10:14:12"}, True),
        ({"AcquisitionDateTime": "2020-01-02T10:11:12"}, {"AcquisitionDateTime": "2020-01-03T10:11:12"}, False),
        ({"AcquisitionTime": "then"}, {"AcquisitionTime": "later"}, False),
        ({"AcquisitionTime": "then"}, {"AcquisitionTime": "then"}, True),
    ],
)
def test_headers_and_times_show_it(tmp_path: Path, one: dict, two: dict, same: bool) -> None:
    assert are_in_register(add(tmp_path, "sub-1_T1w", **one), add(tmp_path, "sub-1_T2w", **two)) is same


@pytest.mark.parametrize("content", [None, b"", b"no image", b"\x1f\x8b broken"])
def test_what_cannot_be_read_is_in_register_with_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "sub-1_T1w.nii.gz"
    if content is not None:
        path.write_bytes(content)
    assert read_placement(path) is None and not are_in_register(path, path)
    nib.Nifti1Image(np.ones((4, 4), np.uint8), np.eye(4)).to_filename(path)
    assert read_placement(path) is None, "a picture"


def test_a_sidecar_that_cannot_be_read_gives_no_time(tmp_path: Path) -> None:
    path = add(tmp_path, "sub-1_T1w", AcquisitionTime="10:11:12")
    for content in ("[]", "{", "[" * 100_000):
        path.with_name("sub-1_T1w.json").write_text(content)
        placement = read_placement(path)
        assert placement is not None and placement.times == {}


def test_a_part_that_lies_elsewhere_is_registered_by_itself(tmp_path: Path) -> None:
    add(tmp_path, "sub-1_echo-1_T1w", AcquisitionTime="10:00:00")
    add(tmp_path, "sub-1_echo-2_T1w", AcquisitionTime="10:00:00")
    add(tmp_path, "sub-1_echo-3_T1w", moved=60.0)
    add(tmp_path, "sub-1_echo-4_T1w", AcquisitionTime="10:05:00")
    add(tmp_path, "sub-1_flip-1_mt-off_MTS")
    add(tmp_path, "sub-1_flip-1_mt-on_MTS")
    add(tmp_path, "sub-1_flip-2_mt-off_MTS", moved=3.0)
    others = others_of(tmp_path)
    assert {name for name, other in others.items() if other.in_register} == {"echo-2_T1w"}
    leaders = {name: other.leader.stem.split("_", 1)[1] for name, other in others.items()}
    assert leaders == {
        **{name: name for name in ("echo-2_T1w", "echo-3_T1w", "echo-4_T1w")},
        **{"flip-1_mt-off_MTS": "flip-1_mt-off_MTS", "flip-1_mt-on_MTS": "flip-1_mt-off_MTS"},
        "flip-2_mt-off_MTS": "flip-2_mt-off_MTS",
    }
    assert {other.reference and other.reference.stem for other in others.values()} == {"sub-1_echo-1_T1w"}


def test_another_suffix_is_another_acquisition_wherever_it_lies(tmp_path: Path) -> None:
    for suffix in ("T1w", "T2w", "FLAIR"):
        add(tmp_path, f"sub-1_{suffix}")
    others = others_of(tmp_path)
    assert not any(other.in_register for other in others.values())
    assert all(other.leader == other.image for other in others.values())


def test_a_phase_is_judged_by_a_magnitude_in_the_same_place(tmp_path: Path) -> None:
    for name in ("part-mag_T1w", "part-phase_T1w", "part-mag_T2w", "part-phase_T2w", "part-phase_FLAIR"):
        add(tmp_path, f"sub-1_{name}")
    shown = {name: other.shown_by.stem.split("_", 1)[1] for name, other in others_of(tmp_path).items()}
    assert shown == {
        **{"part-phase_T1w": "part-mag_T1w", "part-mag_T2w": "part-mag_T2w", "part-phase_T2w": "part-mag_T2w"},
        "part-phase_FLAIR": "part-phase_FLAIR",
    }
