from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.changes.buildings import Buildings, buildings_of
from buildmap.changes.strip_files import Chunks, ChunkWriter, read_chunks
from tests.unit.changes.test_buildings import shapes

TEXTS = st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=6))


def write(path: Path, *parts: tuple[np.ndarray, Buildings]) -> Chunks:
    with path.open("wb") as file:
        writer = ChunkWriter(file)
        for strip, buildings in parts:
            writer.append(strip, buildings)
    return writer.chunks()


@given(st.integers(0, 2**32 - 1), st.lists(st.lists(TEXTS, max_size=8), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_what_is_read_back_is_what_was_written_by_strips(
    tmp_path_factory: pytest.TempPathFactory, seed: int, batches: list[list[str | None]]
) -> None:
    path, rng = tmp_path_factory.mktemp("spool") / "strips", np.random.default_rng(seed)
    parts, first = [], 0
    for texts in batches:
        name = np.empty(len(texts), object)
        name[:] = texts
        rows = first + np.arange(len(texts))
        columns = {
            "name": name,
            "flat": rng.random(len(texts)) < 0.5,
            "size": rng.normal(size=len(texts)).astype(np.float32),
            "date": rng.integers(0, 10**9, len(texts)).astype("datetime64[ms]"),
        }
        parts.append((rng.integers(-2, 3, len(texts)), buildings_of(shapes(rng, len(texts)), rows, columns)))
        first += len(texts)
    chunks = write(path, *parts)
    types = {name: values.dtype for name, values in parts[0][1].columns.items()}
    for number in range(-3, 4):
        found = read_chunks(path, chunks.of(number), types)
        expected = [some.take(np.flatnonzero(strip == number)) for strip, some in parts]
        assert found.row.tolist() == [row for some in expected for row in some.row.tolist()]
        for name, kind in types.items():
            assert found.columns[name].dtype == kind
            assert found.columns[name].tolist() == [
                v for some in expected for v in some.columns[name].tolist()
            ]
        outlines = [polygon.wkb for some in expected for polygon in some.store.take(slice(None))]
        assert [polygon.wkb for polygon in found.store.take(slice(None))] == outlines
        np.testing.assert_array_equal(
            found.store.area, np.concatenate([some.store.area for some in expected])
        )
        np.testing.assert_array_equal(
            found.store.bounds, np.concatenate([some.store.bounds for some in expected])
        )


def test_the_strips_of_a_batch_lie_behind_each_other_with_24_bytes_of_memory_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    chunks = write(
        tmp_path / "strips",
        (np.array([3, 1, 3]), buildings_of(shapes(rng, 3), np.arange(3), {})),
        (np.array([1, 2]), buildings_of(shapes(rng, 2), np.arange(3, 5), {})),
    )
    assert chunks.strip.tolist() == [3, 2, 1, 1]
    assert sum(chunks.size.tolist()) == (tmp_path / "strips").stat().st_size
    assert sorted(chunks.offset.tolist()) == [
        0,
        *np.cumsum(chunks.size[np.argsort(chunks.offset)])[:-1].tolist(),
    ]
    assert chunks.strip.nbytes + chunks.offset.nbytes + chunks.size.nbytes == 24 * 4


def test_a_file_that_was_cut_is_an_error_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "strips"
    chunks = write(
        path, (np.zeros(3, int), buildings_of(shapes(np.random.default_rng(2), 3), np.arange(3), {}))
    )
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match="ends too early"):
        read_chunks(path, chunks.of(0), {})


def test_a_full_disk_is_an_error_of_the_disk() -> None:
    buildings = buildings_of(shapes(np.random.default_rng(3), 1000), np.arange(1000), {})
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb") as file:
        ChunkWriter(file).append(np.zeros(1000, int), buildings)
