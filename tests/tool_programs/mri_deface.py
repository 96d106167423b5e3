"""mri_deface IN BRAIN.gca FACE.gca OUT: turns the first axis round, writes a log beside, and says a lot."""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from stand_in import load, refuse, taken

if sys.argv[1:] == ["--version"]:
    print("mri_deface v1.22")
    sys.exit(0)
if len(sys.argv) != 5 or [Path(a).name for a in sys.argv[2:4]] != ["talairach_mixed_with_skull.gca", "face.gca"]:
    refuse(f"usage: mri_deface <in vol> <talairach gca> <face gca> <out vol>; got {sys.argv[1:]}")
for atlas in sys.argv[2:4]:
    if not Path(atlas).is_file():
        refuse(f"could not read {atlas}")
image = load(sys.argv[1])
data = np.where(taken(image), 0, image.get_fdata())[::-1]
turn = np.diag([-1.0, 1, 1, 1])
turn[0, 3] = image.shape[0] - 1
out = nib.Nifti1Image(data.astype(np.float32), image.affine @ turn)
out.to_filename(sys.argv[4])
Path("source.nii.gz.log").write_text("labelling voxels\n")
print("reading talairach atlas...\n" * 100)
