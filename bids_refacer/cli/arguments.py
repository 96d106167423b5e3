"""What every parser of the app does alike: no abbreviations, short usage on errors, and "did you mean"."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

_GB = {"K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}
_MOST_BARE_GB = 1000  # fMRIPrep and MRIQC read bare numbers as MB; nobody asks for so many GB


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviation: ``--mem 16000`` must not be taken for ``--mem-gb 16000``."""

    def __init__(self, **about: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": ShortOptions, **about})

    def parse_args(  # type: ignore[override]  # of argparse's overloads, the one that is used
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As argparse does, but with a suggestion for each option that is not known."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            known = [option for action in self._actions for option in action.option_strings]
            said = [f"{word}{_suggestion(word.partition('=')[0], known)}" for word in rest if word.startswith("-")]
            self.error(f"unrecognized arguments: {', '.join(said or rest)}")
        return found

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, how the command is called, and where all options are; ends with code 2."""
        usage = self.format_usage().strip()
        self.exit(2, f"{usage}\nsee {self.prog} --help for all options\n{self.prog}: error: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += _suggestion(str(value), [str(choice) for choice in action.choices or ()])
            raise


def add_directory(group: argparse._ArgumentGroup, *names_and_help: str) -> None:
    """An option that takes a folder; the last text is its help."""
    *names, words = names_and_help
    group.add_argument(*names, type=Path, metavar="DIR", help=words)


class ShortOptions(argparse.HelpFormatter):
    """Help that names the value once: ``-w, --work-dir DIR``."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def _suggestion(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


class Memory(argparse.Action):
    """``--mem``: a number with a unit, as fMRIPrep and MRIQC take it; a bare one is explained in a sentence."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Set ``mem_gb``."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", str(values).upper())
        if match is None:
            parser.error(f"argument {option_string}: '{values}' is no memory: write 16G or 16000M.")
        number, unit = float(match[1]), match[2]
        if not unit:
            unit = "M" if option_string != "--mem" or number > _MOST_BARE_GB else "G"
            if option_string == "--mem":
                print(
                    f"--mem {values} is taken as {number:g} {unit}B; with a unit (16G, 16000M) it is plain.",
                    file=sys.stderr,
                )
        namespace.mem_gb = number * _GB[unit]


class Needless(argparse.Action):
    """An option of other apps that changes nothing here, and says so."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Say that nothing is sent anywhere."""
        print(f"{option_string} is not needed: bids_refacer sends nothing anywhere.", file=sys.stderr)


class ListTools(argparse.Action):
    """Print the list of tools and end the program, as ``--version`` does: no dataset has to be named."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *rest: object) -> None:
        from bids_refacer.cli.tool_list import tool_list

        try:
            print(tool_list(getattr(namespace, "tools_file", None)))
        except ValueError as error:
            parser.error(str(error))
        parser.exit()


def add_flag(group: argparse._ArgumentGroup, option: str, text: str) -> None:
    """Add an on/off option."""
    # each flag has a twin that begins with "--no-", by which the command line undoes the configuration file's flag
    group.add_argument(option, action=argparse.BooleanOptionalAction, help=text)
