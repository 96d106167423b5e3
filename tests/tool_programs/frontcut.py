"""A tool that nobody knows: `frontcut IN OUT [--mask MASK] [--fault FAULT]`, and every way in which tools go wrong."""

import argparse
import os
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
from stand_in import load, save, taken

parser = argparse.ArgumentParser()
parser.add_argument("--version", action="version", version="frontcut 2.7.1")
parser.add_argument("input")
parser.add_argument("output")
parser.add_argument("--mask")
parser.add_argument("--fault", default="none")
options = parser.parse_args()
if options.fault == "silent":
    sys.exit(0)
if options.fault == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if options.fault == "hangs":
    subprocess.Popen(["sleep", "600"])  # a grandchild that holds the pipes
    time.sleep(600)
if options.fault == "disk":
    print("write error: No space left on device", file=sys.stderr)
    sys.exit(5)
image = load(options.input)
data, face = image.get_fdata(), taken(image)
if options.fault == "grid":
    small = nib.Nifti1Image(data[::2, ::2, ::2].astype(np.float32), image.affine @ np.diag([2.0, 2, 2, 1]))
    small.to_filename(options.output)
    sys.exit(0)
if options.fault == "broken":
    with open(options.output, "wb") as file:
        file.write(b"\x1f\x8bnot an image")
    sys.exit(0)
face = {"unchanged": np.zeros_like(face), "everything": np.ones_like(face)}.get(options.fault, face)
save(np.where(face, 0, data), image, options.output)
if options.mask:
    save(face, image, options.mask, np.uint8)
