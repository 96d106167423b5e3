"""What the name of an image says, and who has none."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.image_key import ImageKey, suffix_of, without_extension
from bids_refacer.dataset.images import head_image
from bids_refacer.dataset.names import OutputNames
from bids_refacer.layout import Layout

NAME = "sub-02_ses-a_acq-x_run-01_echo-1_T2w"


@pytest.mark.parametrize(
    "image", [NAME, f"{NAME}.nii", f"{NAME}.nii.gz", f"sub-02/ses-a/anat/{NAME}.nii.gz", Path("/in") / f"{NAME}.nii.gz"]
)
def test_a_key_is_parsed_from_a_name_or_a_path(image: str | Path) -> None:
    key = ImageKey.of(image)
    assert (key.participant, key.session, key.suffix) == ("02", "a", "T2w")
    assert key.entities == {"sub": "02", "ses": "a", "acq": "x", "run": "01", "echo": "1"}
    assert list(key.entities) == ["sub", "ses", "acq", "run", "echo"]
    assert pickle.loads(pickle.dumps(key)) == key and len({key, ImageKey.of(NAME)}) == 1


def test_no_session_is_none() -> None:
    assert ImageKey.of("sub-01/anat/sub-01_T1w.nii.gz").session is None


def test_a_label_may_hold_dashes_and_parts_without_any_are_passed_over() -> None:
    assert ImageKey.of("sub-01_acq-a-b_odd_T1w.nii").entities == {"sub": "01", "acq": "a-b"}


def test_a_name_without_a_participant_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"^The image anat/T1w.nii is of no participant: begin its name with sub-"):
        ImageKey.of("anat/T1w.nii")


@pytest.mark.parametrize(
    ("image", "stem", "suffix"),
    [
        ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T1w", "T1w"),
        ("sub-01_FLAIR.nii", "sub-01_FLAIR", "FLAIR"),
        ("sub-01_T1w.json", "sub-01_T1w.json", "T1w.json"),
    ],
)
def test_extension_and_suffix(image: str, stem: str, suffix: str) -> None:
    assert (without_extension(image), suffix_of(image)) == (stem, suffix)


def test_a_head_image_is_a_key_with_a_file() -> None:
    root = Path("/in")
    image = head_image(root / f"sub-02/ses-a/anat/{NAME}.nii.gz", root)
    assert image is not None
    assert (image.stem, image.label) == (NAME, "sub-02 ses-a acq-x run-01 echo-1 T2w")
    of_path = ImageKey.of(image.bids_path)
    layout = Layout.of(Path("/out"))
    assert OutputNames.of(layout, image) == OutputNames.of(layout, of_path)
    assert OutputNames.of(layout, image).defaced("average").name == (
        "sub-02_ses-a_acq-x_run-01_echo-1_desc-averageDefaced_T2w.nii.gz"
    )


@pytest.mark.parametrize(
    "name", ["derivatives/x/sub-01/anat/sub-01_T1w.nii.gz", "sourcedata/sub-01_T1w.nii", "anat/T1w.nii"]
)
def test_a_file_of_another_dataset_or_of_nobody_is_no_head_image(name: str) -> None:
    assert head_image(Path("/in") / name, Path("/in")) is None
