import math
from dataclasses import fields, replace

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import affinity
from shapely.geometry import Point, Polygon, box

from buildmap.metrics.outlines import (
    OutlineErrors,
    OutlineScores,
    Spread,
    c_iou,
    compare_outlines,
    outline_scores,
)

UNIT = box(0, 0, 1, 1)
HOUSE = Polygon([(0, 0), (18, 0), (18, 7), (9, 7), (9, 12), (0, 12)])
NONE = np.empty(0, object)


def compare(predicted: list[Polygon], true: list[Polygon], crs: CRS | None = None) -> OutlineErrors:
    return compare_outlines(np.array(predicted, object), np.array(true, object), crs)


def houses(seed: int, count: int) -> tuple[list[Polygon], list[Polygon]]:
    rng = np.random.default_rng(seed)
    true = [
        affinity.scale(affinity.rotate(HOUSE, rng.uniform(0, 360)), *rng.uniform(0.5, 2, 2))
        for _ in range(count)
    ]
    turned = [affinity.rotate(house, rng.normal(0, 4)) for house in true]
    moved = [affinity.translate(house, *rng.normal(0, 0.7, 2)) for house in turned]
    return [house.simplify(rng.uniform(0, 4)) for house in moved], true


def polis(one: Polygon, other: Polygon) -> float:
    """Follow the definition: over each corner once."""
    there = [other.exterior.distance(Point(corner)) for corner in one.exterior.coords[:-1]]
    back = [one.exterior.distance(Point(corner)) for corner in other.exterior.coords[:-1]]
    return sum(there) / (2 * len(there)) + sum(back) / (2 * len(back))


def published_polis(one: Polygon, other: Polygon) -> float:
    """Follow spgriffin/polis: sums without the closing corner, divided by a number with it."""
    total = 0.0
    for ours, theirs in ((one.exterior, other.exterior), (other.exterior, one.exterior)):
        coords = list(ours.coords)
        total += sum(theirs.distance(Point(corner)) for corner in coords[:-1]) / float(2 * len(coords))
    return total


def assert_same(one: OutlineErrors, other: OutlineErrors) -> None:
    for field in fields(OutlineErrors):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def test_polis_of_a_unit_square_beside_another_is_half_a_side() -> None:
    # of each, two corners lie on the other and two are 1 away
    assert compare([UNIT], [affinity.translate(UNIT, 1)]).polis_m.tolist() == [0.5]


def test_polis_agrees_with_asking_shapely_for_every_distance() -> None:
    predicted, true = houses(0, 60)
    errors = compare(predicted, true)
    pairs = list(zip(predicted, true, strict=True))
    np.testing.assert_allclose(errors.polis_m, [polis(*pair) for pair in pairs])
    np.testing.assert_allclose(errors.polis_published_m, [published_polis(*pair) for pair in pairs])


def test_the_published_polis_gives_squares_four_fifths_of_their_distance() -> None:
    errors = compare([affinity.translate(UNIT, 0.3, 0.2)], [UNIT])
    assert errors.polis_published_m / errors.polis_m == pytest.approx(4 / 5)


def test_interiors_do_not_count_for_polis() -> None:
    court, moved = HOUSE - box(2, 2, 5, 5), affinity.translate(HOUSE, 0.5, 0.2)
    errors = compare([court, court, moved], [HOUSE, moved, court])
    assert errors.polis_m == pytest.approx([0, polis(court, moved), polis(court, moved)])
    assert errors.polis_published_m == pytest.approx([0, *2 * [published_polis(court, moved)]])


def test_iou_and_area_agree_with_shapely() -> None:
    predicted, true = houses(1, 40)
    errors = compare(predicted, true)
    for k, (one, other) in enumerate(zip(predicted, true, strict=True)):
        assert errors.iou[k] == pytest.approx(one.intersection(other).area / one.union(other).area)
        assert errors.area_error[k] == pytest.approx(one.area / other.area - 1)


def test_a_building_drawn_too_small_has_a_negative_area_error() -> None:
    assert compare([box(0, 0, 10, 9)], [box(0, 0, 10, 10)]).area_error == pytest.approx([-0.1])


def test_one_corner_too_many_lowers_the_iou_of_a_square_by_a_ninth() -> None:
    extra = Polygon([(0, 0), (0.5, 0), (1, 0), (1, 1), (0, 1)])
    errors = compare([extra], [UNIT])
    assert errors.iou == pytest.approx([1])
    assert errors.corners_predicted.tolist() == [5]
    assert errors.corners_true.tolist() == [4]
    assert outline_scores(errors, 1.0).c_iou == pytest.approx(8 / 9)


