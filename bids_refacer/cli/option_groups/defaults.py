"""Defaults as ``--help`` tells them."""

from __future__ import annotations

from dataclasses import fields

from bids_refacer.settings import RunSettings

_DEFAULTS = {item.name: item.default for item in fields(RunSettings)}


def default_of(name: str) -> str:
    """``(default: ...)`` of a setting, for the end of its help."""
    value = _DEFAULTS[name]
    return f"(default: {' '.join(map(str, value)) if isinstance(value, tuple) else value})"
