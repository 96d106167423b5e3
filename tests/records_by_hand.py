"""Images that hold nothing, and records of runs that never were: what plans and tables need, without a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from output_folders import layout_of

from bids_refacer.dataset.details import DefaceDetails, Json, RefaceDetails
from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.images import HeadImage, Selection
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.records import DefacedRecord, Record, fingerprint
from bids_refacer.dataset.rows.audit import DistanceRow, subject_columns
from bids_refacer.files import write_json
from bids_refacer.layout import Layout


def image_of(bids: Path, name: str) -> HeadImage:
    """An image by its name (``sub-01_T1w``), made where it is missing."""
    key = ImageKey.of(name)
    folder = Path(f"sub-{key.participant}", *([f"ses-{key.session}"] if key.session else []), "anat")
    path = bids / folder / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(name.encode())
    return HeadImage(**vars(key), path=path, bids_uri=f"bids:raw:{folder.as_posix()}/{name}.nii.gz")


def selection_of(*images: HeadImage) -> Selection:
    """A selection without problems."""
    return Selection(images=images, problems=())


def publish(files: Iterable[Path], layout: Layout) -> dict[str, int]:
    """Write files of four bytes; their sizes, as a record lists them."""
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    return {layout.name_of(path): 4 for path in files}


def add_record(output: Path, image: HeadImage, tool: str, key: Json, *, warnings: tuple[str, ...] = ()) -> Record:
    """The record of an image that was audited, and its defaced image, mask, and one recovered face."""
    names = OutputNames.of(layout_of(output), image)
    files = (names.brain_mask(), names.defaced(tool), names.defacemask(tool), names.refaced(tool, 1))
    row = DistanceRow(**subject_columns(image, tool), image_type="refaced", sample=1, part="face", masd_mm=1.5)
    record = Record(
        **_shared(image, tool, key, publish(files, names.layout)),
        reface=RefaceDetails.from_json({"Options": {"Steps": [12, 20]}, "Warnings": list(warnings)}),
        score_s=1.0,
        distances=(row,),
    )
    write_json(names.record(tool), record.to_json())
    return record


def add_other_record(output: Path, image: HeadImage, tool: str, key: Json) -> list[Path]:
    """The record of an image that got the mask of another one; its files."""
    names = OutputNames.of(layout_of(output), image)
    files = [names.defaced(tool), names.defacemask(tool)]
    record = DefacedRecord(**_shared(image, tool, key, publish(files, names.layout)))
    write_json(names.other_record(tool), record.to_json())
    return files


def _shared(image: HeadImage, tool: str, key: Json, outputs: Mapping[str, int]) -> dict:
    deface = {"Tool": tool, "Version": "1", "MaskOf": "sub-01/anat/sub-01_T1w.nii.gz", "RunTime": 2.0}
    return {
        "key": key,
        "input": fingerprint(image.path),
        "image": image.bids_path,
        "tool": tool,
        "kept_refaced": True,
        "outputs": outputs,
        "deface": DefaceDetails.from_json(deface),
        "run_time_s": 3.5,
    }
