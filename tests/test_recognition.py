"""Heads become pictures, and pictures become vectors: what must hold of any recogniser."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_datasets import average_head

from bids_refacer.recognition import weights
from bids_refacer.recognition.descriptors import (
    detected,
    mean_descriptor,
    read_descriptors,
    similarity,
    write_descriptors,
)
from bids_refacer.recognition.gallery import DescriptorGallery
from bids_refacer.recognition.heads import head_level, head_surface
from bids_refacer.recognition.own import OwnRecogniser, read_recognisers
from bids_refacer.recognition.portraits import describe_head, figures
from bids_refacer.recognition.recognisers import Dlib, Recogniser, SFace
from bids_refacer.recognition.render import MOST_VIEWS, SIZE, Surface, cameras, render
from bids_refacer.recognition.weights import RecogniserError, dequantised, read_weights
from bids_refacer.settings import MOST_VIEWS as MOST_OF_SETTINGS
from bids_refacer.surfaces.face_matching import match
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume
from bids_refacer.volumes.image_file import ImageError


@pytest.fixture(scope="module")
def head() -> Surface:
    """The average head, which lies in the canonical frame."""
    values = average_head()
    spacing = next(step for step, grid in CANONICAL.items() if grid.shape == values.shape)
    image, alignment = Volume(values.astype(np.float32), CANONICAL[spacing].affine), Alignment(np.eye(4), np.eye(4))
    return head_surface(image, alignment, head_level(image, alignment))


@pytest.fixture(scope="module")
def recognisers() -> list[Recogniser]:
    return [Dlib(torch.device("cpu")), SFace(torch.device("cpu"))]


def sphere() -> Surface:
    """A ball of 60 mm: a head without a face."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=4, radius=60.0)
    return Surface(np.asarray(ball.vertices) + (0, 20, -20), np.asarray(ball.faces))


