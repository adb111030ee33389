"""The paper's walk from nearest to nearest keypoint."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from buildmap.vector.keypoints.walk import walk
from tests.unit.vector.keypoints.sets import Corners, keypoints_of, rings_of, turned

RECTANGLE = [(0, 0), (9, 0), (9, 4), (0, 4)]
TURNED_RECTANGLE = [(10, 0), (34, 18), (28, 26), (4, 8)]
L_SHAPE = [(0, 0), (40, 0), (40, 20), (20, 20), (20, 40), (0, 40)]
OCTAGON = [(3, 0), (7, 0), (10, 3), (10, 7), (7, 10), (3, 10), (0, 7), (0, 3)]
T_SHAPE = [(0, 0), (30, 0), (30, 10), (20, 10), (20, 22), (10, 22), (10, 10), (0, 10)]


def ring_of(corners: Corners, seed: int = 0) -> list[tuple[float, float]]:
    mixed = np.random.default_rng(seed).permutation(np.array(corners, float)).tolist()
    keypoints = keypoints_of([tuple(corner) for corner in mixed])
    return rings_of(keypoints, walk(keypoints))[0][0]


def slow_walk(corners: Corners) -> list[tuple[float, float]]:
    """Walk with lists, by the words of the paper."""
    points = sorted({(float(x), float(y)) for x, y in corners})
    if len(points) < 3:
        return []
    extremes = [
        min(points, key=lambda p: p[0]),
        max(points, key=lambda p: p[0]),
        max(points, key=lambda p: p[1]),
        min(points, key=lambda p: p[1]),
    ]
    edges = [(math.dist(e, p), e, p) for e in extremes for p in points if p != e]
    _, start, first = min(edges, key=lambda edge: edge[0])
    chain, unused = [start, first], [p for p in points if p not in (start, first)]
    while unused:
        nearest = min(unused, key=lambda p: math.dist(p, chain[-1]))
        if len(chain) >= 3 and math.dist(chain[-1], chain[0]) < math.dist(chain[-1], nearest):
            nearest = min(unused, key=lambda p: math.dist(p, chain[0]))
            chain.reverse()
        unused.remove(nearest)
        chain.append(nearest)
    return chain


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [RECTANGLE, TURNED_RECTANGLE, L_SHAPE, OCTAGON])
def test_simple_shapes_come_back_corner_by_corner(shape: Corners, seed: int) -> None:
    assert turned(ring_of(shape, seed)) == turned(shape)


def test_the_walk_begins_with_the_shortest_edge_of_an_extreme_keypoint() -> None:
    inner_pair = [(5, 5), (5, 6)]  # nearer to each other than any, but not extreme
    assert set(ring_of([(0, 0), (20, 0), (20, 12), (3, 12), *inner_pair])[:2]) == {(0, 0), (5, 5)}


def test_a_walk_that_closes_too_soon_is_mended_at_its_start() -> None:
    # 0,0 - 0,1 - 1,0.5 closes; what is left over joins the start, and the far end becomes the last
    corners = [(0, 0), (0, 1), (1, 0.5), (-1.5, -2), (6, -2), (6, 4)]
    ring = ring_of(corners)
    closed_early = [(0, 0), (0, 1), (1, 0.5)]
    assert sorted(ring) == sorted(corners)
    places = [ring.index(corner) for corner in closed_early]
    assert abs(places[0] - places[1]) in (1, len(ring) - 1)
    assert (0, 0) in (ring[(ring.index((-1.5, -2)) + 1) % 6], ring[ring.index((-1.5, -2)) - 1])


def test_a_concave_roof_whose_wings_are_near_each_other_is_walked_across() -> None:
    # the limit that the paper names: nearest corners are not always joined by a wall
    u_shape = [(0, 0), (30, 0), (30, 40), (18, 40), (18, 8), (15, 8), (15, 40), (0, 40)]
    ring = ring_of(u_shape)
    assert sorted(ring) == sorted(u_shape)
    assert turned(ring) != turned(u_shape)


def test_a_t_whose_arms_are_longer_than_they_are_wide_is_not_restored_and_the_polygon_is_invalid() -> None:
    ring = ring_of(T_SHAPE)
    assert turned(ring) != turned(T_SHAPE)
    assert not shapely.Polygon(ring).is_valid


def test_one_place_counts_once_and_two_make_no_ring() -> None:
    keypoints = keypoints_of([(0, 0), (0, 0), (4, 4)], [], [*RECTANGLE, (9, 0), (0, 4)])
    order = walk(keypoints)
    assert order.polygons.tolist() == [0, 0, 0, 1]
    assert turned(rings_of(keypoints, order)[2][0]) == turned(RECTANGLE)


def test_no_objects_have_no_order() -> None:
    order = walk(keypoints_of())
    assert (order.corner.tolist(), order.rings.tolist(), order.polygons.tolist()) == ([], [0], [0])


CORNERS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=14)


@given(st.lists(CORNERS, max_size=5))
def test_the_walk_is_that_of_the_words(objects: list[list[tuple[int, int]]]) -> None:
    keypoints = keypoints_of(*objects)
    found = rings_of(keypoints, walk(keypoints))
    assert [rings[0] if rings else [] for rings in found] == [slow_walk(corners) for corners in objects]


@given(CORNERS, st.randoms(use_true_random=False))
def test_the_order_of_the_keypoints_does_not_matter(corners: list[tuple[int, int]], random: object) -> None:
    mixed = corners.copy()
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = keypoints_of(corners), keypoints_of(mixed)
    assert rings_of(one, walk(one)) == rings_of(other, walk(other))


@given(CORNERS)
def test_every_distinct_keypoint_becomes_one_corner(corners: list[tuple[int, int]]) -> None:
    keypoints = keypoints_of(corners)
    rings = rings_of(keypoints, walk(keypoints))[0]
    assert [sorted(ring) for ring in rings] == ([sorted(set(corners))] if len(set(corners)) >= 3 else [])
