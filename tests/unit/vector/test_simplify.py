import numpy as np
import shapely
from shapely.geometry import Polygon, box

from buildmap.vector.simplify import fill_holes, simplify


def staircase(steps: int) -> Polygon:
    corners = [(0, 0)]
    for step in range(steps):
        corners += [(step + 1, step), (step + 1, step + 1)]
    return Polygon([*corners, (0, steps)])


def test_a_staircase_becomes_a_slope_within_the_tolerance() -> None:
    before = np.array([staircase(20)], object)
    after = simplify(before, np.array([1.0]))
    assert shapely.get_num_coordinates(after)[0] < 8
    assert after[0].hausdorff_distance(before[0]) <= 1.0


def test_each_polygon_has_its_own_tolerance_and_zero_changes_nothing() -> None:
    before = np.array([staircase(20), staircase(20)], object)
    after = simplify(before, np.array([0.0, 1.0]))
    assert after[0].equals_exact(before[0])
    assert shapely.get_num_coordinates(after[1]) < shapely.get_num_coordinates(before[1])


def test_what_is_simplified_is_valid_and_not_empty_at_any_tolerance() -> None:
    rng = np.random.default_rng(0)
    blobs = [
        shapely.union_all(shapely.box(c, r, c + 4, r + 4))
        for c, r in rng.integers(0, 12, (40, 2, 6)).astype(float)
    ]
    before = np.array([part for blob in blobs for part in shapely.get_parts(blob)], object)
    for tolerance_px in (0.5, 1, 3, 50):
        after = simplify(before, np.full(len(before), float(tolerance_px)))
        assert shapely.is_valid(after).all()
        assert not shapely.is_empty(after).any()
        assert (shapely.area(after) > 0).all()


def test_small_holes_are_filled_and_large_ones_stay() -> None:
    pierced = box(0, 0, 20, 20) - box(1, 1, 2, 2) - box(5, 5, 9, 9)
    filled = fill_holes(np.array([pierced, pierced, pierced], object), np.array([0.0, 4.0, 17.0]))
    assert [len(polygon.interiors) for polygon in filled] == [2, 1, 0]
    assert [polygon.area for polygon in filled] == [383, 384, 400]
