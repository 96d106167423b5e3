"""Pictures: a sphere is seen where it is, distances have their sign, slices are where they should be."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import trimesh
from PIL import Image

from bids_refacer.reports import faces, slices
from bids_refacer.reports.group_figures import paired_figure
from bids_refacer.reports.theme import to_svg
from bids_refacer.volumes.grid import Volume

RADIUS = 60.0


def sphere(radius: float = RADIUS) -> faces.Face:
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    return faces.in_frame(mesh, np.array([[1, 0, 0, 0], [0, 1, 0, 45], [0, 0, 1, -48], [0, 0, 0, 1.0]]))


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))).astype(int)


@pytest.mark.parametrize("view", list(faces.VIEWS))
def test_a_sphere_is_a_disc_from_everywhere(view: str) -> None:
    picture = decoded(faces.render(sphere(), view))
    rows, columns = np.mgrid[: faces.SIZE[0], : faces.SIZE[1]]
    away = np.hypot(rows - faces.SIZE[0] / 2, columns - faces.SIZE[1] / 2) / faces.SCALE
    skin = picture.sum(axis=2) > sum(faces.BACKGROUND) + 40
    assert skin[away < RADIUS - 2].mean() > 0.99, "no holes"
    assert skin[away > RADIUS + 3].mean() < 0.01


def test_the_nearest_skin_is_seen() -> None:
    """A small ball before a large one hides it, and the other way round it is hidden."""
    large = sphere()
    for side, seen in ((1, True), (-1, False)):
        ball = sphere(15.0)
        points = np.concatenate([large.points, ball.points + [0, side * 80, 0]])
        both = faces.Face(points, np.concatenate([large.triangles, ball.triangles + len(large.points)]))
        shades = np.repeat([[200.0, 0, 0], [0, 200.0, 0]], [len(large.points), len(ball.points)], axis=0)
        middle = decoded(faces.render(both, "front", shades))[faces.SIZE[0] // 2, faces.SIZE[1] // 2]
        assert (middle[1] > middle[0]) == seen


def test_the_head_turns_to_its_left() -> None:
    """In the profile a nose, in front of the face, is seen on the right of the picture."""
    nose = faces.Face(sphere(10.0).points + [0, 60, 0], sphere(10.0).triangles)
    for view, middle in (("front", 0.5), ("profile", 0.5 + 60 * faces.SCALE / faces.SIZE[1])):
        lit = decoded(faces.render(nose, view)).sum(axis=2) > sum(faces.BACKGROUND) + 100
        columns = np.nonzero(lit)[1]
        assert columns.mean() / faces.SIZE[1] == pytest.approx(middle, abs=0.03)


@pytest.mark.parametrize(("recovered", "sign"), [(RADIUS + 4, 1), (RADIUS - 4, -1)])
def test_distances_have_a_sign(recovered: float, sign: int) -> None:
    truth, other = sphere(), sphere(recovered)
    signed = faces.signed_distance(truth, other, np.full(len(truth.points), 4.0))
    assert np.all(signed == sign * 4.0)
    red, _, blue = faces.colours(signed, 5.0)[0]
    assert (red > blue) == (sign > 0)


def test_where_nothing_is_left_the_skin_lies_deeper() -> None:
    nothing = faces.Face(np.zeros((0, 3)), np.zeros((0, 3), dtype=int))
    assert np.all(faces.signed_distance(sphere(), nothing, np.ones(len(sphere().points))) == -1)
    assert decoded(faces.render(nothing, "front")).std() < 20


def test_meshes_for_the_viewer_keep_their_shape() -> None:
    face = sphere()
    values = face.points[:, 2] / 10
    packed = faces.packed(face, {"height": values})
    points = np.frombuffer(base64.b64decode(str(packed["points"])), "<i2").reshape(-1, 3) / 100
    triangles = np.frombuffer(base64.b64decode(str(packed["triangles"])), "<u2").reshape(-1, 3)
    assert len(points) < len(face.points) and triangles.max() == len(points) - 1
    assert np.abs(np.linalg.norm(points, axis=1) - RADIUS).max() < 0.6
    known = np.frombuffer(base64.b64decode(packed["values"]["height"]), "<i2") / 100  # type: ignore[index]
    np.testing.assert_allclose(known, (points[:, 2] + faces.CENTRE_MM[2]) / 10, atol=0.011)
    mesh = trimesh.Trimesh(points, triangles, process=False)
    assert mesh.is_watertight and mesh.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.03)


def test_slices_are_where_they_should_be() -> None:
    affine = np.array([[-2.0, 0, 0, 90], [0, 0, 2.0, -120], [0, 2.0, 0, -140], [0, 0, 0, 1]])  # axes swapped, turned
    voxels = np.moveaxis(np.indices((90, 110, 120)), 0, -1)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    rigid = np.eye(4)
    rigid[:3, 3] = (3.0, -2.0, 5.0)
    for plane in slices.face_planes():
        points = plane.points()
        for axis in range(3):
            cut = slices.cut(Volume(world[..., axis], affine), rigid, plane)
            inside = slices.cut(Volume(np.ones(world.shape[:3]), affine), rigid, plane) == 1
            assert inside.mean() > 0.4
            np.testing.assert_allclose(cut[inside], (points[..., axis] - rigid[axis, 3])[inside], atol=1e-3)
    profile, eyes, mouth = slices.face_planes()
    assert profile.points()[0, 0, 1] > profile.points()[0, -1, 1], "the face looks to the left"
    assert mouth.points()[0, 0, 2] < eyes.points()[0, 0, 2]


def test_a_brain_picture_shows_the_brain_alone() -> None:
    rows, columns = np.mgrid[:200, :200]
    away = slices.STEP_MM * np.hypot(rows - 100, columns - 100)
    brain, values = away < 40, np.full((200, 200), 100.0)
    removed = columns > 120
    picture = decoded(slices.brain_picture(values, brain, removed, 100.0))
    outside = away > 40 + slices.NEAR_BRAIN_MM + 2
    assert picture[outside].max() < 30, "nothing of the head, and nothing of the mask far from the brain"
    kept, cut, near = picture[100, 60], picture[100, 135], picture[100, 154]
    assert np.ptp(kept) < 10 and kept.min() > 200
    assert cut[0] > 180 and cut[1] < 110
    assert near[0] > 100 and near[2] < 40


def test_an_outline_is_a_border() -> None:
    mask = np.zeros((50, 60), dtype=bool)
    mask[10:40, 0:30] = True
    alpha = decoded(slices.outline(mask))[..., 3] > 0
    assert alpha[10, 15] and alpha[25, 29] and not alpha[25, 15] and not alpha[5, 5]
    assert not alpha[25, 0], "the border of the picture is no border of the mask"


def test_a_figure_follows_the_page() -> None:
    figure = paired_figure("a <tool>", np.array([2.0, 3.0]), np.array([1.0, 2.5]), 4.0)
    svg = to_svg(figure, "one", 'what "it" shows')
    assert svg == to_svg(
        paired_figure("a <tool>", np.array([2.0, 3.0]), np.array([1.0, 2.5]), 4.0), "one", 'what "it" shows'
    )
    assert "var(--c-ink)" in svg and "var(--c-recovered)" in svg and "#0" not in svg.replace('href="#one', "")
    assert 'role="img"' in svg and "what &quot;it&quot; shows" in svg and "a &lt;tool&gt;" in svg
    assert svg.count('id="') == svg.count('id="one-')
