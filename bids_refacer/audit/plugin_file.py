"""The file of ``--nipype-plugin-file``: which Nipype plugin runs the nodes, and with which arguments.

JSON or TOML: ``{"plugin": "SLURM", "plugin_args": {"sbatch_args": "-p long"}}``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from bids_refacer.problems import AuditProblem


class PluginFileError(AuditProblem):
    """The plugin file cannot be used: one sentence with the file, what is wrong, and the remedy."""


def read_plugin_file(path: Path) -> dict[str, Any]:
    """Read ``{"plugin": name, "plugin_args": {...}}``; ``plugin_args`` is empty when the file has none.

    Raises
    ------
    PluginFileError
        When the file cannot be read, is neither JSON nor TOML, or does not name a plugin.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = msgspec.toml.decode(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise PluginFileError(
            f"The plugin file {path} cannot be read ({error.strerror}): check the path and its permissions."
        ) from error
    except (ValueError, RecursionError) as error:  # both decoders' errors are ValueErrors
        kind = "TOML" if path.suffix == ".toml" else "JSON (or TOML in a file that ends in .toml)"
        raise PluginFileError(f"The plugin file {path} is not {kind}: {error}; correct it.") from error
    if not isinstance(content, dict) or not isinstance(content.get("plugin"), str):
        raise PluginFileError(f'The plugin file {path} names no plugin: write {{"plugin": "MultiProc"}} or another.')
    arguments = content.get("plugin_args", {})
    if not isinstance(arguments, dict) or set(content) - {"plugin", "plugin_args"}:
        raise PluginFileError(
            f'The plugin file {path} may hold "plugin" and an object "plugin_args" alone: remove the rest.'
        )
    if content["plugin"].endswith("Graph"):
        raise PluginFileError(
            f"The plugin file {path} names {content['plugin']}, which returns before anything is done, so that no "
            f"table can be written: use {content['plugin'].removesuffix('Graph')}."
        )
    return {"plugin": content["plugin"], "plugin_args": arguments}
