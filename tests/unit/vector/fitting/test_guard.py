import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Point, Polygon, box

from buildmap.vector.fitting import guard
from buildmap.vector.fitting.guard import Limits, closeness, shifts

COURT = box(0, 0, 30, 20) - box(5, 5, 12, 12)
BOW_TIE = Polygon([(0, 0), (5, 5), (5, 0), (0, 5)])
LOOSE = Limits(iou_min=0.0, area_error_max=9.0, shift_max_px=1e6)


def objects(*polygons: Polygon | None) -> np.ndarray:
    array = np.empty(len(polygons), object)
    array[:] = polygons
    return array


def farthest(polygon: Polygon, target: Polygon) -> float:
    corners = shapely.points(shapely.get_coordinates(polygon))
    return float(shapely.distance(target.boundary, corners).max())


@given(st.floats(0, 360), st.floats(-9, 9), st.floats(0.5, 2))
def test_closeness_is_what_shapely_measures(turn: float, move: float, size: float) -> None:
    raw, drawn = COURT, affinity.translate(affinity.scale(affinity.rotate(COURT, turn), size), move)
    near = closeness(objects(drawn), objects(raw))
    iou = drawn.intersection(raw).area / drawn.union(raw).area
    assert near.iou[0] == pytest.approx(iou, abs=1e-9)
    assert near.area_error[0] == pytest.approx(drawn.area / raw.area - 1, abs=1e-9)
    assert near.shift_px[0] == pytest.approx(max(farthest(drawn, raw), farthest(raw, drawn)), abs=1e-6)


def test_many_corners_are_measured_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (
        objects(Point(0, 0).buffer(50, 40), COURT),
        objects(Point(3, 0).buffer(47, 40), box(0, 0, 30, 20)),
    )
    expected = [farthest(a, b) for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(shifts(one, other), expected, atol=1e-9)
    monkeypatch.setattr(guard, "_MANY_DISTANCES", 100)
    np.testing.assert_allclose(shifts(one, other), expected, atol=1e-9)


def test_a_corner_cut_off_and_a_corner_added_both_shift_an_outline() -> None:
    spiked = Polygon([(0, 0), (10, 0), (10, 10), (5, 40), (0, 10)])
    plain = Polygon([(0, 0), (10, 0), (10, 10), (0, 10)])
    assert closeness(objects(spiked, plain), objects(plain, spiked)).shift_px.tolist() == [30, 30]


def test_what_is_no_valid_polygon_is_never_near() -> None:
    drawn = objects(None, BOW_TIE, Polygon(), Point(0, 0), box(0, 0, 5, 5))
    near = closeness(drawn, objects(*[box(0, 0, 5, 5)] * 5))
    assert near.within(LOOSE).tolist() == [False, False, False, False, True]
    assert near.iou.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("limits", "near"),
    [
        (LOOSE, True),
        (Limits(iou_min=0.84, area_error_max=9, shift_max_px=9), False),
        (Limits(iou_min=0.0, area_error_max=0.19, shift_max_px=9), False),
        (Limits(iou_min=0.0, area_error_max=9, shift_max_px=1.9), False),
        (Limits(iou_min=0.75, area_error_max=0.3, shift_max_px=2.1), True),
    ],
)
def test_each_limit_may_turn_a_footprint_down(limits: Limits, near: bool) -> None:
    drawn, raw = objects(box(0, 0, 10, 12)), objects(box(0, 0, 10, 10))  # IoU 10/12, area 1.2, shift 2
    assert closeness(drawn, raw).within(limits).tolist() == [near]
    assert closeness(raw, drawn).within(Limits(iou_min=0, area_error_max=0.1, shift_max_px=9)).tolist() == [
        False
    ]


def test_no_footprints_are_near_nothing() -> None:
    assert closeness(objects(), objects()).within(LOOSE).tolist() == []
