"""The COG: what is written is what is read, and damage is noticed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS

from buildmap.errors import StorageError
from buildmap.raster import writer as module
from buildmap.raster.grid import Grid
from buildmap.raster.writer import RasterWriter, encode_probability
from tests.scenes import ORIGIN, UTM

GRID = Grid(width=1300, height=1100, transform=ORIGIN, crs=CRS.from_string(UTM))


def written(path: Path, rows: np.ndarray, portions: list[int]) -> None:
    writer = RasterWriter(path, GRID, tags={"BUILDMAP": "{}"})
    for part in np.split(rows, np.cumsum(portions)):
        writer.write(part)
    writer.finish()


def test_rows_in_any_portions_give_the_same_cog_with_overviews(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (1100, 1300)).astype(np.uint8)
    written(tmp_path / "a.tif", rows, [1, 700, 3])
    written(tmp_path / "b.tif", rows, [550])
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with rasterio.open(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), rows)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.overviews(1) == [2, 4]
        assert (dataset.nodata, dataset.scales) == (255, (1 / 254,))
        assert dataset.tags()["BUILDMAP"] == "{}"
        assert dataset.transform == ORIGIN
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "b.tif"]


def test_a_file_that_does_not_read_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaging_copy(source: Path, target: Path, **options: object) -> None:
        copied(source, target, **options)
        data = bytearray(target.read_bytes())
        data[len(data) * 3 // 4] ^= 0xFF
        target.write_bytes(data)

    copied = module.copy
    monkeypatch.setattr(module, "copy", damaging_copy)
    rows = np.random.default_rng(0).integers(0, 255, (1100, 1300)).astype(np.uint8)
    with pytest.raises(StorageError):
        written(tmp_path / "a.tif", rows, [])


def test_missing_rows_are_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows written of 1100"):
        written(tmp_path / "a.tif", np.zeros((1000, 1300), np.uint8), [])


def test_probability_becomes_254_steps_and_nan_255() -> None:
    values = np.array([[0, 1, 0.5, np.nan, 1.0000001, -1e-8]], np.float32)
    np.testing.assert_array_equal(encode_probability(values), [[0, 254, 127, 255, 254, 0]])


def test_a_file_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*rows\.tif") as failure:
        RasterWriter(tmp_path / "a.tif", replace(GRID, width=2**27, height=2**27), tags={})
    assert "MB are free there" in str(failure.value.hint)
