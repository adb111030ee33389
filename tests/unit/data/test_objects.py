"""The buildings of a chip against shapely: which pixels, which box, which corners."""

from itertools import product

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from buildmap.data.augment import turn
from buildmap.data.chips import pad
from buildmap.data.objects import LEAST_PX, LEAST_SIDE_PX, ChipObjects, lay_objects, objects_of
from buildmap.data.outlines import Buildings, trace_buildings

ROWS, COLS = 24, 32
CENTRES = shapely.points([(col + 0.5, row + 0.5) for row in range(ROWS) for col in range(COLS)])
EVERYWHERE = np.ones((ROWS, COLS), np.bool_)


def cut(*polygons: BaseGeometry, valid: NDArray[np.bool_] = EVERYWHERE) -> ChipObjects:
    shapes = np.array(polygons, np.object_)
    return objects_of(Buildings(polygons=shapes, corners=shapes), valid)


def points(found: NDArray[np.float32]) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for x, y in found}


def centres_inside(polygon: BaseGeometry) -> NDArray[np.bool_]:
    cols, rows = np.meshgrid(np.arange(COLS) + 0.5, np.arange(ROWS) + 0.5)
    return np.asarray(shapely.contains_xy(polygon, cols, rows))


def test_a_building_inside_has_its_pixels_its_bounds_and_its_vertices() -> None:
    found = cut(Polygon([(4.25, 5.5), (12.75, 5.5), (12.75, 9.25), (8, 9.25), (8, 12.75), (4.25, 12.75)]))
    mask = np.zeros((ROWS, COLS), np.bool_)
    mask[5:9, 4:13], mask[9:13, 4:8] = True, True
    mask[5] = False  # centres at 5.5 lie on the wall
    assert found.draw_masks().dtype == np.bool_
    assert np.array_equal(found.draw_masks()[0][6:], mask[6:])
    assert found.boxes.tolist() == [[4.25, 5.5, 12.75, 12.75]]
    assert points(found.vertices[0]) == {
        (4.25, 5.5), (12.75, 5.5), (12.75, 9.25), (8, 9.25), (8, 12.75), (4.25, 12.75)
    }  # fmt: skip
    assert len(found.vertices[0]) == 6
    assert (found.boxes.dtype, found.vertices[0].dtype) == (np.float32, np.float32)


def test_overlapping_and_touching_buildings_stay_apart() -> None:
    found = cut(box(2, 2, 10, 10), box(10, 2, 16, 10), box(6, 6, 14, 14))
    assert [int(mask.sum()) for mask in found.draw_masks()] == [64, 48, 64]
    assert (found.draw_masks()[0] & found.draw_masks()[2]).sum() == 16
    assert [len(some) for some in found.vertices] == [4, 4, 4]


def test_holes_are_holes_and_have_vertices() -> None:
    found = cut(box(2, 2, 18, 18).difference(box(6, 6, 12, 11)))
    assert found.draw_masks()[0].sum() == 16 * 16 - 6 * 5
    assert not found.draw_masks()[0][6:11, 6:12].any()
    inner = set(product((6, 12), (6, 11)))
    assert points(found.vertices[0]) == inner | set(product((2, 18), (2, 18)))


def test_where_the_border_cuts_a_wall_there_is_no_vertex() -> None:
    found = cut(Polygon([(-6, 4), (6.25, 4), (6.25, 12), (-6, 12)]), box(20, 16, 40, 40))
    assert found.boxes.tolist() == [[0, 4, 6.25, 12], [20, 16, COLS, ROWS]]
    assert points(found.vertices[0]) == {(6.25, 4), (6.25, 12)}
    assert points(found.vertices[1]) == {(20, 16)}
    assert found.draw_masks().sum(axis=(1, 2)).tolist() == [6 * 8, 12 * 8]


def test_a_slanting_building_s_box_is_that_of_what_the_chip_shows() -> None:
    found = cut(Polygon([(-20, 2), (8, 10), (8, 14), (-20, 6)]))
    shown = shapely.intersection(Polygon([(-20, 2), (8, 10), (8, 14), (-20, 6)]), box(0, 0, COLS, ROWS))
    np.testing.assert_allclose(found.boxes[0], shown.bounds, atol=0.5)


def test_one_building_of_which_two_pieces_are_shown_is_one() -> None:
    around = box(-10, 2, 10, 20).difference(box(-20, 8, 20, 14)).union(box(-10, 2, -5, 20))
    found = cut(around)
    assert len(found) == 1
    assert found.draw_masks()[0].sum() == 2 * 6 * 10
    assert found.boxes.tolist() == [[0, 2, 10, 20]]


@pytest.mark.parametrize(
    ("polygon", "kept"),
    [
        (box(4, 4, 6, 6), True),
        (box(4, 4, 5, 12), False),
        (box(4, 4, 12, 5), False),
        (box(4, 4, 5.4, 5.4), False),
        (box(4.6, 4.6, 5.4, 5.4), False),
        (box(-8, 4, 1, 12), False),
        (box(-8, 4, 2, 12), True),
        (box(40, 4, 50, 12), False),
        (Polygon([(4, 4), (6, 4), (4, 5.9)]), False),
    ],
)
def test_what_is_too_small_is_left_out(polygon: BaseGeometry, kept: bool) -> None:
    other = box(20, 10, 28, 18)
    found = cut(polygon, other)
    assert len(found) == len(found.draw_masks()) == len(found.vertices) == 1 + kept
    assert points(found.vertices[-1]) == set(product((20, 28), (10, 18)))
    assert found.boxes[-1].tolist() == [20, 10, 28, 18]


