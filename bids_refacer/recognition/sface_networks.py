"""YuNet, a detector (Wu, Peng and Yu 2023, doi:10.1007/s11633-023-1423-y; MIT), and SFace, a descriptor (Zhong et al.
2021, doi:10.1109/TIP.2020.3048632; Apache-2.0), run by torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional

from bids_refacer.recognition.weights import dequantised

SIZE = 112  # side of the picture that SFace takes
POINTS = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Where SFace wants the eye on the left, the eye on the right, tip of the nose, corners of the mouth: pixels, x, y."""
SCORE = 0.6  # of a detection, the geometric mean of its two confidences; less is no face
_STRIDES = (8, 16, 32)
_HALVED = (3, 5, 7, 13)  # blocks of SFace that halve the picture
_EPSILONS = (1e-3, 2e-5)  # of batch normalisation: in the blocks, and after them


class OnnxNetwork:
    """Parameters of one network in the order of its graph, as tensors on a device."""

    def __init__(self, arrays: Mapping[str, np.ndarray], prefix: str, device: torch.device) -> None:
        self.device = device
        ends = (".scale", ".zero", ".block")
        names = [name for name in arrays if name.startswith(f"{prefix}.") and not name.endswith(ends)]
        self._of = {
            name.removeprefix(f"{prefix}."): torch.from_numpy(dequantised(arrays, name)).to(device) for name in names
        }

    def convolved(self, image: torch.Tensor, number: int, stride: int = 1) -> torch.Tensor:
        """Convolution `number`, with a border that keeps the size."""
        weight, bias = self._of[f"conv.{number}.0"], self._of.get(f"conv.{number}.1")
        groups = image.shape[1] // weight.shape[1]
        return functional.conv2d(image, weight, bias, stride=stride, padding=weight.shape[-1] // 2, groups=groups)

    def normalised(self, image: torch.Tensor, number: int, epsilon: float) -> torch.Tensor:
        """Batch normalisation `number`."""
        gamma, beta, mean, variance = (self._of[f"batchnormalization.{number}.{place}"] for place in range(4))
        return functional.batch_norm(image, mean, variance, gamma, beta, eps=epsilon)

    def rectified(self, image: torch.Tensor, number: int) -> torch.Tensor:
        """Leaky rectifier `number`."""
        return functional.prelu(image, self._of[f"prelu.{number}.0"].flatten())

    def projected(self, values: torch.Tensor) -> torch.Tensor:
        """The one full layer."""
        return functional.linear(values, self._of["gemm.0.0"], self._of["gemm.0.1"])


def describe(chips: np.ndarray, network: OnnxNetwork) -> np.ndarray:
    """Descriptors of aligned faces.

    Parameters
    ----------
    chips : (n, 112, 112, 3) uint8, red first
    network : of the prefix ``sface``

    Returns
    -------
    (n, 128) float32
    """
    image = torch.from_numpy(np.ascontiguousarray(chips)).to(network.device).permute(0, 3, 1, 2).float()
    image = (image - 127.5) * 0.0078125
    for number in range(27):
        block = number // 2 + 2 if number % 2 else None  # odd layers are the depthwise ones, which stride
        stride = 2 if block in _HALVED else 1
        image = network.normalised(network.convolved(image, number, stride), number, _EPSILONS[0])
        image = network.rectified(image, number)
    image = network.normalised(image, 27, _EPSILONS[1])
    return np.asarray(network.normalised(network.projected(image.flatten(1)), 28, _EPSILONS[1]).cpu().numpy())


def detect(image: np.ndarray, network: OnnxNetwork) -> np.ndarray | None:
    """Five points of the surest face in a picture, in the order of `POINTS`: (5, 2) float64, pixels; or None.

    Parameters
    ----------
    image : (rows, columns, 3) uint8, red first; sides are filled up with black to multiples of 32
    network : of the prefix ``yunet``
    """
    rows, columns = (-side % 32 for side in image.shape[:2])
    padded = np.pad(image, ((0, rows), (0, columns), (0, 0)))[..., ::-1]  # it was trained on blue, green, red
    picture = torch.from_numpy(np.ascontiguousarray(padded)).to(network.device).permute(2, 0, 1)[None].float()
    best, points = SCORE, None
    for stride, sure, place in zip(_STRIDES, *_scored(picture, network), strict=True):
        at = int(sure.argmax())
        if float(sure.flatten()[at]) > best:
            best = float(sure.flatten()[at])
            row, column = divmod(at, sure.shape[1])
            points = (place[:, row, column].reshape(5, 2) + (column, row)) * stride
    return points


def _scored(image: torch.Tensor, network: OnnxNetwork) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Confidence (rows, columns) and points (10, rows, columns) at each place of the three levels."""
    sure, places = [], []
    for level, features in enumerate(_pyramid(image, network)):
        heads = [
            network.convolved(network.convolved(features, 29 + 6 * kind + 2 * level), 30 + 6 * kind + 2 * level)[0]
            for kind in range(4)
        ]
        confidence = (heads[0].sigmoid() * heads[2].sigmoid()).sqrt()[0]
        sure.append(confidence.cpu().numpy())
        places.append(heads[3].cpu().double().numpy())
    return sure, places


def _pyramid(image: torch.Tensor, network: OnnxNetwork) -> list[torch.Tensor]:
    """Features at strides 8, 16 and 32."""

    def unit(features: torch.Tensor, first: int) -> torch.Tensor:
        return functional.relu(network.convolved(network.convolved(features, first), first + 1))

    found = functional.relu(network.convolved(image, 0, 2))
    found = functional.max_pool2d(unit(found, 1), 2)
    found = unit(unit(found, 3), 5)
    found = functional.max_pool2d(unit(unit(found, 7), 9), 2)
    eighth = unit(unit(found, 11), 13)
    sixteenth = unit(unit(functional.max_pool2d(eighth, 2), 15), 17)
    last = unit(unit(functional.max_pool2d(sixteenth, 2), 19), 21)
    last = unit(last, 23)
    middle = unit(sixteenth + _doubled(last), 25)
    first = unit(eighth + _doubled(middle), 27)
    return [first, middle, last]


def _doubled(features: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")
