"""The two derivative datasets, with every kind of output in them, are valid for bids-validator-deno."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids import BIDSLayout
from output_folders import identifiable, layout_of, shareable

from bids_refacer import __version__
from bids_refacer.audit.status import done_row
from bids_refacer.dataset import sidecars, tables, validation
from bids_refacer.dataset.descriptions import derivatives
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.images import HeadImage, find_images
from bids_refacer.dataset.names import OutputNames, log_dir, sidecar_of
from bids_refacer.dataset.rows.audit import StatusRow, subject_columns
from bids_refacer.dataset.rows.table import write_rows
from bids_refacer.files import write_json, write_text

DETAILS = {"Tool": "quickshear", "Version": "1.2.0", "Command": "quickshear ANAT", "Options": {"buffer": 10}}
NAMES = (
    "sub-01/anat/sub-01_T1w.nii.gz",
    "sub-02/ses-a/anat/sub-02_ses-a_acq-x_ce-gd_rec-y_run-01_echo-1_part-mag_T1w.nii.gz",
    "sub-02/ses-a/anat/sub-02_ses-a_FLAIR.nii",
)


def save_volume(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in NAMES:
        save_volume(root / name)
        write_json(sidecar_of(root / name), {"EchoTime": 0.003})
    source = {"Name": "Heads", "BIDSVersion": "1.9.0", "License": "CC0", "DatasetDOI": "doi:10.18112/openneuro.ds0"}
    write_json(root / "dataset_description.json", source)
    write_text(root / "README", "A dataset of heads that are four voxels wide. " * 5)
    return root


def write_image_outputs(image: HeadImage, output: Path) -> None:
    """Every file that one image and tool can have, with its sidecar from its builder."""
    names = OutputNames.of(layout_of(output), image)
    defaced = names.defaced("quickshear")
    uri = f"bids::{names.layout.name_of(defaced)}"
    recovered = {"WeightsSHA256": {"coarse": "00"}, "Options": {"Sampler": "heun"}, "Command": "c", "RunTime": 1.0}
    refaced = sidecars.refaced_sidecar(image, "Sample", defaced_uri=uri, seeds=[3]).complete(recovered)
    report = {**DETAILS, "RunTime": 1.0}
    volumes = {
        defaced: sidecars.defaced_sidecar(image, "quickshear", brain_mask_uri=None).complete(report),
        names.defacemask("quickshear"): sidecars.defacemask_sidecar(image, "quickshear", defaced_uri=uri).complete(
            report
        ),
        names.brain_mask(): sidecars.brain_mask_sidecar(image).complete({"RunTime": 1.0}),
        names.refaced("quickshear", 1): refaced,
        names.refaced_mean("quickshear"): refaced,
        names.average_face("quickshear"): refaced,
    }
    for path, sidecar in volumes.items():
        save_volume(path)
        write_json(sidecar_of(path), sidecar)
    for path in (names.face_surface(None, "original"), names.distance_map("quickshear", "refaced", 1)):
        write_text(path, "<GIFTI/>")
        surface = sidecars.surface_sidecar("s", sources=[uri], synthetic=True, details={"Units": "mm"})
        write_json(sidecar_of(path), surface.complete({"RunTime": 1.0}))
    table = names.surfacedistance("quickshear")
    tables.write_table(table, "surfacedistance", [subject_columns(image, "quickshear")])
    tables.write_dictionary(sidecar_of(table), "surfacedistance")


@pytest.fixture
def output(bids: Path, tmp_path: Path) -> Path:
    root = tmp_path / "out"
    derivatives.write_datasets(layout_of(root), bids)
    images = find_images(bids, suffixes=("T1w", "FLAIR")).images
    assert [image.bids_path for image in images] == sorted(NAMES)
    for image in images:
        write_image_outputs(image, root)
    status = [done_row(image, "quickshear", None, 1.0) for image in images]
    write_rows(shareable(root) / "status.tsv", StatusRow, status)
    tables.write_table(shareable(root) / "defacing.tsv", "defacing", [subject_columns(images[0], "quickshear")])
    tables.write_table(shareable(root) / "surfacedistance.tsv", "surfacedistance", [])
    people = [{"participant_id": "sub-01"}, {"participant_id": "sub-02"}]
    tables.write_table(shareable(root) / "participants.tsv", "participants", people)
    write_text(shareable(root) / "CITATION.md", "# Methods\n")
    write_text(log_dir(layout_of(root), "abc") / "run.log", "log\n")
    write_text(identifiable(root) / "work" / "node" / "T1w.nii.gz", "intermediate")
    return root


def test_both_datasets_are_valid(output: Path) -> None:
    for folder in (shareable(output), identifiable(output)):
        assert validation.validate(folder, warnings=True) == []


def test_what_is_copied_added_or_indexed_has_no_face(bids: Path, output: Path, tmp_path: Path) -> None:
    """As `rsync`, `datalad save` (which is git) and pybids take the shareable folder along."""
    faces = {path.name for path in identifiable(output).rglob("*") if path.name.startswith("sub-0") and path.is_file()}
    copy = shutil.copytree(shareable(output), tmp_path / "copy")
    assert not any(path.is_symlink() for path in shareable(output).rglob("*"))
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=shareable(output), check=True)
    added = subprocess.run(["git", "ls-files"], cwd=shareable(output), check=True, capture_output=True, text=True)
    of_one = shutil.copytree(copy, tmp_path / "of one")
    shutil.rmtree(of_one / "sub-02")  # pybids takes the column `part` of its tables for the entity of its name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layout = BIDSLayout(bids, derivatives=[of_one])
    indexed = [Path(file) for file in layout.get(scope="all", return_type="filename")]
    assert any("Defaced" in path.name for path in indexed)
    copied = {path.name for path in copy.rglob("*") if path.is_file()}
    assert len(faces) > 10 and len(copied) > 10
    for names in (copied, {Path(name).name for name in added.stdout.splitlines()}, {path.name for path in indexed}):
        assert not faces & names and not any("efaced1" in name or "_face." in name for name in names)


def test_the_validator_would_warn(output: Path) -> None:
    """The test above can fail: without authors, both are warned of."""
    path = identifiable(output) / "dataset_description.json"
    write_json(path, {name: value for name, value in json.loads(path.read_text()).items() if name != "Authors"})
    assert any("AUTHORS" in warning for warning in validation.validate(identifiable(output), warnings=True))
    assert validation.validate(identifiable(output)) == []


def test_authors_are_those_of_the_originals_and_of_the_app(bids: Path, tmp_path: Path) -> None:
    ours = "bids_refacer contributors"
    for given, wanted in (
        (["A", "B"], ["A", "B", ours]),
        (["A", ours], ["A", ours]),
        ("A", ["Authors of x", ours]),
        ([3, " "], ["Authors of x", ours]),
        (None, ["Authors of x", ours]),
    ):
        made = derivatives.shareable_description({"Name": "x", "Authors": given}, bids, shareable(tmp_path / "out"))
        assert made["Authors"] == wanted


def test_the_validator_would_see_a_wrong_name(output: Path) -> None:
    """The test above can fail: the same files under names in the order of the contract's first draft are refused."""
    mask = next(shareable(output).glob("sub-01/anat/*_defacemask.nii.gz"))
    mask.rename(mask.with_name("sub-01_desc-quickshear_mod-T1w_defacemask.nii.gz"))
    assert any("FILENAME_MISMATCH" in error for error in validation.validate(shareable(output)))


