"""Texts of a NIfTI header, which may name a person, a place or a time, and a header without them."""

from __future__ import annotations

import nibabel as nib

TEXTS = ("descrip", "aux_file", "db_name", "data_type", "intent_name", "unused_str")
"""Fields that hold free text: of NIfTI-1, and ``unused_str`` of NIfTI-2. The codes and numbers of a header are none."""


def without_texts(header: nib.Nifti1Header) -> nib.Nifti1Header:
    """A copy of a header whose texts are blank and whose extensions are dropped; every other field keeps its bits.

    Extensions hold comments, DICOM data sets and AFNI's history, so none is kept. Where there were any, voxels begin
    right after the header (``vox_offset``); where there were none, they begin where they did.
    """
    blank: nib.Nifti1Header = header.copy()
    fields = blank.structarr.dtype.names or ()
    for name in TEXTS:
        if name in fields:
            blank.structarr[name] = b""
    if blank.extensions:
        blank.extensions = blank.exts_klass()  # not cleared: copies of a header share their extensions
        blank.structarr["vox_offset"] = blank.single_vox_offset
    return blank
