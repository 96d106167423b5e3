"""The filter file of ``--bids-filter-file``: pybids entities by suffix, as fMRIPrep reads them.

``{"T1w": {"acquisition": "mprage", "run": [1, 2], "reconstruction": null}}``: keys are suffixes (any case), values are
pybids entity names with one label, several, ``null`` (the entity must be absent) or ``"*"`` (it must be present).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids_refacer.dataset.errors import DatasetError


def read_filter_file(path: Path, suffixes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Read the filters of each of the `suffixes`; one that the file does not name gets none.

    Raises
    ------
    DatasetError
        When the file cannot be read, is no JSON object of objects, or names none of the suffixes.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(
            f"The filter file {path} cannot be read ({error.strerror}): check the path and its permissions."
        ) from error
    except ValueError as error:
        raise DatasetError(f"The filter file {path} is not JSON ({error}): correct it.") from error
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise DatasetError(
            f'The filter file {path} must hold one object for each suffix, such as {{"T1w": {{"run": 1}}}}: rewrite it.'
        )
    for name, filters in content.items():
        for entity, value in filters.items():
            if not all(isinstance(item, str | int | None) for item in (value if isinstance(value, list) else [value])):
                raise DatasetError(
                    f"The filter file {path} gives {value!r} for {entity} of {name}: write a label, a list of labels, "
                    'null (absent) or "*" (present).'
                )
    by_name = {name.lower(): value for name, value in content.items()}
    if not any(suffix.lower() in by_name for suffix in suffixes):
        raise DatasetError(
            f"The filter file {path} has filters for {', '.join(content) or 'nothing'}, but the run is about "
            f"{', '.join(suffixes)}: name a filter after the suffix."
        )
    return {suffix: by_name.get(suffix.lower(), {}) for suffix in suffixes}


def pybids_arguments(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``null`` and ``"*"`` into what pybids calls them."""
    from bids.layout import Query

    special = {None: Query.NONE, "*": Query.ANY}

    def translate(value: Any) -> Any:
        if isinstance(value, list):
            return [translate(item) for item in value]
        return special.get(value, value) if isinstance(value, str | None) else value

    return {name: translate(value) for name, value in filters.items()}