def test_on_ground_that_is_not_known_there_is_nothing() -> None:
    valid = EVERYWHERE.copy()
    valid[:, 8:] = False
    found = cut(box(2, 2, 12, 12), box(14, 2, 20, 12), box(4, 14, 8, 20), valid=valid)
    assert found.draw_masks().sum(axis=(1, 2)).tolist() == [6 * 10, 4 * 6]
    np.testing.assert_array_equal(found.boxes, [[2, 2, 8.5, 12], [4, 14, 8, 20]])
    assert points(found.vertices[0]) == {(2, 2), (2, 12)}
    assert points(found.vertices[1]) == {(4, 14), (4, 20)}, "its other walls are where nothing is known"


def test_a_chip_without_buildings_has_none_of_the_right_shapes() -> None:
    for found in (cut(), cut(box(100, 100, 110, 110)), cut(box(2, 2, 9, 9), valid=~EVERYWHERE)):
        assert (found.boxes.shape, found.draw_masks().shape, found.vertices) == ((0, 4), (0, ROWS, COLS), ())
        assert len(found) == 0
        laid = lay_objects(found, 40, mirror=True, quarters=1)
        assert (laid.boxes.shape, laid.draw_masks().shape, laid.vertices) == ((0, 4), (0, 40, 40), ())


def test_the_pieces_of_a_mask_have_no_vertex_on_the_border_nor_where_nothing_is_known() -> None:
    mask = np.zeros((ROWS, COLS), np.bool_)
    mask[4:12, :9] = True
    mask[14:20, 12:22] = True
    valid = EVERYWHERE.copy()
    valid[:, 18:] = False
    found = objects_of(trace_buildings(mask), valid)
    assert np.array_equal(found.draw_masks().any(axis=0), mask & valid)
    assert sorted(len(some) for some in found.vertices) == [2, 2]
    assert {point for some in found.vertices for point in points(some)} == {
        (9, 4), (9, 12), (12, 14), (12, 20)
    }  # fmt: skip


@st.composite
def quads(draw: st.DrawFn) -> BaseGeometry:
    coordinate = st.floats(-12, 44, allow_nan=False).map(lambda value: round(value, 3))
    shape = shapely.MultiPoint([(draw(coordinate), draw(coordinate)) for _ in range(5)]).convex_hull
    return shape if shape.geom_type == "Polygon" else box(*shape.bounds).buffer(1)


@settings(max_examples=50, deadline=None)
@given(st.lists(quads(), min_size=1, max_size=3))
def test_masks_boxes_and_vertices_are_those_of_the_polygons(polygons: list[BaseGeometry]) -> None:
    found = cut(*polygons)
    image = box(0, 0, COLS, ROWS)
    large = []
    for polygon in polygons:
        assume(shapely.distance(CENTRES, polygon.boundary).min() > 1e-3)
        mask = centres_inside(polygon)
        sides = mask.any(axis=0).sum(), mask.any(axis=1).sum()
        if mask.sum() >= LEAST_PX and min(sides) >= LEAST_SIDE_PX:
            large.append((polygon, mask))
    assert len(found) == len(large)
    for place, (polygon, mask) in enumerate(large):
        assert np.array_equal(found.draw_masks()[place], mask)
        shown = np.array(shapely.intersection(polygon, image).bounds)
        rows, cols = np.nonzero(mask)
        around = np.array([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1])
        assert np.abs(found.boxes[place] - around).max() < 0.501
        if image.contains(polygon) and np.abs(shown - around).max() < 0.499:
            np.testing.assert_allclose(found.boxes[place], shown, atol=1e-3)
        inside = {
            (np.float32(x), np.float32(y))
            for x, y in shapely.get_coordinates(polygon)
            if 0 < x < COLS and 0 < y < ROWS
        }
        assert {(x, y) for x, y in found.vertices[place]} == inside


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_objects_turn_as_the_image_does(mirror: bool, quarters: int) -> None:
    found = cut(box(3, 5, 11, 9), Polygon([(14.5, 2.5), (25.5, 6.5), (17.5, 19.5)]), box(20, 16, 40, 40))
    laid = lay_objects(found, 36, mirror=mirror, quarters=quarters)
    for place in range(3):
        image = turn(pad(found.draw_masks()[place], 36), mirror=mirror, quarters=quarters)
        assert np.array_equal(laid.draw_masks()[place], image)
        rows, cols = np.nonzero(image)
        around = np.array([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1])
        assert np.abs(laid.boxes[place] - around).max() <= 0.5
    assert laid.boxes[0].tolist() == around_ones(laid.draw_masks()[0])
    # a vertex in a pixel's centre stays in that pixel's centre
    marked = np.zeros((ROWS, COLS), np.int64)
    for number, (x, y) in enumerate(found.vertices[1], 1):
        marked[int(y), int(x)] = number
    moved = turn(pad(marked, 36), mirror=mirror, quarters=quarters)
    for number, (x, y) in enumerate(laid.vertices[1], 1):
        row, col = np.argwhere(moved == number)[0]
        assert (x, y) == (col + 0.5, row + 0.5)


def around_ones(mask: NDArray[np.bool_]) -> list[float]:
    rows, cols = np.nonzero(mask)
    return [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
