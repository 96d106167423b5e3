"""The command line of an audit becomes `RunSettings`: typed options come before those of the configuration file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_refacer.cli.checks import first_problem
from bids_refacer.cli.options import build_parser
from bids_refacer.layout import Layout
from bids_refacer.limits import usable_cpus
from bids_refacer.settings import RunSettings
from bids_refacer.settings_file import SettingsError, read_settings_file
from bids_refacer.work_folder import default_work_dir


def parse_args(argv: Sequence[str] | None = None) -> RunSettings:
    """Read the command line. Ends the program with a sentence (code 2) where the run cannot start.

    Paths become absolute, labels lose ``sub-`` and ``ses-``, what is named twice is taken once.
    """
    parser = build_parser()
    typed = vars(parser.parse_args(argv))
    config_file = typed.pop("config_file", None)
    try:
        from_file = read_settings_file(config_file, RunSettings) if config_file else {}
        settings = RunSettings(**_normalised({**from_file, **typed}))
    except SettingsError as error:
        parser.error(str(error))
    problem = first_problem(settings)
    if problem:
        parser.error(problem)
    return settings


def _normalised(values: dict[str, Any]) -> dict[str, Any]:
    """The same spelling of a setting, whether it was typed or read from a file, and the defaults that depend on others.

    Lists become tuples without repetitions, but for the limits, whose two values may be equal.
    """
    settings = {name: _one_spelling(name, value) for name, value in values.items()}
    if "work_dir" not in settings:
        layout = Layout.of(settings["output_dir"], settings.get("identifiable_dir"))
        settings["work_dir"] = default_work_dir(layout, other_machines="nipype_plugin_file" in settings)
    settings.setdefault("omp_nthreads", _threads(settings))
    return settings


def _threads(settings: dict[str, Any]) -> int:
    """Threads of each process: where several tools run, one beside the other is faster than one after the other."""
    at_once = len(settings.get("deface_tools", RunSettings.deface_tools))
    if settings["analysis_level"] != "participant":
        at_once = 1
    return min(max(settings.get("nprocs", usable_cpus()) // at_once, 1), 8)


def _one_spelling(name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        items = tuple(_one_spelling(name, item) for item in value)
        return items if name.endswith("_limits") else tuple(dict.fromkeys(items))
    if isinstance(value, Path):
        return value.expanduser().absolute()
    if name == "model" and isinstance(value, str):
        return _absolute_model(value)
    if isinstance(value, str):
        return value.removeprefix({"participant_label": "sub-", "session_label": "ses-"}.get(name, ""))
    return value


def _absolute_model(value: str) -> str:
    """The name of a model that comes with the package, or the absolute path of a model folder."""
    shipped = [folder.name for folder in (Path(__file__).parents[1] / "data" / "weights").iterdir()]
    folder = Path(value).expanduser()
    if value in (*shipped, "linear", "kriged", "stages") or not (folder / "model.json").is_file():
        return value
    return str(folder.absolute())
