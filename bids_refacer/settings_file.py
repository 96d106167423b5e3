"""Settings as TOML: a dataclass written to a file and read from one, with a sentence for each mistake in it.

The fields' names are the keys of the file, and msgspec checks the values against the fields' types.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from bids_refacer.files import unfinished

Settings = TypeVar("Settings")
_IN_WORDS = {
    Path: "a path in quotes",
    str: "a text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple[str, ...]: "a list of texts in quotes",
    tuple[float, ...]: "a list of numbers",
    tuple[Path, ...]: "a list of paths in quotes",
}


class SettingsError(ValueError):
    """A setting cannot be used: one sentence that names the setting (and its file), what is wrong, what to do."""


def defined_tools(path: Path | None) -> tuple[str, ...]:
    """Names of the tools that a tools file defines; the rest of the file is checked where the tools are made.

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
    content = msgspec.to_builtins(settings, enc_hook=str)
    with unfinished(Path(path)) as temporary:
        temporary.write_bytes(msgspec.toml.encode({key: value for key, value in content.items() if value is not None}))


def read_settings(path: str | Path, kind: type[Settings]) -> Settings:
    """Settings from a file that `write_settings_file` wrote, or one by hand that has what has no default.

    Raises
    ------
    SettingsError
        As `read_settings_file` does, and when a key is missing that has no default.
    """
    values = read_settings_file(path, kind)
    missing = [name for name in _without_default(kind) if name not in values]
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
    types = get_type_hints(kind)
    values = {}
    for key, value in _read_toml(path).items():
        if key not in types:
            raise SettingsError(f"{path} has the unknown key '{key}': remove it, or use one of {', '.join(types)}.")
        try:
            values[key] = msgspec.convert(value, types[key], dec_hook=_path)
        except msgspec.ValidationError as error:
            wanted = next(words for plain, words in _IN_WORDS.items() if types[key] in (plain, plain | None))
            raise SettingsError(
                f"{path} gives {value!r} for the key '{key}', which must be {wanted}: correct it."
            ) from error
    folders = dict.fromkeys(_without_default(kind), Path())  # the command line may name these
    try:
        kind(**{**folders, **values})  # a value out of its range is this file's mistake: say so
    except SettingsError as error:
        raise SettingsError(f"In {path}, {error}") from error
    return values


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = msgspec.toml.decode(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): check the path and its permissions.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not a TOML file ({error}): correct it, one 'key = value' a line.") from error
    return content


def _path(kind: type, value: Any) -> Path:
    """Make a path, which msgspec has no type for."""
    if kind is not Path or not isinstance(value, str) or value == "":
        raise TypeError
    return Path(value)


def _without_default(kind: type[Any]) -> list[str]:
    return [item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING]
