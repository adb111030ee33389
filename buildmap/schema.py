"""Strict reading of TOML and JSON tables into frozen dataclasses.

The dataclasses are the schema: a section is a class, a key is a field. An unknown key, a
missing key or a wrong type is an error that names the place and, where it can, the fix.
"""

import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from buildmap.errors import MismatchError

T = TypeVar("T")


def did_you_mean(word: str, choices: list[str]) -> str | None:
    """Suggest the nearest of `choices`, as a hint, or nothing."""
    guess = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean '{guess[0]}'?" if guess else None


def parse_json(text: str | bytes) -> Any:
    """Read JSON from a file that anybody may have made.

    Raises:
        ValueError: If it is not JSON, or is nested more deeply than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML from a file that anybody may have made.

    Raises:
        ValueError: If it is not TOML, or is nested more deeply than can be read.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def build(cls: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """Make a `cls` from a table; fields with a default may be absent.

    Raises:
        MismatchError: If a key is unknown, missing, of the wrong type or out of range.
    """
    declared = fields(cls)  # type: ignore[arg-type]
    names = [field.name for field in declared]
    for key in table:
        if key not in names:
            raise MismatchError(f"{where}: unknown key '{key}'", hint=did_you_mean(key, names))
    required = [f.name for f in declared if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in table]:
        raise MismatchError(f"{where}: missing {', '.join(missing)}")
    hints = get_type_hints(cls)
    values = {name: _convert(hints[name], value, f"{where}: {name}") for name, value in table.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise MismatchError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping | hint):
        return build(hint, value, where=where) if isinstance(value, Mapping) else value
    if origin is Literal:
        return _choose(arguments, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], item, where) for item in value)
    if hint is float and type(value) in {int, float} and not _is_finite(value):
        raise MismatchError(f"{where} is {value!r:.40}, not a finite number")
    if type(value) is hint or (hint is float and type(value) is int):
        return hint(value)
    raise MismatchError(f"{where} is {value!r}, not {getattr(hint, '__name__', hint)}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _choose(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if value in choices:
        return value
    raise MismatchError(
        f"{where} is '{value}', not one of {', '.join(map(str, choices))}",
        hint=did_you_mean(str(value), [str(choice) for choice in choices]),
    )


def changed(table: Any, path: str, value: Any, *, where: str) -> Any:
    """Rebuild a dataclass with the field at a dotted path, such as 'training.seed', replaced.

    Raises:
        MismatchError: If there is no such field, or the value does not fit it.
    """
    name, _, rest = path.partition(".")
    names = [field.name for field in fields(table)]
    if name not in names:
        raise MismatchError(f"{where}: unknown key '{name}'", hint=did_you_mean(name, names))
    held = getattr(table, name)
    if rest and not is_dataclass(held):
        raise MismatchError(f"{where}: '{name}' has no parts, so no '{rest}'")
    if not rest and is_dataclass(held) and not (value is None or isinstance(value, Mapping)):
        raise MismatchError(f"{where}: '{name}' is a table; name one of its keys")
    new = changed(held, rest, value, where=where) if rest else value
    return build(type(table), {field: getattr(table, field) for field in names} | {name: new}, where=where)
