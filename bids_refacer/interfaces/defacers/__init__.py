"""The registry of defacing tools. Adding one: a module that defines its `Defacer`, a line here, and a test."""

from __future__ import annotations

from bids_refacer.interfaces.defacers.average import AVERAGE
from bids_refacer.interfaces.defacers.niimath import NIIMATH
from bids_refacer.interfaces.defacers.pydeface import PYDEFACE
from bids_refacer.interfaces.defacers.quickshear import QUICKSHEAR
from bids_refacer.interfaces.defacers.skullstrip import SKULLSTRIP
from bids_refacer.interfaces.defacers.tool import Defacer, DefacerError, DefaceResult

DEFACERS: dict[str, Defacer] = {tool.name: tool for tool in (QUICKSHEAR, PYDEFACE, NIIMATH, SKULLSTRIP, AVERAGE)}

__all__ = ["DEFACERS", "DefaceResult", "Defacer", "DefacerError"]
