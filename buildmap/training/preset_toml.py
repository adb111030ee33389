"""A preset as the TOML it could have come from: to read, to copy, to train with again."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from buildmap.preset import Preset


def to_toml(preset: Preset) -> str:
    """Write a preset; read again, it is the same. What is absent stays absent."""
    return "\n".join(_tables("", asdict(preset)))


def _tables(path: str, table: Mapping[str, Any], heading: str = "[{}]") -> Iterator[str]:
    """Give a table's own lines below its heading, then its tables, one by one also where they are many."""
    plain = {key: value for key, value in table.items() if value is not None and not _is_nested(value)}
    lines = "".join(f"{key} = {toml_value(value)}\n" for key, value in plain.items())
    yield (f"{heading.format(path)}\n" if path else "") + lines
    for key, value in table.items():
        inner = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from _tables(inner, value)
        elif _is_nested(value):
            for one in value:
                yield from _tables(inner, one, "[[{}]]")


def _is_nested(value: Any) -> bool:
    """Tell a table, or a list of tables."""
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and len(value) > 0 and isinstance(value[0], Mapping)
    )


def toml_value(value: Any) -> str:
    """Write one value; a table stands on one line."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {toml_value(item)}' for key, item in value.items())}}}"
    return str(value).lower()
