"""dlib's face detector and descriptor (King 2009, jmlr.org/papers/v10/king09a.html; CC0 weights), run by torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

MEAN = (122.782, 117.001, 104.298)  # red, green, blue, taken away before both networks
SCALE = 256.0
WINDOW = 80  # pixels: the size of the faces that the detector finds
_SHRINK = 5 / 6  # from one level of the detector's pyramid to the next
_LARGEST_SCALE = _SHRINK  # of the first level: faces of 96 pixels, smaller ones are in no picture of ours
_BORDER = 11  # black pixels around each level
_STRIDE, _FIRST = 8, 14  # pixels from one place of the detector's output to the next, and the middle of the first
# (channels, whether the image is halved) of each residual block, in the order in which an image passes them
_BLOCKS = (
    *[(32, False)] * 3,
    *[(64, True), *[(64, False)] * 3],
    *[(128, True), *[(128, False)] * 2],
    *[(256, True), *[(256, False)] * 2],
    (256, True),
)


@dataclass(frozen=True)
class Detection:
    """A face: score (larger is surer), and left, top, right, bottom in pixels."""

    score: float
    box: tuple[float, float, float, float]


class Network:
    """Parameters of one network, as tensors on a device."""

    def __init__(self, arrays: Mapping[str, np.ndarray], prefix: str, device: torch.device) -> None:
        self.device = device
        self._of = {
            name.removeprefix(f"{prefix}."): torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)
            for name, values in arrays.items()
            if name.startswith(f"{prefix}.")
        }

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._of[name]

    def convolved(self, image: torch.Tensor, number: int, stride: int = 1) -> torch.Tensor:
        """Convolution `number`; where it strides, dlib adds no border."""
        weight = self[f"weight.{number}"]
        border = 0 if stride > 1 else weight.shape[-1] // 2
        return functional.conv2d(image, weight, self[f"bias.{number}"], stride=stride, padding=border)

    def scaled(self, image: torch.Tensor, number: int) -> torch.Tensor:
        """Affine layer `number`."""
        return image * self[f"gamma.{number}"][:, None, None] + self[f"beta.{number}"][:, None, None]


def normalised(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """(n, rows, columns, 3) uint8, red first -> (n, 3, rows, columns) float32 as both networks take it."""
    found = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float()
    return (found - torch.tensor(MEAN, device=device)[:, None, None]) / SCALE


def describe(chips: np.ndarray, network: Network) -> np.ndarray:
    """Descriptors of aligned faces.

    Parameters
    ----------
    chips : (n, 150, 150, 3) uint8, red first
    network : of the prefix ``resnet``

    Returns
    -------
    (n, 128) float32
    """
    found = functional.relu(network.scaled(network.convolved(normalised(chips, network.device), 0, 2), 0))
    found = functional.max_pool2d(found, 3, 2)
    for number, (channels, halved) in enumerate(_BLOCKS):
        found = _residual(found, network, 1 + 2 * number, channels, halved)
    return np.asarray((found.mean(dim=(2, 3)) @ network["last"]).cpu().numpy())


def _residual(image: torch.Tensor, network: Network, first: int, channels: int, halved: bool) -> torch.Tensor:
    """Two convolutions, added to what came in; where sizes differ, the smaller is filled up with zeros."""
    changed = functional.relu(network.scaled(network.convolved(image, first, 2 if halved else 1), first))
    changed = network.scaled(network.convolved(changed, first + 1), first + 1)
    kept = functional.avg_pool2d(image, 2, 2) if halved else image
    rows, columns = (max(one, other) for one, other in zip(kept.shape[2:], changed.shape[2:], strict=True))
    return functional.relu(_filled(kept, channels, rows, columns) + _filled(changed, channels, rows, columns))


def _filled(image: torch.Tensor, channels: int, rows: int, columns: int) -> torch.Tensor:
    lacking = (0, columns - image.shape[3], 0, rows - image.shape[2], 0, channels - image.shape[1])
    return functional.pad(image, lacking)


def detect(image: np.ndarray, network: Network) -> Detection | None:
    """The surest face in a picture, None where there is none.

    Parameters
    ----------
    image : (rows, columns, 3) uint8, red first
    network : of the prefix ``detector``
    """
    best: Detection | None = None
    level = torch.from_numpy(np.ascontiguousarray(image)).to(network.device).permute(2, 0, 1)[None].float()
    scale = _LARGEST_SCALE
    while min(size := [round(side * scale) for side in image.shape[:2]]) >= WINDOW:
        level = functional.interpolate(level, size=size, mode="bilinear", align_corners=True)
        found = _surest(level, scale, network)
        if found is not None and (best is None or found.score > best.score):
            best = found
        scale *= _SHRINK
    return best


def _surest(level: torch.Tensor, scale: float, network: Network) -> Detection | None:
    """The surest face of a level of the pyramid, in pixels of the picture."""
    padded = functional.pad(level, (_BORDER,) * 4)
    scores = (padded - torch.tensor(MEAN, device=network.device)[:, None, None]) / SCALE
    for number in range(3):
        scores = functional.relu(network.scaled(network.convolved(scores, number, 2), number))
    for number in range(3, 6):
        scores = functional.relu(network.scaled(network.convolved(scores, number), number))
    scores = network.convolved(scores, 6)[0, 0]
    place = int(scores.argmax())
    score = float(scores.flatten()[place])
    if score <= 0:
        return None
    row, column = divmod(place, scores.shape[1])
    x, y = (_STRIDE * at + _FIRST - _BORDER for at in (column, row))
    half = WINDOW / 2
    left, top, right, bottom = (edge / scale for edge in (x - half, y - half, x + half, y + half))
    return Detection(score, (left, top, right, bottom))
