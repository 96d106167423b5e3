"""The command line as a process of its own, with the stand-in in the place of the model.

`python stand_in_run.py BIDS_DIR OUT participant ...` takes what `bids_refacer` takes; the stand-in's variables
(`stand_in_reface.py`) come from the environment. With STAND_IN_BRAIN, images are the average head, whose brain is
known: the network that finds brains, which takes longer than all the rest, is not asked.
"""

import os
import sys
from pathlib import Path

from bids_refacer.__main__ import main


def put_stand_in() -> None:
    import shlex

    from bids_refacer.audit import plan
    from bids_refacer.audit import run as run_module
    from bids_refacer.audit.machine import Machine
    from bids_refacer.audit.nodes.reface import Reface

    weights = {"prior.safetensors": "0" * 64}
    run_module.ask = lambda model, gpu: Machine(gpus=0, card="stand-in", weights=weights)
    plan.recognition_of = lambda settings: None  # its networks are no part of what is tested with this
    if "STAND_IN_BRAIN" in os.environ:
        put_known_brain()
    put_known_fit()
    Reface._cmd = shlex.join([sys.executable, str(Path(__file__).with_name("stand_in_reface.py"))])


def put_known_fit() -> None:
    """No average face is warped onto the original: the warp takes longer than all the rest."""
    from bids_refacer.refacing.drawing import fitted

    fitted.fitted_average = lambda original, template, scan, target: scan


def put_known_brain() -> None:
    from bids_refacer.volumes import brain
    from bids_refacer.volumes.templates import asset

    mask = asset("average_brain_mask.nii.gz").values > 0
    brain._deepbet = lambda volume, num_threads: mask.copy()


if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    if "participant" in sys.argv:
        put_stand_in()
    sys.exit(main())
