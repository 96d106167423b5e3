"""What nodes report of their work to those that follow: JSON files, which end in sidecars and records."""

from __future__ import annotations

import json
from pathlib import Path

from bids_refacer.dataset.details import Json


def write_report(path: Path, content: Json) -> str:
    """Write a report; its path as Nipype wants it. NaN is allowed, for figures that could not be computed."""
    path.write_text(json.dumps(content))
    return str(path)


def read_report(path: str | Path) -> dict[str, object]:
    """Read a report; NaN and infinities are None, as strict JSON, in which results are published, has none.

    Raises
    ------
    TypeError
        When it is no JSON object.
    """
    content = json.loads(Path(path).read_text(), parse_constant=lambda _: None)
    if not isinstance(content, dict):
        raise TypeError(f"{path} is no JSON object")
    return content
