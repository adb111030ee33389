import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely.geometry import Point, Polygon, box

from buildmap.vector.matching import match


def array(*polygons: Polygon) -> NDArray[np.object_]:
    return np.array(polygons, dtype=object)


def random_boxes(rng: np.random.Generator, count: int) -> NDArray[np.object_]:
    """Draw boxes on a coarse lattice, so that equal overlaps are frequent."""
    low, size = rng.integers(0, 12, (count, 2)), rng.integers(2, 6, (count, 2))
    return np.asarray(shapely.box(low[:, 0], low[:, 1], *(low + size).T), dtype=object)


def slow_match(
    left: NDArray[np.object_], right: NDArray[np.object_], iou_min: float
) -> list[tuple[int, int, float]]:
    """Compare all with all, and take the best again and again."""
    table = [
        (-round(a.intersection(b).area / a.union(b).area, 9), i, j)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
    ]
    free = sorted(row for row in table if -row[0] >= iou_min)
    chosen = []
    while free:
        value, i, j = free[0]
        chosen.append((i, j, -value))
        free = [row for row in free if row[1] != i and row[2] != j]
    return chosen


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou_min", [0.2, 0.5, 0.7])
def test_matching_agrees_with_comparing_all_with_all(seed: int, iou_min: float) -> None:
    rng = np.random.default_rng(seed)
    left, right = random_boxes(rng, 80), random_boxes(rng, 70)
    expected = slow_match(left, right, iou_min)
    found = match(left, right, iou_min=iou_min)
    assert len(expected) > 1
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [row[:2] for row in expected]
    np.testing.assert_allclose(found.iou, [row[2] for row in expected])


def test_a_layer_matches_itself_completely() -> None:
    discs = array(*[Point(col * 3, row * 3).buffer(1) for col in range(5) for row in range(4)])
    found = match(discs, discs, iou_min=0.999)
    assert (found.left == found.right).all()
    assert found.left.tolist() == list(range(20))
    np.testing.assert_allclose(found.iou, 1)


def test_the_better_of_two_wins_and_the_other_stays_alone() -> None:
    found = match(array(box(0, 0, 10, 10)), array(box(0, 0, 10, 7), box(0, 0, 10, 9)), iou_min=0.5)
    assert found.right.tolist() == [1]
    assert found.iou[0] == pytest.approx(0.9)


def test_exactly_one_half_is_a_match() -> None:
    assert len(match(array(box(0, 0, 2, 1)), array(box(0, 0, 1, 1)), iou_min=0.5).left) == 1


def test_boxes_that_overlap_do_not_make_shapes_match() -> None:
    corner = Polygon([(0, 0), (10, 0), (0, 10)])
    opposite = Polygon([(10, 10), (10, 0.5), (0.5, 10)])
    assert len(match(array(corner), array(opposite), iou_min=0.01).left) == 0


def test_empty_layers_match_nothing() -> None:
    for left, right in [
        (array(), array(box(0, 0, 1, 1))),
        (array(box(0, 0, 1, 1)), array()),
        (array(), array()),
    ]:
        assert len(match(left, right, iou_min=0.5).iou) == 0
