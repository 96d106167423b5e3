"""The registry of defacing tools. To add a tool: a module in `tools/` that defines its `Defacer`, and a line here.

A tool of the user's own needs no code: see `tools_file`.
"""

from __future__ import annotations

from bids_refacer.defacers.tool import Defacer, DefacerError, DefaceResult
from bids_refacer.defacers.tools.afni import AFNI_DEFACE, AFNI_REFACE, AFNI_REFACE_PLUS
from bids_refacer.defacers.tools.average import AVERAGE
from bids_refacer.defacers.tools.deepdefacer import DEEPDEFACER
from bids_refacer.defacers.tools.freesurfer import MIDEFACE, MRI_DEFACE
from bids_refacer.defacers.tools.fsl import FSL_DEFACE
from bids_refacer.defacers.tools.mayo import MRI_REFACE
from bids_refacer.defacers.tools.niimath import NIIMATH, NIIMATH_REFACE
from bids_refacer.defacers.tools.pydeface import PYDEFACE
from bids_refacer.defacers.tools.quickshear import QUICKSHEAR
from bids_refacer.defacers.tools.skullstrip import SKULLSTRIP
from bids_refacer.defacers.tools.spm import SPM_DEFACE, SPM_RULE

DEFACERS: dict[str, Defacer] = {
    tool.name: tool
    for tool in (
        QUICKSHEAR,
        PYDEFACE,
        NIIMATH,
        DEEPDEFACER,
        SPM_RULE,
        SKULLSTRIP,
        AVERAGE,
        NIIMATH_REFACE,
        FSL_DEFACE,
        MRI_DEFACE,
        MIDEFACE,
        AFNI_DEFACE,
        AFNI_REFACE,
        AFNI_REFACE_PLUS,
        MRI_REFACE,
        SPM_DEFACE,
    )
}

__all__ = ["DEFACERS", "DefaceResult", "Defacer", "DefacerError"]
