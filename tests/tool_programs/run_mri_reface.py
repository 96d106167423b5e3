"""run_mri_reface.sh IN.nii OUT_DIR -imType T -saveQCRenders 0 -threads N: plain .nii alone; many files in OUT_DIR."""

import sys
from pathlib import Path

import numpy as np
from stand_in import load, refuse, save, taken

words = sys.argv[1:]
if len(words) != 8 or words[2::2] != ["-imType", "-saveQCRenders", "-threads"]:
    refuse(f"usage: run_mri_reface.sh <Input .nii> <Output directory> [options]; got {words}")
if not words[0].endswith(".nii") or not Path(words[1]).is_dir() or words[3] not in ("T1", "T2", "FLAIR"):
    refuse(f"bad input, folder or type in {words}")
image = load(words[0])
data, face = image.get_fdata(), taken(image)
stem = Path(words[0]).stem
noise = np.random.default_rng(0).uniform(10, 200, data.shape)
save(np.where(face, noise, data), image, f"{words[1]}/{stem}_deFaced.nii")
save(face, image, f"{words[1]}/{stem}_MCALT_mask.nii", np.uint8)
Path(words[1], f"{stem}_deFaced_QC.png").write_bytes(b"")
