"""Identification of synthetic faces: what must hold whatever the data, and what was planted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import trimesh
from group_runs import LABELS, make_bids, one, run, table
from output_folders import layout_of, shareable

from benchmarks.synthetic_outputs import random_face, write_output
from bids_refacer.dataset.names import OutputNames
from bids_refacer.group.faces import find_gallery, load_faces, surface_of
from bids_refacer.group.outputs import read_outputs
from bids_refacer.group.search import open_gallery, search_exchanged
from bids_refacer.surfaces.face_map import FaceMap, write_face_map
from bids_refacer.surfaces.gifti import write_surface

GATE = {"gate": "passed"}


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bids(tmp_path_factory.mktemp("identity") / "bids")


@pytest.fixture(scope="module")
def fillers(bids: Path) -> Path:
    """Twenty true faces of another dataset, with the labels of this one."""
    return write_output(bids.parent / "fill", [f"{number:02}" for number in range(1, 21)], (), seed=9, noise_mm=0.0)


@pytest.fixture(scope="module")
def output(bids: Path, fillers: Path) -> Path:
    folder = write_output(bids.parent / "out", LABELS, ("niimath",), noise_mm=1.5)
    run(bids, folder, filler_dataset=(fillers,))
    return folder


def test_a_face_is_itself(output: Path) -> None:
    row = one(output, "group_identification", image_type="original", **GATE)
    assert (row["rank1"], row["auc"], row["eer"], row["genuine_median_mm"]) == ("1", "1", "0", "0")
    assert (row["n_participants"], row["n_gallery"], row["n_fillers"], row["tool"]) == ("12", "32", "20", "n/a")


def test_exchanged_labels_are_chance(output: Path) -> None:
    row = one(output, "group_identification", image_type="shuffled", **GATE)
    assert float(row["auc"]) == pytest.approx(0.5, abs=0.02)
    assert (row["n_participants"], row["n_probes"]) == ("32", "640")
    assert row["n_gallery"] == "31", "the right one is barred"
    assert float(row["rank1_chance"]) == pytest.approx(1 / 31, rel=1e-5)
    assert float(row["rank1"]) < 0.1 and float(row["genuine_median_mm"]) > 1, "no label is the right one"


def test_exchanged_labels_are_chance_whatever_the_seed(output: Path, fillers: Path) -> None:
    """A 95 % interval may miss 0.5 once in twenty times."""
    gallery = open_gallery(*load_faces(find_gallery(read_outputs([output]), [fillers], "T1w"), print))
    missed = []
    for seed in range(20):
        auc = search_exchanged(gallery, seed).figures(seed).auc
        missed.append(not auc.low <= 0.5 <= auc.high)
    assert sum(missed) <= 2


def test_a_face_without_the_person_is_chance_and_a_recovered_one_is_not(output: Path) -> None:
    average = one(output, "group_identification", image_type="average", **GATE)
    assert float(average["rank1_low"]) <= float(average["rank1_chance"]) and float(average["rank1"]) < 0.3
    refaced = one(output, "group_identification", image_type="refaced", **GATE)
    mean = one(output, "group_identification", image_type="refaced_mean", **GATE)
    assert float(refaced["rank1"]) > 0.8 and float(mean["auc"]) >= float(refaced["auc"]) - 0.01
    assert (refaced["n_probes"], refaced["n_participants"], mean["n_probes"]) == ("24", "12", "12")


def test_the_curve_rises_to_one(output: Path) -> None:
    rows = table(output, "group_cmc", image_type="average", **GATE)
    rates = [float(row["rate"]) for row in rows]
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 33)]
    assert rates == sorted(rates) and rates[-1] == 1.0
    assert rates[4] == pytest.approx(float(one(output, "group_identification", image_type="average", **GATE)["rank5"]))


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 1.0, 1.0), (4.0, 0.2, 0.95), (40.0, 0.0, 0.3)])
def test_noise_of_known_size_decides(bids: Path, tmp_path: Path, noise: float, low: float, high: float) -> None:
    output = write_output(tmp_path / "out", LABELS, ("niimath",), noise_mm=noise, samples=1)
    run(bids, output, rerank=0)
    row = one(output, "group_identification", image_type="refaced", **GATE)
    assert low <= float(row["rank1"]) <= high
    if noise in (0.0, 4.0):  # smooth fields of one size: the distance to the own face is that size
        assert float(row["genuine_median_mm"]) == pytest.approx(noise, abs=0.8)


def test_images_that_failed_are_kept_out(bids: Path, output: Path, tmp_path: Path) -> None:
    folder = write_output(tmp_path / "out", LABELS, ("niimath",), noise_mm=1.0)
    run(bids, folder, min_face_change=7.0, rerank=0)
    passed, everyone = (
        one(folder, "group_identification", image_type="refaced_mean", gate=gate) for gate in ("passed", "all")
    )
    kept_out = len(table(folder, "group_images", state="excluded"))
    assert 0 < kept_out < 12
    assert (passed["n_participants"], passed["n_missing"]) == (str(12 - kept_out), str(kept_out))
    assert (everyone["n_participants"], everyone["n_missing"]) == ("12", "0")
    run(bids, folder, min_face_change=99.0, rerank=0)
    assert one(folder, "group_identification", image_type="refaced_mean", **GATE)["n_participants"] == "0"


def test_another_scan_is_the_ceiling(bids: Path, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", LABELS, ("niimath",), noise_mm=1.0, images=(("a", None), ("b", None)))
    run(bids, output, rerank=0)
    ceiling = one(output, "group_identification", image_type="original", scan="other", **GATE)
    assert (ceiling["n_participants"], ceiling["n_gallery"]) == ("12", "12") and float(ceiling["rank1"]) == 1.0
    assert 0.1 < float(ceiling["genuine_median_mm"]) < 0.9
    for scan in ("same", "other"):
        assert one(output, "group_identification", image_type="refaced_mean", scan=scan, **GATE)["n_probes"] == "12"


def test_a_filler_of_the_same_dataset_is_no_second_person(bids: Path, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", LABELS, ("niimath",), noise_mm=1.0)
    more = write_output(tmp_path / "more", [*LABELS, "50", "51"], (), noise_mm=0.0)
    for folder in (output, more):
        (shareable(folder) / "dataset_description.json").write_text('{"SourceDatasets": [{"URL": "file:///data"}]}')
    people = [member.person for member in find_gallery(read_outputs([output]), [more], "T1w")]
    assert people == [f"sub-{label}" for label in LABELS] + ["0:sub-50", "0:sub-51"]


def test_jobs_of_different_tools_are_about_the_same_scans(bids: Path, tmp_path: Path) -> None:
    """Each job stores the true faces again: they are no second scan, and no second person."""
    first = write_output(tmp_path / "first", LABELS, ("niimath",), noise_mm=1.0, samples=1)
    second = write_output(tmp_path / "second", LABELS, ("pydeface",), noise_mm=1.0, samples=1)
    run(bids, first, merge_output=(second,), rerank=0)
    rows = table(first, "group_identification", **GATE)
    sizes = {(row["scan"], row["n_gallery"]) for row in rows if row["image_type"] != "shuffled"}
    assert sizes == {("same", "12")}
    assert {row["tool"] for row in rows} == {"n/a", "niimath", "pydeface"}


def test_without_faces_there_is_a_sentence(bids: Path, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", LABELS[:2], ("niimath",))
    text = "\n".join(run(bids, output))
    assert "Identification of T1w: 0 true faces are stored" in text and "--keep-refaced" in text
    assert not (shareable(output) / "group_identification.tsv").exists()


def test_a_damaged_face_map_is_named(bids: Path, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", LABELS[:3], ("niimath",), noise_mm=1.0)
    path = OutputNames(layout=layout_of(output), entities={"sub": "02"}, suffix="T1w").face_map("niimath", "average")
    path.write_bytes(path.read_bytes()[:100])
    (said,) = [line for line in run(bids, output) if "facemap" in line]
    assert re.search(r"niimathAverageFace_facemap.npz holds no readable face maps .* run the .* is left out\.$", said)
    rows = table(output, "group_identification", image_type="average", gate="all")
    assert [(row["n_participants"], row["n_missing"]) for row in rows] == [("2", "1")]


def test_a_damaged_true_face_is_named_and_the_others_are_found(bids: Path, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", LABELS[:4], ("niimath",), noise_mm=1.0)
    path = OutputNames(layout=layout_of(output), entities={"sub": "02"}, suffix="T1w").face_map(None, "original")
    path.write_bytes(b"PK" + bytes(1000))
    assert any(path.name in line and "left out" in line for line in run(bids, output))
    row = one(output, "group_identification", image_type="average", gate="all")
    assert (row["n_gallery"], row["n_missing"]) == ("3", "1")


def bumpy(rng: np.random.Generator) -> trimesh.Trimesh:
    """A closed surface whose shape is its person."""
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=90.0)
    points = np.asarray(sphere.vertices)
    field = sum(rng.normal() * np.cos(points @ rng.normal(0, 0.03, 3)) for _ in range(8))
    return trimesh.Trimesh(points * (1 + 0.03 * field[:, None]), sphere.faces, process=False)


def test_surfaces_order_those_who_look_alike(bids: Path, tmp_path: Path) -> None:
    """Maps that tell nothing apart, with surfaces that do: re-ranking finds everyone whom the maps put near enough."""
    rng = np.random.default_rng(0)
    output = write_output(tmp_path / "out", LABELS, ("niimath",), samples=1)
    same = random_face(rng)
    for label in LABELS:
        names = OutputNames(layout=layout_of(output), entities={"sub": label}, suffix="T1w")
        face = bumpy(rng)
        for path in (names.face_map(None, "original"), names.face_map("niimath", "refaced", 1)):
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.normal(0, 0.5, same.shape)
            write_face_map(path, FaceMap((same + noise).astype(np.float32), np.eye(4)))
            write_surface(surface_of(path), face)
    run(bids, output, rerank=0)
    by_map = one(output, "group_identification", image_type="refaced", **GATE)
    run(bids, output, rerank=12)
    by_surface = one(output, "group_identification", image_type="refaced", **GATE)
    assert (by_map["n_reranked"], by_surface["n_reranked"]) == ("0", "12")
    assert float(by_map["rank1"]) < 0.5 and float(by_surface["rank1"]) == 1.0
    assert by_map["auc"] == by_surface["auc"], "the curve of all pairs stays that of the maps"


@pytest.mark.parametrize("damage", ["<nothing/>", "no triangle is of a vertex", "a vertex is nowhere"])
def test_a_damaged_surface_leaves_out_one_participant(bids: Path, tmp_path: Path, damage: str) -> None:
    """Everything is looked up without that face: in the gallery it is nobody's rival, as a probe it is missing."""
    output = write_output(tmp_path / "out", LABELS[:5], ("niimath",), noise_mm=1.0)
    write_surfaces(output)
    true_face = OutputNames(layout=layout_of(output), entities={"sub": "02"}, suffix="T1w").face_map(None, "original")
    average = OutputNames(layout=layout_of(output), entities={"sub": "03"}, suffix="T1w").face_map("niimath", "average")
    for path in (true_face, average):
        damage_surface(surface_of(path), damage)
    said = [line for line in run(bids, output, rerank=5) if "Its face is left out" in line]
    assert sorted(line.split(": ", 1)[0] for line in said) == sorted(str(surface_of(p)) for p in (average, true_face))
    (checked,) = table(output, "group_identification", image_type="original", gate="all")
    (row,) = table(output, "group_identification", image_type="average", gate="all")
    assert (checked["n_gallery"], checked["n_participants"]) == ("4", "4")
    assert (row["n_gallery"], row["n_participants"], row["n_missing"]) == ("4", "3", "2")


def write_surfaces(output: Path) -> None:
    """A surface beside each face map, which is all that the comparison of surfaces asks for."""
    ball = trimesh.creation.icosphere(subdivisions=1, radius=60)
    for path in output.rglob("*_facemap.npz"):
        write_surface(surface_of(path), ball)


def damage_surface(path: Path, damage: str) -> None:
    if damage.startswith("<"):
        path.write_text(damage)
        return
    ball = trimesh.creation.icosphere(subdivisions=1, radius=60)
    vertices, faces = np.array(ball.vertices), np.array(ball.faces)
    if "triangle" in damage:
        faces += len(vertices)
    else:
        vertices[0] = np.nan
    write_surface(path, trimesh.Trimesh(vertices, faces, process=False))
