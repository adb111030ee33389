"""Keypoints become polygons, or the outline of the mask stays."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from buildmap.vector.keypoints.masks import mask_outlines
from buildmap.vector.keypoints.polygons import WAYS, Grouping, Way, outlines_alone, polygons_of
from tests.unit.vector.keypoints.sets import Corners, keypoints_of

SQUARE = [(0, 0), (40, 0), (40, 40), (0, 40)]
CLOCKWISE_L = [(0, 0), (0, 40), (20, 40), (20, 20), (40, 20), (40, 0)]


def outlines(*shapes: Corners) -> np.ndarray:
    return np.array([shapely.Polygon(shape) for shape in shapes], object)


@pytest.mark.parametrize("way", WAYS)
def test_good_keypoints_become_the_polygon(way: Way) -> None:
    shaken = [(1, -1), (41, 1), (39, 39), (-1, 40)]
    found = polygons_of(keypoints_of(shaken, CLOCKWISE_L), outlines(SQUARE, CLOCKWISE_L), Grouping(way=way))
    assert found.method.tolist() == [way, way]
    assert found.verdict.tolist() == ["kept", "kept"]
    assert found.polygons[0].equals(shapely.Polygon(shaken))
    assert found.polygons[1].equals(shapely.Polygon(CLOCKWISE_L))
    assert found.iou_raw[1] == 1


def test_a_courtyard_becomes_an_interior() -> None:
    court = [(10, 10), (10, 30), (30, 30), (30, 10)]
    outline = np.array([shapely.Polygon(SQUARE, [court])], object)
    found = polygons_of(keypoints_of([*court, *SQUARE]), outline, Grouping())
    assert found.polygons[0].equals(outline[0])


@pytest.mark.parametrize(
    ("corners", "outline", "verdict"),
    [
        ([], SQUARE, "few"),
        ([(0, 0), (0, 0), (40, 40)], SQUARE, "few"),
        ([(0, 0), (20, 0), (40, 0)], SQUARE, "crossing"),
        ([(0, 0), (40, 0), (0, 40)], SQUARE, "unlike"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_the_outline_stays_where_keypoints_fail_and_the_verdict_says_why(
    way: Way, corners: Corners, outline: Corners, verdict: str
) -> None:
    found = polygons_of(keypoints_of(corners), outlines(outline), Grouping(way=way, iou_min=0.51))
    assert (found.method[0], found.verdict[0], found.iou_raw[0]) == ("raw", verdict, 1)
    assert found.polygons[0].equals(shapely.Polygon(outline))


def test_an_object_without_keypoints_is_few_and_its_neighbours_keep_theirs() -> None:
    shapes, grouping = outlines(SQUARE, SQUARE, CLOCKWISE_L), Grouping(reach_px=30)
    found = polygons_of(keypoints_of(SQUARE, [], SQUARE), shapes, grouping)
    assert found.verdict.tolist() == ["kept", "few", "kept"]
    assert found.polygons[2].equals(shapely.Polygon(SQUARE))
    assert found.iou_raw.tolist() == [1, 1, 0.75]


def test_the_iou_that_is_asked_for_is_enough() -> None:
    keypoints, outline = keypoints_of(SQUARE), outlines(CLOCKWISE_L)
    assert polygons_of(keypoints, outline, Grouping(iou_min=0.75, reach_px=30)).verdict.tolist() == ["kept"]
    assert polygons_of(keypoints, outline, Grouping(iou_min=0.76, reach_px=30)).verdict.tolist() == ["unlike"]


def test_keypoints_of_a_neighbour_are_left_out_along_the_outline() -> None:
    neighbour = [(60, 0), (60, 40)]
    found = polygons_of(keypoints_of([*SQUARE, *neighbour]), outlines(SQUARE), Grouping())
    assert found.polygons[0].equals(shapely.Polygon(SQUARE))


def test_without_keypoints_the_outlines_are_the_objects() -> None:
    shapes = outlines(SQUARE, CLOCKWISE_L)
    found, same = outlines_alone(shapes), polygons_of(keypoints_of([], []), shapes, Grouping())
    assert shapely.equals(found.polygons, shapes).all()
    for name in ("method", "verdict", "iou_raw"):
        assert getattr(found, name).tolist() == getattr(same, name).tolist()


@given(st.integers(0, 2**32 - 1), st.sampled_from(WAYS), st.floats(0, 1))
def test_whatever_the_keypoints_the_polygon_is_valid_and_what_is_said_of_it_is_true(
    seed: int, way: Way, iou_min: float
) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.random((9, 9)) < 0.8 for _ in range(6)]
    raw = mask_outlines(masks, np.zeros((6, 2), np.int64))
    corners = [rng.integers(0, 10, (int(rng.integers(0, 12)), 2)) for _ in masks]
    keypoints = keypoints_of(*[[tuple(c) for c in some.tolist()] for some in corners])
    found = polygons_of(keypoints, raw, Grouping(way=way, iou_min=iou_min, merge_px=1, reach_px=2))
    assert shapely.is_valid(found.polygons).all()
    assert (shapely.get_type_id(found.polygons) == shapely.GeometryType.POLYGON).all()
    iou = shapely.area(shapely.intersection(found.polygons, raw)) / shapely.area(
        shapely.union(found.polygons, raw)
    )
    np.testing.assert_allclose(found.iou_raw, iou, atol=1e-9)
    kept = found.method == way
    assert (kept == (found.verdict == "kept")).all()
    assert set(found.verdict) <= {"kept", "few", "crossing", "unlike"}
    assert (found.iou_raw[kept] >= iou_min).all()
    assert shapely.equals(found.polygons[~kept], raw[~kept]).all()
    assert (found.method[~kept] == "raw").all()


def test_outlines_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="1 objects have 2 outlines"):
        polygons_of(keypoints_of(SQUARE), outlines(SQUARE, SQUARE), Grouping())
    with pytest.raises(ValueError, match="no outline"):
        polygons_of(keypoints_of(SQUARE), np.array([None], object), Grouping())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("way", "spiral", "not among"), ("iou_min", 1.5, "within 0..1"), ("merge_px", -1.0, "below 0")],
)
def test_settings_out_of_range_are_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grouping(**{field: value})  # type: ignore[arg-type]
