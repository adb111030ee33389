"""Whole numbers as protobuf writes them: seven bits to a byte, the lowest first."""

import io

import pytest

from buildmap.inference.protobuf import read_varint


@pytest.mark.parametrize(
    ("written", "number"),
    [(b"\x00", 0), (b"\x7f", 127), (b"\x96\x01", 150), (b"\xff" * 9 + b"\x01", 2**64 - 1)],
)
def test_a_number_is_read_and_nothing_after_it(written: bytes, number: int) -> None:
    file = io.BytesIO(written + b"\x05")
    assert (read_varint(file), file.read()) == (number, b"\x05")


@pytest.mark.parametrize("written", [b"", b"\x96", b"\xff" * 11])
def test_what_ends_too_soon_or_never_is_no_number(written: bytes) -> None:
    assert read_varint(io.BytesIO(written)) is None
