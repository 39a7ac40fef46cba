"""Checks arguments that typer can't: `--engine`, `--option NAME=VALUE` for any field of `Options`, and other pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, get_args, get_type_hints

from ..errors import OptionError, suggest
from ..options import ENGINES, Options

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def check_engine(name: str) -> None:
    """Raises OptionError for an engine that doesn't exist."""
    if name not in ENGINES:
        raise OptionError(f"unknown engine {name!r}{suggest(name, ENGINES)}")


def engine_options(assignments: Sequence[str], **given: Any) -> dict[str, Any]:
    """Returns the options given by `NAME=VALUE` strings and by flags of their own, where None is a flag left out.

    Raises:
        OptionError: an unknown option, a value of the wrong type, or an option that is given twice.
    """
    options = {name: value for name, value in given.items() if value is not None}
    names = [option.name for option in dataclasses.fields(Options)]
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise OptionError(f"--option {assignment!r} has no value: write NAME=VALUE")
        if name not in names:
            raise OptionError(f"unknown option {name!r}{suggest(name, names)}")
        if name in options:
            raise OptionError(f"{name} is given twice")
        options[name] = _value(name, text)
    return options


def _value(name: str, text: str) -> Any:
    hint = get_type_hints(Options)[name]
    types = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    try:
        if bool in types:
            return _boolean(text)
        if int in types:
            return int(text)
        if float in types:
            return float(text)
    except ValueError:
        raise OptionError(f"{name} takes {_names(types)}, not {text!r}") from None
    return text


def _boolean(text: str) -> bool:
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise ValueError


def _names(types: list[Any]) -> str:
    return "true or false" if bool in types else "a whole number" if int in types else "a number"


def pairs(assignments: Sequence[str] | None, option: str) -> dict[str, str]:
    """Parses `NAME=VALUE` strings. Raises OptionError if a value is missing or a name is given twice."""
    found: dict[str, str] = {}
    for name, values in grouped(assignments, option).items():
        if len(values) > 1:
            raise OptionError(f"{option} {name} is given twice")
        found[name] = values[0]
    return found


def grouped(assignments: Sequence[str] | None, option: str) -> dict[str, list[str]]:
    """Parses `NAME=VALUE` strings to lists of values by name. Raises OptionError if a value is missing."""
    found: dict[str, list[str]] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise OptionError(f"{option} {assignment!r} has no value: write NAME=VALUE")
        found.setdefault(name, []).append(value)
    return found
