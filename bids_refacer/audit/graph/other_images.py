"""The graph of images that are defaced as another one of their session was; it runs when that one is done."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_refacer import __version__
from bids_refacer.audit.graph import stages
from bids_refacer.audit.graph.jobs import OtherJob, ToolJob, node_name, record_start
from bids_refacer.audit.graph.outputs import other_outputs
from bids_refacer.audit.graph.run import NAME
from bids_refacer.audit.graph.tool import deface_node
from bids_refacer.audit.nodes.carry import Carry, CarryHead, RecordDefaced, Register
from bids_refacer.audit.nodes.judge_carried import JudgeCarried
from bids_refacer.audit.nodes.publish import Publish

_FOUND = ("matrix", "alignment")
"""Outputs of the registration."""


def build_others(*, jobs: Sequence[OtherJob], work_dir: Path) -> Workflow:
    """Graph of a run over other images.

    Parameters
    ----------
    jobs : images, and the leader of each; at least one
    work_dir : folder for the nodes' intermediate files, which show faces
    """
    workflow = Workflow(name=NAME, base_dir=str(work_dir))
    parts = {job.node_name: Workflow(name=job.node_name) for job in jobs}
    for job in jobs:
        if job.leader == job.image:
            parts[job.node_name].add_nodes([_register(job)])
    workflow.add_nodes(list(parts.values()))
    for job in jobs:
        own, leader = parts[job.node_name], parts[node_name(job.leader)]
        for tool in job.tools:
            part = _build_tool(job, tool)
            if own is leader:
                found = own.get_node(stages.REGISTER.node)
                own.connect([(found, part, [(name, f"inputnode.{name}") for name in _FOUND])])
            else:
                own.add_nodes([part])
                ends = [(f"{stages.REGISTER.node}.{name}", f"{part.name}.inputnode.{name}") for name in _FOUND]
                workflow.connect([(leader, own, ends)])
    return workflow


def _register(job: OtherJob) -> Node:
    """The registration of a leader, in the name of all its parts."""
    call = Register(
        moving=str(job.image.path),
        fixed=str(job.reference.path),
        brain_mask=str(job.reference_names.brain_mask()),
        in_register=job.in_register,
        version=version("niimath"),
    )
    return Node(call, name=stages.REGISTER.node, mem_gb=1.0)


def _build_tool(job: OtherJob, tool: ToolJob) -> Workflow:
    """One tool on one image: carry the mask or run the tool, judge what is left, publish, record."""
    workflow = Workflow(name=tool.node_name)
    inputs = Node(IdentityInterface(fields=list(_FOUND)), name="inputnode")
    if tool.tool in job.native:
        deface = _native(workflow, inputs, job, tool)
    else:
        deface = Node(Carry(**_given(job, tool)), name=stages.CARRY.node, mem_gb=1.0)
        workflow.connect(inputs, "matrix", deface, "matrix")
    judge = Node(_judge(job, tool), name=stages.VERDICT.node, mem_gb=2.0)
    publish = Node(Publish(outputs=other_outputs(job, tool)), name=stages.publish("defaced").node, mem_gb=0.1)
    call = RecordDefaced(
        target=str(job.names.other_record(tool.tool)),
        layout=job.names.layout,
        content=record_start(job.image, tool),
    )
    record = Node(call, name=stages.RECORD.node, mem_gb=0.1)
    workflow.connect(
        [
            (inputs, judge, [(name, name) for name in _FOUND]),
            (deface, judge, [("files", "files"), ("details", "details")]),
            (judge, publish, [("files", "files"), ("details", "details")]),
            (judge, record, [("details", "details")]),
            (publish, record, [("out_files", "out_files")]),
        ]
    )
    return workflow


def _judge(job: OtherJob, tool: ToolJob) -> JudgeCarried:
    return JudgeCarried(
        in_file=str(job.image.path),
        head_file=str(job.shown_by.path),
        reference=str(job.reference.path),
        brain_mask=str(job.reference_names.brain_mask()),
        most_left=job.most_left,
        limits=list(map(list, tool.limits)),
        version=__version__,
    )


def _native(workflow: Workflow, inputs: Node, job: OtherJob, tool: ToolJob) -> Node:
    """The tool itself, given the brain mask and the alignment of the reference."""
    call = CarryHead(
        in_file=str(job.image.path),
        reference=str(job.reference.path),
        brain_mask=str(job.reference_names.brain_mask()),
        version=version("niimath"),
    )
    head = Node(call, name=stages.CARRY_HEAD.node, mem_gb=1.0)
    deface = deface_node(tool)
    deface.inputs.in_file = str(job.image.path)
    workflow.connect(
        [
            (inputs, head, [("matrix", "matrix")]),
            (head, deface, [("brain_mask", "brain_mask"), ("alignment", "alignment")]),
        ]
    )
    return deface


def _given(job: OtherJob, tool: ToolJob) -> dict[str, Any]:
    how = "part of the same acquisition" if job.in_register else f"niimath {version('niimath')} -allineate, rigid"
    details = {"Tool": tool.tool, "Version": tool.version, "MaskOf": job.reference.bids_path, "Registration": how}
    return {
        "in_file": str(job.image.path),
        "defacemask": str(job.reference_names.defacemask(tool.tool)),
        "brain_mask": str(job.reference_names.brain_mask()),
        "keep_header_text": tool.keep_header_text,
        "details": {**details, **({"Warnings": list(tool.warnings)} if tool.warnings else {})},
    }
