import itertools

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from shapely.affinity import translate
from shapely.geometry import Point, Polygon, box

import buildmap.vector.matching as matching_module
from buildmap.vector.matching import Overlaps, find_overlaps, match, overlaps_within
from buildmap.vector.store import PolygonStore

UTM_ORIGIN = np.array([412_345.678, 5_432_109.876])


def array(*polygons: Polygon) -> NDArray[np.object_]:
    return np.array(polygons, dtype=object)


def store(*polygons: Polygon) -> PolygonStore:
    return PolygonStore.gather([array(*polygons)])


def random_boxes(rng: np.random.Generator, count: int) -> NDArray[np.object_]:
    """Draw boxes on a coarse lattice, so that equal overlaps and mere touches are frequent."""
    low, size = rng.integers(0, 12, (count, 2)), rng.integers(2, 6, (count, 2))
    return np.asarray(shapely.box(low[:, 0], low[:, 1], *(low + size).T), dtype=object)


def random_shapes(rng: np.random.Generator, count: int, *, spread: float = 25.0) -> NDArray[np.object_]:
    """Draw stars with deep notches, most with a courtyard, in UTM coordinates, either way round."""
    shapes = []
    for _ in range(count):
        corners = int(rng.integers(3, 13))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) + np.arange(corners) * 1e-3
        radii = rng.uniform(3, 10, corners)
        star = Polygon(radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])).buffer(0)
        if isinstance(star, Polygon) and star.area > 20 and rng.random() < 0.7:
            star = star.difference(star.representative_point().buffer(rng.uniform(0.2, 1.2), 2))
        moved = translate(star, *(UTM_ORIGIN + rng.uniform(-spread, spread, 2)))
        shapes += [part.reverse() if rng.random() < 0.5 else part for part in shapely.get_parts(moved)]
    return array(*[shape for shape in shapes if shape.area > 0.01])


def slow_overlaps(left: NDArray[np.object_], right: NDArray[np.object_]) -> dict[tuple[int, int], float]:
    """Intersect all with all."""
    areas = {
        (i, j): a.intersection(b).area
        for (i, a), (j, b) in itertools.product(enumerate(left), enumerate(right))
    }
    return {(i, j): area for (i, j), area in areas.items() if area > 1e-9 * min(left[i].area, right[j].area)}


def as_dict(overlaps: Overlaps) -> dict[tuple[int, int], float]:
    keys = zip(overlaps.left.tolist(), overlaps.right.tolist(), strict=True)
    return dict(zip(keys, overlaps.shared.tolist(), strict=True))


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


@pytest.mark.parametrize("seed", range(8))
def test_overlaps_agree_with_intersecting_all_with_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = random_shapes(rng, 60), random_shapes(rng, 50)
    expected, found = slow_overlaps(left, right), as_dict(find_overlaps(store(*left), store(*right)))
    assert len(expected) > 100
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(list(found.values()), [expected[key] for key in found], rtol=1e-9, atol=1e-8)


def test_overlaps_agree_with_geopandas_overlay() -> None:
    rng = np.random.default_rng(5)
    left, right = random_shapes(rng, 300, spread=100), random_shapes(rng, 300, spread=100)
    overlay = gpd.overlay(
        gpd.GeoDataFrame({"i": range(len(left))}, geometry=left),
        gpd.GeoDataFrame({"j": range(len(right))}, geometry=right),
        keep_geom_type=True,
    )
    expected = overlay.assign(area=overlay.area).sort_values(["i", "j"])
    expected = expected[expected["area"] > 1e-6]
    found = find_overlaps(store(*left), store(*right))
    real = found.shared > 1e-6
    assert found.left[real].tolist() == expected["i"].tolist()
    assert found.right[real].tolist() == expected["j"].tolist()
    np.testing.assert_allclose(found.shared[real], expected["area"], rtol=1e-9, atol=1e-8)