def test_a_head_is_drawn_upright_in_the_middle_and_lit_from_its_side(head: Surface) -> None:
    pictures = render(head, 1, "gallery")
    assert pictures.shape == (1, SIZE, SIZE, 3) and pictures.dtype == np.uint8
    seen = pictures[0, :, :, 0] > 0
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    assert abs(columns.mean() - SIZE / 2) < 10 and 0 < rows.min() and rows.max() < SIZE - 1
    assert not np.array_equal(pictures, render(head, 1, "probe"))
    left, right = pictures[0, :, : SIZE // 2, 0].sum(), pictures[0, :, SIZE // 2 :, 0].sum()
    assert right > left, "the light of the gallery stands at the head's left, on the right of the picture"
    assert np.array_equal(pictures, render(head, 1, "gallery")), "the same head gives the same picture"


def test_the_nearest_triangle_is_seen() -> None:
    near = np.array([[-20.0, 60.0, -60.0], [20.0, 60.0, -60.0], [0.0, 60.0, -20.0]])
    bent = near - (0, 50, 0)
    bent[2, 1] -= 30  # tilted up: another shade
    triangles = np.array([[0, 2, 1], [3, 5, 4]])
    both = Surface(np.concatenate([near, bent]), triangles)
    alone = Surface(near, triangles[:1])
    middle = SIZE // 2
    assert render(alone, 1, "gallery")[0, middle, middle, 0] > 0, "its normal points to the camera"
    assert np.array_equal(render(both, 1, "gallery")[0, middle, middle], render(alone, 1, "gallery")[0, middle, middle])
    turned = Surface(near, triangles[:1, ::-1])
    assert not render(turned, 1, "gallery").any(), "a triangle that faces away is not seen"


def test_cameras_begin_in_front_and_are_the_same_for_all() -> None:
    assert cameras(1) == [(0.0, 0.0)] and cameras(3) == cameras(6)[:3]
    assert len(set(cameras(MOST_VIEWS))) == MOST_VIEWS == MOST_OF_SETTINGS


def test_identical_heads_are_at_distance_0_and_another_light_is_still_the_same(head: Surface, recognisers) -> None:
    found = describe_head(head, ("gallery", "probe"), 2, recognisers)
    again = describe_head(head, ("gallery",), 2, recognisers)
    for name in ("dlib", "sface"):
        assert found[name].shape == (2, 2, 128) and detected(found[name]).all()
        assert np.allclose(found[name][0], again[name][0], atol=1e-5)
        relit = similarity(mean_descriptor(found[name][1]), mean_descriptor(found[name][0]))
        assert {"dlib": 0.9, "sface": 0.6}[name] < relit < 1
        members = np.stack([mean_descriptor(found[name][0]), -mean_descriptor(found[name][0])])
        result = match(members[:1], DescriptorGallery(members), np.array([0]))
        assert result.ranks[0] == 1 and result.genuine[0] == pytest.approx(0, abs=1e-6)


def test_a_head_without_a_face_is_counted_and_found_by_nobody(recognisers) -> None:
    found = describe_head(sphere(), ("probe",), 2, recognisers)
    for views in found.values():
        assert not detected(views).any() and np.isnan(mean_descriptor(views[0])).all()
        rows = figures(views[0], np.ones((2, 128), dtype=np.float32))
        assert [row["n_detected"] for row in rows] == [0, 0, 0] and rows[0]["similarity"] is None
        assert (rows[0]["view"], rows[0]["n_views"]) == ("mean", 2)
    gallery = DescriptorGallery(np.eye(5, 128, dtype=np.float32))
    lost = match(np.full((1, 128), np.nan, dtype=np.float32), gallery, np.array([3]))
    assert lost.ranks[0] == 3, "the middle rank of five" and np.isinf(lost.genuine[0])


def test_a_member_without_a_face_is_never_found() -> None:
    vectors = np.eye(4, 128, dtype=np.float32)
    vectors[2] = np.nan
    found = match(np.eye(4, 128, dtype=np.float32), DescriptorGallery(vectors), np.arange(4))
    assert found.ranks.tolist() == [1, 1, 4, 1]


def test_weights_that_are_missing_or_altered_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecogniserError, match="dlib.safetensors cannot be read .*install bids_refacer again, or give"):
        read_weights("dlib", tmp_path)
    content = bytearray((weights.FOLDER / "dlib.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "dlib.safetensors").write_bytes(content)
    with pytest.raises(RecogniserError, match="is not the file that was published .*install bids_refacer again, or"):
        read_weights("dlib", tmp_path)


def test_weights_that_are_no_weight_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dlib.safetensors").write_bytes(b"nothing")
    import hashlib

    monkeypatch.setitem(weights.SHA256, "dlib", hashlib.sha256(b"nothing").hexdigest())
    with pytest.raises(RecogniserError, match="is no weight file .*: install bids_refacer again"):
        read_weights("dlib", tmp_path)


def test_blocks_are_scaled_by_their_own_factors() -> None:
    arrays = {
        "a": np.array([[[1, 2], [3, 4]]], dtype=np.int8),
        "a.scale": np.array([[0.5, 2.0]], dtype=np.float32),
        "a.zero": np.array([[1, 0]], dtype=np.int8),
        "a.block": np.array([3], dtype=np.int16),
        "b": np.array([7.0], dtype=np.float16),
    }
    assert dequantised(arrays, "a").tolist() == [[[0.0, 0.5], [1.0, 8.0]]]
    assert dequantised(arrays, "b").tolist() == [7.0]


def test_descriptors_survive_their_file_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    written = {"dlib": np.ones((2, 3, 128), np.float32), "my-own": np.zeros((2, 3, 5), np.float32)}
    write_descriptors(path, written)
    found = read_descriptors(path, ["dlib", "my-own"])
    assert all(np.array_equal(found[name], written[name]) for name in written)
    with pytest.raises(ImageError, match="no readable descriptors .*run the participant level again"):
        read_descriptors(path, ["sface"])


def test_the_mean_is_of_directions_and_of_views_with_a_face() -> None:
    views = np.array([[2.0, 0.0], [0.0, 7.0], [np.nan, np.nan]], dtype=np.float32)
    assert mean_descriptor(views) == pytest.approx(np.sqrt([0.5, 0.5]))


def own(tmp_path: Path, body: str) -> OwnRecogniser:
    script = tmp_path / "recogniser.py"
    script.write_text(f"import sys, pathlib\nimages, vectors = map(pathlib.Path, sys.argv[1:])\n{body}\n")
    return OwnRecogniser(name="mine", command=f"{sys.executable} {script} {{images}} {{vectors}}")


def test_a_recogniser_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = 'vectors.write_text("".join(f"{n}\\t{p.is_file():d}\\n" for n, p in enumerate(sorted(images.iterdir()))))'
    pictures = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    assert own(tmp_path, lines).describe(pictures).tolist() == [[0, 1], [1, 1], [2, 1]]
    array = "import numpy; numpy.save(vectors, numpy.full((3, 4), numpy.nan))"
    assert np.isnan(own(tmp_path, array).describe(pictures)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["recogniser.py"], "no picture of a face is left"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit('no licence')", r"The recogniser mine failed with exit code 1 \(no licence\): correct its command"),
        ("pass", "The recogniser mine wrote no vectors that can be read .*it must write a .npy array or lines"),
        (
            "vectors.write_text('1\\t2\\n')",
            r"wrote an array of shape \(1, 2\) for 3 pictures: it must write one vector",
        ),
        ("vectors.write_text('a\\n')", "wrote no vectors that can be read"),
    ],
)
def test_a_recogniser_that_fails_is_told(tmp_path: Path, monkeypatch, body: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecogniserError, match=words):
        own(tmp_path, body).describe(np.zeros((3, 8, 8, 3), dtype=np.uint8))


def test_a_recogniser_that_is_not_there_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecogniserError, match="The recogniser mine cannot be run .*correct its command"):
        OwnRecogniser(name="mine", command="no-such-program {images} {vectors}").describe(
            np.zeros((1, 8, 8, 3), np.uint8)
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "defines no recogniser: begin each with a line"),
        ("[recogniser.a]\ncommand = 1", "recogniser a: it has one key, command"),
        ("[recogniser.a]\ncommand = 'x {images}'", r"command must have {images} and {vectors} in it"),
        ("[recogniser.a]\ncommand = 'x \"{images} {vectors}'", "command cannot be read .*quotes and braces"),
        ("[recogniser.SFace]\ncommand = 'x {images} {vectors}'", "that name is taken"),
        ("[recogniser.'a b']\ncommand = 'x {images} {vectors}'", "a name begins with a letter"),
        ("[recogniser", "is not a TOML file"),
    ],
)
def test_a_recognisers_file_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "recognisers.toml"
    path.write_text(text)
    with pytest.raises(RecogniserError, match=words):
        read_recognisers(path)
    with pytest.raises(RecogniserError, match="cannot be read .*check the path"):
        read_recognisers(tmp_path / "none.toml")


def test_a_recognisers_file(tmp_path: Path) -> None:
    path = tmp_path / "recognisers.toml"
    path.write_text("[recogniser.arcface]\ncommand = 'arc {images} {vectors}'\n")
    assert read_recognisers(path) == [OwnRecogniser(name="arcface", command="arc {images} {vectors}")]
