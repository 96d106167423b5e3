"""The registry of defacing tools. Adding one: a module that defines its `Defacer`, a line here, and a test.

A tool of one's own needs no code: see `user`.
"""

from __future__ import annotations

from bids_refacer.interfaces.defacers.afni import AFNI_DEFACE, AFNI_REFACE, AFNI_REFACE_PLUS
from bids_refacer.interfaces.defacers.average import AVERAGE
from bids_refacer.interfaces.defacers.deepdefacer import DEEPDEFACER
from bids_refacer.interfaces.defacers.freesurfer import MIDEFACE, MRI_DEFACE
from bids_refacer.interfaces.defacers.fsl import FSL_DEFACE
from bids_refacer.interfaces.defacers.mayo import MRI_REFACE
from bids_refacer.interfaces.defacers.niimath import NIIMATH
from bids_refacer.interfaces.defacers.niimath_reface import NIIMATH_REFACE
from bids_refacer.interfaces.defacers.pydeface import PYDEFACE
from bids_refacer.interfaces.defacers.quickshear import QUICKSHEAR
from bids_refacer.interfaces.defacers.skullstrip import SKULLSTRIP
from bids_refacer.interfaces.defacers.spm import SPM_DEFACE, SPM_RULE
from bids_refacer.interfaces.defacers.tool import Defacer, DefacerError, DefaceResult

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
