from pathlib import Path

import numpy as np
import pytest

from buildmap.data.rescale import RescaledReader
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.scenes import write_raster

WHOLE = Window(col_off=0, row_off=0, width=5, height=1)


def _read(path: Path, dtype: str, value_range: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    reader = RescaledReader(RasterReader(path), value_range=value_range, dtype=np.dtype(dtype))
    image = reader.read(WHOLE)
    reader.close()
    assert image.pixels.dtype == dtype
    return image.pixels[0, 0], image.valid[0]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("uint8", [0, 0, 127.5, 255, 255]),
        ("uint16", [0, 0, 32767.5, 65535, 65535]),
        ("int16", [0, 0, 16383.5, 32767, 32767]),
        ("float32", [0, 0, 0.5, 1, 1]),
    ],
)
def test_a_range_becomes_all_that_the_model_scales_to_0_to_1(
    tmp_path: Path, dtype: str, expected: list[float]
) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[0, 100, 1100, 2100, 60000]], np.uint16))
    got, valid = _read(path, dtype, (100, 2100))
    assert got == pytest.approx(np.array(expected), abs=0 if dtype == "float32" else 0.51)
    assert valid.all()


def test_negative_and_fractional_ranges_are_used(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[-25, -20.5, -10.25, 0, 3]], np.float32))
    got, _ = _read(path, "uint8", (-20.5, 0))
    assert got.tolist() == [0, 0, 128, 255, 255]


def test_what_is_not_valid_stays_so_and_has_no_value(tmp_path: Path) -> None:
    numbers = np.array([[np.nan, np.inf, 5, -9999, 10]], np.float32)
    path = write_raster(tmp_path / "a.tif", numbers, nodata=-9999)
    got, valid = _read(path, "uint8", (0, 10))
    assert valid.tolist() == [False, False, True, False, True]
    assert got.tolist() == [0, 0, 128, 0, 255]


def test_it_describes_itself_as_the_raster_does_but_for_the_type(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.ones((3, 8, 9), np.uint16), nodata=0)
    source = RasterReader(path, bands=(3, 3, 1))
    reader = RescaledReader(source, value_range=(0, 2), dtype=np.dtype("uint8"))
    assert (reader.grid, reader.bands, reader.all_valid) == (source.grid, (3, 3, 1), False)
    assert reader.read(Window(col_off=0, row_off=0, width=8, height=6), out_shape=(3, 4)).pixels.shape == (
        3,
        3,
        4,
    )
    reader.close()
