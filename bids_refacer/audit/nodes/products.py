"""Names of the files that nodes make: the node writes by them, and the graph says by them where each is published."""

from __future__ import annotations

from bids_refacer.surfaces import score

Kind = tuple[str, int | None]
"""Type of image, and the number of a sample from 1: `surfaces.score.Key`."""

BRAIN = "brain.nii.gz"
DEFACED, DEFACEMASK = "defaced.nii.gz", "defacemask.nii.gz"
MEAN, AVERAGE = "mean.nii.gz", "average.nii.gz"
UNKNOWN = "unknown.nii.gz"
FITTED_AVERAGE = "average_fitted.nii"
ORIGINAL: Kind = ("original", None)
FITTED: Kind = score.FITTED


def sample(number: int) -> str:
    """A refaced image, by its number from 1."""
    return f"sample-{number}.nii.gz"


def label(image_type: str, sample: int | None = None) -> str:
    """How names of files say what image they are about: ``refaced-1``, ``average``."""
    return image_type if sample is None else f"{image_type}-{sample}"


def surface(kind: Kind) -> str:
    """The face as a surface."""
    return f"{label(*kind)}.surf.gii"


def distances(kind: Kind) -> str:
    """Distance of each vertex of the true face to that surface."""
    return f"{label(*kind)}.shape.gii"


def face_map(kind: Kind) -> str:
    """The map by which a face is looked up in a crowd."""
    return f"{label(*kind)}.npz"


def facial_voxels(kind: Kind) -> str:
    """The voxels by which phenotypes are predicted; in another folder than face maps."""
    return f"{label(*kind)}.npz"


def descriptors(kind: Kind) -> str:
    """What face-recognition programs see of a head; in another folder than face maps."""
    return f"{label(*kind)}.npz"
