"""@afni_refacer_run: floats unless the input is short and below 32000; zeroes negative voxels all over the image.

It replaces the face with a bright shell, and writes the shell beside the image.
"""

import sys

import numpy as np
from stand_in import load, refuse, save, taken

words = sys.argv[1:]
mode = next((word.removeprefix("-mode_") for word in words if word.startswith("-mode_")), "")
if mode not in ("deface", "reface", "reface_plus"):
    refuse(f"no mode in {words}")
if words != ["-input", words[1], f"-mode_{mode}", "-no_images", "-prefix", words[-1]]:
    refuse(f"unknown options in {words}")
if "/" in words[-1] or not words[-1].endswith(".nii.gz"):
    refuse("bad prefix")
image = load(words[1])
data = image.get_fdata()
short = image.get_data_dtype() == np.int16 and data.max() < 32000
face = taken(image)
if mode == "reface_plus":
    face |= data > np.percentile(data, 99)  # skull and scalp as well, roughly
bright = np.abs(np.sin(np.arange(data.size))).reshape(data.shape) * 200 + 20
shell = np.where(face, 0 if mode == "deface" else bright, 0)
save(np.where(face, shell, np.maximum(data, 0)), image, words[-1], np.int16 if short else np.float32)
save(shell, image, words[-1].replace(".nii.gz", ".face.nii.gz"))
