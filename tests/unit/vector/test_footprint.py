"""Footprints on the map, with their attributes."""

from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from shapely.geometry import box

from buildmap.errors import InputError
from buildmap.vector.footprint import FootprintBatch, footprints
from buildmap.vector.neighbours import Neighbours
from buildmap.vector.outlining import Outlining
from tests.scenes import ORIGIN, UTM

EXACT = Outlining(method="raw", min_area_m2=0, min_hole_m2=0)


def cut(values: NDArray[np.uint8], height: int) -> list[NDArray[np.uint8]]:
    return [values[row : row + height] for row in range(0, len(values), height)]


def draw(values: NDArray[np.uint8], settings: Outlining = EXACT, *, height: int = 16) -> list[FootprintBatch]:
    return list(footprints(cut(values, height), transform=ORIGIN, crs=UTM, settings=settings))


def columns(batches: list[FootprintBatch]) -> list[list[object]]:
    names = [field.name for field in fields(FootprintBatch) if field.name != "polygons"]
    table = [
        np.concatenate([getattr(batch, name) for batch in batches]).astype(str).tolist() for name in names
    ]
    return [*table, [polygon.wkb for batch in batches for polygon in batch.polygons]]


def test_a_house_has_its_place_area_perimeter_and_confidence() -> None:
    values = np.zeros((40, 40), np.uint8)
    values[10:20, 6:26] = 254
    values[10:20, 6:16] = 127
    (batch,) = draw(values)
    assert batch.polygons[0].equals(box(400_003, 4_999_990, 400_013, 4_999_995))
    assert batch.footprint_id.tolist() == [1]
    assert batch.area_m2[0] == pytest.approx(50, rel=2e-3)
    assert batch.perimeter_m[0] == pytest.approx(30, rel=1e-3)
    assert batch.confidence[0] == pytest.approx(0.75)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "raw"},
        {"method": "simplify", "hysteresis": 0.9},
        {"method": "adaptive"},
        {"method": "adaptive", "split": True, "min_seed_px": 4},
        {"method": "adaptive", "split": True, "min_seed_px": 4, "outline": "subpixel"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_all_columns_are_the_same_for_any_height_of_bands(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal((90, 70)), 2)
    values = np.clip(127 + 900 * field, 0, 254).astype(np.uint8)
    monkeypatch.setattr("buildmap.vector.streaming._BAND_PX", 1)
    settings = Outlining(threshold=0.6, min_area_m2=2, min_hole_m2=1, **options)
    whole = columns(draw(values, settings, height=90))
    assert len(whole[0]) > 5
    assert columns(draw(values, settings, height=1)) == whole
    assert columns(draw(values, settings, height=13)) == whole


def test_ids_count_on_over_batches_and_small_footprints_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildmap.vector.streaming._BAND_PX", 1)
    monkeypatch.setattr("buildmap.vector.footprint.Neighbours", partial(Neighbours, 0))
    values = np.zeros((60, 20), np.uint8)
    values[2:12, 2:12] = values[20:22, 2:4] = values[40:50, 2:12] = 254
    batches = draw(values, Outlining(), height=5)
    assert [batch.footprint_id.tolist() for batch in batches] == [[1], [2]]


def test_the_smallest_area_is_that_of_the_footprint_as_it_is_written() -> None:
    values = np.zeros((30, 60), np.uint8)
    values[4:8, 4:9] = values[4:8, 20:26] = 254  # 5 m2 and 6 m2, on the ground two parts in a thousand more
    for least, count in ((4.9, 2), (5.1, 1), (6.1, 0)):
        batches = draw(values, Outlining(min_area_m2=least))
        assert sum(map(len, batches)) == count, least
        assert all((batch.area_m2 >= least).all() for batch in batches)


def test_a_turned_house_has_its_orientation_from_east_to_north_and_its_verdict() -> None:
    rows, cols = np.mgrid[:120, :120] - 60.0
    along, across = np.cos(np.radians(20)), np.sin(np.radians(20))  # rows grow downwards: north is up
    inside = (np.abs(cols * along - rows * across) < 40) & (np.abs(cols * across + rows * along) < 25)
    (batch,) = draw(np.where(inside, 254, 0).astype(np.uint8), Outlining())
    assert batch.orientation_deg[0] == pytest.approx(20, abs=1.5)  # of which 1.1 are the grid's convergence
    assert batch.method.tolist() == ["adaptive"]
    assert 0.95 < batch.iou_raw[0] < 1
    assert 0 < batch.max_shift_m[0] < 1
    assert batch.edge_certainty.tolist() == [1.0]
    exact = draw(np.where(inside, 254, 0).astype(np.uint8))[0].polygons[0]
    assert batch.iou_raw[0] == pytest.approx(
        exact.intersection(batch.polygons[0]).area / exact.union(batch.polygons[0]).area, abs=1e-6
    )
    one, other = exact.exterior, batch.polygons[0].exterior
    shifts = [one.distance(shapely.Point(corner)) for corner in other.coords]
    shifts += [other.distance(shapely.Point(corner)) for corner in one.coords]
    assert batch.max_shift_m[0] == pytest.approx(max(shifts), rel=2e-3)


def test_small_holes_are_filled_in_square_metres() -> None:
    values = np.full((40, 40), 254, np.uint8)
    values[4:6, 4:6] = values[20:30, 20:30] = 0
    (kept,) = draw(values, Outlining(threshold=0.5, min_hole_m2=5))
    assert len(kept.polygons[0].interiors) == 1
    assert kept.area_m2[0] == pytest.approx(400 - 25, rel=2e-3)


def test_tolerance_is_in_metres_on_the_ground_in_degrees_too() -> None:
    rows, cols = np.mgrid[:60, :60]
    values = np.where(np.abs(rows - cols) < 12, 254, 0).astype(np.uint8)
    transform = Affine(5e-6, 0, 13.4, 0, -5e-6, 52.5)
    corners = []
    for simplify_m in (0.0, None, 2.0):
        settings = Outlining(method="simplify", simplify_m=simplify_m)
        (batch,) = footprints([values], transform=transform, crs="EPSG:4326", settings=settings)
        corners.append(int(shapely.get_num_coordinates(batch.polygons)[0]))
        assert batch.polygons[0].is_valid
        assert batch.polygons[0].exterior.is_ccw
    assert corners[0] > 100 > corners[1] > corners[2]


def test_threshold_zero_takes_every_valid_pixel_and_no_other() -> None:
    values = np.zeros((8, 8), np.uint8)
    values[:, 4:] = 255
    (batch,) = draw(values, Outlining(threshold=0, method="raw", min_area_m2=0))
    assert batch.polygons[0].equals(box(400_000, 4_999_996, 400_002, 5_000_000))


def test_nothing_found_gives_no_batch() -> None:
    assert draw(np.zeros((8, 8), np.uint8)) == []
    assert list(footprints([], transform=ORIGIN, crs=UTM, settings=EXACT)) == []


def test_a_raster_without_crs_is_refused_before_the_first_strip_is_read() -> None:
    def strips() -> object:
        pytest.fail("a strip was read")
        yield

    with pytest.raises(InputError, match="no CRS"):
        next(footprints(strips(), transform=ORIGIN, crs=None, settings=EXACT))  # type: ignore[arg-type]


def test_the_method_that_looks_at_all_outlines_first_is_no_stream() -> None:
    with pytest.raises(ValueError, match="all outlines"):
        next(footprints([], transform=ORIGIN, crs=UTM, settings=Outlining(method="paper")))


@pytest.mark.parametrize("method", ["raw", "simplify", "adaptive"])
def test_what_stands_in_a_hole_that_was_filled_is_no_footprint(method: Any) -> None:
    values = np.zeros((60, 60), np.uint8)
    values[5:55, 5:55] = 254
    values[10:16, 10:16], values[12:14, 12:14] = 0, 254  # 9 m2 with a hut of 1 m2
    values[30:50, 30:50], values[35:45, 35:45] = 0, 254  # a yard with a house
    settings = Outlining(method=method, min_area_m2=0, min_hole_m2=10)
    (batch,) = draw(values, settings, height=7)
    assert sorted(np.round(batch.area_m2)) == [25, 625 - 100]
    open_hole = draw(values, Outlining(method=method, min_area_m2=0, min_hole_m2=8))
    assert sum(map(len, open_hole)) == 3
