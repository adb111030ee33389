"""A DataArray reads like the file it came from, and computes no more than the window."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rasterio.crs import CRS

from buildmap.errors import InputError, ResourceError
from buildmap.raster.dataarray import ArrayReader, lay_out
from buildmap.raster.reader import RasterReader, Reader
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM, write_raster

xarray = pytest.importorskip("xarray")
rioxarray = pytest.importorskip("rioxarray")
RNG = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings("ignore:Use .@. matmul:PendingDeprecationWarning")  # rioxarray's
BBOX = (400_005, 4_999_960, 400_050, 5_000_000)


def reader_of(array: object, **options: object) -> ArrayReader:
    layout, ordered = lay_out(array, **options)
    return ArrayReader(layout, ordered[[band - 1 for band in layout.fetched]])


@pytest.mark.parametrize("kind", ["plain", "nodata", "float"])
@pytest.mark.parametrize("gsd_m", [0.5, 0.77, 0.3])
def test_a_dataarray_reads_like_its_file(tmp_path: Path, kind: str, gsd_m: float) -> None:
    pixels = RNG.integers(1, 255, (3, 90, 120), np.uint8)
    pixels[:, 20:40, 30:70] = 0
    if kind == "float":
        pixels = np.where(pixels == 0, np.nan, pixels.astype(np.float32))
    path = write_raster(tmp_path / "a.tif", pixels, nodata=0 if kind == "nodata" else None)
    options = {"gsd_range_m": (gsd_m, gsd_m), "bands": (3, 1), "bbox": BBOX}
    with rioxarray.open_rasterio(path) as array, RasterReader(path, **options) as expected:
        reader: Reader = reader_of(array, **options)
        assert reader.grid == expected.grid
        assert reader.native_grid == expected.native_grid
        window = Window(col_off=3, row_off=5, width=40, height=30)
        image, wanted = reader.read(window), expected.read(window)
        assert reader.has_data(window)
    np.testing.assert_array_equal(image.valid, wanted.valid)
    np.testing.assert_array_equal(image.pixels[:, image.valid], wanted.pixels[:, image.valid])


def dataarray(values: object) -> object:
    array = xarray.DataArray(values, dims=("y", "x"), name="roofs")
    return array.rio.write_crs(UTM).rio.write_transform(ORIGIN)


def test_only_the_chunks_under_a_window_are_computed() -> None:
    computed = []
    dask = pytest.importorskip("dask.array")

    def chunk(block_id: tuple[int, int]) -> np.ndarray:
        computed.append(block_id)
        return np.full((50, 50), 10 * block_id[0] + block_id[1], np.uint8)

    meta = np.empty((0, 0), np.uint8)
    lazy = dask.map_blocks(chunk, chunks=((50,) * 8, (50,) * 8), dtype=np.uint8, meta=meta)
    reader = reader_of(dataarray(lazy))
    computed.clear()
    with reader:
        image = reader.read(Window(col_off=120, row_off=60, width=60, height=30))
    assert sorted(computed) == [(1, 2), (1, 3)]
    assert np.unique(image.pixels).tolist() == [12, 13]
    assert reader.grid.crs == CRS.from_user_input(UTM)


def test_a_pixel_is_valid_where_any_band_has_data_also_one_that_is_not_read(tmp_path: Path) -> None:
    pixels = RNG.integers(1, 255, (4, 30, 30), np.uint8)
    pixels[:3, 5:20] = 0
    pixels[3, 10:20] = 0
    path = write_raster(tmp_path / "a.tif", pixels, nodata=0, photometric="minisblack")
    window = Window(col_off=2, row_off=3, width=20, height=25)
    with rioxarray.open_rasterio(path) as array, RasterReader(path, bands=(2, 1)) as expected:
        image, wanted = reader_of(array, bands=(2, 1)).read(window), expected.read(window)
    np.testing.assert_array_equal(image.pixels, wanted.pixels)
    np.testing.assert_array_equal(image.valid, wanted.valid)
    assert np.flatnonzero(~image.valid[:, 0]).tolist() == [*range(7, 17)]


def test_other_names_of_dimensions_are_those_rioxarray_has_been_told() -> None:
    values = RNG.integers(0, 255, (2, 8, 9), np.uint8)
    array = xarray.DataArray(values, dims=("band", "lat", "lon"))
    placed = array.rio.set_spatial_dims(x_dim="lon", y_dim="lat").rio.write_crs(UTM)
    reader = reader_of(placed.rio.write_transform(ORIGIN))
    assert (reader.grid.width, reader.grid.height, reader.grid.transform) == (9, 8, ORIGIN)
    np.testing.assert_array_equal(reader.read(reader.grid.window).pixels, values)


def test_other_dimensions_absent_bands_and_a_missing_extra_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = dataarray(np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=r"roofs has the dimensions .*not bands, y and x"):
        reader_of(flat.expand_dims(["time", "band"]))
    with pytest.raises(InputError, match="roofs has no place for rioxarray: y dimension not found"):
        reader_of(flat.rename(x="across"))
    with pytest.raises(InputError, match="roofs has 1 bands, not band 2"):
        reader_of(flat, bands=(1, 2))
    monkeypatch.setitem(sys.modules, "rioxarray", None)
    with pytest.raises(ResourceError, match="needs rioxarray") as caught:
        reader_of(flat)
    assert caught.value.hint == "pip install 'buildmap[xarray]'"