def test_input_is_valid(bids: Path) -> None:
    assert validation.validate(bids) == []


def test_the_identifiable_dataset_is_closed_to_others(output: Path) -> None:
    assert stat.S_IMODE(identifiable(output).stat().st_mode) == 0o700


def test_an_open_identifiable_folder_is_closed(bids: Path, tmp_path: Path) -> None:
    (identifiable(tmp_path / "out")).mkdir(parents=True, mode=0o755)
    derivatives.write_datasets(layout_of(tmp_path / "out"), bids)
    assert stat.S_IMODE((identifiable(tmp_path / "out")).stat().st_mode) == 0o700


def test_description_of_the_shareable_dataset(output: Path) -> None:
    content = json.loads((shareable(output) / "dataset_description.json").read_text())
    assert (content["DatasetType"], content["Name"]) == ("derivative", "Audit of defacing: Heads")
    assert content["GeneratedBy"][0]["Name"] == "bids_refacer"
    assert content["GeneratedBy"][0]["Version"] == __version__
    doi = "10.18112/openneuro.ds0"
    assert content["SourceDatasets"] == [{"DOI": f"doi:{doi}", "URL": f"https://doi.org/{doi}"}]
    assert content["DatasetLinks"] == {"raw": "../../in"}
    assert "as the originals (CC0)" in content["License"]
    assert "2501.18834" in content["HowToAcknowledge"]


