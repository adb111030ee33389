"""The card of a model file, read without the library that runs it: what tells which of them is needed."""

import struct
from collections.abc import Iterator
from io import SEEK_CUR, BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from buildmap.contract import METADATA_KEY, ModelCard, card_from_json
from buildmap.inference.protobuf import BYTES, FIXED, VARINT, read_varint
from buildmap.schema import parse_json

_MOST_BYTES = 2**24
"""A card, or a header, that is longer is none."""
_MOST_FILE_BYTES = 2**40
_ONNX_METADATA = 14
"""Field of ONNX's ModelProto: pairs of key and value, each a message of its own."""
_KEY, _VALUE = 1, 2


def read_card(model: Path) -> ModelCard | None:
    """Read the card of an `.onnx` or `.safetensors` file; None where there is none, for whatever reason.

    Raises:
        InputError: If the card is none.
        MismatchError: If the card does not fit this version's fields.
    """
    with model.open("rb") as file:
        text = _from_onnx(file) if model.suffix.lower() == ".onnx" else _from_safetensors(file)
    return None if text is None else card_from_json(text, where=str(model))


def _from_safetensors(file: BinaryIO) -> str | None:
    """Read the metadata: after its length in eight bytes, the file begins with a JSON object."""
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if length > _MOST_BYTES:
        return None
    try:
        header = parse_json(file.read(length))
    except ValueError:  # no JSON, or no text
        return None
    metadata: Any = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    return text if isinstance(text, str) else None


def _from_onnx(file: BinaryIO) -> str | None:
    """Read the metadata from the outermost message, without looking into the network."""
    for _, pair in _fields(file, {_ONNX_METADATA}):
        parts = dict(_fields(BytesIO(pair), {_KEY, _VALUE}))
        if parts.get(_KEY) == METADATA_KEY.encode():
            return parts.get(_VALUE, b"").decode(errors="replace")
    return None


def _fields(file: BinaryIO, wanted: set[int]) -> Iterator[tuple[int, bytes]]:
    """Give number and content of some fields, as far as the file is a protobuf message."""
    while (tag := read_varint(file)) is not None:
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            read_varint(file)
        elif kind in FIXED:
            file.seek(FIXED[kind], SEEK_CUR)
        elif kind == BYTES and (length := read_varint(file)) is not None and length < _MOST_FILE_BYTES:
            if number in wanted and length <= _MOST_BYTES:
                yield number, file.read(length)
            else:
                file.seek(length, SEEK_CUR)
        else:
            return
