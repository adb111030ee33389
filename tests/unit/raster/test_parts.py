"""Strips on disk: they come back as they were, and damage is noticed."""

from pathlib import Path

import numpy as np
import pytest

from buildmap.errors import StorageError
from buildmap.raster.blend import StripPart, join
from buildmap.raster.parts import read_part, read_rows, write_part


def some_part(rng: np.random.Generator, top: int, rows: int, bottom: int, width: int = 700) -> StripPart:
    return StripPart(
        top=rng.integers(0, 65536, (top, width), np.uint16),
        rows=rng.integers(0, 256, (rows, width), np.uint8),
        bottom=rng.integers(0, 65536, (bottom, width), np.uint16),
    )


@pytest.mark.parametrize("sizes", [(0, 600, 64), (64, 600, 0), (64, 0, 0), (0, 1, 0), (10, 3, 10)])
def test_a_part_reads_back_as_it_was_written(tmp_path: Path, sizes: tuple[int, int, int]) -> None:
    part = some_part(np.random.default_rng(0), *sizes)
    record = write_part(tmp_path / "a.tif", part)
    back = read_part(tmp_path / "a.tif", record)
    for name in ("top", "rows", "bottom"):
        np.testing.assert_array_equal(getattr(back, name), getattr(part, name))
    assert sum(record.histogram) == part.rows.size
    assert record.histogram[7] == (part.rows == 7).sum()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_rows_of_all_parts_are_joined_where_they_overlap(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    parts = [some_part(rng, 0, 50, 4), some_part(rng, 4, 30, 4), some_part(rng, 4, 0, 0)]
    paths = [tmp_path / f"{i}.tif" for i in range(3)]
    records = [write_part(path, part) for path, part in zip(paths, parts, strict=True)]
    expected = [
        parts[0].rows,
        join(parts[0].bottom, parts[1].top),
        parts[1].rows,
        join(parts[1].bottom, parts[2].top),
        parts[2].rows,
    ]
    met: list[int] = []
    got = np.concatenate(
        list(read_rows(zip(paths, records, strict=True), on_join=lambda above, _: met.append(len(above))))
    )
    np.testing.assert_array_equal(got, np.concatenate(expected))
    assert met == [4, 4]


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_part_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.tif"
    record = write_part(path, some_part(np.random.default_rng(2), 4, 300, 4))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[: len(data) // 2])
    with pytest.raises(StorageError, match="does not read back as written"):
        read_part(path, record)
