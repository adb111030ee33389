"""Which trainings a search tries: values for keys of a preset, and when bad ones are stopped."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from buildmap.errors import MismatchError
from buildmap.preset import preset_paths, read_value
from buildmap.schema import build, did_you_mean, parse_toml
from buildmap.training.preset_toml import toml_value

Settings = Mapping[str, str]
"""What is changed in a preset: dotted keys, and values as in TOML."""

_EXAMPLE = "[grid] and, below it, training.learning_rate = [1e-4, 1e-3]"
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """When trials are judged, and how many of them go on: successive halving."""

    min_epochs: int = 1
    """Epochs that every trial runs before the first judgement."""
    reduction: int = 3
    """One trial in so many goes on, and is judged again after so many times the epochs."""
    seed: int = 0
    """Of the order in which trials are judged."""

    def __post_init__(self) -> None:
        if self.min_epochs < 1:
            raise ValueError(f"min_epochs {self.min_epochs} is not positive")
        if self.reduction < 2:
            raise ValueError(f"reduction {self.reduction} is below 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """All that is tried."""

    grid: Mapping[str, Sequence[str]]
    """Values for each key, as `change_preset` takes them; every combination is a trial."""
    halving: Halving | None = None
    """When trials are stopped; None lets all of them run to their end."""

    def combinations(self) -> list[Settings]:
        """List the settings of all trials; the last key's values change fastest."""
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]


def load_plan(path: Path) -> SearchPlan:
    """Read and check a search: `[grid]`, keys with lists of values, and perhaps `[halving]`.

    Raises:
        MismatchError: If the file is not TOML, a key of the search is unknown, or values are missing, not in
            a list, or twice there. Keys and values of the preset are checked by `change_preset`.
    """
    try:
        tables = parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MismatchError(f"{path} cannot be read: {error.strerror}", hint=_shipped()) from error
    except ValueError as error:
        raise MismatchError(f"{path} is not TOML: {error}", hint=f"it begins like {_EXAMPLE}") from error
    names = [field.name for field in fields(SearchPlan)]
    for name, table in tables.items():
        if name not in names:
            raise MismatchError(f"{path}: unknown key '{name}'", hint=did_you_mean(name, names) or _EXAMPLE)
        if not isinstance(table, dict):
            raise MismatchError(f"{path}: {name} is {table!r}, not a table", hint=f"[{name}]")
    halving = build(Halving, tables["halving"], where=f"{path}: halving") if "halving" in tables else None
    grid = {}
    try:
        leaves = list(_leaves(tables.get("grid", {})))
    except RecursionError as error:
        raise MismatchError(
            f"{path}: a key is nested too deeply", hint=f"it begins like {_EXAMPLE}"
        ) from error
    for key, values in leaves:
        if not isinstance(values, list):
            raise MismatchError(
                f"{path}: {key} is {toml_value(values)}, not a list of values",
                hint=f"{key} = [{toml_value(values)}]",
            )
        grid[key] = [to_text(value) for value in values]
    return plan_of(grid, halving, where=str(path))


def plan_of(grid: Mapping[str, Sequence[str]], halving: Halving | None = None, *, where: str) -> SearchPlan:
    """Make a plan of a grid.

    Args:
        grid: Values for each key, as `change_preset` takes them.
        halving: When trials are stopped.
        where: Where the grid is written, for errors.

    Raises:
        MismatchError: If there is no key, or one has no values or the same twice.
    """
    if not grid:
        raise MismatchError(f"{where}: nothing to try", hint=_EXAMPLE)
    for key, texts in grid.items():
        if not texts:
            raise MismatchError(f"{where}: {key} has no values", hint=f"leave {key} out, or list some")
        values = [_identity(text) for text in texts]
        for number, (text, value) in enumerate(zip(texts, values, strict=True)):
            if value in values[:number]:
                raise MismatchError(f"{where}: {key} has {text} twice", hint="leave one of them out")
    return SearchPlan(grid=grid, halving=halving)


def plan_paths() -> dict[str, Path]:
    """List the shipped searches by name; they lie below the shipped presets."""
    folders = {path.parent / "searches" for path in preset_paths().values()}
    return {path.stem: path for folder in sorted(folders) for path in sorted(folder.glob("*.toml"))}


def find_plan(name: str) -> SearchPlan:
    """Load a shipped search by name, or a TOML file by path.

    Raises:
        MismatchError: If neither exists, or as `load_plan`.
    """
    shipped = plan_paths()
    if name in shipped:
        return load_plan(shipped[name])
    if name.endswith(".toml"):
        return load_plan(Path(name))
    raise MismatchError(f"no search '{name}'", hint=did_you_mean(name, list(shipped)) or _shipped())


def trial_name(settings: Settings) -> str:
    """Name a trial's files by its settings: no two alike, no longer than file systems take."""
    text = ",".join(f"{key}={value}" for key, value in settings.items())
    name = re.sub(r"[^\w.,=+-]", "_", text)
    if name == text and len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def to_text(value: Any) -> str:
    """Write a value from TOML as `change_preset` takes it: strings bare, where they read the same."""
    return value if isinstance(value, str) and read_value(value) in (value, None) else toml_value(value)


def _identity(text: str) -> Any:
    """Give what is equal for equal values: 0.1 is 0.10, 1 is 1.0, and neither is true."""
    value = read_value(text)
    return (isinstance(value, bool), value)


def _leaves(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Give what a table holds under dotted keys, however it is nested."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _shipped() -> str:
    return f"shipped searches: {', '.join(plan_paths())}"
