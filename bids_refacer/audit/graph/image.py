"""The part of the graph that is about one image: read, find the brain, align, measure the face, then each tool."""

from __future__ import annotations

from importlib.metadata import version

from nipype.pipeline.engine import Node, Workflow

from bids_refacer import __version__
from bids_refacer.audit.graph import stages
from bids_refacer.audit.graph.jobs import Attack, ImageJob
from bids_refacer.audit.graph.outputs import brain_entries
from bids_refacer.audit.graph.tool import TRUTH, build_tool
from bids_refacer.audit.nodes.head import Align, BrainMask, CheckFace, InspectHead
from bids_refacer.audit.nodes.publish import Publish
from bids_refacer.audit.nodes.truth import Truth


def build_image(*, job: ImageJob, attack: Attack) -> Workflow:
    """Graph of one image; nothing in it depends on another image.

    Parameters
    ----------
    job : the image, and the tools to run on it
    attack : how faces are painted back
    """
    workflow = Workflow(name=job.node_name)
    inspect = Node(InspectHead(in_file=str(job.image.path)), name=stages.INSPECT.node, mem_gb=0.5)
    extractor = BrainMask(num_threads=attack.threads, version=version("deepbet"))
    brain = Node(extractor, name=stages.BRAIN.node, mem_gb=2.0, n_procs=attack.processes)
    align = Node(Align(version=version("niimath")), name=stages.ALIGN.node, mem_gb=1.0)
    check = Node(CheckFace(), name=stages.CHECK_FACE.node, mem_gb=1.0)
    publish = Node(Publish(entries=brain_entries(job)), name=stages.publish("brain").node, mem_gb=0.1)
    workflow.connect(
        [
            (inspect, brain, [("out_file", "in_file")]),
            (inspect, align, [("out_file", "in_file")]),
            (brain, align, [("brain_mask", "brain_mask")]),
            (inspect, check, [("out_file", "in_file")]),
            (brain, check, [("brain_mask", "brain_mask")]),
            (align, check, [("alignment", "alignment")]),
            (brain, publish, [("details", "details")]),
        ]
    )
    truth = Node(Truth(version=__version__), name=stages.TRUTH.node, mem_gb=2.0)
    of_head = [("out_file", "original"), ("brain_mask", "brain_mask"), ("alignment", "alignment")]
    workflow.connect([(check, truth, of_head)])
    # what follows waits for the check: an image without a face leaves nothing in the output
    checked = [("brain_mask", "inputnode.brain_mask"), ("alignment", "inputnode.alignment")]
    workflow.connect(check, "brain_mask", publish, "files")
    for tool in job.tools:
        part = build_tool(job=job, tool=tool, attack=attack)
        workflow.connect(
            [
                (check, part, [("out_file", "inputnode.original"), *checked]),
                (truth, part, [(name, f"inputnode.{name}") for name in TRUTH]),
                (publish, part, [("out_files", "inputnode.brain_files")]),
            ]
        )
    return workflow
