"""A preset as the TOML it could have come from: to read, to copy, to train with again."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from buildmap.preset import Preset


def to_toml(preset: Preset) -> str:
    """Write a preset; read again, it is the same. What is absent stays absent."""
    tables = asdict(preset)
    sources = tables.pop("sources")
    plain = {key: value for key, value in tables.items() if not isinstance(value, Mapping)}
    named = {key: value for key, value in tables.items() if isinstance(value, Mapping)}
    parts = [
        _lines(plain),
        *(f"[{name}]\n{_lines(table)}" for name, table in named.items()),
        *(f"[[sources]]\n{_lines(source)}" for source in sources),
    ]
    return "\n".join(parts)


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return str(value).lower()
