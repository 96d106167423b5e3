"""niimath's deface mode (Rorden), with pydeface's template and face mask: it ships none of its own."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bids_refacer.defacers.run_program import run_program
from bids_refacer.defacers.template import load_mask, pydeface_files, register_to_template, sample_mask
from bids_refacer.defacers.tool import (
    Defacer,
    DefacerError,
    DefaceResult,
    missing_package,
    package_version,
    remove,
)
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import Scan, write_volume

_LEAST_AGREEMENT = 0.999


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Run ``niimath -deface``; see ``Defacer.run``.

    The tool zeroes voxels and says no more: where air was exactly zero before, its image does not show whether the
    voxel was removed. There, the region comes from the same registration and mask, sampled here; elsewhere it is read
    off the tool's own output, with which the sampled region must agree.
    """
    import niimath

    template, mask_file = pydeface_files()
    source, output = work_dir / "source.nii", work_dir / "defaced.nii"
    values = scan.values
    write_volume(source, values, scan.affine, np.float32)
    command = [niimath.bin, str(source), "-deface", str(template), str(mask_file), str(output)]
    run_program(command, work_dir=work_dir, image=scan.path)
    removed_by_tool = np.asarray(nib.Nifti1Image.from_filename(output).dataobj) == 0
    to_template = register_to_template(source, template, work_dir=work_dir, image=scan.path)
    mask, mask_affine = load_mask(mask_file)
    sampled = ~sample_mask(mask, mask_affine, to_template, values.shape, scan.affine, outside=False)
    visible = values != 0
    agreement = float((sampled == removed_by_tool)[visible].mean())
    if agreement < _LEAST_AGREEMENT:
        raise DefacerError(
            f"{scan.path}: the region that niimath {package_version('niimath')} removed differs from its mask in "
            f"{100 * (1 - agreement):.2f} % of the voxels; use another version of niimath, or leave the tool out."
        )
    details = {
        "Tool": "niimath -deface",
        "Version": package_version("niimath"),
        "Command": "niimath ANAT -deface mean_reg2mean.nii.gz facemask.nii.gz OUT",
        "Options": {"template_and_mask": f"pydeface {package_version('pydeface')}", "cost": "fast"},
        "Registration": f"niimath {package_version('niimath')} -deface (fast engine, 12 parameters, image to template)",
        "OutsideTemplate": "removed, as the tool does",
        "MaskAgreement": round(agreement, 6),
    }
    return remove(scan, np.where(visible, removed_by_tool, sampled), brain_mask, details)


NIIMATH = Defacer(
    name="niimath",
    action="removes",
    requirement="the Python packages niimath (BSD-2-Clause) and pydeface (MIT; its template and face mask)",
    citation=(
        "Rorden C, Webster M, Drake C, et al. (2024). niimath and fslmaths: replication as a method to enhance popular "
        "neuroimaging tools. Aperture Neuro 4. doi:10.52294/001c.94384"
    ),
    version=lambda: package_version("niimath"),
    missing=lambda: missing_package("niimath", "niimath") or missing_package("pydeface", "niimath"),
    run=run,
    licence="BSD-2-Clause",
    executable="niimath",
    contrasts=("T1w",),
    options={"cost": "fast"},
)