def test_c_iou_of_images_follows_polyworld() -> None:
    iou, ours, theirs = np.array([0.8, 0.5, 0.9, 1.0]), np.array([120, 30, 0, 0]), np.array([80, 30, 50, 0])
    published = iou * (1 - np.abs(ours - theirs) / (ours + theirs + 1e-9))
    np.testing.assert_allclose(c_iou(iou, ours, theirs), published, atol=1e-9)
    assert c_iou(iou, ours, theirs)[0] == pytest.approx(0.8 * 0.8)


def test_a_turned_building_has_its_turn_as_tangent_angle_and_as_orientation_error() -> None:
    errors = compare([affinity.rotate(HOUSE, 7), affinity.rotate(HOUSE, -50)], [HOUSE, HOUSE])
    assert errors.tangent_angle_deg[0] == pytest.approx(7)
    assert errors.orientation_error_deg == pytest.approx([7, 40])


def test_corners_are_near_within_the_tolerance_that_was_given() -> None:
    pair = np.array([affinity.translate(HOUSE, 0.8)]), np.array([HOUSE])
    wide, narrow = (compare_outlines(*pair, None, corner_tolerance_m=tolerance) for tolerance in (1.0, 0.5))
    assert wide.corners_near_predicted.tolist() == wide.corners_near_true.tolist() == [6]
    assert narrow.corners_near_predicted.tolist() == narrow.corners_near_true.tolist() == [0]


def test_short_steps_along_the_outline_see_a_notch_that_a_long_one_passes_over() -> None:
    square = np.array([box(0, 0, 10, 10)])
    notched = np.array([square[0] - Polygon([(4, 0), (6, 0), (5, 0.5)])])
    slope = math.degrees(math.atan2(0.5, 1))
    assert compare_outlines(square, notched, None).tangent_angle_deg == pytest.approx([slope])
    assert compare_outlines(square, notched, None, sampling_m=50).tangent_angle_deg == pytest.approx([0])


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [
        ("EPSG:4326", 13.4, 62.0),
        ("EPSG:3857", 25.0, 65.0),
        ("EPSG:2263", -73.98, 40.75),
        ("EPSG:3413", -10.0, 78.0),
    ],
    ids=["degrees", "Mercator", "feet", "polar"],
)
def test_errors_are_the_same_in_every_crs(crs: str, lon: float, lat: float) -> None:
    predicted, true = houses(2, 10)
    local = CRS.from_proj4(f"+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m")
    move = Transformer.from_crs(local, crs, always_xy=True).transform
    there = [
        [Polygon(np.column_stack(move(*house.exterior.xy))) for house in side] for side in (predicted, true)
    ]
    here, moved = compare(predicted, true), compare(*there, CRS(crs))
    for name, tolerance in [("polis_m", 2e-3), ("iou", 1e-4), ("area_error", 1e-4)]:
        np.testing.assert_allclose(getattr(moved, name), getattr(here, name), atol=tolerance)
    np.testing.assert_allclose(moved.orientation_error_deg, here.orientation_error_deg, atol=0.05)
    np.testing.assert_array_equal(moved.corners_near_true, here.corners_near_true)
    np.testing.assert_allclose(
        np.median(moved.tangent_angle_deg), np.median(here.tangent_angle_deg), atol=0.3
    )


def test_errors_do_not_depend_on_the_company() -> None:
    predicted, true = houses(3, 12)
    crs = CRS("EPSG:32633")
    shift = [[affinity.translate(house, 4e5, 5e6) for house in side] for side in (predicted, true)]
    together = compare(*shift, crs)
    parts = [compare(shift[0][k : k + 5], shift[1][k : k + 5], crs) for k in range(0, 12, 5)]
    assert_same(sum(parts[1:], parts[0]), together)
    assert_same(compare_outlines(NONE, NONE, crs) + together, together)


