"""What a network finds in a window becomes polygons of the raster, each building once."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from shapely import Polygon, box

from buildmap.inference.finding import Finding
from buildmap.inference.instance_backend import Found
from buildmap.inference.objects import Seen, objects_in
from buildmap.raster.windows import PlannedWindow, Window
from tests.unit.inference.instance_models import SIDE, corner_heat

FINDING = Finding(min_score=0.5, threshold=0.5, grouping="along", margin_px=8)
WINDOW = Window(col_off=100, row_off=200, width=80, height=64)
CORE = Window(col_off=116, row_off=216, width=48, height=32)
SEEN = Seen(
    planned=PlannedWindow(core=CORE, read=WINDOW), valid=np.ones((64, 80), np.bool_), raster_px=(1000, 1000)
)


def found(boxes: list[tuple[float, ...]], **changes: Any) -> Found:
    """Find boxes, their masks whole and their corners seen, the first the surest."""
    count = len(boxes)
    made = Found(
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        scores=np.linspace(0.9, 0.6, count) if count > 1 else np.full(count, 0.9),
        masks=np.ones((count, SIDE, SIDE), np.float32),
        heatmaps=np.repeat(corner_heat(), count, axis=0),
    )
    return replace(made, **changes)


def boxes_of(found: Found, **finding: Any) -> list[tuple[float, ...]]:
    objects = objects_in(found, SEEN, replace(FINDING, **finding))
    return [tuple(map(float, np.round(one, 4))) for one in shapely.bounds(objects.polygons).reshape(-1, 4)]


def test_an_object_lies_in_the_raster_where_its_box_lies_in_the_window() -> None:
    objects = objects_in(found([(30, 20, 50, 36)]), SEEN, FINDING)
    assert shapely.hausdorff_distance(objects.polygons[0], box(130, 220, 150, 236)) < 1e-4
    assert (objects.score[0], objects.class_id[0], objects.method[0]) == (0.9, 0, "along")
    assert objects.iou_raw[0] == pytest.approx(1)
    assert objects.window.tolist() == [[100, 200, 180, 264]]
    assert objects.is_cut.tolist() == [False]


def test_objects_with_a_low_score_or_without_a_box_are_none() -> None:
    some = found([(30, 20, 50, 36), (20, 40, 30, 50), (60, 20, 60, 30), (40, 44, 30, 50)])
    assert boxes_of(some) == [(130, 220, 150, 236), (120, 240, 130, 250)]
    assert boxes_of(some, min_score=0.85) == [(130, 220, 150, 236)]
    assert boxes_of(replace(some, scores=np.full(4, np.nan))) == []
    assert boxes_of(found([])) == []


def test_objects_belong_to_the_window_in_whose_core_their_centre_lies_or_nearly() -> None:
    inside = (16.0, 16.0, 26.0, 26.0)
    beyond = (2.0, 30.0, 8.0, 40.0)  # its centre is 11 pixels outside
    nearly = (4.0, 50.0, 14.0, 52.0)  # 7 and 3
    assert boxes_of(found([inside, beyond, nearly])) == [(116, 216, 126, 226), (104, 250, 114, 252)]
    assert boxes_of(found([inside, beyond, nearly]), margin_px=0) == [(116, 216, 126, 226)]


def test_the_same_building_twice_is_there_once_and_the_surer_stays() -> None:
    sure, doubtful = (30.0, 20.0, 50.0, 36.0), (31.0, 21.0, 52.0, 37.0)
    assert boxes_of(found([sure, doubtful])) == [(130, 220, 150, 236)]
    part = (30.0, 20.0, 40.0, 26.0)  # IoU 0.19, but all of it lies in the other
    assert boxes_of(found([sure, part])) == [(130, 220, 150, 236)]
    assert boxes_of(found([part, sure])) == [(130, 220, 140, 226)]
    beside = (49.0, 20.0, 69.0, 36.0)
    assert len(boxes_of(found([sure, beside]))) == 2
    swapped = found([sure, doubtful], scores=np.array([0.6, 0.9]))
    assert boxes_of(swapped) == [(131, 221, 152, 237)]


def test_the_order_in_which_objects_are_found_plays_no_part() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(5, 45, (60, 2))
    boxes = np.column_stack([corner, corner + rng.uniform(4, 20, (60, 2))])
    some = found([tuple(one) for one in boxes], scores=rng.choice([0.6, 0.7, 0.8], 60))
    expected = sorted(boxes_of(some))
    assert 5 < len(expected) < 50
    for _ in range(3):
        assert sorted(boxes_of(some.take(rng.permutation(60)))) == expected


def test_no_pair_that_stays_matches() -> None:
    rng = np.random.default_rng(1)
    corner = rng.uniform(5, 45, (80, 2))
    boxes = [tuple(one) for one in np.column_stack([corner, corner + rng.uniform(4, 20, (80, 2))])]
    polygons = objects_in(found(boxes), SEEN, FINDING).polygons
    one, other = np.triu_indices(len(polygons), 1)
    shared = shapely.area(shapely.intersection(polygons[one], polygons[other]))
    smaller = np.minimum(shapely.area(polygons[one]), shapely.area(polygons[other]))
    assert len(polygons) > 8
    assert (shared / smaller < 0.7).all()
    assert (shared / shapely.area(shapely.union(polygons[one], polygons[other])) < 0.5).all()


def test_keypoints_that_fail_leave_the_outline_of_the_mask_and_say_why() -> None:
    heat = np.zeros((3, SIDE, SIDE), np.float32)
    heat[1, [2, 25, 14], [2, 25, 2]] = 0.9  # a triangle, which is unlike the mask
    heat[2] = corner_heat()
    objects = objects_in(
        found([(20, 20, 30, 30), (34, 20, 44, 30), (48, 20, 58, 30)], heatmaps=heat), SEEN, FINDING
    )
    assert objects.method.tolist() == ["few", "unlike", "along"]
    assert objects.iou_raw.tolist() == [1, 1, pytest.approx(1)]
    assert objects.polygons[1].equals(box(134, 220, 144, 230))
    (lower,) = objects_in(
        found([(20, 20, 30, 30)], heatmaps=0.25 * corner_heat()), SEEN, replace(FINDING, peak_min=0.2)
    ).method
    assert lower == "along"


def test_a_network_without_keypoints_gives_the_outlines_of_masks() -> None:
    mask = np.ones((1, 10, 10), np.float32)
    mask[0, :5, 5:] = 0
    objects = objects_in(found([(20, 20, 30, 30)], masks=mask, heatmaps=None), SEEN, FINDING)
    corner = Polygon([(120, 220), (125, 220), (125, 225), (130, 225), (130, 230), (120, 230)])
    assert objects.polygons[0].equals(corner)
    assert objects.method.tolist() == ["few"]


def test_a_network_without_masks_joins_corners_from_nearest_to_nearest_and_believes_them() -> None:
    heat = np.zeros((1, SIDE, SIDE), np.float32)
    heat[0, [0, 0, 27], [0, 27, 0]] = 0.9
    objects = objects_in(
        found([(20, 20, 48, 48), (60, 20, 70, 30)], masks=None, heatmaps=np.concatenate([heat, 0 * heat])),
        SEEN,
        FINDING,
    )
    assert objects.method.tolist() == ["walk", "few"]
    triangle = Polygon([(120.5, 220.5), (147.5, 220.5), (120.5, 247.5)])
    assert shapely.hausdorff_distance(objects.polygons[0], triangle) < 1
    assert objects.polygons[1].equals(box(160, 220, 170, 230))


def test_grouping_is_as_the_user_wants() -> None:
    assert objects_in(found([(30, 20, 50, 36)]), SEEN, replace(FINDING, grouping="walk")).method == ["walk"]


def test_what_reaches_over_the_window_ends_there() -> None:
    edge = PlannedWindow(core=Window(col_off=100, row_off=216, width=48, height=32), read=WINDOW)
    seen = replace(SEEN, planned=edge)
    for masks in (np.ones((1, SIDE, SIDE), np.float32), None):
        objects = objects_in(found([(-20, 20, 40, 36)], masks=masks), seen, FINDING)
        assert objects.polygons[0].bounds == pytest.approx((100, 220, 140, 236), abs=1e-4)
        assert objects.is_cut.tolist() == [True]
    at_border = replace(
        seen,
        planned=PlannedWindow(core=replace(CORE, col_off=0), read=replace(WINDOW, col_off=0)),
    )
    assert objects_in(found([(-20, 20, 40, 36)]), at_border, FINDING).is_cut.tolist() == [False]


def test_no_object_lies_where_there_is_no_data() -> None:
    valid = SEEN.valid.copy()
    valid[:, 40:] = False
    seen = replace(SEEN, valid=valid)
    (cut,) = objects_in(found([(30, 20, 50, 36)], heatmaps=None), seen, FINDING).polygons
    assert cut.equals(box(130, 220, 140, 236))
    assert len(objects_in(found([(44, 20, 54, 36)]), seen, FINDING)) == 0
    assert len(objects_in(found([(44, 20, 54, 36)], masks=None), seen, FINDING)) == 0
    assert len(objects_in(found([(20, 20, 50, 36)], masks=None), seen, FINDING)) == 1
