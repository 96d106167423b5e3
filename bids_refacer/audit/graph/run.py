"""The whole run as one graph: a part for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nipype.pipeline.engine import Workflow

from bids_refacer.audit.graph.image import build_image
from bids_refacer.audit.graph.jobs import Attack, ImageJob

NAME = "bids_refacer"


def build_run(*, jobs: Sequence[ImageJob], attack: Attack, work_dir: Path) -> Workflow:
    """Graph of a run.

    Parameters
    ----------
    jobs : images with what has to be done on each; at least one
    attack : how faces are painted back
    work_dir : folder for the nodes' intermediate files, which show faces
    """
    workflow = Workflow(name=NAME, base_dir=str(work_dir))
    workflow.add_nodes([build_image(job=job, attack=attack) for job in jobs])
    return workflow


def draw(workflow: Workflow, folder: Path) -> Path:
    """Write the graph as ``graph.dot``, and as a picture where graphviz is installed; returns what a person opens."""
    text = folder / "graph.dot"
    try:
        return Path(workflow.write_graph(dotfilename=str(text), graph2use="colored", format="svg"))
    except OSError:  # how Nipype says that it does not find graphviz, once the text is written
        if not text.is_file():
            raise
        return text
