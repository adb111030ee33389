import numpy as np
import pytest
import shapely
from shapely import affinity

from buildmap.changes.buildings import Buildings, buildings_of
from buildmap.changes.moving import move_back, points_of
from buildmap.changes.shifts import Points, ShiftField, ShiftSurvey


def houses() -> list[shapely.Polygon]:
    holed = shapely.box(0, 0, 10, 12).difference(shapely.box(4, 4, 6, 6))
    return [affinity.translate(holed, 30.0 * (n % 6) + n % 4, 25.0 * (n // 6) + n % 3) for n in range(36)]


def built(shapes: list[shapely.Polygon]) -> Buildings:
    return buildings_of(np.array(shapes, np.object_), np.arange(len(shapes)), {})


@pytest.fixture
def field() -> ShiftField:
    survey = ShiftSurvey(block=1000, tolerance=5)
    before = points_of(built(houses()))
    survey.push(before, Points(before.xy + np.array([2, -1]), before.area), below=-np.inf)
    return survey.finish()


def test_points_are_the_middles_of_boxes() -> None:
    points = points_of(built(houses()))
    boxes = np.array([shape.bounds for shape in houses()])
    np.testing.assert_allclose(points.xy, (boxes[:, :2] + boxes[:, 2:]) / 2)
    np.testing.assert_allclose(points.area, [shape.area for shape in houses()])


def test_buildings_come_back_by_the_shift_with_holes_and_boxes(field: ShiftField) -> None:
    off = [affinity.translate(shape, 2, -1) for shape in houses()]
    back = move_back(built(off), field)
    for got, expected in zip(back.store.take(slice(None)), houses(), strict=True):
        assert got.symmetric_difference(expected).area < 1e-6
    np.testing.assert_allclose(back.store.bounds, [shape.bounds for shape in houses()], atol=1e-6)
    np.testing.assert_allclose(back.columns["dx"], 2, atol=1e-6)
    np.testing.assert_allclose(back.columns["dy"], -1, atol=1e-6)


def test_none_come_back_as_none(field: ShiftField) -> None:
    assert len(move_back(built(houses()).take(np.arange(0)), field)) == 0
