"""How large a network is, counted from its file without the library that runs it."""

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from buildmap.inference.protobuf import BYTES, FIXED, VARINT, read_varint
from buildmap.schema import parse_json

_MOST_HEADER_BYTES = 2**24
_GRAPH, _INITIALIZER = 7, 5
"""Fields of ONNX's ModelProto and GraphProto."""
_DIMS, _DATA_TYPE = 1, 2
"""Fields of ONNX's TensorProto."""
_ONNX_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 10: 2, 11: 8, 16: 2}
"""Bytes of a number of the types that weights have; integers of 64 bits are shapes and places."""
_SAFETENSORS_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """How large a network is."""

    parameters: int
    """Numbers in it, learned ones and those measured while learning."""
    weights_bytes: int
    """Memory that they take; what is computed from them takes more."""

    def __add__(self, other: "ModelSize") -> "ModelSize":
        return ModelSize(
            parameters=self.parameters + other.parameters,
            weights_bytes=self.weights_bytes + other.weights_bytes,
        )


_NOTHING = ModelSize(parameters=0, weights_bytes=0)


def measure_model(model: Path) -> ModelSize:
    """Count the numbers in an `.onnx` or `.safetensors` file; 0 as far as it is neither."""
    with model.open("rb") as file:
        tensors = _onnx(file) if model.suffix.lower() == ".onnx" else _safetensors(file)
        return sum(tensors, _NOTHING)


def _safetensors(file: BinaryIO) -> Iterator[ModelSize]:
    """Read the header: after its length in eight bytes, the file begins with a JSON object."""
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if length > _MOST_HEADER_BYTES:
        return
    try:
        header = parse_json(file.read(length))
    except ValueError:
        return
    for tensor in header.values() if isinstance(header, dict) else ():
        if not isinstance(tensor, dict):
            continue
        item_bytes, shape = _SAFETENSORS_BYTES.get(str(tensor.get("dtype"))), tensor.get("shape")
        if item_bytes and isinstance(shape, list) and all(type(side) is int for side in shape):
            yield _size(shape, item_bytes)


def _onnx(file: BinaryIO) -> Iterator[ModelSize]:
    """Walk down to the network's constants, without reading their values."""
    end = os.fstat(file.fileno()).st_size
    for graph, _, length in _fields(file, end):
        if graph != _GRAPH:
            continue
        for constant, _, size in _fields(file, file.tell() + length):
            if constant == _INITIALIZER:
                yield _tensor(file, file.tell() + size)


def _tensor(file: BinaryIO, end: int) -> ModelSize:
    dims: list[int] = []
    kind = 0
    for number, value, length in _fields(file, end):
        if number == _DIMS:
            dims += [value] if value is not None else _varints(file, file.tell() + length)
        elif number == _DATA_TYPE and value is not None:
            kind = value
    return _size(dims, _ONNX_BYTES[kind]) if kind in _ONNX_BYTES else _NOTHING


def _size(shape: list[int], item_bytes: int) -> ModelSize:
    count = math.prod(shape)
    return ModelSize(parameters=count, weights_bytes=count * item_bytes)


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int | None, int]]:
    """Walk over the fields of a protobuf message that ends at a place, as far as it is one.

    Yields:
        Number, value where it is a whole number, and length of the bytes that follow where it is not.
    """
    while file.tell() < end and (tag := read_varint(file)) is not None:
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            yield number, read_varint(file), 0
            continue
        length = read_varint(file) if kind == BYTES else FIXED.get(kind)
        if length is None or length > end - file.tell():
            return
        after = file.tell() + length
        yield number, None, length
        file.seek(after)


def _varints(file: BinaryIO, end: int) -> Iterator[int]:
    while file.tell() < end and (number := read_varint(file)) is not None:
        yield number