def test_a_pair_outside_the_crs_has_no_errors_in_metres_and_spoils_no_other() -> None:
    crs = CRS("EPSG:4326")
    house = affinity.translate(affinity.scale(HOUSE, 1e-5, 1e-5, origin=(0, 0)), 13.4, 52.5)
    drawn = affinity.translate(house, 1e-5)
    errors = compare([box(4e5, 5e6, 5e5, 6e6), drawn], [box(4e5, 5e6, 5e5, 6e6), house], crs)
    for name in ("polis_m", "polis_published_m", "tangent_angle_deg", "orientation_error_deg"):
        assert np.isnan(getattr(errors, name)[0])
    assert errors.iou[0] == 1
    assert errors.corners_near_true[0] == 0
    scores = outline_scores(errors, 1.0)
    assert scores.polis_m.mean == compare([drawn], [house], crs).polis_m[0]
    assert scores.pairs == 2


def hand_made() -> OutlineErrors:
    def values(*numbers: float) -> NDArray[np.float64]:
        return np.array(numbers, float)

    return OutlineErrors(
        polis_m=values(1, 2, 6),
        polis_published_m=values(0.5, 1, 3),
        tangent_angle_deg=values(10, np.nan, 30),
        iou=values(0.5, 0.6, 0.9),
        corners_predicted=np.array([4, 6, 10]),
        corners_true=np.array([4, 4, 8]),
        corners_near_predicted=np.array([4, 3, 5]),
        corners_near_true=np.array([4, 3, 5]),
        area_error=values(-0.2, 0.1, 0.4),
        orientation_error_deg=values(np.nan, np.nan, np.nan),
    )


def test_scores_of_three_pairs_are_those_worked_out_by_hand() -> None:
    scores = outline_scores(hand_made(), 0.7)
    assert scores.pairs == 3
    assert (scores.polis_m.mean, scores.polis_m.median, scores.polis_m.p90) == pytest.approx((3, 2, 5.2))
    assert scores.polis_published_m.mean == pytest.approx(1.5)
    assert scores.tangent_angle_deg.mean == scores.tangent_angle_deg.median == 20
    assert scores.c_iou == pytest.approx((0.5 + 0.6 * 0.8 + 0.9 * 8 / 9) / 3)
    assert scores.vertex_ratio == 20 / 16
    assert scores.corner_precision == 12 / 20
    assert scores.corner_recall == 12 / 16
    assert scores.corner_tolerance_m == 0.7
    assert scores.area_error.mean == pytest.approx(0.1)
    assert math.isnan(scores.orientation_error_deg.mean)


def test_precision_and_recall_come_from_their_own_counts() -> None:
    errors = replace(hand_made(), corners_near_predicted=np.array([0, 0, 5]))
    scores = outline_scores(errors, 1.0)
    assert (scores.corner_precision, scores.corner_recall) == (5 / 20, 12 / 16)


def test_without_pairs_nothing_is_known() -> None:
    scores = outline_scores(compare_outlines(NONE, NONE, CRS("EPSG:4326")), 1.0)
    unknown = Spread(mean=math.nan, median=math.nan, p90=math.nan)
    for field in fields(OutlineScores):
        value = getattr(scores, field.name)
        if field.name == "pairs":
            assert value == 0
        elif isinstance(value, Spread):
            np.testing.assert_equal((value.mean, value.median, value.p90), (unknown.mean,) * 3)
        elif field.name != "corner_tolerance_m":
            assert math.isnan(value)


def test_an_iou_that_is_known_is_not_computed_again() -> None:
    pair = np.array([UNIT]), np.array([affinity.translate(UNIT, 0.5)])
    assert compare_outlines(*pair, None).iou == pytest.approx([1 / 3])
    assert compare_outlines(*pair, None, iou=np.array([0.25])).iou.tolist() == [0.25]
    with pytest.raises(ValueError, match="of which 2 have an IoU"):
        compare_outlines(*pair, None, iou=np.array([0.25, 0.5]))


def test_sides_of_different_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="1 predicted and 2 true"):
        compare([UNIT], [UNIT, UNIT])


@pytest.mark.parametrize("option", ["corner_tolerance_m", "sampling_m"])
@pytest.mark.parametrize("length", [0.0, -1.0, math.nan])
def test_lengths_must_be_above_zero(option: str, length: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        compare_outlines(np.array([UNIT]), np.array([UNIT]), None, **{option: length})


def test_the_polygons_given_stay_as_they_are() -> None:
    predicted, true = (np.array(side, object) for side in houses(4, 3))
    before = shapely.to_wkb(predicted), shapely.to_wkb(true)
    compare_outlines(predicted, true, CRS("EPSG:32633"))
    assert (shapely.to_wkb(predicted) == before[0]).all()
    assert (shapely.to_wkb(true) == before[1]).all()
