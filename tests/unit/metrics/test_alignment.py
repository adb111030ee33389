from dataclasses import replace
from math import copysign, cos, radians

import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from buildmap.metrics.alignment import align
from buildmap.metrics.summary import Alignment
from buildmap.raster.grid import Grid
from tests.scenes import ORIGIN, UTM

GRID = Grid(width=60, height=40, transform=ORIGIN, crs=rasterio.CRS.from_user_input(UTM))


def moved(*steps: Affine) -> Grid:
    transform = ORIGIN
    for step in steps:
        transform = transform @ step
    return replace(GRID, transform=transform)


def test_a_grid_lies_on_itself() -> None:
    assert align(GRID, GRID) == Alignment(same_grid=True, offset_px=(0, 0), gsd_ratio=1)


def test_a_grid_that_starts_elsewhere_on_whole_pixels_is_another_without_an_offset() -> None:
    found = align(moved(Affine.translation(-7, 12)), GRID)
    assert found == Alignment(same_grid=False, offset_px=(0, 0), gsd_ratio=pytest.approx(1, rel=1e-4))


def test_an_offset_too_small_to_tell_is_0_and_not_minus_0() -> None:
    found = align(moved(Affine.translation(-1e-8, 1e-8)), GRID)
    assert found.same_grid and found.offset_px is not None
    assert [(value, copysign(1, value)) for value in found.offset_px] == [(0, 1), (0, 1)]


@given(
    x=st.floats(-0.49, 0.49), y=st.floats(-0.49, 0.49), cols=st.integers(-90, 90), rows=st.integers(-90, 90)
)
def test_the_offset_is_what_is_left_of_a_shift_without_its_whole_pixels(
    x: float, y: float, cols: int, rows: int
) -> None:
    found = align(moved(Affine.translation(cols + x, rows + y)), GRID)
    assert found.offset_px == pytest.approx((x, y), abs=2e-6)


def test_the_offset_is_in_pixels_of_the_compared_grid_whatever_those_of_the_prediction() -> None:
    coarse = moved(Affine.translation(10.25, -4.125), Affine.scale(3, 3))
    found = align(coarse, GRID)
    assert found.offset_px == (0.25, -0.125)
    assert found.gsd_ratio == pytest.approx(3, rel=1e-4)
    assert not found.same_grid


def test_grids_turned_against_each_other_have_no_offset() -> None:
    found = align(moved(Affine.rotation(5)), GRID)
    assert found.offset_px is None
    assert found.gsd_ratio == pytest.approx(1, rel=1e-4)


def test_a_south_up_grid_is_not_turned() -> None:
    upside_down = moved(Affine.translation(0, 40.25), Affine.scale(1, -1))
    assert align(upside_down, GRID).offset_px == (0, 0.25)


def test_another_crs_has_no_offset_but_a_gsd() -> None:
    mercator = Grid(
        width=60,
        height=40,
        transform=Affine(1, 0, 1_528_000, 0, -1, 5_640_000),
        crs=rasterio.CRS.from_epsg(3857),
    )
    found = align(mercator, GRID)
    assert found.offset_px is None
    assert found.gsd_ratio == pytest.approx(cos(radians(45.1)) / 0.5, rel=0.01)  # Mercator stretches


def test_without_a_crs_there_is_an_offset_but_no_gsd() -> None:
    pixels = replace(GRID, crs=None)
    shifted = replace(pixels, transform=ORIGIN @ Affine.translation(0.5, 0.125))
    assert align(shifted, pixels) == Alignment(same_grid=False, offset_px=(0.5, 0.125), gsd_ratio=None)
