"""The overlay picture."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from buildmap.raster.picture import draw_outlines
from tests.scenes import ORIGIN, write_raster

RED = (255, 0, 0)


def drawn(tmp_path: Path, pixels: np.ndarray, *, longest_px: int = 1600) -> np.ndarray:
    box = shapely.transform(shapely.box(10, 5, 30, 25), lambda xy: np.column_stack(ORIGIN @ tuple(xy.T)))
    raster = write_raster(tmp_path / "a.tif", pixels)
    draw_outlines(raster, [(np.array([box]), RED)], tmp_path / "a.png", longest_px=longest_px)
    return np.asarray(Image.open(tmp_path / "a.png"))


def test_an_outline_lies_on_its_pixels_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (3, 40, 60), np.uint8)
    picture = drawn(tmp_path, pixels)
    assert (picture[15, 10] == RED).all()
    assert (picture[5, 20] == RED).all()
    np.testing.assert_array_equal(picture[10:20, 15:25], np.moveaxis(pixels, 0, -1)[10:20, 15:25])


def test_a_long_raster_is_shown_smaller_with_its_outlines_in_place(tmp_path: Path) -> None:
    picture = drawn(tmp_path, np.zeros((3, 40, 60), np.uint8), longest_px=30)
    assert picture.shape == (20, 30, 3)
    assert (picture[7, 5] == RED).all()


@pytest.mark.parametrize(("dtype", "low"), [("uint16", 100), ("float32", 100), ("int16", -30_000)])
def test_other_types_are_stretched_to_what_a_screen_shows(tmp_path: Path, dtype: str, low: int) -> None:
    pixels = np.linspace(low, 30_000, 40 * 60).reshape(1, 40, 60).astype(dtype)
    picture = drawn(tmp_path, pixels)
    assert (picture[0, 0] == 0).all()
    assert (picture[-1, -1] == 255).all()
