"""Fits that made neighbours overlap are taken back."""

from itertools import pairwise

import numpy as np
import pytest
import shapely

from buildmap.vector.drawn import Drawn, join
from buildmap.vector.neighbours import Neighbours


def drawn(
    *pairs: tuple[shapely.Polygon, shapely.Polygon], first: int = 0, component: int | None = None
) -> Drawn:
    """Footprints as (fitted, raw), in order; of one component where its number is given."""
    count = len(pairs)
    number = np.arange(first, first + count)
    order = np.column_stack(
        [number if component is None else np.full(count, component), number * 0, number * 0, number, number]
    )
    return Drawn(
        polygons=np.array([fitted for fitted, _ in pairs], np.object_),
        raw=np.array([raw for _, raw in pairs], np.object_),
        order=order,
        confidence=np.full(count, 0.9),
        edge_certainty=np.full(count, 0.8),
        method=np.full(count, "adaptive"),
        iou_raw=np.full(count, 0.95),
        pixel_m=np.full(count, 0.5),
        max_shift_m=np.full(count, 0.4),
    )


def wide(left: float, right: float) -> tuple[shapely.Polygon, shapely.Polygon]:
    """A house whose fit reaches further to the right than its outline."""
    return shapely.box(left, 0, right + 1.5, 10), shapely.box(left, 0, right, 10)


def settle(*batches: Drawn, held: int = 100) -> Drawn:
    neighbours = Neighbours(held)
    settled = [neighbours.push(batch) for batch in batches]
    rest = neighbours.finish()
    assert rest is not None
    return join([*settled, rest])


def stairs(left: float, right: float) -> tuple[shapely.Polygon, shapely.Polygon]:
    """The same with an outline of stairs on the right, which simplifying makes a slope."""
    steps = [(right - 0.5 * (step % 2), step / 2) for step in range(20)]
    return shapely.box(left, 0, right + 1.5, 10), shapely.Polygon(
        [(left, 0), *steps, (right - 0.5, 10), (left, 10)]
    )


def test_two_that_overlap_both_go_back_a_step_and_say_so() -> None:
    found = settle(drawn(stairs(0, 10), wide(11, 20), wide(30, 40)))
    assert found.method.tolist() == ["simplify", "simplify", "adaptive"]
    simple = shapely.simplify(found.raw[0], 1.0)
    assert found.polygons[0].equals(simple) and not simple.equals(found.raw[0])
    iou = found.raw[0].intersection(simple).area / found.raw[0].union(simple).area
    assert found.iou_raw.tolist() == pytest.approx([iou, 1, 0.95])
    assert found.max_shift_m.tolist() == pytest.approx([0.24, 0, 0.4], abs=0.01)


def test_what_overlaps_its_neighbour_even_simplified_goes_back_to_its_outline() -> None:
    corner = shapely.Polygon([(0, 0), (10, 0), (10, 4.5), (9.2, 5), (10, 5.5), (10, 10), (0, 10)])
    behind = shapely.Polygon([(14, 3), (14, 7), (9.4, 5)])  # its tip is in the notch
    assert corner.intersection(behind).area < 1e-9
    assert shapely.simplify(corner, 1.0).intersection(behind).area > 0.1
    found = settle(drawn((shapely.box(0, 0, 12, 12), corner), (behind, behind)))
    assert found.method.tolist() == ["raw", "raw"]
    assert found.polygons.tolist() == [corner, behind]
    assert found.iou_raw.tolist() == [1, 1] and found.max_shift_m.tolist() == [0, 0]


def test_polygons_of_a_layer_go_back_to_themselves_and_may_lie_in_each_other() -> None:
    large, small = shapely.box(0, 0, 20, 20), shapely.box(5, 5, 9, 9)
    neighbours = Neighbours(in_pixels=False)
    neighbours.push(drawn(stairs(30, 40), wide(41, 50), (large, large), (small, small)))
    found = neighbours.finish()
    assert found is not None
    assert found.method.tolist() == ["raw", "raw", "raw", "raw"]
    assert found.polygons.tolist() == found.raw.tolist()


