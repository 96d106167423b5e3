"""Texts of the original's NIfTI header reach no image that is written from it; every other field keeps its bits."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension
from nifti_files import OBLIQUE, stored_of
from small_datasets import DATA, STAND_IN, add_image, settings_for, start_dataset

from bids_refacer.audit.graph.outputs import defaced_outputs, refaced_outputs
from bids_refacer.audit.graph.tool import deface_node
from bids_refacer.audit.plan import make_plan
from bids_refacer.dataset.images import find_images
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.header_texts import TEXTS
from bids_refacer.volumes.nifti import read_scan, write_scan

NAME = b"Doe^Jane"
REPORT = {"Command": "c", "Options": {}, "WeightsSHA256": {}, "RunTime": 1.0}
CODES = {"dicom": 2, "afni": 4, "comment": 6, "unknown": 0, "cifti": 32}


def planted(path: Path, header_class: type = nib.Nifti1Header, codes: tuple[int, ...] = tuple(CODES.values())) -> bytes:
    """An image with a name in every text field and in extensions; the bytes of its header proper."""
    stored = stored_of("<i2")
    header = header_class()
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_qform(OBLIQUE, code=1, strip_shears=True)
    header.set_sform(OBLIQUE, code=4)
    header.set_xyzt_units("mm", "msec")
    header["cal_max"], header["cal_min"], header["slice_duration"], header["slice_code"] = 99, 3, 0.5, 2
    header["intent_code"], header["intent_p1"], header["dim_info"] = 1001, 7, 57
    for name in set(TEXTS) & set(header.structarr.dtype.names):
        header[name] = NAME
    for code in codes:
        header.extensions.append(Nifti1Extension(code, NAME + b" was here, and the text goes on"))
    header["magic"] = header_class.single_magic
    header["vox_offset"] = header_class.single_vox_offset + header.extensions.get_sizeondisk()
    with path.open("wb") as file:
        header.write_to(file)
        file.write(stored.tobytes(order="F"))
    return path.read_bytes()


def fields_of(content: bytes, header_class: type) -> dict[str, bytes]:
    structure = np.frombuffer(content, dtype=header_class.template_dtype, count=1)[0]
    return {name: structure[name].tobytes() for name in structure.dtype.names}


@pytest.mark.parametrize("header_class", [nib.Nifti1Header, nib.Nifti2Header])
def test_texts_are_blank_and_nothing_else_changes(header_class: type, tmp_path: Path) -> None:
    before = planted(tmp_path / "in.nii", header_class)
    scan = read_scan(tmp_path / "in.nii")
    write_scan(tmp_path / "out.nii", scan, scan.stored)
    after = (tmp_path / "out.nii").read_bytes()
    assert before.count(NAME) > 5 and NAME not in after
    old, new = fields_of(before, header_class), fields_of(after, header_class)
    changed = {name for name in old if old[name] != new[name]}
    assert changed == {*TEXTS, "vox_offset"} & set(old)
    assert not any(b"".join(new[name] for name in TEXTS if name in new))
    np.testing.assert_array_equal(read_scan(tmp_path / "out.nii").stored, scan.stored)
    assert len(after) == header_class.single_vox_offset + scan.stored.nbytes
    image = nib.load(tmp_path / "out.nii")
    assert len(image.header.extensions) == 0 and (image.affine == nib.load(tmp_path / "in.nii").affine).all()


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_every_kind_of_extension_is_dropped(code: int, tmp_path: Path) -> None:
    planted(tmp_path / "in.nii", codes=(code,))
    scan = read_scan(tmp_path / "in.nii")
    write_scan(tmp_path / "out.nii.gz", scan, scan.stored)
    image = nib.load(tmp_path / "out.nii.gz")
    assert len(image.header.extensions) == 0 and read_scan(tmp_path / "out.nii.gz").header["vox_offset"] == 352
    assert len(scan.header.extensions) == 1, "the scan in memory stays what was read"


def test_texts_are_kept_on_request(tmp_path: Path) -> None:
    before = planted(tmp_path / "in.nii")
    scan = read_scan(tmp_path / "in.nii")
    write_scan(tmp_path / "out.nii", scan, scan.stored, keep_texts=True)
    assert (tmp_path / "out.nii").read_bytes() == before


def test_what_hides_between_header_and_voxels_is_not_carried(tmp_path: Path) -> None:
    content = bytearray(planted(tmp_path / "in.nii"))
    content[348] = 0  # says that there are no extensions
    (tmp_path / "in.nii").write_bytes(content)
    scan = read_scan(tmp_path / "in.nii")
    for keep in (False, True):
        write_scan(tmp_path / "out.nii", scan, scan.stored, keep_texts=keep)
        assert b"was here" not in (tmp_path / "out.nii").read_bytes()


@pytest.mark.parametrize("keep", [False, True])
def test_the_option_reaches_node_key_and_sidecar(keep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bids = start_dataset(tmp_path / "in")
    path = add_image(bids, "sub-01_T1w")
    image = nib.load(path)
    image.header["descrip"] = NAME
    nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header).to_filename(path)
    settings = settings_for(bids, tmp_path / "out", deface_tools=("spm-rule",), keep_header_text=keep)
    (job,) = make_plan(find_images(bids), settings, STAND_IN).jobs
    (tool,) = job.tools
    assert (tool.keep_header_text, tool.key.get("HeaderText")) == (keep, "kept" if keep else None)
    outputs = {**defaced_outputs(job, tool), **refaced_outputs(job, tool)}
    said = {name: outputs[name].sidecar.complete(REPORT).get("HeaderText") for name in outputs}
    assert said.pop("defacemask.nii.gz") is None and set(said.values()) == {"kept" if keep else "blanked"}
    Alignment(np.eye(4), np.eye(4)).to_json(tmp_path / "alignment.json")
    node = deface_node(tool).interface
    node.inputs.trait_set(in_file=str(path), brain_mask=str(DATA / "average_brain_mask.nii.gz"))
    node.inputs.alignment = str(tmp_path / "alignment.json")
    monkeypatch.chdir(tmp_path)
    found = node.run(cwd=str(tmp_path)).outputs
    assert bytes(nib.load(found.defaced).header["descrip"]).startswith(NAME) == keep
