"""Render whole-head label maps as T1w images, a BIDS dataset: `python -m benchmarks.render_label_maps MAPS OUT`.

MAPS holds `*_seg_*.nii.gz` (SynthSeg's training label maps: real heads of other scanners, faces included) and
`t1w_prior.tsv` (label, mean_of_mean, sd_of_mean, mean_of_sd, sd_of_sd). As SynthSeg does (Billot et al. 2023, Med Image
Anal 86:102789): each label gets a mean and a standard deviation drawn from its prior, each voxel a value from these;
then a point spread, a smooth bias field and Rician noise. Unlike there, values within a label vary smoothly (1.5 mm)
and by less: white noise as wide as the prior of scalp and neck, which mix fat, muscle and skin, looks like no tissue.
One draw per head, seeded by its name.
"""

from __future__ import annotations

import argparse
import csv
import json
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

SPREAD_MM = 0.7
TEXTURE_MM, TEXTURE = 1.5, 0.5  # width of the variation within a label, and its size relative to the prior's
BIAS = 0.15
NOISE = 3.0


def render(labels: np.ndarray, prior: dict[int, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """(i, j, k) int labels of 1 mm -> (i, j, k) float32 intensities, 0 to about 255.

    prior : label -> (4,) mean and SD of the class mean, mean and SD of the class SD
    """
    image = np.zeros(labels.shape, np.float32)
    texture = ndimage.gaussian_filter(rng.standard_normal(labels.shape, dtype=np.float32), TEXTURE_MM)
    texture *= TEXTURE / texture.std()
    for label in np.unique(labels):
        mean_mean, mean_sd, sd_mean, sd_sd = prior[int(label)]
        where = labels == label
        mean, spread = max(rng.normal(mean_mean, mean_sd), 0), max(rng.normal(sd_mean, sd_sd), 1)
        if label:  # air is Rician noise alone
            image[where] = np.clip(mean + spread * texture[where], 0, 255)
    image = ndimage.gaussian_filter(image, SPREAD_MM)
    knots = rng.normal(0, BIAS, (4, 4, 4)).astype(np.float32)
    zoom = np.array(labels.shape) / 4
    image *= np.exp(ndimage.zoom(knots, zoom, order=3, mode="nearest", grid_mode=True)[tuple(map(slice, labels.shape))])
    real, imaginary = NOISE * rng.standard_normal((2, *labels.shape), dtype=np.float32)
    return np.hypot(image + real, imaginary)


def read_prior(path: Path) -> dict[int, np.ndarray]:
    with path.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = ("mean_of_mean", "sd_of_mean", "mean_of_sd", "sd_of_sd")
    return {int(row["label"]): np.array([float(row[name]) for name in names]) for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    prior = read_prior(options.maps / "t1w_prior.tsv")
    participants = []
    for path in sorted(options.maps.glob("*_seg_*.nii.gz")):
        name = "sub-map" + path.name.removesuffix(".nii.gz").split("_")[-1]
        source = nib.Nifti1Image.from_filename(path)
        image = render(np.asarray(source.dataobj).astype(int), prior, np.random.default_rng(zlib.crc32(name.encode())))
        target = options.out / name / "anat" / f"{name}_T1w.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(np.round(image).astype(np.int16), source.affine).to_filename(target)
        participants.append(name)
        print(name, image.shape, flush=True)
    description = {"Name": "Label maps rendered as T1w", "BIDSVersion": "1.10.0", "License": "Apache-2.0"}
    (options.out / "dataset_description.json").write_text(json.dumps(description) + "\n")
    rows = "\n".join(["participant_id\tsplit", *(f"{name}\ttest" for name in participants)])
    (options.out / "participants.tsv").write_text(rows + "\n")


if __name__ == "__main__":
    main()
