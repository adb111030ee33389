"""Arrow streams as NumPy arrays, a batch at a time, by the C interface alone.

GDAL hands features over in this form at full speed; pyarrow, which would read it, is 40 MB that a small host
can do without. Structures and letters of formats: https://arrow.apache.org/docs/format/CDataInterface.html
"""

import ctypes
from collections.abc import Generator
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from buildmap.errors import InputError

_SIZES = (1, 2, 4, 8)
_NUMBERS = {letter: f"i{size}" for letter, size in zip("csil", _SIZES, strict=True)}
_NUMBERS |= {letter: f"u{size}" for letter, size in zip("CSIL", _SIZES, strict=True)}
_NUMBERS |= {letter: f"f{size}" for letter, size in zip("efg", _SIZES[1:], strict=True)}
_TIMES = {
    "tdD": ("i4", "D"),
    "tdm": ("i8", "ms"),
    "tss": ("i8", "s"),
    "tsm": ("i8", "ms"),
    "tsu": ("i8", "us"),
    "tsn": ("i8", "ns"),
}
"""Type and unit; a colon and a time zone may follow."""
_TEXTS = {"z": ("i4", False), "Z": ("i8", False), "u": ("i4", True), "U": ("i8", True)}
"""Type of the offsets, and whether the bytes are text."""
_BOOL = "b"
_VALIDITY, _VALUES, _BYTES = 0, 1, 2
"""Places of the buffers of a column: bits, values or offsets, and what the offsets count."""


Columns = dict[str, NDArray[Any]]
"""Values of rows by column."""


class ArrowStreamable(Protocol):
    """What has the Arrow stream of its rows, such as what GDAL and pyarrow give."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give a capsule with the stream."""
        ...


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


def _method(structure: type[ctypes.Structure], *others: Any, gives: Any = None) -> Any:
    """Give the type of a function of a structure; it runs without the interpreter's lock."""
    return ctypes.CFUNCTYPE(gives, ctypes.POINTER(structure), *others)


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.c_void_p),
    ("release", _method(_Schema)),
    ("private_data", ctypes.c_void_p),
]
_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", _method(_Array)),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    ("get_schema", _method(_Stream, ctypes.POINTER(_Schema), gives=ctypes.c_int)),
    ("get_next", _method(_Stream, ctypes.POINTER(_Array), gives=ctypes.c_int)),
    ("get_last_error", _method(_Stream, gives=ctypes.c_char_p)),
    ("release", _method(_Stream)),
    ("private_data", ctypes.c_void_p),
]


def read_arrow(rows: ArrowStreamable, source: str) -> Generator[Columns]:
    """Read a stream of rows, column by column.

    Args:
        rows: Flat: numbers, times, texts and bytes.
        source: What is read, to be named in errors.

    Yields:
        (n,) of each column; one batch of none where there are no rows. Whole numbers and booleans become
        floats, with NaN, in a batch where some are missing; texts and bytes are objects, None where missing;
        times are `datetime64`, in UTC where they have a time zone.

    Raises:
        InputError: If the stream breaks off, or has a column of another type.
    """
    capsule = rows.__arrow_c_stream__()  # which owns the stream, and has to outlive it
    stream = _stream_in(capsule)
    formats = _formats(stream, source)
    yielded = False
    while True:
        batch = _Array()
        _check(stream, stream.get_next(ctypes.byref(stream), ctypes.byref(batch)), source)
        if not batch.release:
            break
        try:
            columns = [batch.children[number].contents for number in range(len(formats))]
            values = {
                name: _values(column, form, batch.offset, batch.length)
                for (name, form), column in zip(formats, columns, strict=True)
            }
        finally:
            batch.release(ctypes.byref(batch))
        yielded = True
        yield values
    if not yielded:
        yield {name: np.empty(0, _dtype(form)) for name, form in formats}


