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


def test_a_narrow_overlap_is_cut_off_the_one_that_reaches_onto_the_ground_of_the_other() -> None:
    found = settle(drawn(wide(0, 10), wide(11, 20), wide(30, 40)))
    assert found.method.tolist() == ["adaptive"] * 3
    assert found.polygons[0].equals(shapely.box(0, 0, 11, 10))
    assert found.polygons[1].equals(shapely.box(11, 0, 21.5, 10))
    assert found.iou_raw.tolist() == pytest.approx([10 / 11, 0.95, 0.95])
    assert found.max_shift_m.tolist() == pytest.approx([0.5, 0.4, 0.4])


def test_a_wide_overlap_takes_one_of_two_back_to_a_simplified_outline() -> None:
    far = shapely.box(0, 0, 14, 10), stairs(0, 10)[1]
    found = settle(drawn(far, wide(11, 20)))
    assert found.method.tolist() == ["simplify", "adaptive"]
    simple = shapely.simplify(found.raw[0], 1.0)
    assert found.polygons[0].equals(simple) and not simple.equals(found.raw[0])
    assert found.iou_raw[0] == pytest.approx(
        found.raw[0].intersection(simple).area / found.raw[0].union(simple).area
    )
    assert found.max_shift_m[0] == pytest.approx(0.24, abs=0.01)


def test_what_overlaps_its_neighbour_even_simplified_goes_back_to_its_outline() -> None:
    corner = shapely.Polygon([(0, 0), (10, 0), (10, 4.5), (9.2, 5), (10, 5.5), (10, 10), (0, 10)])
    behind = shapely.Polygon([(14, 3), (14, 7), (9.4, 5)])  # its tip is in the notch
    assert corner.intersection(behind).area < 1e-9
    assert shapely.simplify(corner, 1.0).intersection(behind).area > 0.1
    found = settle(drawn((shapely.box(0, 0, 16, 16), corner), (behind, behind)))
    assert found.method.tolist() == ["raw", "adaptive"]
    assert found.polygons.tolist() == [corner, behind]
    assert found.iou_raw[0] == 1 and found.max_shift_m[0] == 0


def test_polygons_of_a_layer_go_back_to_themselves_and_may_lie_in_each_other() -> None:
    large, small = shapely.box(0, 0, 20, 20), shapely.box(5, 5, 9, 9)
    neighbours = Neighbours(in_pixels=False)
    neighbours.push(drawn(stairs(30, 40), wide(41, 50), (large, large), (small, small)))
    found = neighbours.finish()
    assert found is not None
    assert found.method.tolist() == ["raw", "adaptive", "raw", "raw"]
    assert found.polygons[[0, 2, 3]].tolist() == found.raw[[0, 2, 3]].tolist()


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
    shrunk = shapely.box(14, 0, 20, 10), shapely.box(11, 0, 20, 10)  # its outline reaches further left
    reaching = shapely.box(0, 0, 13, 10), shapely.box(0, 0, 10, 10)
    within = shapely.box(16, 0, 30, 10), shapely.box(21, 0, 30, 10)
    stub = shapely.box(22, 9, 24, 15), shapely.box(22, 11, 24, 15)  # reaches into the outline of `within`
    assert settle(drawn(reaching, shrunk)).method.tolist() == ["adaptive", "adaptive"]
    found = settle(drawn(shrunk, within, stub))
    assert found.method.tolist() == ["adaptive", "simplify", "adaptive"]
    assert shapely.area(shapely.intersection(found.polygons[1], found.polygons[[0, 2]])).tolist() == [0, 0]


def test_one_of_those_that_share_walls_is_cut_and_its_walls_stay_shared() -> None:
    row = drawn(
        (shapely.box(0, 0, 10, 10), shapely.box(0, 0, 9, 10)),
        (shapely.box(10, 0, 21, 10), shapely.box(9, 0, 20, 10)),
        component=7,
    )
    found = settle(row, drawn((shapely.box(20.5, -5, 30, 5), shapely.box(20.5, -5, 30, 5)), first=8))
    assert found.method.tolist() == ["adaptive"] * 3
    assert shapely.coverage_is_valid(found.polygons[:2])
    assert found.polygons[0].equals(row.polygons[0])
    assert found.polygons[1].equals(row.polygons[1] - found.polygons[2])


def test_one_of_those_that_share_walls_goes_back_between_its_neighbours() -> None:
    raw = [shapely.box(left, 0, left + 20, 20) for left in (0, 20, 40)]
    fits = [shapely.box(0, 0, 21, 20), shapely.box(21, 0, 39, 26), shapely.box(39, 0, 60, 20)]
    fits[0] = shapely.Polygon([*fits[0].exterior.coords[:-1]])
    row = drawn(*zip(fits, raw, strict=True), component=3)
    above = shapely.box(0, 22, 60, 40)
    found = settle(row, drawn((above, above), first=4))
    assert found.method.tolist() == ["adaptive", "simplify", "adaptive", "adaptive"]
    assert shapely.coverage_is_valid(found.polygons[:3])
    assert found.polygons[0].equals(fits[0]) and found.polygons[2].equals(fits[2])
    assert found.polygons[1].equals(shapely.box(21, 0, 39, 20))


def test_those_that_cannot_go_back_one_by_one_go_together() -> None:
    """The outlines do not share their corners, so that nothing can be put between the fits."""
    row = drawn(
        (shapely.box(0, 0, 20, 10), shapely.box(0, 0, 20, 10)),
        (shapely.box(20, 0, 44, 16), shapely.box(20, 0, 40, 12)),
        component=7,
    )
    found = settle(row, drawn((shapely.box(41, 0, 60, 10), shapely.box(41, 0, 60, 10)), first=8))
    assert found.method.tolist() == ["simplify", "simplify", "adaptive"]
    assert not shapely.intersects(found.polygons[1], found.polygons[2])


@pytest.mark.parametrize("cuts", [[], [1], [3], [1, 2, 3, 4, 5]])
def test_batches_make_no_difference(cuts: list[int]) -> None:
    far = shapely.box(33, 0, 52, 10), shapely.box(33, 0, 40, 10)
    whole = drawn(wide(0, 10), wide(12, 20), wide(21, 30), wide(50, 60), far, wide(61, 70))
    bounds = [0, *cuts, len(whole)]
    parts = [whole.take(np.arange(*span)) for span in pairwise(bounds)]
    found = settle(*parts)
    assert found.method.tolist() == ["adaptive"] * 4 + ["simplify", "adaptive"]
    assert shapely.bounds(found.polygons)[:, 2].tolist() == [11.5, 21, 31.5, 61, 40, 71.5]


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


def test_components_are_held_whole() -> None:
    pairs = [wide(20 * place, 20 * place + 10) for place in range(3)]
    neighbours = Neighbours(2)
    assert len(neighbours.push(drawn(*pairs, component=1))) == 0
    assert len(neighbours.push(drawn(*[wide(100, 110), wide(120, 130)], component=2))) == 3


def test_nothing_pushed_gives_nothing() -> None:
    assert Neighbours().finish() is None
