"""Arrow streams by the C interface, against pyarrow's own reading of them."""

import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.errors import InputError
from buildmap.vector.arrow import read_arrow

KINDS = {
    pa.int8(): (st.integers(-128, 127), np.int8),
    pa.int16(): (st.integers(-(2**15), 2**15 - 1), np.int16),
    pa.int32(): (st.integers(-(2**31), 2**31 - 1), np.int32),
    pa.int64(): (st.integers(-(2**40), 2**40), np.int64),
    pa.uint8(): (st.integers(0, 255), np.uint8),
    pa.uint16(): (st.integers(0, 2**16 - 1), np.uint16),
    pa.uint32(): (st.integers(0, 2**32 - 1), np.uint32),
    pa.uint64(): (st.integers(0, 2**40), np.uint64),
    pa.float16(): (st.integers(-100, 100).map(np.float16), np.float16),
    pa.float32(): (st.floats(-100, 100, width=32), np.float32),
    pa.float64(): (st.floats(-100, 100), np.float64),
    pa.bool_(): (st.booleans(), np.bool_),
    pa.string(): (st.text(max_size=5), np.object_),
    pa.large_string(): (st.text(max_size=5), np.object_),
    pa.binary(): (st.binary(max_size=5), np.object_),
    pa.large_binary(): (st.binary(max_size=5), np.object_),
}
ROWS = st.lists(st.lists(st.integers(0, 9), max_size=20), max_size=4)


def stream(schema: pa.Schema, batches: list[pa.RecordBatch]) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(schema, batches)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(list(KINDS)), st.booleans(), st.integers(0, 11))
def test_values_are_those_that_pyarrow_reads(data: Any, kind: pa.DataType, gaps: bool, offset: int) -> None:
    values, dtype = KINDS[kind]
    some = st.one_of(st.none(), values) if gaps else values
    given_rows = data.draw(st.lists(some, min_size=1, max_size=30))
    batch = pa.record_batch({"number": pa.array(range(len(given_rows))), "value": pa.array(given_rows, kind)})
    part = batch.slice(min(offset, len(given_rows) - 1))  # whose buffers begin earlier
    (found,) = read_arrow(stream(batch.schema, [part]), "rows")
    assert found["number"].tolist() == part["number"].to_pylist()
    expected = part["value"].to_pylist()
    missing = np.array([value is None for value in expected])
    assert found["value"][~missing].tolist() == [value for value in expected if value is not None]
    if dtype is np.object_:
        assert [value is None for value in found["value"]] == missing.tolist()
    elif missing.any():
        assert np.isnan(found["value"][missing]).all()
        assert found["value"].dtype == (dtype if np.issubdtype(dtype, np.floating) else np.float64)
    else:
        assert found["value"].dtype == dtype


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_times_are_utc_and_not_a_time_where_they_are_missing(unit: str, zone: str | None) -> None:
    values = [0, 1_700_000_000, None]
    batch = pa.record_batch({"time": pa.array(values, pa.timestamp(unit, zone))})
    (found,) = read_arrow(stream(batch.schema, [batch]), "rows")
    expected = np.array([0, 1_700_000_000, "NaT"], f"datetime64[{unit}]")
    np.testing.assert_array_equal(found["time"], expected)
    assert found["time"].dtype == expected.dtype


def test_days_are_days() -> None:
    days = [datetime.date(2026, 11, 22), None]
    batch = pa.record_batch({"a": pa.array(days, pa.date32()), "b": pa.array(days, pa.date64())})
    (found,) = read_arrow(stream(batch.schema, [batch]), "rows")
    for name, unit in (("a", "D"), ("b", "ms")):
        np.testing.assert_array_equal(found[name], np.array(["2026-11-22", "NaT"], f"datetime64[{unit}]"))


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_batches_come_as_they_are_and_no_rows_are_one_batch_of_none(rows: list[list[int]]) -> None:
    schema = pa.schema(
        {"number": pa.int32(), "name": pa.string(), "when": pa.timestamp("ms"), "is": pa.bool_()}
    )
    batches = [
        pa.record_batch([some, [str(n) for n in some], some, [n > 4 for n in some]], schema=schema)
        for some in rows
    ]
    found = list(read_arrow(stream(schema, batches), "rows"))
    assert [batch["number"].tolist() for batch in found] == (rows or [[]])
    assert [batch["name"].tolist() for batch in found] == ([[str(n) for n in some] for some in rows] or [[]])
    for batch in found:
        kinds = [values.dtype for values in batch.values()]
        assert kinds == [np.int32, np.object_, np.dtype("datetime64[ms]"), np.bool_]


def test_values_are_copies_that_may_be_changed_and_outlive_the_batch() -> None:
    batch = pa.record_batch({"number": pa.array([1, 2, 3])})
    (first, second) = read_arrow(stream(batch.schema, [batch, batch]), "rows")
    first["number"][0] = 9
    assert (first["number"].tolist(), second["number"].tolist()) == ([9, 2, 3], [1, 2, 3])
    assert batch["number"].to_pylist() == [1, 2, 3]


def test_text_that_is_no_utf_8_is_read_with_a_mark_for_what_is_wrong() -> None:
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"a\xff")]
    )
    batch = pa.record_batch({"name": text})
    (found,) = read_arrow(stream(batch.schema, [batch]), "rows")
    assert found["name"].tolist() == ["a\ufffd"]


def test_texts_that_run_backwards_are_refused_before_memory_that_is_not_theirs_is_read() -> None:
    offsets = pa.py_buffer(np.array([0, 2**30, 2], np.int32))
    text = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"ab")])
    batch = pa.record_batch({"name": text})
    with pytest.raises(ValueError, match="run backwards"):
        next(read_arrow(stream(batch.schema, [batch]), "rows"))


def test_a_stream_that_breaks_off_says_why_and_what_was_read() -> None:
    schema = pa.schema({"number": pa.int32()})

    def broken() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([[1]], schema=schema)
        raise ValueError("the disk is gone")

    batches = read_arrow(pa.RecordBatchReader.from_batches(schema, broken()), "layer.gpkg")
    assert next(batches)["number"].tolist() == [1]
    with pytest.raises(InputError, match=r"layer.gpkg cannot be read to its end: .*the disk is gone"):
        next(batches)


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.decimal128(5, 2), pa.struct([("a", pa.int32())])])
def test_a_column_of_another_type_is_refused_by_name(kind: pa.DataType) -> None:
    schema = pa.schema({"number": pa.int32(), "parts": kind})
    with pytest.raises(InputError, match=r"column 'parts' of layer.gpkg cannot be read"):
        next(read_arrow(stream(schema, []), "layer.gpkg"))


def test_memory_of_batches_is_given_back() -> None:
    batch = pa.record_batch({"name": pa.array(["x" * 1000] * 1000)})
    before = pa.total_allocated_bytes()
    copies = (pa.record_batch([pa.array(["y" * 1000] * 1000)], schema=batch.schema) for _ in range(20))
    peak = max(
        pa.total_allocated_bytes() - before
        for _ in read_arrow(pa.RecordBatchReader.from_batches(batch.schema, copies), "rows")
    )
    assert peak < 5_000_000
    assert pa.total_allocated_bytes() - before < 1_000_000
