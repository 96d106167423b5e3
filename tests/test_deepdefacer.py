"""DeepDefacer's network in torch against the arithmetic of Keras, written out in numpy; its resampling; its weights."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import Phantom
from nifti_files import raw_image

from bids_refacer.defacers import DEFACERS, DefacerError
from bids_refacer.defacers.tools import deepdefacer
from bids_refacer.defacers.tools.deepdefacer import Weights, convolve, forward, load_weights, stretch, weight_file
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan

# The graph of model.hdf5 (Keras 2.2.2, channels first), as its `model_config` lists it: layer, its inputs.
GRAPH: list[tuple[str, list[str]]] = [
    ("conv3d_1", ["input"]),
    ("conv3d_2", ["conv3d_1"]),
    ("pool_1", ["conv3d_2"]),
    ("conv3d_3", ["pool_1"]),
    ("conv3d_4", ["conv3d_3"]),
    ("pool_2", ["conv3d_4"]),
    ("conv3d_5", ["pool_2"]),
    ("conv3d_6", ["conv3d_5"]),
    ("pool_3", ["conv3d_6"]),
    ("conv3d_7", ["pool_3"]),
    ("conv3d_8", ["conv3d_7"]),
    ("pool_4", ["conv3d_8"]),
    ("conv3d_9", ["pool_4"]),
    ("conv3d_10", ["conv3d_9"]),
    ("up_1", ["conv3d_10"]),
    ("conv3d_11", ["up_1"]),
    ("concat_1", ["conv3d_8", "conv3d_11"]),
    ("conv3d_12", ["concat_1"]),
    ("conv3d_13", ["conv3d_12"]),
    ("up_2", ["conv3d_13"]),
    ("conv3d_14", ["up_2"]),
    ("concat_2", ["conv3d_6", "conv3d_14"]),
    ("conv3d_15", ["concat_2"]),
    ("conv3d_16", ["conv3d_15"]),
    ("up_3", ["conv3d_16"]),
    ("conv3d_17", ["up_3"]),
    ("concat_3", ["conv3d_4", "conv3d_17"]),
    ("conv3d_18", ["concat_3"]),
    ("conv3d_19", ["conv3d_18"]),
    ("up_4", ["conv3d_19"]),
    ("conv3d_20", ["up_4"]),
    ("concat_4", ["conv3d_2", "conv3d_20"]),
    ("conv3d_21", ["concat_4"]),
    ("conv3d_22", ["conv3d_21"]),
    ("conv3d_23", ["conv3d_22"]),
    ("conv3d_24", ["conv3d_23"]),
]
FILTERS = (8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 64, 64, 64, 32, 32, 32, 16, 16, 16, 8, 8, 8, 2, 1)
UPWARD = (11, 14, 17, 20)  # kernels of 2 x 2 x 2 after an upsampling


def keras_conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Conv3D, "same", stride 1, no activation; x (in, d, h, w), kernel (d, h, w, in, out): TensorFlow's definition.

    out[i, j, k] is the sum over the kernel of x[i + di - before] * kernel[di], where k - 1 voxels of padding are split
    with the smaller half before. The kernel is not turned round.
    """
    before = [(size - 1) // 2 for size in kernel.shape[:3]]
    pads = [(b, size - 1 - b) for b, size in zip(before, kernel.shape[:3], strict=True)]
    wide = np.pad(x, [(0, 0), *pads])
    out = np.zeros((kernel.shape[4], *x.shape[1:]))
    for di in range(kernel.shape[0]):
        for dj in range(kernel.shape[1]):
            for dk in range(kernel.shape[2]):
                seen = wide[:, di : di + x.shape[1], dj : dj + x.shape[2], dk : dk + x.shape[3]]
                out += np.tensordot(kernel[di, dj, dk], seen, axes=(0, 0))
    return out + bias[:, None, None, None]


def keras_forward(weights: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every layer of the graph in float64; dropout does nothing when a network predicts."""
    made = {"input": x.astype(np.float64)}
    for layer, inputs in GRAPH:
        first = made[inputs[0]]
        c, d, h, w = first.shape
        if layer.startswith("pool"):
            made[layer] = first.reshape(c, d // 2, 2, h // 2, 2, w // 2, 2).max(axis=(2, 4, 6))
        elif layer.startswith("up"):
            made[layer] = first.repeat(2, axis=1).repeat(2, axis=2).repeat(2, axis=3)
        elif layer.startswith("concat"):
            made[layer] = np.concatenate([made[name] for name in inputs])
        else:
            y = keras_conv(first, *(part.astype(np.float64) for part in weights[layer]))
            made[layer] = 1 / (1 + np.exp(-y)) if layer == "conv3d_24" else np.maximum(y, 0)
    return made


def random_weights(divide: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weights in the shapes of the network, with fewer filters."""
    rng = np.random.default_rng(0)
    filters = {f"conv3d_{n}": max(count // divide, 1) for n, count in enumerate(FILTERS, start=1)}
    channels, weights = {"input": 1}, {}
    for layer, inputs in GRAPH:
        incoming = sum(channels[name] for name in inputs)
        channels[layer] = filters.get(layer, incoming)
        if layer in filters:
            number = int(layer.split("_")[1])
            size = 2 if number in UPWARD else 1 if number == 24 else 3
            spread = (2 / (size**3 * incoming)) ** 0.5
            kernel = rng.normal(0, spread, (size, size, size, incoming, channels[layer]))
            weights[layer] = (kernel.astype(np.float32), rng.normal(0, 0.1, channels[layer]).astype(np.float32))
    return weights


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_convolution_is_that_of_keras(size: int) -> None:
    import torch

    rng = np.random.default_rng(size)
    x = rng.normal(size=(3, 6, 5, 7)).astype(np.float32)
    kernel, bias = rng.normal(size=(size, size, size, 3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    ours = convolve(torch.from_numpy(x)[None], (kernel, bias))[0].numpy()
    np.testing.assert_allclose(ours, np.maximum(keras_conv(x, kernel, bias), 0), atol=1e-4)


def check_every_layer(weights: Weights, x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    names = {id(value): name for name, value in weights.items()}
    seen: dict[str, np.ndarray] = {}
    real = convolve

    def spy(x: torch.Tensor, layer: tuple, activation: str = "relu") -> torch.Tensor:
        y = real(x, layer, activation)
        seen[names[id(layer)]] = y[0].numpy().copy()
        return y

    monkeypatch.setattr(deepdefacer, "convolve", spy)
    with torch.inference_mode():
        forward(weights, torch.from_numpy(x)[None])
    expected = keras_forward(weights, x)
    assert set(seen) == {layer for layer, _ in GRAPH if layer.startswith("conv")}
    for layer, ours in seen.items():
        scale = np.abs(expected[layer]).max() + 1e-6
        np.testing.assert_allclose(ours / scale, expected[layer] / scale, atol=2e-5, err_msg=layer)
    assert seen["conv3d_24"].std() > 0


def test_every_layer_is_that_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).random((1, 16, 32, 16)).astype(np.float32)
    check_every_layer(random_weights(4), x, monkeypatch)


@pytest.mark.slow
def test_every_layer_with_the_original_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    check_every_layer(
        original_weights(), np.random.default_rng(1).random((1, 32, 32, 32)).astype(np.float32), monkeypatch
    )


def original_weights() -> Weights:
    pytest.importorskip("h5py")
    path = weight_file()
    if path is None:
        pytest.skip("DeepDefacer's model.hdf5 is not here: put its path into DEEPDEFACER_WEIGHTS")
    return load_weights(path)


@pytest.mark.slow
def test_the_original_weights_take_the_face_of_a_head(average_head_path: Path) -> None:
    weights = original_weights()
    image = nib.as_closest_canonical(nib.load(average_head_path))
    values = np.asarray(image.dataobj, np.float32)
    kept = deepdefacer.predict_kept(values, weights)
    mouth = np.rint(np.linalg.inv(image.affine) @ [0, 80, -95, 1])[:3].astype(int)
    crown = np.rint(np.linalg.inv(image.affine) @ [0, 0, 20, 1])[:3].astype(int)
    assert not kept[tuple(mouth)] and kept[tuple(crown)]


def test_stretching_goes_from_middle_to_middle() -> None:
    ramp = np.arange(20.0)[:, None, None] * np.ones((1, 6, 5))
    expected = np.clip((np.arange(12) - 6) * 19 / 11 + 10, 0, 19)
    np.testing.assert_allclose(stretch(ramp, (12, 6, 5))[:, 2, 2], expected, rtol=1e-6)
    np.testing.assert_allclose(stretch(ramp, ramp.shape), ramp)


def test_there_and_back_keeps_a_mask() -> None:
    mask = np.zeros((40, 50, 30), bool)
    mask[5:30, 20:, :15] = True
    back = stretch(stretch(mask, (64, 64, 64)) >= 0.5, mask.shape) >= 0.5
    assert (back != mask).mean() < 0.02


def test_the_network_sees_right_anterior_superior(
    phantom_head: Phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of the axes in the file, and its answer goes back into that order."""
    image = nib.Nifti1Image(np.rint(phantom_head.values).astype("<i2"), phantom_head.affine)
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    raw_image(tmp_path / "sub-01_T1w.nii.gz", np.asarray(turned.dataobj), affine=turned.affine)
    scan = read_scan(tmp_path / "sub-01_T1w.nii.gz")
    shown = []

    def predict(values: np.ndarray, weights: object) -> np.ndarray:
        shown.append(values)
        kept = np.ones(values.shape, bool)
        kept[40:, 50:, :10] = False
        return kept

    monkeypatch.setattr(deepdefacer, "predict_kept", predict)
    monkeypatch.setattr(deepdefacer, "load_weights", lambda path: {})
    monkeypatch.setenv("DEEPDEFACER_WEIGHTS", str(tmp_path / "x"))
    result = DEFACERS["deepdefacer"].run(
        scan, np.zeros(scan.stored.shape, bool), Alignment(np.eye(4), np.eye(4)), tmp_path
    )
    np.testing.assert_array_equal(shown[0], np.asarray(image.dataobj, np.float32))
    back = nib.Nifti1Image(result.removed.astype(np.uint8), scan.affine)
    expected = np.zeros(image.shape, np.uint8)
    expected[40:, 50:, :10] = 1
    np.testing.assert_array_equal(nib.as_closest_canonical(back).get_fdata(), expected)
    np.testing.assert_array_equal(result.stored[~result.removed], scan.stored[~result.removed])


def test_without_weights_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPDEFACER_WEIGHTS", raising=False)
    monkeypatch.setattr(deepdefacer, "find_spec", lambda name: None)
    assert "pip download --no-deps DeepDefacer==2.1.2" in str(DEFACERS["deepdefacer"].missing())
    monkeypatch.setenv("DEEPDEFACER_WEIGHTS", str(tmp_path / "none.hdf5"))
    with pytest.raises(DefacerError, match="none.hdf5, which DEEPDEFACER_WEIGHTS names, is not there"):
        load_weights(tmp_path / "none.hdf5")
    (tmp_path / "other.hdf5").write_bytes(b"other")
    with pytest.raises(DefacerError, match="other.hdf5 is not the model.hdf5 of DeepDefacer 2.1.2"):
        load_weights(tmp_path / "other.hdf5")


def test_weights_are_found_in_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without importing it: that would need Keras."""
    (tmp_path / "deepdefacer").mkdir()
    (tmp_path / "deepdefacer" / "__init__.py").write_text("import keras_of_2019")
    (tmp_path / "deepdefacer" / "model.hdf5").write_bytes(b"x")
    monkeypatch.delenv("DEEPDEFACER_WEIGHTS", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert weight_file() == tmp_path / "deepdefacer" / "model.hdf5"
