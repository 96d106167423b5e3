"""The graph of images that are defaced as another one of their session was; it runs when that one is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_refacer.audit.graph.jobs import ToolJob, label_of, node_name, record_start
from bids_refacer.audit.graph.outputs import other_entries
from bids_refacer.audit.graph.run import NAME
from bids_refacer.audit.nodes.carry import Carry, CarryHead, RecordDefaced, Register
from bids_refacer.audit.nodes.deface import Deface
from bids_refacer.audit.nodes.publish import Publish
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.others import OtherImage


@dataclass(frozen=True, kw_only=True)
class OtherJob:
    """An image, and the tools that were run on its reference; `native` are those that run on it as well.

    `names` and `reference_names` are those of outputs of the image and of its reference. A leader may have no tools
    left: then only its registration is wanted.
    """

    other: OtherImage
    names: OutputNames
    reference_names: OutputNames
    tools: tuple[ToolJob, ...]
    native: frozenset[str] = frozenset()

    @property
    def node_name(self) -> str:
        """Name of its part of the graph."""
        return node_name(self.other.image)

    @property
    def label(self) -> str:
        """What a person calls it."""
        return label_of(self.other.image)


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
        if job.other.leader == job.other.image:
            parts[job.node_name].add_nodes([_register(job)])
    workflow.add_nodes(list(parts.values()))
    for job in jobs:
        own, leader = parts[job.node_name], parts[node_name(job.other.leader)]
        for tool in job.tools:
            part = _build_tool(job, tool)
            if own is leader:
                own.connect(own.get_node("register"), "matrix", part, "inputnode.matrix")
            else:
                own.add_nodes([part])
                workflow.connect(leader, "register.matrix", own, f"{part.name}.inputnode.matrix")
    return workflow


def _register(job: OtherJob) -> Node:
    """The registration of a leader, in the name of all its parts."""
    reference = job.other.reference
    assert reference is not None, "images without a reference have no job"
    call = Register(
        moving=str(job.other.image.path),
        fixed=str(reference.path),
        brain_mask=str(job.reference_names.brain_mask()),
        in_register=job.other.in_register,
        version=version("niimath"),
    )
    return Node(call, name="register", mem_gb=1.0)


def _build_tool(job: OtherJob, tool: ToolJob) -> Workflow:
    """One tool on one image: carry the mask or run the tool, publish, record."""
    workflow = Workflow(name=tool.node_name)
    inputs = Node(IdentityInterface(fields=["matrix"]), name="inputnode")
    if tool.tool in job.native:
        deface = _native(workflow, inputs, job, tool)
    else:
        deface = Node(Carry(**_given(job, tool)), name="carry", mem_gb=1.0)
        workflow.connect(inputs, "matrix", deface, "matrix")
    entries = other_entries(job.other, job.names, job.reference_names, tool.tool, native=tool.tool in job.native)
    publish = Node(Publish(entries=entries), name="publish_defaced", mem_gb=0.1)
    call = RecordDefaced(
        target=str(job.names.other_record(tool.tool)),
        root=str(job.names.output_dir),
        content=record_start(job.other.image, tool),
    )
    record = Node(call, name="record", mem_gb=0.1)
    workflow.connect(
        [
            (deface, publish, [("files", "files"), ("details", "details")]),
            (deface, record, [("details", "details")]),
            (publish, record, [("out_files", "out_files")]),
        ]
    )
    return workflow


def _native(workflow: Workflow, inputs: Node, job: OtherJob, tool: ToolJob) -> Node:
    """The tool itself, given the brain mask and the alignment of the reference."""
    reference = job.other.reference
    assert reference is not None, "images without a reference have no job"
    call = CarryHead(
        in_file=str(job.other.image.path),
        reference=str(reference.path),
        brain_mask=str(job.reference_names.brain_mask()),
        version=version("niimath"),
    )
    head = Node(call, name="head", mem_gb=1.0)
    own = {} if tool.definition is None else {"definition": dict(tool.definition)}
    limit = {} if tool.timeout_s is None else {"timeout_s": tool.timeout_s}
    run = Deface(tool=tool.tool, version=tool.version, warnings=list(tool.warnings), **own, **limit)
    run.inputs.in_file = str(job.other.image.path)
    deface = Node(run, name="deface", mem_gb=tool.memory_gb)
    workflow.connect(
        [
            (inputs, head, [("matrix", "matrix")]),
            (head, deface, [("brain_mask", "brain_mask"), ("alignment", "alignment")]),
        ]
    )
    return deface


def _given(job: OtherJob, tool: ToolJob) -> dict[str, Any]:
    reference = job.other.reference
    assert reference is not None, "images without a reference have no job"
    how = "part of the same acquisition" if job.other.in_register else f"niimath {version('niimath')} -allineate, rigid"
    details = {"Tool": tool.tool, "Version": tool.version, "MaskOf": reference.bids_path, "Registration": how}
    return {
        "in_file": str(job.other.image.path),
        "defacemask": str(job.reference_names.defacemask(tool.tool)),
        "brain_mask": str(job.reference_names.brain_mask()),
        "details": {**details, **({"Warnings": list(tool.warnings)} if tool.warnings else {})},
    }
