"""An area of interest against a burnt whole."""

import pickle

import numpy as np
import pytest
import shapely
from affine import Affine

from buildmap.errors import InputError
from buildmap.raster.area import Area, bounding_box, outlines_of
from buildmap.raster.burn import burn
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN

X, Y = 400_000, 5_000_000
POLYGONS = np.array(
    [shapely.Point(X + 20, Y - 20).buffer(9.3), shapely.box(X + 40.2, Y - 30.1, X + 47, Y - 10)], object
)


def grid(transform: Affine = ORIGIN) -> Grid:
    return Grid(width=130, height=90, transform=transform, crs=None)


@pytest.mark.parametrize("transform", [ORIGIN, ORIGIN @ Affine.rotation(20)])
def test_windows_see_their_part_of_the_whole_and_skip_only_what_is_empty(transform: Affine) -> None:
    area = Area(POLYGONS, grid(transform))
    whole = burn(POLYGONS, transform=transform, height=90, width=130)
    skipped = 0
    for row in range(0, 90, 15):
        for col in range(0, 130, 13):
            window = Window(col_off=col, row_off=row, width=13, height=15)
            inside = whole[row : row + 15, col : col + 13]
            np.testing.assert_array_equal(area.outside(window), ~inside)
            assert area.touches(window) or not inside.any()
            skipped += not area.touches(window)
    assert skipped > 10


def test_an_area_travels_to_other_processes() -> None:
    area = Area(POLYGONS, grid())
    again = pickle.loads(pickle.dumps(area))
    np.testing.assert_array_equal(again.outside(grid().window), area.outside(grid().window))


def test_an_area_beside_the_raster_or_without_polygons_is_refused() -> None:
    far = shapely.transform(POLYGONS, lambda points: points + 1000)
    with pytest.raises(InputError, match=r"extents \(401010.7, .* and \(400000, 4999955, 400065, 5000000\)"):
        Area(far, grid())
    for nothing in ([], [shapely.Polygon()]):
        with pytest.raises(InputError, match="no polygon"):
            Area(np.array(nothing, object), grid())


def test_the_bounding_box_is_that_of_all_polygons() -> None:
    assert bounding_box(POLYGONS) == pytest.approx((X + 10.7, Y - 30.1, X + 47, Y - 10))


def test_windows_become_polygons_in_the_crs() -> None:
    (outline,) = outlines_of([Window(col_off=10, row_off=4, width=20, height=8)], grid())
    left, top = grid().transform @ (10, 4)
    right, bottom = grid().transform @ (30, 12)
    assert outline.equals(shapely.box(left, bottom, right, top))
