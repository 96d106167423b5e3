"""CITATION.md and CITATION.bib: every tool that has results in the dataset, and the attack of the last run."""

from __future__ import annotations

from collections.abc import Sequence

from bids_refacer.audit.machine import Machine
from bids_refacer.dataset.descriptions.bibtex import bibtex
from bids_refacer.dataset.descriptions.citation import AttackUse, ToolUse, citation_text
from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.records import Record, all_records, any_other
from bids_refacer.dataset.sidecars import software_versions
from bids_refacer.defacers import DEFACERS
from bids_refacer.files import write_text
from bids_refacer.settings import RunSettings

_TEMPLATE = "face_template.nii.gz"  # among the weights of a model that draws with it


def write_citation(settings: RunSettings, machine: Machine) -> None:
    """Write it anew from all records; `machine` knows the attack's model."""
    records = list(all_records(settings.layout))
    attack = None
    if records:
        attack = AttackUse(
            card=machine.card,
            drawn=_TEMPLATE in machine.weights,
            sampler=settings.sampler,
            steps=settings.steps or max(records[-1].reface.steps, default=1),  # of the slowest stage
            num_samples=settings.num_samples,
            seed=settings.seed,
        )
    others = any_other(settings.layout)
    text = citation_text(tools_of(records), attack, software_versions(), others=others)
    text = Places().shareable(text)
    write_text(settings.layout.shareable / "CITATION.md", text)
    write_text(settings.layout.shareable / "CITATION.bib", bibtex(text))


def tools_of(records: Sequence[Record]) -> list[ToolUse]:
    """Each tool once, by name, as the last of its records says."""
    tools = {}
    for record in records:
        name, details = record.tool, record.deface
        tools[name] = ToolUse(
            name=name,
            version=details.version or "unknown",
            citation=DEFACERS[name].citation if name in DEFACERS else details.citation or name,
            registration=details.registration,
        )
    return [tools[name] for name in sorted(tools)]
