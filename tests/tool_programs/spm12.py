"""spm12 batch JOB.m (or matlab -batch CODE): anon_<name> beside the input, NaN where removed, one more dimension."""

import re
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from stand_in import load, refuse, taken

if sys.argv[1:] == ["--version"]:
    print("SPM12 (7771)\nMATLAB Runtime 9.3")
    sys.exit(0)
if sys.argv[1] == "batch":
    job = Path(sys.argv[2]).read_text()
    found = re.fullmatch(r"matlabbatch\{1\}\.spm\.util\.deface\.images = \{fullfile\(pwd, '(.+\.nii)'\)\};\s*", job)
elif sys.argv[1] == "-batch":
    found = re.fullmatch(r"spm\('defaults', 'fmri'\); spm_deface\(\{fullfile\(pwd, '(.+\.nii)'\)\}\);", sys.argv[2])
else:
    refuse(f"unknown arguments {sys.argv[1:]}")
if not found:
    refuse("no job that SPM would understand")
image = load(found[1])
if image.get_data_dtype() != np.float32:
    refuse("NaN cannot be written into integers")
data = np.where(taken(image), np.nan, image.get_fdata()).astype(np.float32)[..., None]
nib.Nifti1Image(data, image.affine).to_filename(f"anon_{found[1]}")
