"""Sidecars of defaced images, as BIDS has them now: how the face was removed, the acquisition, the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bidsschematools.schema import load_schema
from records_by_hand import image_of

from bids_refacer import __version__
from bids_refacer.dataset import sidecars
from bids_refacer.dataset.descriptions.acquisition import NUMBERS, WORDS, acquisition_of
from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.dataset.images import HeadImage
from bids_refacer.surfaces.verdicts import verdict_json

IDENTIFYING = {
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19700101",
    "AcquisitionDateTime": "2020-01-01T10:00:00",
    "AcquisitionTime": "10:00:00",
    "DeviceSerialNumber": "12345",
    "StationName": "MR-ROOM-3",
    "InstitutionName": "St Elsewhere",
    "InstitutionAddress": "Main Street 1",
    "InstitutionalDepartmentName": "Radiology",
    "SeriesInstanceUID": "1.2.840.1",
    "ImageComments": "pilot of Jane",
    "ProtocolName": "janes_protocol",
    "SeriesDescription": "t1 for Dr Doe",
    "ReceiveCoilName": "coil of room 3",
    "SequenceName": "*doe3d1",
    "PulseSequenceDetails": "by John",
    "ImagingFrequency": 123.249738,
}
KEPT = {
    "EchoTime": 0.003,
    "RepetitionTime": 2.3,
    "MagneticFieldStrength": 3,
    "Manufacturer": "Siemens",
    "ManufacturersModelName": "Prisma_fit",
    "FlipAngle": [5, 6.5],
    "NonlinearGradientCorrection": True,
    "MRAcquisitionType": "3D",
}

OF_DCM2NIIX = set(
    "EchoTrainLength NumberOfAverages SpacingBetweenSlices PercentPhaseFOV PercentSampling PhaseOversampling "
    "AcquisitionMatrixPE PixelBandwidth PartialFourierDirection".split()
)
"""Fields that it writes and the schema does not have."""


@pytest.fixture
def image(tmp_path: Path) -> HeadImage:
    return image_of(tmp_path, "sub-01_ses-a_run-1_T1w")


def write(path: Path, **content: object) -> None:
    path.write_text(json.dumps(content))


def test_what_identifies_nobody_is_kept_and_nothing_else(image: HeadImage) -> None:
    write(image.path.with_name("sub-01_ses-a_run-1_T1w.json"), **KEPT, **IDENTIFYING)
    assert acquisition_of(image) == KEPT
    made = sidecars.defaced_sidecar(image, "quickshear", brain_mask_uri=None).complete({"RunTime": 0})
    assert {name: made[name] for name in KEPT} == KEPT and not IDENTIFYING.keys() & made.keys()
    for text in ("Doe", "Jane", "St Elsewhere", "MR-ROOM", "12345", "1.2.840", "123.249"):
        assert text not in json.dumps(made)


@pytest.mark.parametrize(
    "wrong",
    [
        {"Manufacturer": "Siemens of Dr. Doe's room; see /home/jane"},
        {"Manufacturer": "x" * 65},
        {"Manufacturer": 3},
        {"EchoTime": "at noon"},
        {"EchoTime": list(range(9))},
        {"EchoTime": {"of": 1}},
    ],
)
def test_values_of_another_kind_are_left_out(wrong: dict, image: HeadImage) -> None:
    write(image.path.with_name("sub-01_ses-a_run-1_T1w.json"), **wrong)
    assert acquisition_of(image) == {}


def test_sidecars_are_inherited_and_the_nearer_one_counts(image: HeadImage, tmp_path: Path) -> None:
    write(tmp_path / "T1w.json", EchoTime=1, FlipAngle=1, RepetitionTime=1, MagneticFieldStrength=1)
    write(tmp_path / "ses-b_T1w.json", EchoTime=9)
    write(tmp_path / "T2w.json", EchoTime=9)
    write(tmp_path / "sub-01" / "sub-01_T1w.json", FlipAngle=2, RepetitionTime=2, MagneticFieldStrength=2)
    write(image.path.with_name("sub-01_ses-a_T1w.json"), RepetitionTime=3, MagneticFieldStrength=3)
    write(image.path.with_name("sub-01_ses-a_run-1_T1w.json"), MagneticFieldStrength=4)
    (image.path.parent / "sub-01_T1w.json").write_text("{")
    assert acquisition_of(image) == {
        "EchoTime": 1,
        "FlipAngle": 2,
        "MagneticFieldStrength": 4,
        "RepetitionTime": 3,
    }


def test_the_list_has_names_of_the_schema_and_none_that_identifies() -> None:
    known = {entry.name for entry in load_schema().objects.metadata.values()}
    own = NUMBERS | WORDS
    assert own - known <= OF_DCM2NIIX
    for part in ("Name", "Date", "Serial", "Station", "Institution", "UID", "Comment", "Address", "Description", "ID"):
        assert not [name for name in own if part in name and name != "ManufacturersModelName"], part


def test_how_the_face_was_removed_is_said_as_dicom_does(image: HeadImage) -> None:
    made = sidecars.defaced_sidecar(image, "afni_reface_plus", brain_mask_uri=None).complete(
        {"RunTime": 0, "Version": "24.1"}
    )
    said = f"Face removed with afni_reface_plus 24.1, by bids_refacer {__version__}"
    assert made["DeidentificationMethod"] == [said]
    standard, own = made["DeidentificationMethodCodeSequence"]
    assert standard == {
        "CodeValue": "113102",
        "CodeMeaning": "Clean Recognizable Visual Features Option",
        "CodingSchemeDesignator": "DCM",
        "CodingSchemeVersion": "01",
    }
    assert own["CodeValue"] == "afni_reface_plus" and own["CodeMeaning"] == "Face removed with afni_reface_plus 24.1"
    assert (own["CodingSchemeDesignator"], own["CodingSchemeVersion"]) == ("99BIDS_REFACER", __version__)
    wanted = load_schema().objects.metadata.DeidentificationMethodCodeSequence["items"]["recommended"]
    assert set(standard) == set(own) == set(wanted)


def test_a_carried_mask_is_said(image: HeadImage) -> None:
    made = sidecars.other_defaced_sidecar(
        image, "quickshear", mask_uri="bids::m", reference_mask_uri="bids::r", native=False
    ).complete({"RunTime": 0, "Version": "1.2"})
    (said,) = made["DeidentificationMethod"]
    assert said.startswith("Face removed with the mask that quickshear 1.2 left of another image of the session, by")


def test_the_verdict_is_one() -> None:
    limits = ((5.0, 20.0), (0.1, 5.0), (1.0, 10.0))
    left = {"nose": 3.0, "eyes": 12.0, "mouth": None, "chin": 0.0, "forehead": 100.0}
    assert verdict_json(left, 0.05, 12.0, limits) == {
        "Face": "warn",
        "Brain": "fail",
        "FaceLeftLimits": [5.0, 20.0],
        "BrainCutLimits": [0.1, 5.0],
        "BrainHoleLimits": [1.0, 10.0],
    }
    assert verdict_json({}, None, None, limits) | {"Face": None, "Brain": None} == verdict_json({}, None, None, limits)


def test_records_with_a_verdict_are_read_as_those_of_old_are() -> None:
    figures = {"FaceLeft": {"nose": 2.5}}
    new = DefaceDetails.from_json({"DefacingFigures": figures, "Verdict": {"Face": "pass"}})
    old = DefaceDetails.from_json({"Verdict": figures})
    assert new.figures == old.figures and new.figures.face_left == {"nose": 2.5}
