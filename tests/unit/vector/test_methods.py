"""Outlines fitted by the method asked for, where right angles are those on the ground."""

import numpy as np
import pytest
import shapely
from shapely import affinity

from buildmap.vector.drawn import ALONE
from buildmap.vector.fitting.regularize import Fitted
from buildmap.vector.methods import fit
from buildmap.vector.outlining import Method, Outlining
from tests.unit.vector.outlines import pixel_outlines

SQUARE = np.array([0.3, 0.3])


def turned_houses(degrees: float = 20.0) -> np.ndarray:
    """Three rectangular houses, drawn as pixel outlines."""
    houses = [shapely.box(10, 10, 50, 34), shapely.box(70, 12, 100, 60), shapely.box(15, 70, 62, 95)]
    return pixel_outlines([affinity.rotate(house, degrees) for house in houses], 110, 120)


def fitted(
    raw: np.ndarray, method: Method, *, sides: np.ndarray = SQUARE, simplify_m: float | None = None
) -> Fitted:
    settings = Outlining(method=method, simplify_m=simplify_m)
    return fit(raw, np.full(len(raw), ALONE), np.tile(sides, (len(raw), 1)), settings)


def worst_angle(polygon: shapely.Polygon) -> float:
    """Greatest difference of a corner from a right angle, in degrees."""
    walls = np.diff(np.asarray(polygon.exterior.coords), axis=0)
    turns = np.degrees(np.diff(np.unwrap(np.arctan2(walls[:, 1], walls[:, 0]), period=2 * np.pi)))
    return float(np.abs(np.abs(turns) - 90).max())


def test_raw_outlines_stay_as_they_are_and_say_so() -> None:
    raw = turned_houses()
    found = fitted(raw, "raw")
    assert found.polygons.tolist() == raw.tolist()
    assert set(found.method) == {"raw"} and (found.iou_raw == 1).all() and (found.max_shift == 0).all()


def test_turned_rectangles_get_four_right_angles_back() -> None:
    found = fitted(turned_houses(), "adaptive")
    assert set(found.method) == {"adaptive"}
    assert shapely.get_num_coordinates(found.polygons).tolist() == [5, 5, 5]
    assert max(map(worst_angle, found.polygons)) < 0.01


def test_angles_are_right_on_the_ground_where_pixels_are_not_square() -> None:
    sides = np.array([0.2, 0.3])  # a pixel is narrower than high, as in degrees far from the equator
    houses = [
        affinity.rotate(shapely.box(10, 10, 50, 34), 25),
        affinity.rotate(shapely.box(20, 50, 70, 78), 25),
    ]
    on_ground = [affinity.scale(house, 1 / sides[0], 1 / sides[1], origin=(0, 0)) for house in houses]
    raw = pixel_outlines([affinity.scale(house, 0.3, 0.3, origin=(0, 0)) for house in on_ground], 110, 130)
    found = fitted(raw, "adaptive", sides=sides)
    there = shapely.transform(found.polygons, lambda corners: corners * sides)
    assert max(map(worst_angle, there)) < 0.01
    assert max(map(worst_angle, found.polygons)) > 5  # in pixels they are not


@pytest.mark.parametrize(("simplify_m", "tolerance_px"), [(None, 1.0), (0.6, 2.0), (0.0, 0.0)])
def test_simplifying_takes_its_tolerance_in_metres_or_one_pixel(
    simplify_m: float | None, tolerance_px: float
) -> None:
    raw = turned_houses()
    found = fitted(raw, "simplify", simplify_m=simplify_m)
    expected = shapely.simplify(raw, tolerance_px)
    assert shapely.equals_exact(found.polygons, expected, 1e-9).all()


def test_who_shares_walls_goes_on_sharing_them_whatever_the_method() -> None:
    wide = [
        affinity.rotate(shapely.box(left, 20, left + 24, 60), 15, origin=(50, 40)) for left in (20, 44, 68)
    ]
    labels = pixel_outlines(wide, 100, 120, shared=True)
    for method in ("adaptive", "simplify"):
        found = fit(labels, np.zeros(3, np.int64), np.tile(SQUARE, (3, 1)), Outlining(method=method))
        assert shapely.coverage_is_valid(found.polygons), method
        assert shapely.get_num_coordinates(found.polygons).max() < 16
        walls = shapely.length(shapely.intersection(found.polygons[:-1], found.polygons[1:]))
        assert (walls > 30).all()


def test_a_group_is_fitted_the_same_with_and_without_others() -> None:
    wide = [shapely.box(left, 20, left + 24, 60) for left in (20, 44)]
    row = pixel_outlines(
        [affinity.rotate(house, 9, origin=(50, 40)) for house in wide], 100, 120, shared=True
    )
    houses = turned_houses()
    group = np.array([5, ALONE, 5, ALONE, ALONE])
    mixed = np.array([row[0], houses[0], row[1], houses[1], houses[2]], np.object_)
    for settings in (Outlining(), Outlining(method="simplify", simplify_m=0.5)):
        together = fit(mixed, group, np.tile(SQUARE, (5, 1)), settings)
        alone = fit(row, np.zeros(2, np.int64), np.tile(SQUARE, (2, 1)), settings)
        assert shapely.to_wkb(together.polygons[[0, 2]]).tolist() == shapely.to_wkb(alone.polygons).tolist()
        others = fit(houses, np.full(3, ALONE), np.tile(SQUARE, (3, 1)), settings)
        assert (
            shapely.to_wkb(together.polygons[[1, 3, 4]]).tolist() == shapely.to_wkb(others.polygons).tolist()
        )
