"""Settings as TOML: a dataclass written to a file and read from one, with a sentence for each mistake in it.

What the settings are is not known here: the fields' names are the keys, and their types say which values fit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from bids_refacer.files import unfinished

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the twin of tomllib for Python 3.10
    import tomli as tomllib

Settings = TypeVar("Settings")


class SettingsError(ValueError):
    """A setting cannot be used: one sentence that names the setting (and its file), what is wrong, what to do."""


def defined_tools(path: Path | None) -> tuple[str, ...]:
    """Names of the tools that a tools file defines; what else it says is checked where they are made.

    Raises
    ------
    SettingsError
        When the file cannot be read or is no TOML.
    """
    tools = _read_toml(path).get("tool") if path else None
    return tuple(tools) if isinstance(tools, dict) else ()


def write_settings_file(settings: Any, path: str | Path) -> None:
    """Write every setting (a dataclass) to `path`; settings that are None have no key, since TOML has no null.

    The file appears whole or not at all; its folder is made when it is missing. Paths are written as they are.
    """
    import tomli_w

    path = Path(path)
    content = {name: _plain(value) for name, value in asdict(settings).items() if value is not None}
    with unfinished(path) as temporary:
        temporary.write_bytes(tomli_w.dumps(content).encode())


def read_settings(path: str | Path, kind: type[Settings], required: tuple[str, ...]) -> Settings:
    """Settings from a file that `write_settings_file` wrote, or one by hand that has at least the `required` keys.

    Raises
    ------
    SettingsError
        As `read_settings_file` does, and when a required key is missing.
    """
    values = read_settings_file(path, kind)
    missing = [name for name in required if name not in values]
    if missing:
        raise SettingsError(f"{path} has no key '{missing[0]}', which has no default: add it.")
    return kind(**values)


def read_settings_file(path: str | Path, kind: type[Any]) -> dict[str, Any]:
    """Read the settings that a TOML file names, which may be any part of them, as arguments for the dataclass `kind`.

    Raises
    ------
    SettingsError
        When the file cannot be read, is no TOML, has an unknown key or a value that cannot be used.
    """
    path = Path(path)
    values = _typed(_read_toml(path), path, kind)
    elsewhere = {item.name: Path() for item in fields(kind) if str(item.type) == "Path"}
    try:
        kind(**{**elsewhere, **values})  # a value out of its range is this file's mistake: say so
    except SettingsError as error:
        raise SettingsError(f"In {path}, {error}") from error
    return values


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): check the path and its permissions.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not a TOML file ({error}): correct it, one 'key = value' a line.") from error


def _typed(content: Mapping[str, Any], path: Path, kind: type[Any]) -> dict[str, Any]:
    """Turn TOML values into the fields' types."""
    known = {item.name: str(item.type) for item in fields(kind)}
    values = {}
    for key, value in content.items():
        if key not in known:
            raise SettingsError(f"{path} has the unknown key '{key}': remove it, or use one of {', '.join(known)}.")
        wanted, fits, convert = _KINDS[known[key].removesuffix(" | None")]
        if not fits(value):
            raise SettingsError(f"{path} gives {value!r} for the key '{key}', which must be {wanted}: correct it.")
        values[key] = convert(value)
    return values


def _is_int(value: object) -> bool:
    # bool is a subclass of int: "seed = true" is a mistake, not a one
    return isinstance(value, int) and not isinstance(value, bool)


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(_is_int(item) or isinstance(item, float) for item in value)


# a field's type as it is written above: (how to say it, does a TOML value fit, how to convert it)
_KINDS: dict[str, tuple[str, Any, Any]] = {
    "Path": ("a path in quotes", lambda value: isinstance(value, str) and value != "", Path),
    "str": ("a text in quotes", lambda value: isinstance(value, str), str),
    "bool": ("true or false", lambda value: isinstance(value, bool), bool),
    "int": ("a whole number", _is_int, int),
    "float": ("a number", lambda value: _is_int(value) or isinstance(value, float), float),
    "tuple[str, ...]": ("a list of texts in quotes", _is_strings, tuple),
    "tuple[float, ...]": ("a list of numbers", _is_numbers, lambda value: tuple(map(float, value))),
    "tuple[Path, ...]": ("a list of paths in quotes", _is_strings, lambda value: tuple(map(Path, value))),
}


def _plain(value: Any) -> Any:
    """Write paths as texts and tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