def test_description_of_the_identifiable_dataset(output: Path) -> None:
    content = json.loads((identifiable(output) / "dataset_description.json").read_text())
    assert content["DatasetLinks"] == {"raw": "../../in", "shareable": "../bids_refacer"}
    assert content["License"].startswith("Not licensed for sharing.")
    assert "not for sharing" in (identifiable(output) / "README").read_text()


def test_source_without_doi_is_its_place(bids: Path, tmp_path: Path) -> None:
    content = derivatives.shareable_description({"Name": "x"}, bids, shareable(tmp_path / "out"))
    assert content["SourceDatasets"] == [{"URL": "../../in"}] and content["DatasetLinks"] == {"raw": "../../in"}
    private = derivatives.identifiable_description({"Name": "x"}, bids, layout_of(tmp_path / "out"))
    assert private["SourceDatasets"] == [{"URL": bids.as_uri()}] and private["DatasetLinks"]["raw"] == "../../in"
    assert "which name no license" in content["License"]


@pytest.mark.parametrize(
    ("source", "output", "link"),
    [
        ("data/study", "data/out", "../../study"),
        ("data/study", "data/study/derivatives/audit", "../../.."),
        ("home/jane/study", "mnt/out", "../../raw"),
        ("home/jane/study", "home/john/out", "../../raw"),
        ("study", "mnt/deep/out", "../../raw"),
    ],
)
def test_no_folder_but_the_dataset_itself_is_named(source: str, output: str, link: str, tmp_path: Path) -> None:
    content = derivatives.shareable_description({}, tmp_path / source, shareable(tmp_path / output))
    assert content["DatasetLinks"] == {"raw": link} and content["SourceDatasets"] == [{"URL": link}]
    assert content["Name"] == "Audit of defacing: a dataset without a name"


@pytest.mark.parametrize(
    ("variable", "value", "container"),
    [
        ("BIDS_REFACER_DOCKER_TAG", "org/app:1", {"Type": "docker", "Tag": "org/app:1"}),
        ("BIDS_REFACER_DOCKER_TAG", "host:5000/app", {"Type": "docker", "Tag": f"app:{__version__}"}),
        ("APPTAINER_CONTAINER", "/images/app.sif", {"Type": "apptainer", "Tag": "app.sif"}),
        ("SINGULARITY_CONTAINER", "/images/app.sif", {"Type": "apptainer", "Tag": "app.sif"}),
        ("UNRELATED", "x", None),
    ],
)
def test_container(variable: str, value: str, container: dict | None, bids: Path, monkeypatch) -> None:
    for name in ("BIDS_REFACER_DOCKER_TAG", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    made = derivatives.shareable_description({}, bids, shareable(bids.parent / "out"))["GeneratedBy"][0]
    assert made.get("Container") == container


def test_code_url_is_the_package_s(bids: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from email.message import Message

    packaged = Message()
    packaged["Project-URL"] = "Documentation, https://example.org/docs"
    packaged["Project-URL"] = "Source, https://example.org/code"
    monkeypatch.setattr(derivatives, "metadata", lambda name: packaged)
    made = derivatives.shareable_description({}, bids, shareable(bids.parent / "out"))["GeneratedBy"][0]
    assert made["CodeURL"] == "https://example.org/code"


@pytest.mark.parametrize(("text", "words"), [("{", "is not JSON"), ("[]", "must hold a JSON object")])
def test_input_description_that_cannot_be_used(bids: Path, tmp_path: Path, text: str, words: str) -> None:
    (bids / "dataset_description.json").write_text(text)
    with pytest.raises(DatasetError, match=f"dataset_description.json {words}"):
        derivatives.write_datasets(layout_of(tmp_path / "out"), bids)
    assert not (tmp_path / "out").exists()


def test_input_description_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset_description.json cannot be read \(No such file"):
        derivatives.read_description(tmp_path)


def test_writing_again_changes_nothing(output: Path, bids: Path) -> None:
    def times() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}

    before = times()
    derivatives.write_datasets(layout_of(output), bids)
    assert times() == before
