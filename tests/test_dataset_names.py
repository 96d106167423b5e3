"""Names of outputs: spelled as the schema wants them, never the same for two files, accepted by the validator."""

from __future__ import annotations

from pathlib import Path

import pytest
from bidsschematools.schema import load_schema
from output_folders import identifiable, layout_of

from bids_refacer.dataset.names import (
    OutputNames,
    dataset_table,
    file_name,
    log_dir,
    sidecar_of,
    surface_label,
    tool_label,
)

OUT = Path("/out")
PLAIN = OutputNames(layout=layout_of(OUT), entities={"sub": "01"}, suffix="T1w")
ALL = {"sub": "02", "ses": "a", "acq": "x", "ce": "gd", "rec": "y", "run": "01", "echo": "1", "part": "mag"}
FULL = OutputNames(layout=layout_of(OUT), entities=ALL, suffix="T2w")


def every_file(names: OutputNames) -> list[Path]:
    """All files that one image can have, for two tools and two samples."""
    files = [names.brain_mask(), names.face_surface(None, "original")]
    for tool in ("quickshear", "fsl_deface"):
        files += [names.defaced(tool), names.defacemask(tool), names.surfacedistance(tool)]
        files += [names.refaced(tool, 1), names.refaced(tool, 2), names.refaced_mean(tool), names.average_face(tool)]
        for image_type, sample in (
            ("defaced", None),
            ("refaced", 1),
            ("refaced", 2),
            ("refaced_mean", None),
            ("average", None),
        ):
            files += [names.face_surface(tool, image_type, sample), names.distance_map(tool, image_type, sample)]
    return files


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PLAIN.defaced("quickshear"), "bids_refacer/sub-01/anat/sub-01_desc-quickshearDefaced_T1w.nii.gz"),
        (PLAIN.defacemask("quickshear"), "bids_refacer/sub-01/anat/sub-01_mod-T1w_desc-quickshear_defacemask.nii.gz"),
        (PLAIN.brain_mask(), "bids_refacer/sub-01/anat/sub-01_desc-brain_mask.nii.gz"),
        (PLAIN.surfacedistance("average"), "bids_refacer/sub-01/anat/sub-01_mod-T1w_desc-average_surfacedistance.tsv"),
        (PLAIN.refaced("pydeface", 3), "identifiable/sub-01/anat/sub-01_desc-pydefaceRefaced3_T1w.nii.gz"),
        (PLAIN.refaced_mean("pydeface"), "identifiable/sub-01/anat/sub-01_desc-pydefaceRefacedMean_T1w.nii.gz"),
        (PLAIN.average_face("pydeface"), "identifiable/sub-01/anat/sub-01_desc-pydefaceAverageFace_T1w.nii.gz"),
        (PLAIN.face_surface(None, "original"), "identifiable/sub-01/anat/sub-01_mod-T1w_desc-original_face.surf.gii"),
        (
            PLAIN.distance_map("pydeface", "refaced", 2),
            "identifiable/sub-01/anat/sub-01_mod-T1w_desc-pydefaceRefaced2_distance.shape.gii",
        ),
        (
            FULL.defaced("quickshear"),
            "bids_refacer/sub-02/ses-a/anat/sub-02_ses-a_acq-x_ce-gd_rec-y_run-01_echo-1_part-mag_desc-quickshearDefaced_T2w.nii.gz",
        ),
        (
            FULL.defacemask("quickshear"),
            "bids_refacer/sub-02/ses-a/anat/"
            "sub-02_ses-a_acq-x_ce-gd_rec-y_run-01_mod-T2w_desc-quickshearEcho1PartMag_defacemask.nii.gz",
        ),
        (
            FULL.brain_mask(),
            "bids_refacer/sub-02/ses-a/anat/sub-02_ses-a_acq-x_ce-gd_rec-y_run-01_echo-1_part-mag_desc-brainT2w_mask.nii.gz",
        ),
        (dataset_table(layout_of(OUT), "status"), "bids_refacer/status.tsv"),
        (log_dir(layout_of(OUT), "abc"), "identifiable/logs/abc"),
    ],
)
def test_spelling(path: Path, expected: str) -> None:
    assert path == OUT / expected


def test_entities_are_put_in_the_order_of_the_schema() -> None:
    shuffled = {"desc": "x", "run": "1", "ses": "b", "sub": "01", "mine": "z", "acq": "q"}
    assert file_name(shuffled, "T1w", ".nii.gz") == "sub-01_ses-b_acq-q_run-1_mine-z_desc-x_T1w.nii.gz"


def test_every_entity_of_the_schema_has_its_place() -> None:
    schema = load_schema()  # the package brings it along
    order = [schema.objects.entities[entity].name for entity in schema.rules.entities]
    shuffled = dict.fromkeys(sorted(order), "x")
    assert file_name(shuffled, "T1w", ".nii") == "_".join([f"{name}-x" for name in order] + ["T1w.nii"])
    assert len(order) > 30


def test_no_two_files_share_a_name() -> None:
    variants = [
        OutputNames(layout=layout_of(OUT), entities={**ALL, "echo": echo, "part": part}, suffix=suffix)
        for echo in "12"
        for part in ("mag", "phase")
        for suffix in ("T1w", "T2w")
    ]
    files = [path for names in [*variants, PLAIN] for path in every_file(names)]
    assert len(files) == len(set(files)) > 200
    sidecars = [sidecar_of(path) for path in files]
    assert len(sidecars) == len(set(sidecars))


def test_recovered_faces_are_in_the_identifiable_dataset_alone() -> None:
    endings = ("Defaced_T1w", "defacemask", "_mask", "surfacedistance")
    for path in every_file(PLAIN):
        assert path.is_relative_to(identifiable(OUT)) != path.name.split(".")[0].endswith(endings), path


@pytest.mark.parametrize(
    ("tool", "label"), [("pydeface", "pydeface"), ("fsl_deface", "fslDeface"), ("@afni_refacer_run", "afniRefacerRun")]
)
def test_tool_label_is_alphanumeric(tool: str, label: str) -> None:
    assert tool_label(tool) == label


@pytest.mark.parametrize(
    ("name", "sidecar"),
    [("a_T1w.nii.gz", "a_T1w.json"), ("a_face.surf.gii", "a_face.json"), ("a_distance.shape.gii", "a_distance.json")],
)
def test_sidecar(name: str, sidecar: str) -> None:
    assert sidecar_of(OUT / name) == OUT / sidecar


def test_sidecar_of_something_else() -> None:
    with pytest.raises(ValueError, match=r"/out/a.txt has no sidecar: outputs end in .nii.gz"):
        sidecar_of(OUT / "a.txt")


@pytest.mark.parametrize(
    ("tool", "image_type", "sample"),
    [("x", "original", None), (None, "refaced", 1), ("x", "refaced", None), ("x", "average", 1), ("x", "best", None)],
)
def test_surfaces_that_do_not_exist(tool: str | None, image_type: str, sample: int | None) -> None:
    with pytest.raises(ValueError, match="No surface is written for image type"):
        surface_label(tool, image_type, sample)
