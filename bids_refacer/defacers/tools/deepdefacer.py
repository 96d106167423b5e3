"""DeepDefacer (Khazane et al.): a 3-D U-Net that marks the face, its original weights in torch.

The network of the Python package DeepDefacer 2.1.2 (MIT) is read from its Keras file. The package itself, which pins an
age of TensorFlow that no longer installs, is not needed: only its ``model.hdf5``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from bids_refacer.defacers.installed import missing_package
from bids_refacer.defacers.published_mask import with_published_mask
from bids_refacer.defacers.tool import Defacer, DefacerError, DefaceResult, zero_region
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.smoothing import interpolate_axes

if TYPE_CHECKING:
    import torch

Weights = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Layer -> kernel (d, h, w, in, out), as Keras stores it, and bias (out,)."""

VARIABLE = "DEEPDEFACER_WEIGHTS"
SHA256 = "d92b9e6d3cc2fc936b497d56328a09e621b8243ea4858de712e33862e4d5e747"
"""Of ``deepdefacer/model.hdf5`` in version 2.1.2 of the package."""

VERSION = "2.1.2"
SIDE = 160
"""The network sees every head stretched to a cube of so many voxels."""

KEPT = 0.5
_ENCODER = (("conv3d_1", "conv3d_2"), ("conv3d_3", "conv3d_4"), ("conv3d_5", "conv3d_6"), ("conv3d_7", "conv3d_8"))
_BOTTOM = ("conv3d_9", "conv3d_10")
_DECODER = tuple((f"conv3d_{n}", f"conv3d_{n + 1}", f"conv3d_{n + 2}") for n in (11, 14, 17, 20))


def weight_file() -> Path | None:
    """The Keras file: where DEEPDEFACER_WEIGHTS says, or in an installed package; None when there is none."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    spec = find_spec("deepdefacer")  # finds the package without importing it, and Keras with it
    places = list(spec.submodule_search_locations or []) if spec else []
    return next((path for place in places if (path := Path(place) / "model.hdf5").is_file()), None)


def load_weights(path: Path) -> Weights:
    """Kernels and biases of every convolution.

    Raises
    ------
    DefacerError
        When the file is absent, or not that of version 2.1.2.
    """
    if not path.is_file():
        raise DefacerError(f"{path}, which {VARIABLE} names, is not there: give the path of DeepDefacer's model.hdf5.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise DefacerError(f"{path} is not the model.hdf5 of DeepDefacer {VERSION}: get it from that package again.")
    import h5py

    with h5py.File(path) as file:
        layers = file["model_weights"]
        names = [name for name in layers if name.startswith("conv3d_")]
        return {name: tuple(layers[name][name][part][:] for part in ("kernel:0", "bias:0")) for name in names}


def convolve(x: torch.Tensor, weights: tuple[np.ndarray, np.ndarray], activation: str = "relu") -> torch.Tensor:
    """Keras's Conv3D with padding "same": an even kernel is padded at the end, as TensorFlow does.

    Parameters
    ----------
    x : (1, in, d, h, w) float32
    weights : kernel (d, h, w, in, out) and bias (out,)
    """
    import torch
    from torch.nn import functional

    kernel = torch.from_numpy(np.ascontiguousarray(np.moveaxis(weights[0], (4, 3), (0, 1))))
    pads = [(size - 1) // 2 if end == 0 else size // 2 for size in reversed(kernel.shape[2:]) for end in (0, 1)]
    y = functional.conv3d(functional.pad(x, pads), kernel, torch.from_numpy(weights[1]))
    return torch.sigmoid(y) if activation == "sigmoid" else torch.relu_(y)


def forward(weights: Weights, x: torch.Tensor) -> torch.Tensor:
    """The network: (1, 1, 160, 160, 160) float32, intensities 0 to 1 -> the same shape, 1 where a voxel is kept."""
    import torch
    from torch.nn import functional

    skipped = []
    for names in _ENCODER:
        for name in names:
            x = convolve(x, weights[name])
        skipped.append(x)
        x = functional.max_pool3d(x, 2)
    for name in _BOTTOM:
        x = convolve(x, weights[name])
    for up, *rest in _DECODER:
        x = convolve(functional.interpolate(x, scale_factor=2, mode="nearest"), weights[up])
        x = torch.cat([skipped.pop(), x], dim=1)
        for name in rest:
            x = convolve(x, weights[name])
    return convolve(convolve(x, weights["conv3d_23"]), weights["conv3d_24"], "sigmoid")


def stretch(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The package's resampling, which knows nothing of millimetres: corners to corners, about the middles of both.

    Voxel i of the result lies at ``(i - n'/2) (n - 1)/(n' - 1) + n/2`` of the input, for n and n' voxels; linear.
    """
    axes = []
    for size, new in zip(values.shape, shape, strict=True):
        at = (np.arange(new) - new / 2) * (size - 1) / (new - 1) + size / 2
        axes.append(np.clip(at, 0, size - 1))
    return interpolate_axes(np.asarray(values, dtype=np.float32), axes)


