"""A preset as the TOML it could have come from: to read, to copy, to train with again."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from buildmap.preset import Preset


def to_toml(preset: Preset) -> str:
    """Write a preset; read again, it is the same. What is absent stays absent."""
    tables = asdict(preset)
    sources = tables.pop("sources")
    parts = [*_tables("", tables), *(f"[[sources]]\n{_lines(source)}" for source in sources)]
    return "\n".join(parts)


def _tables(path: str, table: Mapping[str, Any]) -> Iterator[str]:
    """Give a table's own lines below its heading, then its tables."""
    yield (f"[{path}]\n" if path else "") + _lines(table)
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _tables(f"{path}.{key}" if path else key, value)


def _lines(table: Mapping[str, Any]) -> str:
    plain = ((key, value) for key, value in table.items() if value is not None)
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in plain if not isinstance(value, Mapping))


def toml_value(value: Any) -> str:
    """Write one value; a table stands on one line."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {toml_value(item)}' for key, item in value.items())}}}"
    return str(value).lower()
