"""The nodes of the graphs: their names, the stages that the table of status calls them, and the words about them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A node.

    Attributes
    ----------
    node : its name in the graph
    status : the column ``stage`` of the table of status, for images that fail in it
    doing : what it does, for the line of an image that fails in it
    done : what it did, for the line of an image that passed it; None where no line is written
    """

    node: str
    status: str
    doing: str
    done: str | None = None


INSPECT = Stage(node="inspect", status="input", doing="reading the image")
BRAIN = Stage(node="brain", status="brain", doing="finding the brain", done="brain found")
ALIGN = Stage(node="align", status="brain", doing="aligning", done="aligned")
CHECK_FACE = Stage(node="face", status="input", doing="looking for the face")
TRUTH = Stage(node="truth", status="score", doing="measuring the true face")
DEFACE = Stage(node="deface", status="deface", doing="defacing", done="defaced")
DEFACED_BRAIN = Stage(node="defaced_brain", status="deface", doing="looking for the brain in the defaced image")
VERDICT = Stage(node="verdict", status="deface", doing="judging")
REFACE = Stage(node="reface", status="reface", doing="refacing", done="refaced")
SCORE = Stage(node="score", status="score", doing="scoring", done="scored")
RECOGNISE = Stage(node="recognise", status="score", doing="describing faces")
VOXELS = Stage(node="voxels", status="score", doing="keeping facial voxels")
RECORD = Stage(node="record", status="output", doing="writing results")

REGISTER = Stage(node="register", status="brain", doing="registering", done="registered")
CARRY_HEAD = Stage(node="head", status="brain", doing="carrying brain mask and alignment")
CARRY = Stage(node="carry", status="deface", doing="carrying the mask", done="defaced by the mask of its session")

_OF_ONE_IMAGE = (
    INSPECT,
    BRAIN,
    ALIGN,
    CHECK_FACE,
    TRUTH,
    DEFACE,
    DEFACED_BRAIN,
    VERDICT,
    REFACE,
    SCORE,
    RECOGNISE,
    VOXELS,
    RECORD,
)
STAGES = {stage.node: stage for stage in (*_OF_ONE_IMAGE, REGISTER, CARRY_HEAD, CARRY)}


def publish(what: str) -> Stage:
    """The stage that puts files into the output, such as ``brain``, ``defaced`` or ``surface``."""
    return Stage(node=f"publish_{what}", status=RECORD.status, doing=RECORD.doing)


def stage_of(node: str) -> Stage:
    """The stage of a node, by its name; nodes that publish are not in the table, and write results."""
    return STAGES.get(node, RECORD)
