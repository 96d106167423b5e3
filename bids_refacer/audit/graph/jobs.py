"""What a graph is built from: images, tools, and the attack, as plain values."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bids_refacer.audit.graph.stages import STAGES
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.names import OutputNames, tool_label
from bids_refacer.dataset.records import Fingerprint


@dataclass(frozen=True, kw_only=True)
class ToolJob:
    """One tool on one image.

    `seeds` has one seed per sample; `key` is what its results depend on; `input` is the image's file as it is now (None
    where it was not looked at); `definition` is the table of a tool that the registry does not have; `replaces` is
    whether it puts another face there; `warnings` go into the sidecars; `keep_header_text` is whether texts of the
    original's header are kept; `limits` are those of the verdicts (`surfaces.verdicts.LimitPairs`).
    """

    tool: str
    version: str
    seeds: tuple[int, ...]
    key: Mapping[str, object] = field(hash=False)
    input: Fingerprint | None = None
    definition: Mapping[str, Any] | None = field(default=None, hash=False)
    replaces: bool = False
    warnings: tuple[str, ...] = ()
    timeout_s: float | None = None
    memory_gb: float = 1.0
    keep_header_text: bool = False
    limits: tuple[tuple[float, ...], ...] = ()

    @property
    def node_name(self) -> str:
        """Name of its part of the graph."""
        return tool_node_name(self.tool)


def record_start(image: HeadImage, tool: ToolJob) -> dict[str, Any]:
    """What the record of an image and tool says of it before anything has run (`records.DefacedRecord`), as JSON."""
    known = {} if tool.input is None else {"Input": tool.input.to_json()}
    return {"Image": image.bids_path, "Tool": tool.tool, "Key": dict(tool.key), **known}


@dataclass(frozen=True, kw_only=True)
class ImageJob:
    """One image and the tools that have to be run on it."""

    image: HeadImage
    names: OutputNames
    tools: tuple[ToolJob, ...]

    @property
    def node_name(self) -> str:
        """Name of its part of the graph."""
        return node_name(self.image)

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.image.label


@dataclass(frozen=True, kw_only=True)
class OtherJob:
    """An image that is defaced as another one of its session was, and the tools that were run on that one.

    `reference` is the audited image, `in_register` whether both are parts of one acquisition; `leader` is the part of
    the image's own acquisition that is registered in the name of all. `names` and `reference_names` are those of
    outputs of the image and of its reference. `native` are the tools that run on the image itself. A leader may have no
    tools left: then only its registration is wanted. What is published leaves `most_left` percent of each part of the
    face at most, which is measured in `shown_by`: the image, or, where it shows no head, one in the same place.
    """

    image: HeadImage
    leader: HeadImage
    reference: HeadImage
    in_register: bool
    names: OutputNames
    reference_names: OutputNames
    tools: tuple[ToolJob, ...]
    shown_by: HeadImage
    most_left: float
    native: frozenset[str] = frozenset()

    @property
    def node_name(self) -> str:
        """Name of its part of the graph."""
        return node_name(self.image)

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.image.label


def node_name(image: HeadImage) -> str:
    """Name of an image in the graph."""
    return node_name_of(image.stem)


def node_name_of(stem: str) -> str:
    """Name in the graph of an image, given its file's without extension; Nipype wants letters, digits and underscores.

    No other image has it: where a label holds more than letters and digits (``+``), a hash of the name follows.
    """
    plain = re.sub(r"[^0-9A-Za-z]+", "_", stem)
    if re.fullmatch(r"[0-9A-Za-z_-]+", stem):
        return plain
    return f"{plain}_{hashlib.sha256(stem.encode()).hexdigest()[:12]}"


def tool_node_name(tool: str) -> str:
    """Name of a tool's part of the graph of an image, where nodes have names too: a user may call a tool ``brain``."""
    label = tool_label(tool)
    return f"tool_{label}" if label in STAGES else label


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """How heads are described for recognition: number of cameras, the user's commands, SHA-256 of shipped weights."""

    views: int
    own: Mapping[str, str] = field(hash=False)
    weights: Mapping[str, str] = field(hash=False)

    def key(self) -> dict[str, object]:
        """What descriptors depend on, for the key of a record."""
        return {"Views": self.views, "Own": dict(self.own), "WeightsSHA256": dict(self.weights)}


@dataclass(frozen=True, kw_only=True)
class Attack:
    """How faces are painted back, the same for all images.

    `weights` is file -> SHA-256; `gpu` is the policy, `use_gpu` whether a slot of the GPU queue is taken;
    `processes` is what the node counts for on the CPU; `keep` is whether recovered faces are published; `level` is how
    hard replaced faces are attacked. Without `paints`, images are defaced and judged, and no face is painted back.
    `recognition` is None where nobody is to be recognised.
    """

    num_samples: int
    sampler: str
    steps: int | None
    model: str
    weights: Mapping[str, str] = field(hash=False)
    gpu: str
    use_gpu: bool
    threads: int
    processes: int
    progress: bool
    keep: bool
    level: str = "mask"
    paints: bool = True
    recognition: Recognition | None = None
