"""What the page's own viewer gets: the true face with distances to colour it by, and the faces to turn beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from bids_refacer.reports import faces
from bids_refacer.reports.page import script_json


@dataclass(frozen=True)
class ViewerFace:
    """A face that the viewer can show beside the true one: key and words of the choice, and the packed mesh."""

    key: str
    words: str
    mesh: dict[str, object]


@dataclass(frozen=True)
class ViewerMap:
    """Signed distances (n,) float, mm, of the vertices of the true face, in which the viewer can colour it."""

    name: str
    words: str
    signed_mm: np.ndarray


@dataclass(frozen=True)
class Viewer:
    """What the viewer gets: meshes as JSON for a script element, and key and words of each choice."""

    content: Markup
    choices: Sequence[tuple[str, str]]


def make_viewer(truth: faces.Face, shown: Sequence[ViewerFace | ViewerMap]) -> Viewer | None:
    """The viewer of an image: the true face with all distances, and every other face; None without any other."""
    distances = {one.name: one.signed_mm for one in shown if isinstance(one, ViewerMap)}
    others = {one.key: one.mesh for one in shown if isinstance(one, ViewerFace)}
    if not others:
        return None
    meshes = {"original": faces.packed(truth, distances), **others}
    content = script_json({"limit": faces.LIMIT_MM, "meshes": meshes})
    choices = [
        (one.key, one.words)
        if isinstance(one, ViewerFace)
        else (f"original:{one.name}", f"{one.words}, on the true face")
        for one in shown
    ]
    return Viewer(content, choices)
