"""Ground sample distance in any CRS, and working grids that cover the same ground."""

import math

import pytest
from affine import Affine
from rasterio.crs import CRS

from buildmap.errors import InputError
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN


def grid(transform: Affine, crs: str | None, width: int = 200, height: int = 100) -> Grid:
    return Grid(width=width, height=height, transform=transform, crs=CRS.from_string(crs) if crs else None)


def test_utm_pixels_measure_their_units_over_the_point_scale() -> None:
    across, down = grid(Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), "EPSG:32633").pixel_size_m() or (0, 0)
    assert across == pytest.approx(0.5 / 0.9996, rel=1e-5)
    assert down == pytest.approx(0.5 / 0.9996, rel=1e-5)


def test_mercator_pixels_shrink_with_the_cosine_of_latitude() -> None:
    y = 6_378_137 * math.log(math.tan(math.pi / 4 + math.radians(60) / 2))
    across, _ = grid(Affine(1, 0, 0, 0, -1, y), "EPSG:3857").pixel_size_m() or (0, 0)
    assert across == pytest.approx(0.5, rel=5e-3)


def test_degree_pixels_are_anisotropic_away_from_the_equator() -> None:
    here = grid(Affine(1e-5, 0, 10, 0, -1e-5, 60), "EPSG:4326")
    across, down = here.pixel_size_m() or (0, 0)
    assert across / down == pytest.approx(0.5, rel=1e-2)
    assert here.is_placed and here.gsd_m() == pytest.approx(math.sqrt(across * down), rel=1e-12)


@pytest.mark.parametrize(
    ("transform", "crs"), [(Affine.identity(), "EPSG:32633"), (Affine(1, 0, 5, 0, -1, 5), None)]
)
def test_no_georeference_has_no_size_and_stays_as_it_is(transform: Affine, crs: str | None) -> None:
    here = grid(transform, crs)
    assert here.pixel_size_m() is None and here.gsd_m() is None and not here.is_placed
    assert here.at_gsd(0.1, 0.2) is here


@pytest.mark.parametrize("range_m", [(0.3, 0.6), (0.503, 0.6), (0.3, 0.497)])
def test_a_grid_in_the_range_or_just_beside_it_stays_as_it_is(range_m: tuple[float, float]) -> None:
    here = grid(Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), "EPSG:32633")
    assert here.at_gsd(*range_m) is here


def test_a_grid_off_the_range_by_more_than_a_hundredth_is_moved() -> None:
    here = grid(Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), "EPSG:32633")
    assert here.at_gsd(0.507, 0.6).width < here.width


@pytest.mark.parametrize(("low", "high", "wanted"), [(1.0, 2.0, 1.0), (0.1, 0.25, 0.25)])
def test_a_grid_outside_the_range_moves_to_its_nearer_end_over_the_same_ground(
    low: float, high: float, wanted: float
) -> None:
    here = grid(
        Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5), "EPSG:32633"
    )
    there = here.at_gsd(low, high)
    assert there.pixel_size_m() == pytest.approx((wanted, wanted), rel=0.01)
    assert there.bounds == pytest.approx(here.bounds, abs=1e-6)


def test_anisotropic_pixels_become_square() -> None:
    there = grid(Affine(1e-5, 0, 10, 0, -1e-5, 60), "EPSG:4326").at_gsd(0.1, 5)
    across, down = there.pixel_size_m() or (0, 0)
    assert across == pytest.approx(down, rel=0.02)


@pytest.mark.parametrize("crs", ["EPSG:4326", 'LOCAL_CS["site",UNIT["metre",1]]'])
def test_ground_without_a_place_on_the_earth_is_refused(crs: str) -> None:
    with pytest.raises(InputError, match="place"):
        grid(Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000), crs).pixel_size_m()


@pytest.mark.parametrize("pixel", [1e-5, 1e3])
def test_a_gsd_that_is_far_from_what_is_wanted_is_refused(pixel: float) -> None:
    there = grid(Affine(pixel, 0, 500_000, 0, -pixel, 5_000_000), "EPSG:32633")
    with pytest.raises(InputError, match=r"the GSD is .* m, 0.3 to 0.6 m are wanted"):
        there.at_gsd(0.3, 0.6)


def test_the_window_of_a_box_is_the_smallest_that_covers_it() -> None:
    grid = Grid(width=100, height=80, transform=ORIGIN, crs=None)
    assert grid.window_of((400_001.2, 4_999_990, 400_004.5, 4_999_999)) == Window(
        col_off=2, row_off=2, width=7, height=18
    )
    for window in (Window(col_off=3, row_off=70, width=97, height=10), grid.window):
        assert grid.window_of(grid.part(window).bounds) == window
    assert grid.window_of((0, 0, 1e7, 1e7)) == grid.window


def test_a_box_that_misses_or_is_none_is_refused() -> None:
    grid = Grid(width=100, height=80, transform=ORIGIN, crs=None)
    with pytest.raises(InputError, match="does not touch"):
        grid.window_of((0, 0, 400_000, 5_000_000))
    with pytest.raises(InputError, match="is empty"):
        grid.window_of((400_010, 0, 400_000, 5_000_000))


@pytest.mark.parametrize("transform", [ORIGIN, Affine(9, 2, 399_960, 3, -10, 5_300_040)])
@pytest.mark.parametrize("scale", [1, 3, 4])
def test_a_finer_grid_has_its_corners_where_the_pixels_corners_are(transform: Affine, scale: int) -> None:
    coarse = grid(transform, "EPSG:32633", 10_980, 8_000)
    finer = coarse.scaled(scale)
    assert (finer.width, finer.height, finer.crs) == (10_980 * scale, 8_000 * scale, coarse.crs)
    for corner in [(0, 0), (1, 0), (0, 1), (10_980, 8_000)]:
        there = finer.transform @ (corner[0] * scale, corner[1] * scale)
        assert there == pytest.approx(coarse.transform @ corner, abs=1e-6 * transform.a / scale)


def test_a_finer_grid_without_a_place_gets_none() -> None:
    assert grid(Affine.identity(), None).scaled(4).transform.is_identity
