from dataclasses import replace

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Geod
from shapely.geometry import Polygon, box

from buildmap.errors import InputError
from buildmap.metrics import objects
from buildmap.metrics.cells import CellDifferences
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.ground import Ground, ground_on
from buildmap.metrics.instances import IOU_STEPS, Instances
from buildmap.metrics.objects import (
    Comparison,
    ObjectCounts,
    Objects,
    add_up,
    compare,
    count_by_size,
    count_objects,
    count_regions,
    place,
)
from buildmap.metrics.outlines import OutlineErrors
from buildmap.metrics.regions import Regions
from buildmap.metrics.segmentation import Segmentation
from buildmap.metrics.sides import Buildings
from buildmap.metrics.sizes import EDGES_M2
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from buildmap.vector.store import PolygonStore
from tests.scenes import ORIGIN, UTM

X, Y = 400_000, 5_000_000
GRID = Grid(width=400, height=200, transform=ORIGIN, crs=rasterio.CRS.from_user_input(UTM))
"""200 m to the east and 100 m to the south of (X, Y)."""


def house(col: float, row: float, width: float = 10.0, height: float = 10.0) -> Polygon:
    """Give a house; column and row of its upper left corner are metres from that of the grid."""
    return box(X + col, Y - row - height, X + col + width, Y - row)


def ground(grid: Grid = GRID) -> Ground:
    return ground_on(grid, within=grid.window, aoi=None, bbox=None)


def side(
    polygons: list[Polygon],
    confidence: list[float] | None = None,
    *,
    on: Ground | None = None,
    min_area_m2: float = 0.0,
) -> Objects:
    store = PolygonStore.gather([np.array(polygons, object)])
    sure = None if confidence is None else np.array(confidence)
    return place(Buildings(store=store, confidence=sure), on or ground(), min_area_m2=min_area_m2)


def all_counted(found: Objects) -> Objects:
    return replace(found, counted=np.ones(len(found.rows), np.bool_))


def lefts(found: Objects) -> list[float]:
    """Give the left sides of buildings, metres from that of the grid."""
    return (found.store.bounds[:, 0] - X).tolist()


def comparison(predicted: list[Polygon], true: list[Polygon]) -> Comparison:
    return compare(all_counted(side(predicted)), all_counted(side(true)))


def test_buildings_go_from_the_upper_rows_down_and_keep_their_confidence() -> None:
    found = side([house(0, 60), house(40, 5), house(80, 60), house(120, 5)], [0.1, 0.2, 0.3, 0.4])
    assert lefts(found) == [40, 120, 0, 80]  # of equal rows, in the order of the layer
    assert found.confidence is not None and found.confidence.tolist() == [0.2, 0.4, 0.1, 0.3]
    assert found.rows.tolist() == [20, 20, 130, 130]
    assert found.cols.tolist() == [90, 250, 10, 170]
    assert not found.counted.any()


@pytest.mark.parametrize(
    "transform", [ORIGIN, Affine.translation(X, Y - 90) @ Affine.rotation(25) @ Affine.scale(0.5, 0.5)]
)
def test_the_pixel_of_a_building_lies_inside_it(transform: Affine) -> None:
    grid = replace(GRID, transform=transform)
    rng = np.random.default_rng(1)
    polygons = [
        shapely.Point(X + x, Y - y).buffer(6) - shapely.Point(X + x, Y - y).buffer(4)
        for x, y in rng.uniform(10, 90, (30, 2))
    ]
    found = side(polygons, on=ground(grid))
    assert (np.diff(found.rows) >= 0).all()
    for polygon, row, col in zip(found.store.take(slice(None)), found.rows, found.cols, strict=True):
        corners = [transform @ (col + dx, row + dy) for dx, dy in [(0, 0), (1, 0), (1, 1), (0, 1)]]
        assert Polygon(corners).intersects(polygon)


def test_areas_are_those_on_the_ground() -> None:
    grid = Grid(
        width=400,
        height=200,
        transform=Affine(5e-6, 0, 13.7, 0, -5e-6, 45.2),
        crs=rasterio.CRS.from_epsg(4326),
    )
    polygons = [box(13.7005, 45.1995, 13.7006, 45.1996), box(13.7010, 45.1994, 13.7013, 45.1996)]
    geod = Geod(ellps="WGS84")
    expected = [abs(geod.geometry_area_perimeter(polygon)[0]) for polygon in polygons]
    assert side(polygons, on=ground(grid)).area_m2 == pytest.approx(expected, rel=1e-5)


def test_small_buildings_are_left_out_with_all_that_is_known_of_them() -> None:
    polygons = [house(0, 60, 10, 5), house(40, 60, 10, 8), house(80, 5, 4, 4), house(120, 5, 20, 20)]
    found = side(polygons, [0.1, 0.2, 0.3, 0.4], min_area_m2=60.0)
    assert lefts(found) == [120, 40]
    assert found.confidence is not None and found.confidence.tolist() == [0.4, 0.2]
    assert found.area_m2 == pytest.approx([400, 80], rel=1e-3)
    assert len(found.rows) == len(found.cols) == len(found.counted) == 2


