import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.walls.touching import touching_groups, with_shared_vertices


def boxes(*sides: tuple[float, float, float, float]) -> np.ndarray:
    return np.array([shapely.box(*side) for side in sides], dtype=object)


def parts_of(values: np.ndarray) -> np.ndarray:
    """Give every 4-connected part of each value above 0 a label of its own."""
    labels = np.zeros(values.shape, np.int32)
    for value in range(1, int(values.max()) + 1):
        parts, _ = ndimage.label(values == value)
        labels[parts > 0] = parts[parts > 0] + labels.max()
    return labels


def test_a_shared_wall_joins_and_a_shared_point_does_not() -> None:
    houses = boxes((0, 0, 2, 2), (9, 9, 11, 11), (2, 0, 4, 2), (4, 2, 6, 4), (6, 2, 7, 3))
    assert touching_groups(houses).tolist() == [0, 1, 0, 2, 2]


def test_a_wall_shared_in_part_joins_without_a_vertex_where_it_ends() -> None:
    assert touching_groups(boxes((0, 0, 10, 5), (3, 5, 6, 8))).tolist() == [0, 0]


def test_houses_that_overlap_share_no_wall() -> None:
    assert touching_groups(boxes((0, 0, 4, 4), (2, 0, 6, 4))).tolist() == [0, 1]


def test_no_houses_make_no_groups() -> None:
    assert touching_groups(np.empty(0, dtype=object)).tolist() == []


@settings(max_examples=60, deadline=None)
@given(values=arrays(np.int32, (6, 7), elements=st.integers(0, 3)))
def test_groups_are_those_of_pixels_side_by_side(values: np.ndarray) -> None:
    labels = parts_of(values)
    houses, label = label_outlines(labels, left=0, top=0)
    found = touching_groups(houses)
    expected, _ = ndimage.label(labels > 0)
    of_house = [expected[labels == number][0] for number in label]
    same = np.equal.outer(of_house, of_house)
    assert (np.equal.outer(found, found) == same).all()
    first = [found.tolist().index(number) for number in range(found.max(initial=-1) + 1)]
    assert first == sorted(first)


def test_a_wall_gets_a_vertex_where_the_corner_of_another_meets_it() -> None:
    houses = boxes((0, 0, 10, 5), (3, 5, 6, 8), (6, 5, 10, 8))
    assert not shapely.coverage_is_valid(houses)
    noded = with_shared_vertices(houses)
    assert shapely.coverage_is_valid(noded)
    assert shapely.equals(noded, houses).all()
    assert shapely.get_num_coordinates(noded).tolist() == [7, 5, 5]


def test_houses_that_lack_no_vertex_come_back_as_they_are() -> None:
    houses = boxes((0, 0, 2, 2), (2, 0, 4, 2))
    assert with_shared_vertices(houses) is houses