def test_what_lies_in_the_outline_of_another_stands_in_a_filled_hole_and_is_left_out() -> None:
    large, small = shapely.box(0, 0, 20, 20), shapely.box(5, 5, 9, 9)
    for pair in ([(small, small), (large, large)], [(large, large), (small, small)]):
        assert settle(drawn(*pair)).polygons.tolist() == [large]
        first, second = (drawn(one, first=number) for number, one in enumerate(pair))
        assert settle(first, second).polygons.tolist() == [large]


def test_fits_that_only_touch_stay() -> None:
    touching = shapely.box(0, 0, 11, 10), shapely.box(0, 0, 10, 10)
    found = settle(drawn(touching, wide(11, 20)))
    assert found.method.tolist() == ["adaptive", "adaptive"]


def test_a_building_in_the_courtyard_of_another_is_no_overlap() -> None:
    court = shapely.box(0, 0, 30, 30) - shapely.box(8, 8, 22, 22)
    found = settle(drawn((court, court), (shapely.box(10, 10, 20, 20), shapely.box(11, 11, 19, 19))))
    assert found.method.tolist() == ["adaptive", "adaptive"]


def test_going_back_may_meet_another_fit_which_then_goes_back_too() -> None:
    shrunk = shapely.box(13, 0, 20, 10), shapely.box(11, 0, 20, 10)  # its outline reaches further left
    reaching = shapely.box(0, 0, 12, 10), shapely.box(0, 0, 10, 10)
    grown = shapely.box(19, 0, 30, 10), shapely.box(21, 0, 30, 10)
    apart = settle(drawn(reaching, shrunk))
    assert apart.method.tolist() == ["adaptive", "adaptive"]
    assert settle(drawn(reaching, shrunk, grown)).method.tolist() == ["simplify", "raw", "simplify"]


def test_those_that_share_walls_go_back_together() -> None:
    row = drawn(
        (shapely.box(0, 0, 10, 10), shapely.box(0, 0, 9, 10)),
        (shapely.box(10, 0, 21, 10), shapely.box(9, 0, 20, 10)),
        component=7,
    )
    found = settle(row, drawn(wide(20.5, 30), first=8))
    assert found.method.tolist() == ["simplify", "simplify", "simplify"]


@pytest.mark.parametrize("cuts", [[], [1], [3], [1, 2, 3, 4, 5]])
def test_batches_make_no_difference(cuts: list[int]) -> None:
    whole = drawn(wide(0, 10), wide(12, 20), wide(21, 30), wide(50, 60), wide(33, 40), wide(61, 70))
    bounds = [0, *cuts, len(whole)]
    parts = [whole.take(np.arange(*span)) for span in pairwise(bounds)]
    found = settle(*parts)
    assert found.method.tolist() == ["adaptive", "simplify", "simplify", "simplify", "adaptive", "simplify"]


def test_only_so_many_are_held_and_the_rest_come_in_order() -> None:
    neighbours = Neighbours(2)
    batch = drawn(*(wide(20 * place, 20 * place + 10) for place in range(5)))
    first = neighbours.push(batch)
    rest = neighbours.finish()
    assert rest is not None
    assert first.order[:, 0].tolist() == [0, 1, 2] and rest.order[:, 0].tolist() == [3, 4]


def test_what_overlapped_before_it_was_fitted_goes_no_further_than_its_outline() -> None:
    overlapping = drawn(wide(0, 10), wide(5, 20))
    raw = overlapping.raw.copy()
    found = settle(overlapping)
    assert found.method.tolist() == ["raw", "raw"] and found.polygons.tolist() == raw.tolist()


def test_nothing_pushed_gives_nothing() -> None:
    assert Neighbours().finish() is None
