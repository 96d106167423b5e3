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

Label = str | int | None
Filters = Mapping[str, Label | list[Label]]
"""Entity, by pybids' name, -> labels that it may have; see above."""


def read_filter_file(path: Path, suffixes: tuple[str, ...]) -> dict[str, Filters]:
    """Read the filters of each of the `suffixes`; a suffix that the file does not name has no filters.

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
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"The filter file {path} is not JSON ({error}): correct it.") from error
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise DatasetError(
            f'The filter file {path} must hold one object for each suffix, such as {{"T1w": {{"run": 1}}}}: rewrite it.'
        )
    _check_labels(path, content)
    by_name = {name.lower(): value for name, value in content.items()}
    if not any(suffix.lower() in by_name for suffix in suffixes):
        raise DatasetError(
            f"The filter file {path} has filters for {', '.join(content) or 'nothing'}, but the run is about "
            f"{', '.join(suffixes)}: name a filter after the suffix."
        )
    return {suffix: by_name.get(suffix.lower(), {}) for suffix in suffixes}


def _check_labels(path: Path, content: dict[str, dict[str, Any]]) -> None:
    for name, filters in content.items():
        for entity, value in filters.items():
            if not all(isinstance(item, str | int | None) for item in (value if isinstance(value, list) else [value])):
                raise DatasetError(
                    f"The filter file {path} gives {value!r} for {entity} of {name}: write a label, a list of labels, "
                    'null (absent) or "*" (present).'
                )


def pybids_arguments(filters: Filters) -> dict[str, object]:
    """Arguments of pybids' ``BIDSLayout.get``, which has names of its own for ``null`` and ``"*"``."""
    from bids.layout import Query

    def translate(label: Label) -> object:
        return Query.NONE if label is None else Query.ANY if label == "*" else label

    return {
        name: [translate(label) for label in value] if isinstance(value, list) else translate(value)
        for name, value in filters.items()
    }
