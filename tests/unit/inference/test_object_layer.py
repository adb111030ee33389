"""Buildings in pixels get their place, their measures and the reasons for their outlines."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from pyproj import Geod
from rasterio import Affine
from rasterio.crs import CRS
from shapely import MultiPolygon, box

from buildmap.errors import InputError
from buildmap.inference.object_layer import place_objects
from buildmap.raster.grid import Grid
from buildmap.vector.instance_rules import Candidates, no_candidates
from buildmap.vector.writing.objects import ObjectBatch
from tests.scenes import ORIGIN

GRID = Grid(width=400, height=400, transform=ORIGIN, crs=CRS.from_epsg(32633))
CLASSES = ("building", "hut")


def candidates(boxes: list[tuple[float, ...]], **changes: object) -> Candidates:
    count = len(boxes)
    made = Candidates(
        polygons=np.array([box(*one) for one in boxes], np.object_),
        score=np.linspace(0.5, 0.9, count),
        class_id=np.arange(count) % 2,
        method=np.full(count, "along", np.object_),
        iou_raw=np.full(count, 0.8),
        window=np.tile([0, 0, 64, 64], (count, 1)),
        is_cut=np.zeros(count, np.bool_),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def place(*batches: Candidates, grid: Grid = GRID, **options: object) -> list[ObjectBatch]:
    given = {"classes": CLASSES, "min_area_m2": 0.0} | options
    return list(place_objects(batches, grid=grid, **given))  # type: ignore[arg-type]


def test_a_building_has_its_place_and_true_measures() -> None:
    (batch,) = place(candidates([(10, 20, 50, 40)]), source_date="2024-06")
    left, top = ORIGIN @ (10, 20)
    assert batch.polygons[0].equals(box(left, top - 10, left + 20, top))
    assert shapely.is_ccw(batch.polygons[0].exterior)
    # a UTM zone is 0.9996 times as long as the ground in its middle, here 0.99972
    assert batch.area_m2[0] == pytest.approx(200 / 0.99972**2, rel=1e-4)
    assert batch.perimeter_m[0] == pytest.approx(60 / 0.99972, rel=1e-4)
    assert batch.orientation_deg[0] % 90 == pytest.approx(0, abs=1.5) or batch.orientation_deg[0] > 88.5
    assert (batch.score[0], batch.class_[0], batch.source_date[0]) == (0.5, "building", "2024-06")


def test_degrees_are_measured_on_the_ground() -> None:
    transform = Affine(1e-5, 0, 13.4, 0, -1e-5, 52.5)
    grid = Grid(width=100, height=100, transform=transform, crs=CRS.from_epsg(4326))
    (batch,) = place(candidates([(10, 20, 40, 40)]), grid=grid)
    expected, _ = Geod(ellps="WGS84").geometry_area_perimeter(batch.polygons[0])
    assert batch.area_m2[0] == pytest.approx(expected, rel=1e-4)


def test_each_outline_says_how_it_was_drawn_and_why() -> None:
    methods = ["along", "walk", "few", "crossing", "unlike", "united"]
    some = candidates([(n * 10, 0, n * 10 + 5, 5) for n in range(6)], method=np.array(methods, np.object_))
    (batch,) = place(some)
    assert batch.method.tolist() == ["along", "walk", "raw", "raw", "raw", "united"]
    assert batch.verdict.tolist() == ["kept", "kept", "few", "crossing", "unlike", "united"]
    assert batch.class_.tolist() == ["building", "hut"] * 3


def test_numbers_run_on_and_nothing_gives_no_batch() -> None:
    first, second = candidates([(0, 0, 5, 5), (10, 0, 15, 5)]), candidates([(0, 30, 5, 35)])
    batches = place(first, no_candidates(), second)
    assert [batch.footprint_id.tolist() for batch in batches] == [[1, 2], [3]]
    assert place(no_candidates()) == []


def test_small_buildings_and_those_outside_the_crs_are_left_out() -> None:
    some = candidates([(0, 0, 4, 4), (10, 0, 20, 10), (30, 0, 34, 3)])
    (batch,) = place(some, min_area_m2=4.0)
    assert batch.score.tolist() == some.score[:2].tolist()
    assert batch.footprint_id.tolist() == [1, 2]
    beyond = replace(GRID, transform=Affine(0.5, 0, 4e8, 0, -0.5, 5e6))
    assert place(some, grid=beyond) == []


def test_a_building_is_wanted_where_its_centre_lies_inside() -> None:
    some = candidates([(0, 0, 20, 20), (18, 0, 38, 20), (40, 40, 60, 60), (90, 90, 99, 99)])
    ground = MultiPolygon([box(0, 0, 25, 25), box(50, 50, 70, 70)])  # the corner of the second is a centre
    on_map = shapely.transform(ground, lambda points: np.column_stack(ORIGIN @ tuple(points.T)))
    (batch,) = place(some, wanted=shapely.to_wkb(on_map))
    assert batch.score.tolist() == some.score[[0, 2]].tolist()
    assert place(some.take(np.array([3])), wanted=shapely.to_wkb(on_map)) == []


def test_a_layer_needs_a_crs() -> None:
    with pytest.raises(InputError, match="without a CRS"):
        place(candidates([(0, 0, 4, 4)]), grid=replace(GRID, crs=None))
