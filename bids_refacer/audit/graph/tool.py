"""The part of the graph that is about one tool on one image: deface, paint back, score, publish, record."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_refacer import __version__
from bids_refacer.audit.graph import stages
from bids_refacer.audit.graph.jobs import Attack, ImageJob, ToolJob, record_start
from bids_refacer.audit.graph.outputs import (
    Outputs,
    defaced_outputs,
    descriptor_outputs,
    refaced_outputs,
    surface_outputs,
    voxel_outputs,
)
from bids_refacer.audit.graph.recognition import DESCRIBED, describe_faces
from bids_refacer.audit.nodes.carry import RecordDefaced
from bids_refacer.audit.nodes.deface import Deface
from bids_refacer.audit.nodes.facial_voxels import FacialVoxels
from bids_refacer.audit.nodes.head import DefacedBrain
from bids_refacer.audit.nodes.publish import Publish, WriteRecord
from bids_refacer.audit.nodes.reface import Reface
from bids_refacer.audit.nodes.score import Score
from bids_refacer.audit.nodes.verdict import Judge

TRUTH = ("skin", "face_files", "voxels", "brain")
"""Outputs of the node `audit.nodes.truth.Truth`, which every tool needs."""

_OF_HEAD = ("original", "brain_mask", "alignment")


def build_tool(*, job: ImageJob, tool: ToolJob, attack: Attack) -> Workflow:
    """Graph of one tool.

    Parameters
    ----------
    job : the image
    tool : one of its tools
    attack : how faces are painted back

    Inputs (of ``inputnode``)
    ------
    original, brain_mask, alignment : files
    skin, face_files, voxels, brain : what was measured of the original, by `audit.nodes.truth`
    original_files, original_rows, original_details : how the original is recognised, by `audit.graph.recognition`
    brain_files : what was published of the image itself; the record lists it
    """
    workflow = Workflow(name=tool.node_name)
    fields = [*_OF_HEAD, *TRUTH, *DESCRIBED.values(), "brain_files"]
    inputs = Node(IdentityInterface(fields=fields), name="inputnode")
    deface, found, verdict = deface_node(tool), _brain_node(attack), _verdict_node(job, tool)
    workflow.connect([(deface, found, [("defaced", "in_file")]), (found, verdict, [("brain_mask", "found")])])
    if not attack.paints:
        return _without_attack(workflow, inputs, deface, verdict, _DefacedOutput(job, tool))
    reface, score = _reface_node(tool, attack), Node(Score(version=__version__), name=stages.SCORE.node, mem_gb=2.0)
    workflow.connect(
        [
            (inputs, deface, [("original", "in_file"), ("brain_mask", "brain_mask"), ("alignment", "alignment")]),
            (inputs, verdict, [(name, name) for name in (*_OF_HEAD, "skin", "brain")]),
            (deface, verdict, [(name, name) for name in ("defaced", "defacemask", "region", "details")]),
            (verdict, reface, [("defaced", "defaced")]),
            (found, reface, [("brain_mask", "brain_mask")]),
            (inputs, score, [(name, name) for name in (*_OF_HEAD, "skin", "face_files")]),
            (deface, score, [(name, name) for name in ("defaced", "defacemask")]),
            (reface, score, [(name, name) for name in ("samples", "average", "unknown")]),
        ]
    )
    if attack.num_samples > 1:
        workflow.connect(reface, "mean", score, "mean")
    record = _record_node(job, tool, attack)
    _connect_record(workflow, record, inputs, verdict, reface, score)
    described = describe_faces(workflow, inputs, deface, reface, score, attack, record)
    _publish(workflow, verdict, record, "defaced", defaced_outputs(job, tool))
    if attack.keep:
        voxels = _voxels(workflow, inputs, deface, reface)
        _publish(workflow, reface, record, "refaced", refaced_outputs(job, tool))
        _publish(workflow, score, record, "surface", surface_outputs(job, tool))
        _publish(workflow, voxels, record, "voxel", voxel_outputs(job, tool))
        if described is not None:
            _publish(workflow, described, record, "descriptor", descriptor_outputs(job, tool))
    return workflow


@dataclass(frozen=True)
class _DefacedOutput:
    """What is published and recorded of an image that is defaced and no more."""

    job: ImageJob
    tool: ToolJob


def _without_attack(workflow: Workflow, inputs: Node, deface: Node, verdict: Node, about: _DefacedOutput) -> Workflow:
    """The graph of a tool that ends with the verdict; the image is recorded as defaced."""
    job, tool = about.job, about.tool
    publish = Node(Publish(outputs=defaced_outputs(job, tool)), name=stages.publish("defaced").node, mem_gb=0.1)
    call = RecordDefaced(
        target=str(job.names.other_record(tool.tool)), layout=job.names.layout, content=record_start(job.image, tool)
    )
    record = Node(call, name=stages.RECORD.node, mem_gb=0.1)
    workflow.connect(
        [
            (inputs, deface, [("original", "in_file"), ("brain_mask", "brain_mask"), ("alignment", "alignment")]),
            (inputs, verdict, [(name, name) for name in (*_OF_HEAD, "skin", "brain")]),
            (deface, verdict, [(name, name) for name in ("defaced", "defacemask", "region", "details")]),
            (verdict, publish, [("files", "files"), ("details", "details")]),
            (verdict, record, [("details", "details")]),
            (publish, record, [("out_files", "out_files")]),
        ]
    )
    return workflow


def _connect_record(workflow: Workflow, record: Node, inputs: Node, verdict: Node, reface: Node, score: Node) -> None:
    """The record waits for every report that it holds."""
    workflow.connect(
        [
            (inputs, record, [("brain_files", "brain_files")]),
            (verdict, record, [("details", "deface_details")]),
            (reface, record, [("details", "reface_details")]),
            (score, record, [("details", "score_details"), ("rows", "rows"), ("calibration", "calibration")]),
        ]
    )


def deface_node(tool: ToolJob) -> Node:
    """The node that runs a tool."""
    own = {} if tool.definition is None else {"definition": dict(tool.definition)}
    limit = {} if tool.timeout_s is None else {"timeout_s": tool.timeout_s}
    call = Deface(
        tool=tool.tool,
        version=tool.version,
        warnings=list(tool.warnings),
        keep_header_text=tool.keep_header_text,
        **own,
        **limit,
    )
    return Node(call, name=stages.DEFACE.node, mem_gb=tool.memory_gb)


def _brain_node(attack: Attack) -> Node:
    """The node that finds the brain in the defaced image; it is given nothing else, as its mask goes to the attack."""
    call = DefacedBrain(num_threads=attack.threads, version=version("deepbet"))
    return Node(call, name=stages.DEFACED_BRAIN.node, mem_gb=2.0, n_procs=attack.processes)


def _verdict_node(job: ImageJob, tool: ToolJob) -> Node:
    call = Judge(
        target=str(job.names.verdict(tool.tool)),
        version=f"{__version__}, deepbet {version('deepbet')}",
        limits=list(map(list, tool.limits)),
    )
    return Node(call, name=stages.VERDICT.node, mem_gb=1.0)


def _reface_node(tool: ToolJob, attack: Attack) -> Node:
    call = Reface(
        sampler=attack.sampler,
        model=attack.model,
        seeds=list(tool.seeds),
        gpu=attack.gpu,
        use_gpu=attack.use_gpu,
        num_threads=attack.threads,
        progress=attack.progress,
        weights=dict(attack.weights),
        **({} if attack.steps is None else {"steps": attack.steps}),
        **({"replaces": True, "attack": attack.level} if tool.replaces else {}),
    )
    return Node(call, name=stages.REFACE.node, mem_gb=2.5, n_procs=attack.processes)


def _record_node(job: ImageJob, tool: ToolJob, attack: Attack) -> Node:
    content = {**record_start(job.image, tool), "KeptRefaced": attack.keep}
    call = WriteRecord(target=str(job.names.record(tool.tool)), layout=job.names.layout, content=content)
    return Node(call, name=stages.RECORD.node, mem_gb=0.1)


def _voxels(workflow: Workflow, inputs: Node, deface: Node, reface: Node) -> Node:
    """The node that samples every image, for phenotypes; it reads what it is given and nothing waits for it."""
    voxels = Node(FacialVoxels(version=__version__), name=stages.VOXELS.node, mem_gb=1.0)
    of_head = [("voxels", "original"), ("brain_mask", "brain_mask"), ("alignment", "alignment")]
    workflow.connect(
        [
            (inputs, voxels, of_head),
            (deface, voxels, [("defaced", "defaced")]),
            (reface, voxels, [("samples", "samples"), ("average", "average"), ("mean", "mean")]),
        ]
    )
    return voxels


def _publish(workflow: Workflow, made_by: Node, record: Node, kind: str, outputs: Outputs) -> None:
    """Connect a publishing node between the node that makes files and the record that lists them."""
    publish = Node(Publish(outputs=outputs), name=stages.publish(kind).node, mem_gb=0.1)
    workflow.connect(made_by, "files", publish, "files")
    workflow.connect(made_by, "details", publish, "details")
    workflow.connect(publish, "out_files", record, f"{kind}_files")