def test_without_a_crs_areas_are_in_its_units_and_none_can_be_too_small() -> None:
    on = ground(replace(GRID, crs=None))
    assert side([house(0, 0, 3, 4)], on=on).area_m2.tolist() == [12]
    with pytest.raises(InputError, match="areas are unknown") as error:
        side([house(0, 0)], on=on, min_area_m2=1.0)
    assert error.value.hint == "leave out --min-area-m2"


def test_no_building_is_placed_too() -> None:
    nothing = side([])
    assert len(nothing.rows) == len(nothing.area_m2) == len(nothing.store) == 0
    nothing.count_on(np.ones((10, 10), np.bool_), Window(col_off=0, row_off=0, width=10, height=10))
    assert compare(nothing, nothing).matches.iou.tolist() == []


@pytest.mark.parametrize("height", [1, 7, 90])
@pytest.mark.parametrize("grouped", [1, 65_536])
def test_a_building_counts_where_its_pixel_does(
    height: int, grouped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_AT_A_TIME", grouped)
    rng = np.random.default_rng(2)
    found = side([house(x, y, 3, 3) for x, y in rng.uniform(-30, 180, (300, 2))])
    counted = rng.random((90, 300)) < 0.5
    for row in range(0, 90, height):
        rows = counted[row : row + height]
        found.count_on(rows, Window(col_off=50, row_off=60 + row, width=300, height=len(rows)))
    expected = [
        60 <= row < 150 and 50 <= col < 350 and counted[row - 60, col - 50]
        for row, col in zip(found.rows, found.cols, strict=True)
    ]
    assert found.counted.tolist() == expected
    assert 10 < sum(expected) < 100
    assert found.placed.counted is found.counted
    assert found.placed.rows.tolist() == found.rows.tolist()


def scene() -> Comparison:
    """Give two matched, one of them on ground that does not count, one invented, one missed, one merged."""
    true = [
        house(0, 0),
        house(30, 0),
        house(60, 0),
        house(100, 0),
        house(112, 0),
        house(0, 40),
        house(150, 0),
    ]
    predicted = [house(0, 1), house(30, 2), house(100, 0, 22), house(0, 60), house(40, 60), house(150, 0, 4)]
    predicted += [house(155, 0, 4)]
    found = comparison(predicted, true)
    found.true.counted[lefts(found.true).index(30)] = False
    found.predicted.counted[lefts(found.predicted).index(40)] = False
    return found


def test_mistakes_are_named_where_they_count() -> None:
    found = scene()
    named = {
        name: sorted(lefts(kind)[index] for index in indices)
        for name, (kind, indices) in found.mistakes().items()
    }
    assert named == {
        "false": [0, 100, 150, 155],
        "missed": [0, 60, 100, 112, 150],
        "merged": [100],
        "split": [150],
    }
    false = found.mistakes()["false"]
    assert false[0] is found.predicted
    assert 60 in (Y - false[0].store.bounds[false[1], 3]).tolist()  # the lower one at 0, not the matched
    assert found.mistakes()["missed"][0] is found.true


def test_as_many_mistakes_are_named_as_are_counted() -> None:
    found = scene()
    counts = count_objects(found, ground(), Evaluation(), CellDifferences(cells=3))
    named = {name: len(indices) for name, (_, indices) in found.mistakes().items()}
    assert counts.over_iou[0] == Instances(tp=1, fp=named["false"], fn=named["missed"])
    assert (counts.segmentation.merged, counts.segmentation.split) == (named["merged"], named["split"])
    assert counts.segmentation == Segmentation(merged=1, split=1, truths_merged=2, predictions_split=2)
    assert counts.cells.cells == 3


def test_pairs_that_count_come_in_the_order_of_the_true_buildings() -> None:
    predicted = [house(30, 1), house(0, 2), house(60, 0)]
    found = comparison(predicted, [house(60, 0), house(0, 0), house(30, 0)])
    found.true.counted[lefts(found.true).index(60)] = False
    pairs = found.counted_pairs()
    assert [lefts(found.true)[index] for index in pairs.right] == [0, 30]
    assert [lefts(found.predicted)[index] for index in pairs.left] == [0, 30]
    assert pairs.iou == pytest.approx([8 / 12, 9 / 11])


@pytest.mark.parametrize("grouped", [1, 2, 65_536])
def test_outlines_are_those_of_the_pairs_however_many_at_a_time(
    grouped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_AT_A_TIME", grouped)
    true = [house(0, 0), house(30, 0), house(60, 0), house(90, 0, 20)]
    predicted = [house(30, 0, 12), house(60, 0, 10, 9), house(90, 0, 16), house(0, 0)]
    counts = count_objects(comparison(predicted, true), ground(), Evaluation(), CellDifferences())
    (errors,) = counts.outlines
    assert errors.area_error == pytest.approx([0, 0.2, -0.1, -0.2])
    assert errors.iou == pytest.approx([1, 10 / 12, 0.9, 0.8])
    # two corners of the larger one are off; those of the smaller one lie on the other's walls
    assert errors.polis_m == pytest.approx([0, 2 * 2 / 8, 2 * 1 / 8, 2 * 4 / 8], rel=1e-3)


def test_without_a_match_there_are_outlines_of_no_pair() -> None:
    counts = count_objects(
        comparison([house(0, 0)], [house(50, 0)]), ground(), Evaluation(), CellDifferences()
    )
    (errors,) = counts.outlines
    assert isinstance(errors, OutlineErrors)
    assert len(errors.iou) == 0
    without = Evaluation(measures=frozenset({"objects"}))
    assert count_objects(scene(), ground(), without, CellDifferences()).outlines == ()


def ious(counts: ObjectCounts) -> list[int]:
    return [found.tp for found in counts.over_iou]


def test_matches_are_counted_at_each_step() -> None:
    true = [house(20 * n, 0) for n in range(4)]
    predicted = [house(20 * n, 0, 10, 10 * share) for n, share in enumerate([0.5, 0.66, 0.76, 1])]
    counts = count_objects(comparison(predicted, true), ground(), Evaluation(), CellDifferences())
    expected = [sum(share >= step for share in (0.5, 0.66, 0.76, 1)) for step in IOU_STEPS]
    assert ious(counts) == expected
    assert [found.fn for found in counts.over_iou] == [4 - tp for tp in expected]


def test_ranking_knows_sizes_in_pixels_and_in_square_metres() -> None:
    found = comparison([], [house(0, 0, 15, 15), house(40, 0, 17, 17), house(80, 0, 47, 49)])
    counts = count_objects(found, ground(), Evaluation(), CellDifferences())
    # 900, 1156 and 9212 pixels of a quarter of a square metre; 225, 289 and 2303 m2
    assert counts.ranked[0].truths.tolist() == [3, 1, 2, 0, 0, 0, 2, 1]


def test_a_pair_has_the_size_of_its_true_building_and_an_invented_one_its_own() -> None:
    true, predicted = [house(0, 0, 7, 7)], [house(0, 0, 8, 8), house(40, 0, 30, 30)]
    steps = count_by_size(comparison(predicted, true))
    assert [step[0] for step in steps] == [
        Instances(tp=1),
        Instances(),
        Instances(fp=1),
        Instances(),
    ]
    assert [step[6] for step in steps] == [Instances(fn=1), Instances(fp=1), Instances(fp=1), Instances()]
    counts = count_objects(comparison(predicted, true), ground(), Evaluation(by_size=True), CellDifferences())
    assert counts.by_size == steps


def test_regions_have_the_buildings_whose_inside_points_they_hold() -> None:
    names = ["left", "right"]
    regions = Regions(np.array([house(0, 0, 50, 90), house(50, 0, 50, 90)], object), names, GRID)
    # the first pair straddles: its true building lies to the left, its predicted one to the right
    found = comparison([house(46, 0), house(70, 0), house(150, 0)], [house(43, 0), house(10, 0)])
    left, right = count_regions(found, regions)
    assert (left[0], right[0]) == (Instances(tp=1, fn=1), Instances(fp=1))


def test_counts_of_several_pairs_of_files_add_up() -> None:
    asked = Evaluation(by_size=True)
    one = count_objects(scene(), ground(), asked, CellDifferences(cells=2, count_off=3))
    other = count_objects(
        comparison([house(0, 0)], [house(0, 0), house(40, 0, 30, 30)]),
        ground(),
        asked,
        CellDifferences(cells=5, count_off=1),
    )
    both = one + other
    assert both.over_iou == add_up(one.over_iou, other.over_iou)
    assert both.over_iou[0].tp == 2 and both.over_iou[0].fn == one.over_iou[0].fn + 1
    assert both.ranked == one.ranked + other.ranked and len(both.ranked) == 2
    assert both.outlines == one.outlines + other.outlines and len(both.outlines) == 2
    assert both.segmentation.merged == 1
    assert (both.cells.cells, both.cells.count_off) == (7, 4)
    assert both.by_size[2][0] == one.by_size[2][0] + Instances(fn=1)
    assert len(both.by_size) == 4


def test_sizes_are_counted_and_add_up() -> None:
    found = comparison([house(0, 0, 8, 8), house(40, 0, 30, 30)], [house(0, 0, 7, 8)])
    one = count_objects(found, ground(), Evaluation(), CellDifferences())
    two = (one + one).sizes
    limits = (0.0, *EDGES_M2)
    assert {limits[bin_number]: two.mapped[bin_number] for bin_number in two.shown} == {
        50: 2,
        100: 0,
        200: 0,
        500: 2,
    }
    assert (sum(two.true), sum(two.found), sum(two.right)) == (2, 2, 2)
