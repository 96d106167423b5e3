"""The part of the graph that is about one image: read, find the brain, align, measure the face, then each tool."""

from __future__ import annotations

from importlib.metadata import version

from nipype.pipeline.engine import Node, Workflow

from bids_refacer import __version__
from bids_refacer.audit.graph import stages
from bids_refacer.audit.graph.jobs import Attack, ImageJob
from bids_refacer.audit.graph.outputs import brain_outputs
from bids_refacer.audit.graph.recognition import describe_original, hand_on
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
    check, brain = _head(workflow, job, attack)
    publish = Node(Publish(outputs=brain_outputs(job)), name=stages.publish("brain").node, mem_gb=0.1)
    truth = Node(Truth(version=__version__), name=stages.TRUTH.node, mem_gb=2.0)
    of_head = [("out_file", "original"), ("brain_mask", "brain_mask"), ("alignment", "alignment")]
    # what follows waits for the check: an image without a face leaves nothing in the output
    workflow.connect(
        [
            (check, truth, of_head),
            (check, publish, [("brain_mask", "files")]),
            (brain, publish, [("details", "details")]),
        ]
    )
    described = describe_original(workflow, check, attack)
    for tool in job.tools:
        part = build_tool(job=job, tool=tool, attack=attack)
        workflow.connect(
            [
                (check, part, [(name, f"inputnode.{field}") for name, field in of_head]),
                (truth, part, [(name, f"inputnode.{name}") for name in TRUTH]),
                (publish, part, [("out_files", "inputnode.brain_files")]),
            ]
        )
        hand_on(workflow, described, part)
    return workflow


def _head(workflow: Workflow, job: ImageJob, attack: Attack) -> tuple[Node, Node]:
    """Read the image, find its brain, align it, see that it has a face; the last of these nodes, and the brain's."""
    inspect = Node(InspectHead(in_file=str(job.image.path)), name=stages.INSPECT.node, mem_gb=0.5)
    extractor = BrainMask(num_threads=attack.threads, version=version("deepbet"))
    brain = Node(extractor, name=stages.BRAIN.node, mem_gb=2.0, n_procs=attack.processes)
    align = Node(Align(version=version("niimath")), name=stages.ALIGN.node, mem_gb=1.0)
    check = Node(CheckFace(), name=stages.CHECK_FACE.node, mem_gb=1.0)
    workflow.connect(
        [
            (inspect, brain, [("out_file", "in_file")]),
            (inspect, align, [("out_file", "in_file")]),
            (brain, align, [("brain_mask", "brain_mask")]),
            (inspect, check, [("out_file", "in_file")]),
            (brain, check, [("brain_mask", "brain_mask")]),
            (align, check, [("alignment", "alignment")]),
        ]
    )
    return check, brain
