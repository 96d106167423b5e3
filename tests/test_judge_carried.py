"""Whatever a mask was carried to is looked at before it is published: is the head there, is its face gone?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_datasets import DATA

from bids_refacer.audit.nodes.carry import Register
from bids_refacer.audit.nodes.judge_carried import Findings, JudgeCarried
from bids_refacer.defacers import DefacerError
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.image_file import ImageError

STEP = 2  # every other voxel of the average head: quick


@dataclass(frozen=True)
class Folder:
    """A folder with the audited image (the average head, whose frame is the canonical one) and what was carried."""

    root: Path
    affine: np.ndarray
    head: np.ndarray

    def save(self, name: str, values: np.ndarray) -> str:
        path = self.root / f"{name}.nii.gz"
        nib.Nifti1Image(values, self.affine).to_filename(path)
        return str(path)

    def judged(self, image: np.ndarray, mask: np.ndarray, **changes: object) -> dict:
        """The details after the verdict on an image that was defaced by a mask."""
        files = [self.save("defaced", np.where(mask, 0, image)), self.save("mask", mask.astype(np.uint8))]
        in_file = self.save("sub-1_T2w", image)
        given = {"in_file": in_file, "head_file": in_file, "files": files, "most_left": 20.0, "version": "1"}
        given["limits"] = [[5.0, 20.0], [0.1, 5.0], [1.0, 10.0]]
        places = {name: str(self.root / f"{name}.json") for name in ("matrix", "alignment", "details")}
        audited = {"reference": str(self.root / "t1w.nii.gz"), "brain_mask": str(self.root / "brain.nii.gz")}
        found = JudgeCarried(**{**given, **places, **audited, **changes}).run().outputs
        assert list(found.files) == files
        return json.loads(Path(found.details).read_text())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    step = (slice(None, None, STEP),) * 3
    head, brain = (nib.load(DATA / f"{name}.nii.gz") for name in ("average_head", "average_brain_mask"))
    folder = Folder(
        tmp_path, head.affine @ np.diag([STEP] * 3 + [1.0]), np.asarray(head.dataobj)[step].astype(np.int16)
    )
    folder.save("t1w", folder.head)
    folder.save("brain", np.asarray(brain.dataobj)[step].astype(np.uint8))
    (tmp_path / "matrix.json").write_text(json.dumps(np.eye(4).tolist()))
    Alignment(np.eye(4), np.eye(4)).to_json(tmp_path / "alignment.json")
    (tmp_path / "details.json").write_text('{"Tool": "quickshear", "RunTime": 1.0}')
    return folder


def where(folder: Folder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World coordinates of all voxels, mm."""
    x, y, z = np.moveaxis(
        nib.affines.apply_affine(folder.affine, np.moveaxis(np.indices(folder.head.shape), 0, -1)), -1, 0
    )
    return x, y, z


def face(folder: Folder) -> np.ndarray:
    _, y, z = where(folder)
    return (y > 25) & (z < -15)


def test_an_image_without_its_face_passes_with_figures(folder: Folder) -> None:
    details = folder.judged(folder.head, face(folder))
    assert max(share for share in details["DefacingFigures"]["FaceLeft"].values() if share is not None) <= 100
    assert all(details["DefacingFigures"]["FaceLeft"][part] < 5 for part in ("nose", "eyes", "mouth", "chin"))
    assert details["HeadOverlap"] == 1.0 and details["RunTime"] >= 1.0 and details["Tool"] == "quickshear"


def test_a_head_that_moved_under_the_same_header_is_not_published(folder: Folder) -> None:
    moved = np.roll(folder.head, -round(60 / abs(folder.affine[1, 1])), axis=1)
    with pytest.raises(
        DefacerError, match=r"sub-1_T2w.nii.gz is not published: the head of the audited image, brought"
    ):
        folder.judged(moved, face(folder))


def test_a_face_that_the_mask_missed_is_not_published(folder: Folder) -> None:
    """The heads agree, and the mask is of another place: behind, or over the left half of the face alone."""
    x, y, _ = where(folder)
    for mask in (y < -60, face(folder) & (x < 0)):
        with pytest.raises(
            DefacerError, match=r"quickshear left \d+ % of the \w+ in it \(more than 20 % fails, by --face"
        ):
            folder.judged(folder.head, mask)
    half = folder.judged(folder.head, face(folder) & (x < 0), most_left=100.0)
    assert half["DefacingFigures"]["FaceLeft"]["nose"] > 20


