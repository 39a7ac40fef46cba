"""Defaults of options, from environment variables and from a TOML file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from ..errors import OptionError, suggest

MODEL = "JINA_EMBEDDINGS_MODEL"
ENGINE = "JINA_EMBEDDINGS_ENGINE"
CONFIG = "JINA_EMBEDDINGS_CONFIG"


def default_path() -> Path:
    """The path of the file if none is given: `config.toml` in the user's folder for settings."""
    from platformdirs import user_config_path

    return user_config_path("jina-embeddings") / "config.toml"


def read_settings(context: typer.Context, path: Path | None) -> None:
    """Reads defaults for the commands of a context. If `path` is None, the file at `default_path` is read if it exists.

    Keys are long names of options. At the top level they apply to every command that has the option, and in a table
    such as `[embed]` or `[code.index]` to that command. The command line and environment variables take precedence.

    Raises OptionError for a file that can't be read, and for a key that isn't an option.
    """
    path = path or (default if (default := default_path()).is_file() else None)
    if path is None:
        return
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path} can't be read: {error}") from None
    general = {name: given.pop(name) for name in list(given) if not isinstance(given[name], Mapping)}
    _check(path, general, {name for command in _leaves(context.command) for name in _options(command)})
    # Set as environment variables: `model_of` prefers the model of an index to these, but not to the option's default.
    for name, variable in (("model", MODEL), ("engine", ENGINE)):
        if name in general:
            os.environ.setdefault(variable, str(general.pop(name)))
    context.default_map = _defaults(path, context.command, general, given)


def _defaults(path: Path, group: Any, general: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    _check(path, tables, set(group.commands))
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        table = tables.get(name, {})
        if not isinstance(table, Mapping):
            raise OptionError(f"{path}: {name} is a command: write a table [{name}]")
        if hasattr(command, "commands"):
            found[name] = _defaults(path, command, general, dict(table))
            continue
        options = _options(command)
        _check(path, table, set(options))
        chosen = {**{key: value for key, value in general.items() if key in options}, **table}
        found[name] = {options[key]: value for key, value in chosen.items()}
    return found


def _check(path: Path, given: Mapping[str, Any], known: set[str]) -> None:
    for name in given:
        if name not in known:
            raise OptionError(f"{path}: unknown {name!r}{suggest(name, sorted(known))}")


def _leaves(command: Any) -> Iterator[Any]:
    for below in getattr(command, "commands", {}).values():
        yield from _leaves(below) if hasattr(below, "commands") else (below,)


def _options(command: Any) -> dict[str, str]:
    """Returns the parameter names of a command's options by their long names without dashes."""
    return {
        long.removeprefix("--"): parameter.name
        for parameter in command.params
        for long in parameter.opts
        if long.startswith("--") and long != "--help"
    }
