"""The little of protobuf that an ONNX file is walked through with, without the library that runs it."""

from typing import BinaryIO

VARINT, BYTES = 0, 2
FIXED = {1: 8, 5: 4}
"""Bytes of the kinds of fields that have a fixed length."""


def read_varint(file: BinaryIO) -> int | None:
    """Read a number of up to ten bytes, the lowest seven bits first; None at the end."""
    number = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        number |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return number
    return None
