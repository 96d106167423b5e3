"""What a release removes from sidecars, headers and tables, and which files it finds."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bidsschematools.schema import load_schema
from nibabel.nifti1 import Nifti1Extension

from bids_refacer.dataset.descriptions import acquisition
from bids_refacer.dataset.rows.tsv import TableError
from bids_refacer.release.content.descriptions import Facts, release_bidsignore, release_changes, release_readme
from bids_refacer.release.content.headers import copy_without_texts, has_clean_gzip_header, pack_again
from bids_refacer.release.content.metadata import metadata_lists, scrub_description, scrub_dictionary, scrub_sidecar
from bids_refacer.release.content.people import TableRules, release_table
from bids_refacer.release.images.making import place
from bids_refacer.release.inventory import Kind, Wanted, list_files
from bids_refacer.volumes.image_file import ImageError

IDENTIFYING = {
    "DeviceSerialNumber": 1,
    "InstitutionAddress": 1,
    "InstitutionName": 1,
    "InstitutionalDepartmentName": 1,
    "PhotoDescription": 1,
    "SampleExtractionInstitution": 1,
    "ScanDate": 1,
    "StationName": 1,
}
FACTS = Facts(tool="niimath", version="1", day="2026-01-02", defaced=1, held_back=0)


def test_every_metadata_term_of_bids_is_on_a_list() -> None:
    lists, terms = metadata_lists(), {term.name for term in load_schema().objects.metadata.values()}
    assert {name for name in terms if lists.denies(name)} == set(IDENTIFYING)
    assert {name for name in terms if not lists.denies(name) and not lists.knows(name)} == set()


def test_what_an_audit_says_of_the_acquisition_is_kept() -> None:
    lists = metadata_lists()
    assert {name for name in acquisition.NUMBERS | acquisition.WORDS if lists.denies(name)} == set()
    assert {name for name in acquisition.WORDS if not lists.knows(name)} == set()


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("EchoTime", 0.03, True),
        ("ConsistencyInfo", "N4_VE11C_LATEST_20160120", True),
        ("PatientPosition", "HFS", True),
        ("patientname", "x", False),
        ("PatientAge", 33, False),
        ("ImagingFrequency", 123.257, False),
        ("StudyInstanceUID", "x", False),
        ("NameOfHospitalWard", "x", False),
        ("UnknownText", "anything", False),
        ("UnknownNumber", 3.5, True),
        ("UnknownFlag", True, True),
        ("UnknownNumbers", [1, 2.5, None], True),
        ("UnknownLongNumber", 19710203, False),
        ("UnknownTexts", [1, "x"], False),
        ("UnknownObject", {"a": 1}, False),
    ],
)
def test_fields_of_sidecars(name: str, value: Any, kept: bool) -> None:
    content, removed = scrub_sidecar({name: value}, metadata_lists())
    assert content == ({name: value} if kept else {})
    assert [(one.field, one.value) for one in removed] == ([] if kept else [(name, value)])
    assert scrub_sidecar({name: value}, metadata_lists((name.upper(),)))[0] == {name: value}


def test_dictionaries_keep_columns_and_lose_what_tells_a_person_or_a_day() -> None:
    given = {
        "diagnosis": {"Description": "by a doctor", "Levels": {"a": "one"}, "OperatorName": "x", "Added": "2019-05-06"},
        "Email": {"Description": "x"},
        "Made": "12:34:56",
        "StimulusPresentation": {"SoftwareName": "Psychtoolbox", "When": "06.05.2019", "Where": ["room 1"]},
        "ids": [{"Uid": "1.2.840.113619.2.5.1762"}],
    }
    kept, removed = scrub_dictionary(given, metadata_lists())
    assert kept == {
        "diagnosis": {"Description": "by a doctor", "Levels": {"a": "one"}},
        "StimulusPresentation": {"SoftwareName": "Psychtoolbox", "Where": ["room 1"]},
        "ids": [{}],
    }
    fields = [one.field for one in removed]
    assert fields == [
        *("diagnosis.OperatorName", "diagnosis.Added", "Email", "Made"),
        *("StimulusPresentation.When", "ids.Uid"),
    ]


def test_a_description_keeps_its_name_and_authors() -> None:
    given = {
        "Name": "x",
        "Authors": ["A. Doe"],
        "InstitutionName": "y",
        "SourceDatasets": [{"PatientID": 7, "DOI": "z"}],
    }
    kept, removed = scrub_description(given, metadata_lists())
    assert kept == {"Name": "x", "Authors": ["A. Doe"], "SourceDatasets": [{"DOI": "z"}]}
    assert [one.field for one in removed] == ["InstitutionName", "SourceDatasets.PatientID"]


def image(path: Path, kind: type = nib.Nifti1Image, *, gap: bytes = b"", after: bytes = b"") -> np.ndarray:
    """An image, with bytes between header and voxels and after them; its voxels."""
    data = np.random.default_rng(1).integers(0, 99, (5, 6, 7, 2)).astype(np.int16)
    made = kind(data, np.diag([2.0, 3.0, 4.0, 1.0]))
    content = bytearray(made.to_bytes())
    if gap:
        offset = int(made.header.single_vox_offset)
        header = made.header.copy()
        header["vox_offset"] = offset + len(gap)
        content = bytearray(header.binaryblock) + content[len(header.binaryblock) : offset] + gap + content[offset:]
    path.write_bytes(gzip.compress(bytes(content + after), mtime=0) if path.name.endswith(".gz") else content + after)
    return data


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    ("gap", "after"), [(b"Doe^Jane" * 4, b""), (b"", b"Doe^Jane"), (b"Doe^Jane" * 40, b"Doe^Jane")]
)
def test_bytes_around_the_voxels_go(name: str, kind: type, gap: bytes, after: bytes, tmp_path: Path) -> None:
    data = image(tmp_path / name, kind, gap=gap, after=after)
    target = tmp_path / "out" / name
    assert copy_without_texts(tmp_path / name, target)
    content = gzip.decompress(target.read_bytes()) if name.endswith(".gz") else target.read_bytes()
    assert b"Doe" not in content
    np.testing.assert_array_equal(np.asarray(nib.load(target).dataobj), data)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_an_image_without_texts_is_not_written_again(name: str, tmp_path: Path) -> None:
    image(tmp_path / name)
    assert not copy_without_texts(tmp_path / name, tmp_path / "out" / name)
    assert not (tmp_path / "out").exists()


def test_extensions_go(tmp_path: Path) -> None:
    made = nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
    made.header.extensions.append(Nifti1Extension(2, b"Doe^Jane"))
    made.to_filename(tmp_path / "x.nii")
    assert copy_without_texts(tmp_path / "x.nii", tmp_path / "y.nii")
    assert b"Doe" not in (tmp_path / "y.nii").read_bytes() and not nib.load(tmp_path / "y.nii").header.extensions


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no image at all" * 99, "not a single-file NIfTI image"),
        (None, "truncated or damaged"),
        (b"type", "unknown data type"),
    ],
)
def test_images_that_cannot_be_released(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.nii"
    image(path)
    whole = bytearray(path.read_bytes())
    whole[70:72] = b"\x63\x63" if content == b"type" else whole[70:72]
    path.write_bytes(whole[:-9] if content is None else whole if content == b"type" else content)
    with pytest.raises(ImageError, match=words):
        copy_without_texts(path, tmp_path / "y.nii")
    assert not (tmp_path / "y.nii").exists()


def test_a_gzipped_table_loses_name_and_time(tmp_path: Path) -> None:
    path = tmp_path / "Doe_physio.tsv.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"1\t2\n")
    assert not has_clean_gzip_header(path)
    pack_again(path, tmp_path / "y.tsv.gz")
    assert (
        has_clean_gzip_header(tmp_path / "y.tsv.gz")
        and gzip.decompress((tmp_path / "y.tsv.gz").read_bytes()) == b"1\t2\n"
    )
    assert b"Doe" not in (tmp_path / "y.tsv.gz").read_bytes()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("participants.tsv", "participant_id\tage\nsub-1\t20\n", None),
        ("participants.tsv", "participant_id\tBirth_Date\nsub-1\t2\n", "participant_id\nsub-1\n"),
        ("participants.tsv", "participant_id\nsub-1\nsub-gone\n9\n", "participant_id\nsub-1\n9\n"),
        ("sub-1/sub-1_sessions.tsv", "session_id\tacq_time\nses-a\t2019-05-06T00:00:00\n", "session_id\nses-a\n"),
        ("sub-1/sub-1_sessions.tsv", "session_id\tx\nses-gone\t1\nses-b\t2\n", "session_id\tx\nses-b\t2\n"),
        ("sub-1/func/sub-1_events.tsv", "onset\tduration\n1\t2\n", None),
        ("phenotype/x.tsv", "participant_id\tdate\nsub-1\t2\n", "participant_id\nsub-1\n"),
        ("empty.tsv", "a\tacq_time\n", "a\n"),
    ],
)
def test_tables(name: str, text: str, expected: str | None, tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(text)
    found, _ = release_table(path, name, TableRules(lists=metadata_lists()), {"sub-gone", "sub-1/ses-gone"})
    assert found == expected


def test_times_that_are_none_and_ages_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("acq_time\tage\n2019-05-06T01:02:03.5Z\t90\nsoon\told\nn/a\t89+\n2019-05-06T01:02:03\t88.5\n")
    rules = TableRules(lists=metadata_lists(), cap_ages=True, shift_key=b"k")
    text, removed = release_table(path, "sub-1/sub-1_scans.tsv", rules, ())
    assert text is not None and [one.field for one in removed] == ["acq_time", "age"]
    times, ages = zip(*(line.split("\t") for line in text.splitlines()[1:]), strict=True)
    assert ages == ("89", "old", "89+", "88.5")
    assert times[1:3] == ("n/a", "n/a") and times[0].endswith("T01:02:03.5Z") and times[0][:10] == times[3][:10]


def test_a_table_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\n1\t2\n")
    with pytest.raises(TableError, match="leave the file out of the dataset"):
        release_table(tmp_path / "x.tsv", "x.tsv", TableRules(lists=metadata_lists()), ())


def test_texts_of_a_dataset() -> None:
    assert release_changes(None, FACTS).startswith("1.0.0 2026-01-02\n  - Faces removed from 1 image with niimath 1")
    assert release_changes("v2.9 2020-01-01\n - x\n", FACTS).startswith("2.10 2026-01-02\n")
    assert release_readme(None, FACTS).startswith("A BIDS dataset") and "not here" not in release_readme("x", FACTS)
    assert release_bidsignore("extra/\n/release.tsv\n").splitlines() == [
        "extra/",
        "/release.tsv",
        "/release.json",
        "/release.html",
    ]


def test_every_kind_of_file_is_found(tmp_path: Path) -> None:
    names = {
        "dataset_description.json": Kind.DESCRIPTION,
        "README.md": Kind.TEXT_TO_COMPLETE,
        "sub-1/anat/sub-1_T1w.nii.gz": Kind.IMAGE,
        "sub-1/anat/sub-1_T1w.NII": Kind.IMAGE,
        "sub-1/anat/sub-1_T1w.json": Kind.SIDECAR,
        "task-x_events.json": Kind.DICTIONARY,
        "phenotype/x.json": Kind.DICTIONARY,
        "code/x.json": Kind.OTHER,
        "sub-1/sub-1_scans.tsv": Kind.TABLE,
        "sub-1/func/sub-1_physio.tsv.gz": Kind.PACKED,
        "sub-1/anat/x.mgz": Kind.UNCHECKED,
        "sub-1/meg/photo.JPG": Kind.UNCHECKED,
        "sub-1/dwi/sub-1_dwi.bval": Kind.OTHER,
        ".bidsignore": Kind.TEXT_TO_COMPLETE,
        ".DS_Store": Kind.LEFT_OUT,
        "a  b.txt": Kind.LEFT_OUT,
        "annexed.tsv": Kind.UNREADABLE,
    }
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("/annex/objects/x" if name == "annexed.tsv" else "x")
    for folder in (".git/annex", "derivatives/a", "sub-1/sourcedata"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sub-2").symlink_to("sub-1")
    (tmp_path / "sub-1/loop").symlink_to("..")
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = {one.path: one for one in list_files(tmp_path)}
    assert {name: found[name].kind for name in names} == names
    for folder in (".git/", "derivatives/", "sub-1/sourcedata/", "sub-1/loop/", "pipe"):
        assert found[folder].kind is Kind.LEFT_OUT and found[folder].note
    assert found["sub-2/anat/sub-1_T1w.nii.gz"].kind is Kind.IMAGE
    assert "is a broken link to nowhere" in str(found["broken"].note)
    assert "pointer without its content" in str(found["annexed.tsv"].note)
    taken = {one.path: one.kind for one in list_files(tmp_path, Wanted(unchecked=("sub-1/anat/*",)))}
    assert (taken["sub-1/anat/x.mgz"], taken["sub-2/anat/x.mgz"]) == (Kind.OTHER, Kind.UNCHECKED)


def test_a_link_is_followed_to_the_file_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "object").write_text("x")
    (tmp_path / "link").symlink_to("object")
    for mode in ("copy", "hardlink", "reflink"):
        place(tmp_path / "link", tmp_path / mode, mode)
        assert not (tmp_path / mode).is_symlink() and (tmp_path / mode).read_text() == "x"
