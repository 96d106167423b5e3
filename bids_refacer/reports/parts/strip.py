"""A small plot for a card: the difference between recovered and average face, a dot for each participant."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 320, 64
RADIUS = 3.5
_AXIS = HEIGHT - 10  # of the dots that lie lowest
_MOST_LAYERS = 7


def strip(tool: str, labels: Sequence[str], differences: np.ndarray, limit: float) -> Markup:
    """Dots piled up over an axis from -limit to limit, mm; one that leads to a page is found by the page's script.

    Parameters
    ----------
    tool : name, for those who do not see it
    labels : participants
    differences : (n,) float, mm, recovered minus average face; negative where the attack comes nearer
    limit : end of the axis, the same for all tools
    """
    x = WIDTH / 2 + differences / limit * (WIDTH / 2 - 2 * RADIUS)
    y = _piled(x)
    dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
    points = json.dumps([[round(float(a), 1), round(float(b), 1), n] for a, b, n in zip(x, y, labels, strict=True)])
    nearer = int((differences < 0).sum())
    alt = f"{tool}: the recovered face is nearer than an average face in {nearer} of {len(differences)}"
    return Markup(
        f'<svg class="strip" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(alt, quote=True)}" '
        f'data-points="{html.escape(points, quote=True)}">'
        f'<path class="axis" d="M0 {HEIGHT - 4}H{WIDTH}M{WIDTH / 2:g} 0V{HEIGHT}"/>'
        f'<path class="dots" d="{dots}"/></svg>'
    )


def _piled(x: np.ndarray) -> np.ndarray:
    """Heights of dots: one over the other where they would lie on each other, flatter where there are many."""
    place, height = np.floor(x / (2 * RADIUS)).astype(int), np.zeros(len(x))
    layers: dict[int, int] = {}
    for n in np.argsort(x, kind="stable"):
        height[n] = layers.get(int(place[n]), 0)
        layers[int(place[n])] = int(height[n]) + 1
    step = 2 * RADIUS * min(1.0, _MOST_LAYERS / max([*layers.values(), 1]))
    return np.asarray(_AXIS - height * step, dtype=np.float64)
