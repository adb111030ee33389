"""Footprints in pixels, in their order and in groups."""

import numpy as np
import pytest
import shapely

from buildmap.vector.drawn import ALONE, Drawn, join, members


def drawn(*order: tuple[int, int, int, int, int]) -> Drawn:
    count = len(order)
    boxes = np.array([shapely.box(col, row, col + 1, row + 1) for *_, row, col in order], np.object_)
    return Drawn(
        polygons=boxes,
        raw=boxes,
        order=np.array(order, np.int64).reshape(-1, 5),
        confidence=np.arange(count) / 10,
        edge_certainty=np.ones(count),
        method=np.array(["adaptive"] * count),
        iou_raw=np.ones(count),
        pixel_m=np.ones(count),
        max_shift_m=np.zeros(count),
    )


def test_the_order_is_by_last_row_then_component_then_own_corner() -> None:
    keys = [(3, 1, 4, 2, 9), (3, 1, 4, 2, 1), (2, 0, 9, 0, 9), (3, 0, 9, 0, 9), (3, 1, 0, 1, 0)]
    found = drawn(*keys).in_order()
    assert [tuple(key) for key in found.order.tolist()] == sorted(keys)
    assert found.confidence.tolist() == [0.2, 0.3, 0.4, 0.1, 0.0]
    assert [polygon.bounds[0] for polygon in found.polygons] == [9, 9, 0, 1, 9]


def test_parts_are_put_behind_each_other_and_methods_keep_their_names() -> None:
    one, other = drawn((1, 0, 0, 0, 0)), drawn((2, 0, 0, 0, 0), (3, 0, 0, 0, 0))
    joined = join([one, other.take(np.array([1, 0]))])
    assert joined.order[:, 0].tolist() == [1, 3, 2]
    assert len(joined) == 3
    with pytest.raises(ValueError, match="concatenate"):
        join([])


def test_members_of_groups_are_listed_in_order() -> None:
    listed = members(np.array([7, ALONE, 2, 7, 2, ALONE]))
    assert [some.tolist() for some in listed] == [[2, 4], [0, 3]]
    assert members(np.array([ALONE, ALONE])) == []
