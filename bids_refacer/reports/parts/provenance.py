"""What made the results of a tool on an image, as names and facts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from bids_refacer.dataset.descriptions.shareable_text import shareable_json
from bids_refacer.reports.participant_data import ToolResult


def provenance(tool: ToolResult) -> list[tuple[str, str]]:
    """What made these results, from their record."""
    if tool.record is None:
        return []
    key, deface, reface = tool.record.key, tool.record.deface, tool.record.reface
    facts: Mapping[str, object] = {
        "Version of bids_refacer": key.get("AppVersion"),
        "Defacing": deface.content.get("Command"),
        "Version of the tool": deface.version,
        "Options of the tool": deface.content.get("Options"),
        "Registration": deface.registration,
        "Warnings": " ".join([*deface.warnings, *reface.warnings]) or None,
        "Outside the range of training": "; ".join(reface.outside_training) or None,
        "Model of the attack": key.get("Model"),
        "Options of the attack": reface.content.get("Options"),
        "Seed of the run": key.get("Seed"),
        "Weights (SHA-256)": key.get("WeightsSHA256"),
        "Run time, s": tool.record.run_time_s,
    }
    shown = {name: value for name, value in facts.items() if value not in (None, [], {})}
    texts = shareable_json(shown)
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in texts.items()]
