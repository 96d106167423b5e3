"""Write bids_refacer.json, the Boutiques descriptor, from the argument parser: python boutiques/make_descriptor.py

Every option of a run becomes an input of the same name. What a descriptor cannot say is left out: ``--version``,
``--help`` and ``--list-tools`` (no runs), and the twin of an on/off option that only confirms its default.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bids_refacer import __version__
from bids_refacer.cli import deface, release, verify
from bids_refacer.cli.parser import build_parser
from bids_refacer.settings import RunSettings

DESCRIPTOR = Path(__file__).with_name("bids_refacer.json")
_NO_RUN = {"help", "version", "list_tools"}
_POSITIONAL = {"bids_dir", "output_dir", "analysis_level"}
# given by their name, as they need not exist before; every other path is an input file or folder
_MADE_BY_THE_RUN = {"output_dir", "identifiable_dir", "work_dir", "bids_database_dir", "audit_dir"}
# the other commands, each with the positional argument that it makes
_COMMANDS = {
    "release": (release.build_parser, "release_dir"),
    "deface": (deface.build_parser, "release_dir"),
    "verify": (verify.build_parser, None),
}
_DEFAULTS = {item.name: item.default for item in fields(RunSettings)}
# the first in the list comes first in the command line that the BIDS check of bosh wants
_FIRST = ("participant_label", "session_label")


def descriptor() -> dict[str, Any]:
    """The descriptor, for Boutiques 0.5 with the checks of ``bosh validate --bids``."""
    parser = build_parser()
    actions = [action for action in parser._actions if _is_input(action)]
    actions.sort(key=lambda action: _FIRST.index(action.dest) if action.dest in _FIRST else len(_FIRST))
    inputs = [*_positional_inputs(parser), *map(_input, actions)]
    keys = [entry["value-key"] for entry in inputs[4:]]
    return {
        "name": "bids_refacer",
        "tool-version": __version__,
        "description": f"{parser.description} {parser.epilog}",
        "schema-version": "0.5",
        # the program is named: nothing relies on the image's ENTRYPOINT
        "command-line": "mkdir -p [OUTPUT_DIR]; bids_refacer [BIDS_DIR] [OUTPUT_DIR] [ANALYSIS_LEVEL] "
        + " ".join(keys),
        "container-image": {"type": "docker", "image": f"bids_refacer:{__version__}"},
        "inputs": inputs,
        "groups": [
            {
                "id": "output_dir_group",
                "name": "Output folder",
                "description": "A new folder, or one with the results of an earlier run.",
                "members": ["output_dir_name", "participant_level_analysis_dir"],
                "mutually-exclusive": True,
                "one-is-required": True,
            }
        ],
        "output-files": [
            {
                "id": "output_dir",
                "name": "Results",
                "description": "bids_refacer: a derivative dataset that may be shared. identifiable: recovered faces, "
                "not for sharing.",
                "path-template": "[OUTPUT_DIR]",
                "optional": False,
            }
        ],
        "error-codes": [
            {"code": 1, "description": "An image or tool failed, or the run could not start: see status.tsv."},
            {"code": 2, "description": "The command line is wrong: the message says what to change."},
            {"code": 130, "description": "Interrupted; the same command goes on."},
        ],
        "suggested-resources": {"cpu-cores": 2, "ram": 6, "disk-space": 5, "nodes": 1, "walltime-estimate": 3600},
        "tags": {"domain": ["neuroinformatics", "bids", "mri", "defacing"]},
        "custom": _for_cbrain(),
    }


def command_descriptor(command: str) -> dict[str, Any]:
    """The descriptor of `bids_refacer release`, `deface` or `verify`."""
    build, made = _COMMANDS[command]
    parser = build()
    actions = [action for action in parser._actions if action.dest != "help"]
    inputs = [_input(action) if action.option_strings else _place(action, made) for action in actions]
    results = {"id": "release", "name": "Release", "description": "A raw BIDS dataset.", "optional": False}
    return {
        "name": f"bids_refacer {command}",
        "tool-version": __version__,
        "description": f"{parser.description} {parser.epilog}",
        "schema-version": "0.5",
        "command-line": " ".join([f"bids_refacer {command}", *(entry["value-key"] for entry in inputs)]),
        "container-image": {"type": "docker", "image": f"bids_refacer:{__version__}"},
        "inputs": inputs,
        "output-files": [{**results, "path-template": f"[{made.upper()}]"}] if made else [],
        "error-codes": [
            {"code": 1, "description": "Something was held back, a fault was found, or it could not start."},
            {"code": 2, "description": "The command line is wrong: the message says what to change."},
            {"code": 130, "description": "Interrupted; the same command goes on."},
        ],
        "tags": {"domain": ["neuroinformatics", "bids", "mri", "defacing"]},
    }


def _place(action: argparse.Action, made: str | None) -> dict[str, Any]:
    """A folder that the command line names without a flag; one that the command makes is given by its name."""
    return {
        "id": action.dest,
        "name": action.dest.replace("_", " ").capitalize(),
        "type": "String" if action.dest == made else "File",
        "description": str(action.help),
        "value-key": f"[{action.dest.upper()}]",
        "optional": False,
    }


def _is_input(action: argparse.Action) -> bool:
    """Whether an option is an input of its own; names that other apps have for it are not in the help."""
    return action.dest not in _NO_RUN | _POSITIONAL and action.help != argparse.SUPPRESS


def _positional_inputs(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """Input, output (a name, or the folder of an earlier run) and level, as the BIDS check of bosh wants them."""
    about = {action.dest: action for action in parser._actions}
    return [
        {
            "id": "bids_dir",
            "name": "BIDS dataset",
            "type": "File",
            "description": str(about["bids_dir"].help),
            "value-key": "[BIDS_DIR]",
            "optional": False,
        },
        {
            "id": "output_dir_name",
            "name": "Name of the output folder",
            "type": "String",
            "description": str(about["output_dir"].help),
            "value-key": "[OUTPUT_DIR]",
            "optional": True,
        },
        {
            "id": "participant_level_analysis_dir",
            "name": "Output of an earlier run",
            "type": "File",
            # bosh 0.5.33 drops the value of the second input that fills a place, whichever of the two is given
            "description": "there because Boutiques' BIDS convention asks for it, and bosh loses its value: give the "
            "results of participants to merge_output, or the folder's name to output_dir_name",
            "value-key": "[OUTPUT_DIR]",
            "optional": True,
        },
        {
            "id": "analysis_level",
            "name": "Analysis level",
            "type": "String",
            "description": str(about["analysis_level"].help),
            "value-key": "[ANALYSIS_LEVEL]",
            "value-choices": list(about["analysis_level"].choices or ()),
            "optional": False,
        },
    ]


def _input(action: argparse.Action) -> dict[str, Any]:
    """One option of the command line."""
    entry: dict[str, Any] = {
        "id": action.dest,
        "name": action.dest.replace("_", " ").capitalize(),
        "type": _type(action),
        "description": _text(action),
        "value-key": f"[{action.dest.upper()}]",
        "command-line-flag": _flag(action),
        "optional": not action.required,
    }
    if action.type is int:
        entry["integer"] = True
    if action.choices:
        entry["value-choices"] = list(action.choices)
    if action.nargs == "+":
        entry |= {"list": True, "min-list-entries": 1}
    elif isinstance(action.nargs, int) and action.nargs > 1:
        entry |= {"list": True, "min-list-entries": action.nargs, "max-list-entries": action.nargs}
    default = _DEFAULTS.get(action.dest)
    if isinstance(default, str | float | int | tuple) and default != () and entry["type"] != "Flag":
        entry["default-value"] = list(default) if isinstance(default, tuple) else default
    return entry


def _type(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "Flag"
    if action.type in (int, float):
        return "Number"
    return "File" if action.type is Path and action.dest not in _MADE_BY_THE_RUN else "String"


def _flag(action: argparse.Action) -> str:
    """The spelling with dashes; of an on/off option, the one that changes the default."""
    spelled = [option for option in action.option_strings if option.startswith("--")]
    if isinstance(action, argparse.BooleanOptionalAction) and _DEFAULTS[action.dest] is True:
        spelled = [option for option in spelled if option.startswith("--no-")]
    return spelled[0]


def _text(action: argparse.Action) -> str:
    said = str(action.help)
    if action.dest == "config_file":
        said += "; here, values that have a default in this form count as given on the command line"
    return said


def _for_cbrain() -> dict[str, Any]:
    """Keys that CBRAIN reads; bosh does not check them."""
    return {
        "cbrain:author": "bids_refacer contributors",
        "cbrain:readonly-input-files": True,
        "cbrain:boutiques_bosh_exec_mode": "simulate",
        "cbrain:integrator_modules": {
            "BoutiquesBidsSingleSubjectMaker": "bids_dir",
            "BoutiquesFileTypeVerifier": {"bids_dir": ["BidsDataset", "BidsSubject"]},
            "BoutiquesOutputFileTypeSetter": {"output_dir": "FileCollection"},
        },
    }


if __name__ == "__main__":
    DESCRIPTOR.write_text(json.dumps(descriptor(), indent=2) + "\n", encoding="utf-8")
    for command in _COMMANDS:
        place = DESCRIPTOR.with_name(f"bids_refacer_{command}.json")
        place.write_text(json.dumps(command_descriptor(command), indent=2) + "\n", encoding="utf-8")
