"""The Boutiques descriptor says what the command line accepts: every option, type, default and choice.

`bosh` itself validates and runs it in tests/containers/run.sh; nothing is installed for it here.
"""

from __future__ import annotations

import argparse
import json
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest

from bids_refacer.cli.parser import build_parser, parse_args
from bids_refacer.settings import RunSettings

BOUTIQUES = Path(__file__).parent.parent / "boutiques"
DESCRIPTOR: dict[str, Any] = json.loads((BOUTIQUES / "bids_refacer.json").read_text())
INPUTS = {entry["id"]: entry for entry in DESCRIPTOR["inputs"]}
OPTIONS = [
    action
    for action in build_parser()._actions
    if action.dest not in ("help", "version", "list_tools") and action.help != argparse.SUPPRESS
]
NAMES = [action.dest for action in OPTIONS]
FIELDS = RunSettings.__dataclass_fields__


def test_the_file_is_what_the_parser_makes() -> None:
    make = runpy.run_path(str(BOUTIQUES / "make_descriptor.py"))["descriptor"]
    assert make() == DESCRIPTOR, "run python boutiques/make_descriptor.py"


def test_every_option_is_an_input() -> None:
    assert set(NAMES) - {"output_dir"} == set(INPUTS) - {"output_dir_name", "participant_level_analysis_dir"}
    for entry in DESCRIPTOR["inputs"]:
        assert entry["value-key"] in DESCRIPTOR["command-line"].split()


@pytest.mark.parametrize("action", [a for a in OPTIONS if a.option_strings], ids=lambda action: action.dest)
def test_type_default_and_choices(action: argparse.Action) -> None:
    entry, field = INPUTS[action.dest], FIELDS.get(action.dest)
    assert entry["command-line-flag"] in action.option_strings
    flag = isinstance(action, argparse.BooleanOptionalAction) or action.dest == "verbose"
    assert (entry["type"] == "Flag") == flag
    assert (entry["type"] == "Number") == (action.type in (int, float))
    assert entry.get("integer", False) == (action.type is int)
    assert entry.get("list", False) == (action.nargs in ("+", 2))
    assert entry.get("max-list-entries") == (2 if action.nargs == 2 else None)
    assert entry.get("value-choices") == (list(action.choices) if action.choices else None)
    if field is None or flag or field.default in (None, ()) or not isinstance(field.default, str | int | float | tuple):
        assert "default-value" not in entry
    else:
        assert entry["default-value"] == (list(field.default) if isinstance(field.default, tuple) else field.default)


def command(invocation: dict[str, Any]) -> list[str]:
    """The words after `bids_refacer`, as bosh fills the template."""
    line = DESCRIPTOR["command-line"].split("; bids_refacer ", 1)[1]
    words: list[str] = []
    for key in line.split():
        for entry in (entry for entry in DESCRIPTOR["inputs"] if entry["value-key"] == key):
            value = invocation.get(entry["id"], entry.get("default-value"))
            if value is None or value is False:
                continue
            words += [entry["command-line-flag"]] if "command-line-flag" in entry else []
            if value is not True:
                words += map(str, value if isinstance(value, list) else [value])
    return words


def example(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An example invocation, in a folder where its files are."""
    (tmp_path / "bids" / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "bids" / "dataset_description.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    invocation = json.loads((BOUTIQUES / f"{name}.json").read_text())
    assert set(invocation) <= set(INPUTS)
    return invocation


@pytest.mark.parametrize("name", ["participant", "group"])
def test_examples_are_commands_that_the_parser_takes(name: str, tmp_path: Path, monkeypatch) -> None:
    settings = parse_args(command(example(name, tmp_path, monkeypatch)))
    assert settings.analysis_level == name and settings.bids_dir == tmp_path / "bids"
    if name == "participant":
        assert (settings.participant_label, settings.gpu, settings.nprocs) == (("01",), "none", 2)
    else:
        assert settings.merge_output == (tmp_path / "results",)


def test_defaults_of_the_form_are_defaults_of_the_app(tmp_path: Path, monkeypatch) -> None:
    invocation = example("participant", tmp_path, monkeypatch)
    bare = {name: invocation[name] for name in ("bids_dir", "output_dir_name", "analysis_level")}
    assert parse_args(command(bare)) == parse_args(["bids", "results", "participant"])


def test_flags_do_what_they_say(tmp_path: Path, monkeypatch) -> None:
    invocation = example("participant", tmp_path, monkeypatch)
    flags = {entry["id"]: True for entry in INPUTS.values() if entry["type"] == "Flag"}
    settings = parse_args(command({**invocation, **flags}))
    changed = {name for name in flags if getattr(settings, name) != FIELDS[name].default}
    assert changed == set(flags), "each of them changes its default"


def test_nothing_relies_on_the_entrypoint_of_the_image() -> None:
    program = shlex.split(DESCRIPTOR["command-line"].split("; ", 1)[1])[0]
    assert program == "bids_refacer" and "entrypoint" not in DESCRIPTOR["container-image"]
    assert DESCRIPTOR["command-line"].startswith("mkdir -p [OUTPUT_DIR]; ")


def test_cbrain_knows_what_to_do_with_inputs_and_outputs() -> None:
    custom = DESCRIPTOR["custom"]
    assert custom["cbrain:readonly-input-files"] is True
    modules = custom["cbrain:integrator_modules"]
    assert modules["BoutiquesBidsSingleSubjectMaker"] in INPUTS
    assert set(modules["BoutiquesFileTypeVerifier"]) <= set(INPUTS)
    assert set(modules["BoutiquesOutputFileTypeSetter"]) == {entry["id"] for entry in DESCRIPTOR["output-files"]}


@pytest.mark.parametrize("command", ["release", "deface", "verify"])
def test_other_commands_have_descriptors_of_their_own(command: str) -> None:
    make = runpy.run_path(str(BOUTIQUES / "make_descriptor.py"))["command_descriptor"]
    described = json.loads((BOUTIQUES / f"bids_refacer_{command}.json").read_text())
    assert make(command) == described, "run python boutiques/make_descriptor.py"
    inputs = {entry["id"]: entry for entry in described["inputs"]}
    assert not inputs["release_dir"]["optional"] and inputs["release_dir"]["type"] == (
        "File" if command == "verify" else "String"
    )
    assert all(entry["value-key"] in described["command-line"].split() for entry in described["inputs"])
    if command != "verify":
        assert inputs["tool"]["command-line-flag"] == "--tool" and not inputs["tool"]["optional"]
        assert inputs["accept_risk"]["type"] == "Flag" and inputs["keep_field"]["list"]
