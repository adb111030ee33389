"""Bytes to try on a parser: any, and those of a good file with a few of them changed."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import strategies as st

MOST_BYTES = 96 * 2**20
"""What a parser may take for a file of some hundred bytes."""
_NASTY = (
    b"\0",
    b"\xff",
    b"NaN",
    b"-1",
    b"1e999",
    b"9" * 4400,
    b'"',
    b"[" * 1500,
    b"{",
    b"true",
    b"null",
    b"/",
)


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Give a good file that was cut, doubled, or has other bytes at some places."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.integers(0, 12))
        new = draw(st.one_of(st.binary(max_size=8), st.sampled_from(_NASTY)))
        content[place : place + length] = new
    return bytes(content[: draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])


def any_or_damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """Give any bytes, or a damaged good file."""
    return st.one_of(damaged(good), st.binary(max_size=200), st.sampled_from([b"[" * 5000, b'{"a":' * 2000]))


@contextmanager
def in_little_memory() -> Iterator[None]:
    """Fail where what is done inside takes more memory than a small file may."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES


def outcome(parse: Callable[[], object], *refusals: type[Exception]) -> str:
    """Give 'value' or the name of the refusal; anything else is raised."""
    ending, told = "value", "a value"
    with in_little_memory():
        try:
            parse()
        except refusals as refusal:
            ending, told = type(refusal).__name__, str(refusal)
    assert told.strip()
    return ending
