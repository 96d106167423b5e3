"""Gather the pages of the documentation site: python docs/site/make_pages.py FOLDER

Copies docs/ and the pages of the repository's root, and makes the reference: options from the argument parsers, columns
from the data dictionaries. Links to files that are no pages become links into the repository.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from bids_refacer.cli.deface import build_parser as build_deface_parser
from bids_refacer.cli.options import build_parser
from bids_refacer.cli.release import build_parser as build_release_parser
from bids_refacer.cli.simulate import build_parser as build_simulate_parser
from bids_refacer.cli.train import build_parser as build_train_parser
from bids_refacer.cli.verify import build_parser as build_verify_parser

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/bids-refacer/bids_refacer"
ROOT_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
COMMANDS = {
    "bids_refacer BIDS_DIR OUTPUT_DIR {participant,group}": build_parser,
    "bids_refacer release": build_release_parser,
    "bids_refacer verify": build_verify_parser,
    "bids_refacer deface": build_deface_parser,
    "bids_refacer simulate": build_simulate_parser,
    "bids_refacer train": build_train_parser,
}
# what users call from Python; the rest is read in the code
MODULES = (
    "bids_refacer.refacing.attack",
    "bids_refacer.surfaces.distances",
    "bids_refacer.surfaces.skin",
    "bids_refacer.statistics.paired",
    "bids_refacer.statistics.identification",
    "bids_refacer.diffusion.samplers",
)
_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")


def main() -> None:
    """Write all pages into the folder that the command line names; what lies there is removed first."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("site", "paper", "*.md"))
    for path in [ROOT / name for name in ROOT_PAGES] + sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        (folder / path.name).write_text(site_links(text, path.parent), encoding="utf-8")
    made = {"options.md": options_page(), "columns.md": columns_page(), "python.md": python_page()}
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("conf.py", "contents.md"):
        shutil.copy(Path(__file__).with_name(name), folder)


def site_links(text: str, folder: Path) -> str:
    """The page's text with every link pointed to where its target is in the site, or else in the repository."""
    return _LINK.sub(lambda link: _target(folder, link[1]), text)


def _target(folder: Path, link: str) -> str:
    place = (folder / link).resolve()
    inside = place.relative_to(ROOT).as_posix() if place.is_relative_to(ROOT) else ""
    if inside in ROOT_PAGES:
        return inside
    if inside.startswith("docs/") and not inside.startswith("docs/paper/"):
        return inside.removeprefix("docs/")
    return f"{REPOSITORY}/blob/main/{inside}" if inside and place.exists() else link


def options_page() -> str:
    """Every option of every command, as its parser has it."""
    parts = ["# Options\n\nMade from the argument parsers. `--help` prints the same.\n"]
    for command, build in COMMANDS.items():
        parser = build()
        parts.append(f"## {command}\n\n{parser.description or ''}\n")
        parts += [_group(group) for group in parser._action_groups if group._group_actions]
    return "\n".join(parts)


def _group(group: argparse._ArgumentGroup) -> str:
    rows = [f"**{group.title}**\n", "| option | meaning |", "|---|---|"]
    shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
    return "\n".join([*rows, *map(_option, shown)]) + "\n"


def _option(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
    choices = f" {{{', '.join(map(str, action.choices))}}}" if action.choices else ""
    text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    return f"| {names}{choices} | {_cell(text)} |"


def columns_page() -> str:
    """Every column of every table, as its data dictionary has it."""
    parts = ["# Columns of the tables\n\nMade from the data dictionaries that lie beside each table.\n"]
    for path in sorted((ROOT / "bids_refacer" / "data" / "columns").glob("*.json")):
        parts.append(f"## {path.stem}.tsv\n\n| column | meaning |\n|---|---|")
        parts += [_column(name, entry) for name, entry in json.loads(path.read_text(encoding="utf-8")).items()]
        parts.append("")
    return "\n".join(parts)


def _column(name: str, entry: dict[str, Any]) -> str:
    unit = f"({entry['Units']})" if "Units" in entry else ""
    levels = "; ".join(f"`{level}`: {meaning}" for level, meaning in entry.get("Levels", {}).items())
    text = " ".join(filter(None, (entry.get("Description", ""), unit, levels)))
    return f"| `{name}` | {_cell(text)} |"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", r"\<").replace("*", r"\*").replace("_", r"\_")


def python_page() -> str:
    """Docstrings of the modules that users call from Python."""
    parts = ["# Python\n\nFunctions that can be called from Python. Arrays are RAS+, distances are in mm.\n"]
    parts += [f"## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n" for module in MODULES]
    return "\n".join(parts)


if __name__ == "__main__":
    main()