def test_an_image_of_which_nothing_is_removed_is_not_published(folder: Folder) -> None:
    corner = np.zeros(folder.head.shape, dtype=bool)
    corner[:3, :3, :3] = True
    assert (folder.head[corner] == 0).all()
    with pytest.raises(DefacerError, match="as nothing of the head in it was removed: the mask of quickshear lies out"):
        folder.judged(folder.head, corner)


def test_an_image_without_skin_is_not_published(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_skin(*_: object) -> None:
        from bids_refacer.surfaces.skin import SkinError

        raise SkinError("No voxel is brighter.")

    monkeypatch.setattr("bids_refacer.audit.nodes.judge_carried.find_skin", no_skin)
    with pytest.raises(
        DefacerError, match=r"is not published, as no skin is found in it, .* \(No voxel is brighter.\)"
    ):
        folder.judged(folder.head, face(folder))


def test_a_phase_is_judged_where_its_magnitude_shows_the_head(folder: Folder) -> None:
    phase = np.random.default_rng(0).integers(-4096, 4096, folder.head.shape).astype(np.int16)
    magnitude = str(folder.root / "t1w.nii.gz")
    details = folder.judged(phase, face(folder), head_file=magnitude)
    assert details["DefacingFigures"]["FaceLeft"]["nose"] < 5
    with pytest.raises(DefacerError, match="quickshear left"):
        folder.judged(phase, where(folder)[1] < -60, head_file=magnitude)
    with pytest.raises(DefacerError, match="is not published"):
        folder.judged(phase, face(folder))


def test_a_brain_that_is_not_in_the_head_is_not_where_the_face_is() -> None:
    right = Findings(head_overlap=0.95, brain_in_head=1.0, removed_of_head=9, face_left={"nose": None, "eyes": 4.0})
    assert right.refusal("i", "t", 20.0) is None
    assert "its brain by 0.50" in str(Findings(**{**vars(right), "brain_in_head": 0.5}).refusal("i", "t", 20.0))


def test_images_in_register_are_aligned_as_their_reference(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = np.eye(4)
    moved[2, 3] = 7.0
    monkeypatch.setattr("bids_refacer.audit.nodes.carry.align_brain", lambda *_: Alignment(moved, moved))
    image, brain = str(folder.root / "t1w.nii.gz"), str(folder.root / "brain.nii.gz")
    found = Register(moving=image, fixed=image, brain_mask=brain, in_register=True, version="1").run().outputs
    assert json.loads(Path(found.matrix).read_text()) == np.eye(4).tolist()
    assert (Alignment.from_json(Path(found.alignment)).rigid == moved).all()


@pytest.mark.parametrize(
    ("factor", "unit", "words"),
    [
        (1000.0, "micron", r"the unit in its header is micrometres, and no head has such voxels \(micrometres fit"),
        (1000.0, "unknown", r"its header names no unit, and no head has such voxels \(micrometres fit better\)"),
        (
            0.001,
            "meter",
            r"the unit in its header is metres, and no head has such voxels \(metres fit better\): convert",
        ),
    ],
)
def test_voxel_sizes_that_are_not_millimetres_are_named(folder: Folder, factor: float, unit: str, words: str) -> None:
    from bids_refacer.audit.nodes.head import InspectHead

    image = nib.Nifti1Image(folder.head, np.diag([factor] * 3 + [1.0]) @ folder.affine)
    image.header.set_xyzt_units(unit)
    image.to_filename(folder.root / "odd.nii.gz")
    size = f"{factor * abs(folder.affine[0, 0]):.4g}"
    for node in (
        InspectHead(in_file=str(folder.root / "odd.nii.gz")),
        Register(
            moving=str(folder.root / "odd.nii.gz"),
            fixed=str(folder.root / "t1w.nii.gz"),
            brain_mask=str(folder.root / "brain.nii.gz"),
            version="1",
        ),
    ):
        with pytest.raises(
            ImageError, match=rf"odd.nii.gz has voxel sizes of {size} x .*, which are read as .*{words}"
        ):
            node.run()


def test_the_unit_of_a_header_alone_refuses_nothing(folder: Folder) -> None:
    """Millimetres that are called metres were always read as what they are."""
    from bids_refacer.audit.nodes.head import InspectHead

    image = nib.Nifti1Image(folder.head, folder.affine)
    image.header.set_xyzt_units("meter")
    image.to_filename(folder.root / "odd.nii.gz")
    assert InspectHead(in_file=str(folder.root / "odd.nii.gz")).run().outputs.out_file.endswith("odd.nii.gz")
