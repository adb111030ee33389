"""The COG: what the strips hold is what is read, and damage is noticed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS

from buildmap.errors import StorageError
from buildmap.raster import writer as module
from buildmap.raster.blend import ONE, StripPart, join
from buildmap.raster.grid import Grid
from buildmap.raster.parts import DamagedPart, PartRecord, write_part
from buildmap.raster.quiet import unreferenced_is_fine
from buildmap.raster.writer import write_cog
from tests.scenes import ORIGIN, UTM

GRID = Grid(width=1300, height=1100, transform=ORIGIN, crs=CRS.from_string(UTM))
RAMP = 64


def ignore(above: object, below: object) -> None:
    """See nothing."""


def stored(folder: Path, heights: tuple[int, ...]) -> tuple[list[tuple[Path, PartRecord]], NDArray[np.uint8]]:
    """Write random strips of these heights, and say what the raster is."""
    rng = np.random.default_rng(0)
    parts, rows = [], []
    above = np.zeros((0, GRID.width), np.uint16)
    for index, height in enumerate(heights):
        top, bottom = (
            rng.integers(0, ONE // 2, (RAMP if shared else 0, GRID.width), np.uint16)
            for shared in (index > 0, index < len(heights) - 1)
        )
        inside = rng.integers(0, 256, (height, GRID.width), np.uint8)
        path = folder / f"{index:06}.tif"
        parts.append((path, write_part(path, StripPart(top=top, rows=inside, bottom=bottom))))
        rows += [join(above, top), inside]
        above = bottom
    return parts, np.concatenate(rows)


def test_strips_become_one_cog_with_overviews_and_statistics(tmp_path: Path) -> None:
    (folder := tmp_path / "strips, &c. ü").mkdir()
    parts, rows = stored(folder, (300, 0, 1100 - 300 - 2 * RAMP))
    write_cog(tmp_path / "a.tif", GRID, parts, tags={"BUILDMAP": '{"a": "<&>"}'}, on_join=ignore)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), rows)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.overviews(1) == [2, 4]
        assert (dataset.nodata, dataset.scales) == (255, (1 / 254,))
        assert dataset.descriptions == ("building probability",)
        assert dataset.tags()["BUILDMAP"] == '{"a": "<&>"}'
        assert (dataset.transform, dataset.crs) == (ORIGIN, CRS.from_string(UTM))
        told = dataset.tags(1)
    valid = rows[rows != 255]
    assert float(told["STATISTICS_MEAN"]) == pytest.approx(valid.mean())
    assert float(told["STATISTICS_STDDEV"]) == pytest.approx(valid.std())
    assert (told["STATISTICS_MINIMUM"], told["STATISTICS_MAXIMUM"]) == ("0", "254")


def test_a_raster_without_a_georeference_or_a_valid_pixel_is_written_too(tmp_path: Path) -> None:
    grid = Grid(width=40, height=30, transform=rasterio.Affine.identity(), crs=None)
    part = StripPart(
        top=np.zeros((0, 40), np.uint16),
        rows=np.full((30, 40), 255, np.uint8),
        bottom=np.zeros((0, 40), np.uint16),
    )
    record = write_part(tmp_path / "p.tif", part)
    write_cog(tmp_path / "a.tif", grid, [(tmp_path / "p.tif", record)], tags={}, on_join=ignore)
    with unreferenced_is_fine():
        dataset = rasterio.open(tmp_path / "a.tif")
    with dataset:
        assert (dataset.read(1) == 255).all()
        assert dataset.crs is None


def test_a_copy_that_does_not_read_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaging_copy(source: Path, target: Path, **options: object) -> None:
        copied(source, target, **options)
        data = bytearray(target.read_bytes())
        data[len(data) * 3 // 4] ^= 0xFF
        target.write_bytes(data)

    copied = module.copy
    monkeypatch.setattr(module, "copy", damaging_copy)
    parts, _ = stored(tmp_path, (1100,))
    with pytest.raises(StorageError) as caught:
        write_cog(tmp_path / "a.tif", GRID, parts, tags={}, on_join=ignore)
    assert not isinstance(caught.value, DamagedPart)


def test_a_damaged_strip_is_named(tmp_path: Path) -> None:
    parts, _ = stored(tmp_path, (500, 1100 - 500 - RAMP))
    path, record = parts[1]
    damaged = [parts[0], (path, replace(record, rows_crc=record.rows_crc ^ 1))]
    with pytest.raises(DamagedPart, match=r"000001\.tif is damaged"):
        write_cog(tmp_path / "a.tif", GRID, damaged, tags={}, on_join=ignore)


def test_a_file_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    parts, _ = stored(tmp_path, (1100,))
    (tmp_path / "a.tif").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*a\.tif") as failure:
        write_cog(tmp_path / "a.tif", GRID, parts, tags={}, on_join=ignore)
    assert "MB are free on" in str(failure.value.hint)