def predict_kept(values: np.ndarray, weights: Weights) -> np.ndarray:
    """Voxels that the network keeps, (i, j, k) bool; axes of (i, j, k) intensities run right, front, up."""
    import torch

    cube = stretch(values, (SIDE, SIDE, SIDE))
    cube = (cube - cube.min()) / (cube.max() - cube.min() + 1e-7)
    with torch.inference_mode():
        kept = forward(weights, torch.from_numpy(cube)[None, None])[0, 0].numpy() >= KEPT
    return stretch(kept, values.shape) >= 0.5


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Remove what the network does not keep; see ``Defacer.run``.

    The network works on heads stored right, anterior, superior alone, so the voxels are put into that order first.
    Like pydeface, the program multiplies by an interpolated mask, which dims a layer of voxels; here it is cut at 0.5.
    """
    path = weight_file()
    if path is None:
        raise DefacerError(str(_missing()))
    weights = load_weights(path)
    order = nib.io_orientation(scan.affine)
    kept = predict_kept(nib.apply_orientation(scan.values, order), weights)
    back = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), order)
    kept = nib.apply_orientation(kept.astype(np.uint8), back) > 0
    details = {
        "Tool": "deepdefacer (weights of the package DeepDefacer, network in torch)",
        "Version": VERSION,
        "Command": "deepdefacer --input_file ANAT --defaced_output_path OUT",
        "Options": {"threshold": KEPT, "weights_sha256": SHA256},
        "MaskThreshold": "0.5 (the program multiplies by the interpolated mask; kept voxels stay bit-identical here)",
    }
    return with_published_mask(scan, zero_region(scan, ~kept, brain_mask, details), replaces=False)


def _missing() -> str | None:
    if weight_file() is None:
        return (
            f"The tool deepdefacer needs the file model.hdf5 of the Python package DeepDefacer {VERSION}: run `pip "
            f"download --no-deps DeepDefacer=={VERSION}`, unpack it, and put the path of the file into {VARIABLE}."
        )
    return missing_package("h5py", "deepdefacer")


DEEPDEFACER = Defacer(
    name="deepdefacer",
    action="removes",
    requirement="model.hdf5 of the Python package DeepDefacer 2.1.2 (MIT), and the Python package h5py",
    citation=(
        "Khazane A, Hoachuck J, Gorgolewski KJ, Poldrack RA (2022). DeepDefacer: Automatic Removal of Facial Features "
        "via U-Net Image Segmentation. doi:10.48550/arXiv.2205.15536"
    ),
    version=lambda: VERSION,
    missing=_missing,
    run=run,
    licence="MIT",
    contrasts=("T1w",),
    memory_gb=2.0,
    options={"threshold": KEPT},
)
