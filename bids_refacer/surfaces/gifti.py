"""Surfaces and per-vertex maps as GIFTI files in scanner space (RAS+ mm)."""

from pathlib import Path

import nibabel as nib
import numpy as np
import trimesh
from nibabel.gifti import GiftiCoordSystem, GiftiDataArray, GiftiImage, GiftiMetaData

from bids_refacer.files import unfinished
from bids_refacer.problems import AuditProblem


class GiftiError(AuditProblem):
    """A surface or map cannot be written or read; the message names the file and what to do."""


def write_surface(path: str | Path, mesh: trimesh.Trimesh) -> None:
    """Write a triangle mesh as ``.surf.gii``: float32 coordinates, int32 triangles.

    The file appears complete or not at all, and the same mesh gives the same bytes.

    Parameters
    ----------
    path : the file to write; its folder exists
    mesh : trimesh.Trimesh, vertices in scanner space, RAS+ mm

    Raises
    ------
    GiftiError
        If the mesh has no triangles.
    """
    if not len(mesh.faces):
        raise GiftiError(f"{path}: the surface has no triangles; write it only where a face was found.")
    scanner = GiftiCoordSystem(dataspace="NIFTI_XFORM_SCANNER_ANAT", xformspace="NIFTI_XFORM_SCANNER_ANAT")
    meta = GiftiMetaData({"GeometricType": "Anatomical"})
    points = GiftiDataArray(
        np.asarray(mesh.vertices, dtype=np.float32), intent="NIFTI_INTENT_POINTSET", coordsys=scanner, meta=meta
    )
    triangles = GiftiDataArray(np.asarray(mesh.faces, dtype=np.int32), intent="NIFTI_INTENT_TRIANGLE")
    _write(Path(path), GiftiImage(darrays=[points, triangles]))


def write_map(path: str | Path, values: np.ndarray, name: str) -> None:
    """Write one number per vertex as ``.shape.gii``, float32.

    Parameters
    ----------
    path : the file to write; its folder exists
    values : (n_vertices,) float, in the order of the vertices of the surface file
    name : what viewers show, e.g. "distance to the recovered surface (mm)"

    Raises
    ------
    GiftiError
        If ``values`` is not one-dimensional or is empty.
    """
    if values.ndim != 1 or not len(values):
        raise GiftiError(f"{path}: a map has shape {values.shape}; give one value for each vertex of the surface.")
    meta = GiftiMetaData({"Name": name})
    array = GiftiDataArray(np.asarray(values, dtype=np.float32), intent="NIFTI_INTENT_SHAPE", meta=meta)
    _write(Path(path), GiftiImage(darrays=[array]))


def read_surface(path: str | Path) -> trimesh.Trimesh:
    """Read a ``.surf.gii``: vertices (n, 3) in RAS+ mm, not merged. Raises GiftiError if it holds no surface."""
    image = _read(Path(path))
    points = image.get_arrays_from_intent("NIFTI_INTENT_POINTSET")
    triangles = image.get_arrays_from_intent("NIFTI_INTENT_TRIANGLE")
    if not points or not triangles:
        raise GiftiError(f"{path}: holds no surface (points and triangles); give a .surf.gii file.")
    vertices, faces = points[0].data.astype(np.float64), triangles[0].data
    if not _is_mesh(vertices, faces):
        raise GiftiError(f"{path}: its points and triangles are no surface; write it again.")
    return trimesh.Trimesh(vertices=vertices, faces=faces, process=False)


def _is_mesh(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """Whether the triangles are of vertices that are there: a library would read beyond them, or end the process."""
    shapes = vertices.ndim == faces.ndim == 2 and vertices.shape[1] == faces.shape[1] == 3 and len(faces) > 0
    whole = np.issubdtype(faces.dtype, np.integer)
    return bool(shapes and whole and np.isfinite(vertices).all() and faces.min() >= 0 and faces.max() < len(vertices))


def read_map(path: str | Path) -> np.ndarray:
    """Read a ``.shape.gii``: (n_vertices,) float32. Raises GiftiError if it holds no map."""
    arrays = _read(Path(path)).get_arrays_from_intent("NIFTI_INTENT_SHAPE")
    if not arrays:
        raise GiftiError(f"{path}: holds no map of values; give a .shape.gii file.")
    return np.asarray(arrays[0].data.astype(np.float32))


def _read(path: Path) -> GiftiImage:
    if not path.is_file():
        raise GiftiError(f"{path}: there is no such file; check the path.")
    try:
        image = nib.load(path)
    except Exception as error:  # the XML parser, the decoder and nibabel each raise their own kind
        raise GiftiError(f"{path}: is no readable GIFTI file ({error}); write it again.") from error
    if not isinstance(image, GiftiImage):
        raise GiftiError(f"{path}: is a {type(image).__name__}, not GIFTI; give a .gii file.")
    return image


def _write(path: Path, image: GiftiImage) -> None:
    with unfinished(path) as temporary:
        temporary.write_bytes(image.to_bytes())
