"""The part of the graph that describes faces for recognition: each original once, then what each tool made of it."""

from __future__ import annotations

from nipype.pipeline.engine import Node, Workflow

from bids_refacer import __version__
from bids_refacer.audit.graph import stages
from bids_refacer.audit.graph.jobs import Attack, Recognition
from bids_refacer.audit.nodes.recognise import Recognise

DESCRIBED = {"files": "original_files", "rows": "original_rows", "details": "original_details"}
"""Outputs of the node that describes the original -> inputs of the part of a tool."""


def describe_original(workflow: Workflow, check: Node, attack: Attack) -> Node | None:
    """Add the node that describes an original; `check` ends with the image and its alignment."""
    if attack.recognition is None or not attack.paints:
        return None
    node = _node(attack, attack.recognition)
    workflow.connect(check, "out_file", node, "in_file")
    workflow.connect(check, "alignment", node, "alignment")
    return node


def hand_on(workflow: Workflow, described: Node | None, part: Workflow) -> None:
    """Give the part of a tool what was found of the original."""
    if described is not None:
        pairs = [(name, f"inputnode.{field}") for name, field in DESCRIBED.items()]
        workflow.connect([(described, part, pairs)])


def describe_faces(
    workflow: Workflow, inputs: Node, deface: Node, reface: Node, score: Node, attack: Attack, record: Node
) -> Node | None:
    """Add the node that describes what a tool and the attack made of an image; the record has its rows.

    `score` made the average face that was fitted to the original.
    """
    if attack.recognition is None:
        return None
    node = _node(attack, attack.recognition)
    of_original = [(name, name) for name in DESCRIBED.values()]
    workflow.connect(
        [
            (inputs, node, [("alignment", "alignment"), *of_original]),
            (deface, node, [("defaced", "defaced")]),
            (reface, node, [(name, name) for name in ("samples", "average")]),
            (score, node, [("fitted", "fitted")]),
            (node, record, [("rows", "recognition")]),
        ]
    )
    if attack.num_samples > 1:
        workflow.connect(reface, "mean", node, "mean")
    return node


def _node(attack: Attack, recognition: Recognition) -> Node:
    call = Recognise(
        views=recognition.views,
        own=dict(recognition.own),
        weights=dict(recognition.weights),
        version=__version__,
        gpu=attack.gpu,
        use_gpu=attack.use_gpu,
        num_threads=attack.threads,
    )
    return Node(call, name=stages.RECOGNISE.node, mem_gb=2.0, n_procs=attack.processes)