def _formats(stream: Any, source: str) -> list[tuple[str, str]]:
    """Give name and format of each column."""
    schema = _Schema()
    _check(stream, stream.get_schema(ctypes.byref(stream), ctypes.byref(schema)), source)
    try:
        columns = [schema.children[number].contents for number in range(schema.n_children)]
        formats = [(column.name.decode(), column.format.decode()) for column in columns]
    finally:
        schema.release(ctypes.byref(schema))
    for name, form in formats:
        if form != _BOOL and _kind(form) not in _NUMBERS | _TIMES | _TEXTS:
            raise InputError(f"column '{name}' of {source} cannot be read: its type in Arrow is '{form}'")
    return formats


def _kind(form: str) -> str:
    """Give the format without what follows a colon."""
    return form.partition(":")[0]


def _dtype(form: str) -> np.dtype[Any]:
    """Give the type of a column in which nothing is missing."""
    if form in _TEXTS:
        return np.dtype(np.object_)
    if _kind(form) in _TIMES:
        return np.dtype(f"datetime64[{_TIMES[_kind(form)][1]}]")
    return np.dtype(np.bool_ if form == _BOOL else _NUMBERS[form])


def _stream_in(capsule: object) -> Any:
    pointer_in = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_in.restype, pointer_in.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return _Stream.from_address(pointer_in(capsule, b"arrow_array_stream") or 0)


def _check(stream: Any, code: int, source: str) -> None:
    if code:
        reason = (stream.get_last_error(ctypes.byref(stream)) or b"no reason is given").decode(
            errors="replace"
        )
        raise InputError(f"{source} cannot be read to its end: {reason}")


def _values(column: Any, form: str, offset: int, length: int) -> NDArray[Any]:
    """Copy the values of a column out of its buffers, (length,)."""
    if not length:
        return np.empty(0, _dtype(form))
    start = offset + column.offset
    missing = ~_bits(column, _VALIDITY, start, length) if column.buffers[_VALIDITY] else None
    if form in _TEXTS:
        return _texts(column, form, range(start, start + length), missing)
    if form == _BOOL:
        values = _bits(column, _VALUES, start, length)
    elif _kind(form) in _TIMES:
        stored = _buffer(column, _VALUES, _TIMES[_kind(form)][0], start, length)
        values = stored.astype(_dtype(form))
    else:
        values = _buffer(column, _VALUES, _NUMBERS[form], start, length)
    if missing is None or not missing.any():
        return values
    if values.dtype.kind in "biu":
        values = values.astype(np.float64)
    values[missing] = "NaT" if values.dtype.kind == "M" else np.nan
    return values


def _texts(column: Any, form: str, part: range, missing: NDArray[np.bool_] | None) -> NDArray[Any]:
    kind, is_text = _TEXTS[form]
    offsets = _buffer(column, _VALUES, kind, part.start, len(part) + 1)
    if (np.diff(offsets) < 0).any():
        raise ValueError("the offsets of texts run backwards")
    whole = _buffer(column, _BYTES, "u1", int(offsets[0]), int(offsets[-1] - offsets[0])).tobytes()
    ends = (offsets - offsets[0]).tolist()
    pieces = [whole[start:stop] for start, stop in pairwise(ends)]
    values = np.empty(len(part), np.object_)
    values[:] = [piece.decode(errors="replace") for piece in pieces] if is_text else pieces
    if missing is not None:
        values[missing] = None
    return values


def _bits(column: Any, place: int, start: int, length: int) -> NDArray[np.bool_]:
    some = _buffer(column, place, "u1", start // 8, (start + length + 7) // 8 - start // 8)
    return np.unpackbits(some, bitorder="little")[start % 8 : start % 8 + length].astype(np.bool_)


def _buffer(column: Any, place: int, kind: str, start: int, length: int) -> NDArray[Any]:
    """Copy some values out of a buffer; they may be written to."""
    if not length:
        return np.empty(0, kind)
    size = np.dtype(kind).itemsize
    return np.frombuffer(
        bytearray(ctypes.string_at(column.buffers[place] + start * size, length * size)), kind
    )
