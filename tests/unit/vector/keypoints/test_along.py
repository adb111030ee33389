"""The order of keypoints along the outline of a mask."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from buildmap.vector.keypoints.along import order_along
from buildmap.vector.ragged import to_ragged
from tests.unit.vector.keypoints.sets import Corners, keypoints_of, rings_of, turned

U_SHAPE = [(0, 0), (30, 0), (30, 40), (18, 40), (18, 8), (15, 8), (15, 40), (0, 40)]
COURT = [(10, 10), (10, 30), (30, 30), (30, 10)]
SQUARE = [(0, 0), (40, 0), (40, 40), (0, 40)]


def along(
    outline: shapely.Polygon,
    corners: Corners,
    *,
    score: list[float] | None = None,
    merge_px: float = 0.0,
    reach_px: float = 5.0,
) -> list[list[tuple[float, float]]]:
    keypoints = keypoints_of(corners, score=score)
    flat = to_ragged(np.array([outline], object))
    return rings_of(keypoints, order_along(keypoints, flat, merge_px=merge_px, reach_px=reach_px))[0]


def shape(rng: np.random.Generator) -> shapely.Polygon:
    """Draw a star with deep notches and a court."""
    corners = int(rng.integers(5, 14))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radii = rng.uniform(8, 30, corners)
    star = shapely.Polygon(40 + radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)]))
    return star.difference(shapely.box(37, 37, 42, 41))


@given(st.integers(0, 2**32 - 1))
def test_every_ring_has_its_keypoints_in_the_order_in_which_shapely_projects_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outline = shape(rng)
    corners = rng.uniform(5, 75, (int(rng.integers(0, 40)), 2))
    rings, expected = [outline.exterior, *outline.interiors], []
    # what goes to a corner of the outline shares its place with others
    at_corner = shapely.distance(
        shapely.multipoints(shapely.get_coordinates(outline)), shapely.points(corners)
    )
    corners = corners[at_corner > shapely.distance(outline.boundary, shapely.points(corners)) + 1e-6]
    points = shapely.points(corners)
    distance = np.array([shapely.distance(ring, points) for ring in rings])
    for number, ring in enumerate(rings):
        mine = (distance.argmin(0) == number) & (distance.min(0) <= 5)
        order = np.argsort(shapely.line_locate_point(ring, points[mine]), kind="stable")
        expected.append([tuple(corner) for corner in corners[mine][order].tolist()])
    keeps = len(expected[0]) >= 3
    found = along(outline, [tuple(corner) for corner in corners.tolist()])
    assert found == [ring for ring in expected if keeps and len(ring) >= 3]


@pytest.mark.parametrize("seed", range(5))
def test_a_concave_roof_with_wings_near_each_other_comes_back_from_shaken_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shaken = np.array(U_SHAPE, float) + rng.uniform(-1, 1, (8, 2))
    mixed = rng.permutation(shaken)
    found = along(shapely.Polygon(U_SHAPE), [tuple(corner) for corner in mixed.tolist()])
    assert [turned(ring) for ring in found] == [turned([tuple(corner) for corner in shaken.tolist()])]


def test_a_courtyard_gets_the_keypoints_that_are_nearest_to_it() -> None:
    outline = shapely.Polygon(SQUARE, [COURT])
    found = along(outline, [*COURT[::-1], *SQUARE[::2], *SQUARE[1::2]])
    assert [turned(ring) for ring in found] == [turned(SQUARE), turned(COURT)]


def test_a_courtyard_with_two_keypoints_is_left_out_and_an_exterior_with_two_leaves_nothing() -> None:
    outline = shapely.Polygon(SQUARE, [COURT])
    assert [turned(ring) for ring in along(outline, [*SQUARE, *COURT[:2]])] == [turned(SQUARE)]
    assert along(outline, [*SQUARE[:2], *COURT]) == []


def test_what_is_too_far_from_the_outline_is_left_out() -> None:
    corners = [*SQUARE, (20, 5), (20, 6)]
    assert len(along(shapely.Polygon(SQUARE), corners, reach_px=5.0)[0]) == 5
    assert len(along(shapely.Polygon(SQUARE), corners, reach_px=6.0)[0]) == 6


def test_of_two_in_a_row_that_are_close_the_higher_score_stays_then_the_nearer() -> None:
    outline = shapely.Polygon(SQUARE)
    by_score = along(outline, [*SQUARE, (39, 1)], score=[0.5] * 4 + [0.6], merge_px=2)
    assert turned(by_score[0]) == turned([(0, 0), (39, 1), (40, 40), (0, 40)])
    by_distance = along(outline, [*SQUARE, (39, 1)], merge_px=2)
    assert turned(by_distance[0]) == turned(SQUARE)
    apart = along(outline, [*SQUARE, (39, 1)], merge_px=1.4)
    assert len(apart[0]) == 5


def test_the_last_of_a_ring_may_be_close_to_its_first() -> None:
    outline = shapely.Polygon(SQUARE)  # begins at 0, 0, so that 0, 1 comes last
    merged = along(outline, [*SQUARE, (0, 1)], score=[0.5] * 4 + [0.6], merge_px=1)
    assert turned(merged[0]) == turned([(0, 1), (40, 0), (40, 40), (0, 40)])


def test_keypoints_on_two_sides_of_a_thin_wall_are_not_one() -> None:
    thin = [(0, 0), (40, 0), (40, 1), (0, 1)]
    mixed = [(40, 1), (0, 0), (20, 0), (40, 0), (20, 1), (0, 1)]
    ring = along(shapely.Polygon(thin), mixed, merge_px=0.5)[0]
    assert turned(ring) == turned([(0, 0), (20, 0), (40, 0), (40, 1), (20, 1), (0, 1)])


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_keypoints_and_what_they_are_grouped_with_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outlines = [shape(rng), shapely.Polygon(SQUARE, [COURT]), shape(rng)]
    sets = [rng.integers(0, 80, (int(rng.integers(0, 25)), 2)) for _ in outlines]
    keypoints = keypoints_of(*[[tuple(c) for c in rng.permutation(some).tolist()] for some in sets])
    flat = to_ragged(np.array(outlines, object))
    found = rings_of(keypoints, order_along(keypoints, flat, merge_px=3, reach_px=6))
    for outline, some, rings in zip(outlines, sets, found, strict=True):
        assert along(outline, [tuple(c) for c in some.tolist()], merge_px=3, reach_px=6) == rings