@given(seed=st.integers(0, 2**32 - 1), at_a_time=st.integers(1, 60))
def test_overlaps_are_the_same_bits_however_many_are_looked_up_at_once(seed: int, at_a_time: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = store(*random_shapes(rng, 40)), store(*random_boxes(rng, 5), *random_shapes(rng, 30))
    whole, cut = find_overlaps(left, right), find_overlaps(left, right, at_a_time=at_a_time)
    for name in ("left", "right", "shared", "left_area", "right_area", "iou"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(cut, name))


@given(st.integers(0, 2**32 - 1))
def test_overlaps_do_not_depend_on_which_layer_comes_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = store(*random_shapes(rng, 25)), store(*random_shapes(rng, 25))
    there, back = as_dict(find_overlaps(one, other)), as_dict(find_overlaps(other, one))
    assert {(j, i) for i, j in there} == set(back)
    np.testing.assert_allclose([back[j, i] for i, j in there], list(there.values()), rtol=1e-9, atol=1e-8)


def test_overlaps_come_sorted_and_with_the_areas_of_both_layers() -> None:
    rng = np.random.default_rng(3)
    left, right = store(*random_boxes(rng, 400)), store(*random_boxes(rng, 300))
    found = find_overlaps(left, right, at_a_time=37)
    assert (np.lexsort((found.right, found.left)) == np.arange(len(found.left))).all()
    np.testing.assert_array_equal(found.left_area, left.area)
    np.testing.assert_array_equal(found.right_area, right.area)


def test_boxes_on_a_lattice_share_exactly_what_they_share_and_touching_is_not_sharing() -> None:
    rng = np.random.default_rng(11)
    left, right = random_boxes(rng, 90), random_boxes(rng, 80)
    assert as_dict(find_overlaps(store(*left), store(*right))) == slow_overlaps(left, right)


@given(st.integers(0, 2**32 - 1))
def test_neighbours_with_a_slanted_wall_in_common_share_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, along = UTM_ORIGIN + rng.uniform(0, 20, 2), rng.uniform(2, 20, 2) * rng.choice([-1, 1], 2)
    across = np.array([-along[1], along[0]])
    halfway = start + rng.uniform(0.1, 0.9) * along  # off the wall by the rounding of its coordinates
    one = Polygon([start, start + along, start + rng.random() * along + across])
    other = Polygon([start, halfway, start + along, start + rng.random() * along - across])
    assert len(find_overlaps(store(one), store(other)).left) == 0


def test_a_house_in_a_courtyard_shares_nothing_and_one_across_its_wall_does() -> None:
    block = box(0, 0, 100, 100).difference(box(20, 20, 80, 80))
    houses = store(box(30, 30, 40, 40), box(75, 30, 85, 40), box(5, 5, 15, 15))
    assert as_dict(find_overlaps(store(block), houses)) == {(0, 1): 50.0, (0, 2): 100.0}


def test_one_polygon_over_everything_overlaps_everything() -> None:
    rng = np.random.default_rng(8)
    houses = random_shapes(rng, 200, spread=500)
    town = box(*(UTM_ORIGIN - 600), *(UTM_ORIGIN + 600))
    found = find_overlaps(store(*houses, town), store(town, *houses[:2]))
    towards_town = found.right == 0
    assert found.left[towards_town].tolist() == list(range(len(houses) + 1))
    np.testing.assert_allclose(found.shared[towards_town][:-1], shapely.area(houses), rtol=1e-9)
    assert (found.shared <= np.minimum(found.left_area[found.left], found.right_area[found.right])).all()


def test_polygons_of_very_many_corners_are_intersected_by_their_outlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = Point(0, 0).buffer(50, 600), Point(30, 7).buffer(50, 600)
    left, right = store(one, box(-9, -9, 0, 0)), store(other, one)
    calls = []
    intersection = shapely.intersection
    monkeypatch.setattr(
        matching_module.shapely, "intersection", lambda a, b: calls.append(len(a)) or intersection(a, b)
    )
    found = as_dict(find_overlaps(left, right))
    assert calls == [1, 1]
    expected = slow_overlaps(array(one, box(-9, -9, 0, 0)), array(other, one))
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(list(found.values()), [expected[key] for key in found])


@pytest.mark.parametrize("seed", range(4))
def test_overlaps_within_a_layer_are_those_with_itself_each_once(seed: int) -> None:
    shapes = random_shapes(np.random.default_rng(seed), 70)
    expected = {(i, j): area for (i, j), area in slow_overlaps(shapes, shapes).items() if i < j}
    found = overlaps_within(store(*shapes), at_a_time=9)
    assert len(expected) > 100
    assert as_dict(found).keys() == expected.keys()
    np.testing.assert_allclose(found.shared, [expected[key] for key in as_dict(found)], rtol=1e-9, atol=1e-8)
    assert found.left_area is found.right_area


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou_min", [0.2, 0.5, 0.7])
def test_matching_agrees_with_comparing_all_with_all(seed: int, iou_min: float) -> None:
    rng = np.random.default_rng(seed)
    left, right = random_boxes(rng, 80), random_boxes(rng, 70)
    expected = slow_match(left, right, iou_min)
    found = match(find_overlaps(store(*left), store(*right)), iou_min=iou_min)
    assert len(expected) > 1
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [row[:2] for row in expected]
    np.testing.assert_allclose(found.iou, [row[2] for row in expected])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("iou_min", [0.5, 0.6])
def test_from_one_half_up_greedy_matching_finds_the_most_pairs_there_can_be(
    seed: int, iou_min: float
) -> None:
    rng = np.random.default_rng(seed)
    left, right = [], []
    for row in range(6):  # terraces: a house overlaps several of the other layer, none of its own
        walls = np.cumsum(rng.uniform(5, 9, 10))
        for layer, moved in ((left, walls), (right, walls + rng.uniform(-2.4, 2.4, 10))):
            layer += [box(x, row * 10, next_x, row * 10 + 8) for x, next_x in itertools.pairwise(moved)]
    iou = np.array([[a.intersection(b).area / a.union(b).area for b in right] for a in left])
    able = iou >= iou_min
    best = able[linear_sum_assignment(able, maximize=True)].sum()
    found = match(find_overlaps(store(*left), store(*right)), iou_min=iou_min)
    assert (iou > 0).sum() > len(left)
    assert best > 5
    assert len(found.left) == best


def test_a_layer_matches_itself_completely() -> None:
    discs = store(*[Point(col * 3, row * 3).buffer(1) for col in range(5) for row in range(4)])
    found = match(find_overlaps(discs, discs), iou_min=0.999)
    assert (found.left == found.right).all()
    assert found.left.tolist() == list(range(20))
    assert found.iou.tolist() == [1.0] * 20


def test_the_better_of_two_wins_and_the_other_stays_alone() -> None:
    overlaps = find_overlaps(store(box(0, 0, 10, 10)), store(box(0, 0, 10, 7), box(0, 0, 10, 9)))
    found = match(overlaps, iou_min=0.5)
    assert found.right.tolist() == [1]
    assert found.iou[0] == pytest.approx(0.9)


def test_exactly_one_half_is_a_match() -> None:
    overlaps = find_overlaps(store(box(0, 0, 2, 1)), store(box(0, 0, 1, 1)))
    assert len(match(overlaps, iou_min=0.5).left) == 1


def test_boxes_that_overlap_do_not_make_shapes_overlap() -> None:
    corner = Polygon([(0, 0), (10, 0), (0, 10)])
    opposite = Polygon([(10, 10), (10, 0.5), (0.5, 10)])
    assert len(find_overlaps(store(corner), store(opposite)).left) == 0


def test_empty_layers_overlap_and_match_nothing() -> None:
    one, none = store(box(0, 0, 1, 1)), store()
    for left, right in [(none, one), (one, none), (none, none)]:
        overlaps = find_overlaps(left, right)
        assert len(overlaps.left) == len(overlaps.iou) == len(match(overlaps, iou_min=0.5).iou) == 0
        assert overlaps.left.dtype == np.int64
    assert len(overlaps_within(none).left) == 0
