"""GIFTI files: what is written is read back, in scanner space, whole or not at all."""

import nibabel as nib
import numpy as np
import pytest
import trimesh

from bids_refacer.surfaces.gifti import GiftiError, read_map, read_surface, write_map, write_surface


@pytest.fixture
def ball():
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=80.0)
    return trimesh.Trimesh(mesh.vertices + [10.0, -20.0, 30.0], mesh.faces, process=False)


def test_surface_comes_back(tmp_path, ball):
    write_surface(tmp_path / "a.surf.gii", ball)
    back = read_surface(tmp_path / "a.surf.gii")
    np.testing.assert_allclose(back.vertices, ball.vertices, atol=1e-5)
    np.testing.assert_array_equal(back.faces, ball.faces)
    assert back.volume == pytest.approx(ball.volume, rel=1e-5)


def test_surface_is_in_scanner_space(tmp_path, ball):
    write_surface(tmp_path / "a.surf.gii", ball)
    points = nib.load(tmp_path / "a.surf.gii").get_arrays_from_intent("NIFTI_INTENT_POINTSET")[0]
    assert points.coordsys.dataspace == points.coordsys.xformspace == 1  # NIFTI_XFORM_SCANNER_ANAT
    np.testing.assert_array_equal(points.coordsys.xform, np.eye(4))


def test_map_comes_back_with_its_name(tmp_path):
    values = np.linspace(0, 9, 50)
    write_map(tmp_path / "a.shape.gii", values, "distance (mm)")
    back = read_map(tmp_path / "a.shape.gii")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, values.astype(np.float32))
    assert nib.load(tmp_path / "a.shape.gii").darrays[0].meta["Name"] == "distance (mm)"


def test_same_input_gives_the_same_bytes(tmp_path, ball):
    for name in ("a", "b"):
        write_surface(tmp_path / f"{name}.surf.gii", ball)
        write_map(tmp_path / f"{name}.shape.gii", ball.vertices[:, 0], "x")
    assert (tmp_path / "a.surf.gii").read_bytes() == (tmp_path / "b.surf.gii").read_bytes()
    assert (tmp_path / "a.shape.gii").read_bytes() == (tmp_path / "b.shape.gii").read_bytes()


def test_broken_write_leaves_the_old_file_and_nothing_else(tmp_path, ball, monkeypatch):
    path = tmp_path / "a.surf.gii"
    write_surface(path, ball)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_surface(path, trimesh.creation.box())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.surf.gii"]


def test_surface_without_triangles_is_refused(tmp_path):
    with pytest.raises(GiftiError, match="a.surf.gii: the surface has no triangles; write it only where"):
        write_surface(tmp_path / "a.surf.gii", trimesh.Trimesh())


@pytest.mark.parametrize("shape", [(0,), (3, 3)])
def test_map_that_is_not_one_number_per_vertex_is_refused(tmp_path, shape):
    with pytest.raises(GiftiError, match="give one value for each vertex"):
        write_map(tmp_path / "a.shape.gii", np.zeros(shape), "x")


def test_wrong_kind_of_gifti_is_named(tmp_path, ball):
    write_surface(tmp_path / "a.surf.gii", ball)
    write_map(tmp_path / "a.shape.gii", np.ones(3), "x")
    with pytest.raises(GiftiError, match="a.shape.gii: holds no surface"):
        read_surface(tmp_path / "a.shape.gii")
    with pytest.raises(GiftiError, match="a.surf.gii: holds no map of values"):
        read_map(tmp_path / "a.surf.gii")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(GiftiError, match="gone.surf.gii: there is no such file; check the path"):
        read_surface(tmp_path / "gone.surf.gii")


def test_truncated_file_is_named(tmp_path, ball):
    path = tmp_path / "a.surf.gii"
    write_surface(path, ball)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(GiftiError, match="a.surf.gii: is no readable GIFTI file"):
        read_surface(path)


def test_other_format_is_named(tmp_path):
    nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_filename(tmp_path / "a.nii")
    with pytest.raises(GiftiError, match="a.nii: is a Nifti1Image, not GIFTI; give a .gii file"):
        read_surface(tmp_path / "a.nii")
