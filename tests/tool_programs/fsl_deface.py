"""fsl_deface INPUT OUTPUT -d MASK: floats out; the mask is 1 where it removed; FSLOUTPUTTYPE decides the extension."""

import os
import sys

import numpy as np
from stand_in import load, refuse, save, taken

if len(sys.argv) != 5 or sys.argv[3] != "-d":
    refuse(f"Usage: fsl_deface <input> <output> [options]; got {sys.argv[1:]}")
if os.environ.get("FSLOUTPUTTYPE") != "NIFTI_GZ":
    refuse("output type does not fit the names")
image = load(sys.argv[1])
face = taken(image)
save(np.where(face, 0, image.get_fdata()), image, sys.argv[2])
save(face, image, sys.argv[4], np.int16)
