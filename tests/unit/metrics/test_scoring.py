from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import Polygon, box

from buildmap.errors import InputError
from buildmap.execution.progress import Silent
from buildmap.metrics.confusion import Confusion, count
from buildmap.metrics.instances import Instances
from buildmap.metrics.scoring import Evaluation, PairCounts, score_pair
from tests.scenes import ORIGIN, UTM, blocks_mask, write_layer, write_raster

X, Y = 400_000, 5_000_000


def score(prediction: Path, truth: Path, **choices: object) -> PairCounts:
    return score_pair(prediction, truth, Evaluation(**choices), progress=Silent())


def house(col: float, row: float, side: float = 5.0) -> Polygon:
    """Give a square house; column and row are metres from the upper left corner."""
    return box(X + col, Y - row - side, X + col + side, Y - row)


def write_probability(path: Path, probability: np.ndarray, valid: np.ndarray, **where: object) -> Path:
    """Write 0..254 as `predict` does."""
    write_raster(path, np.where(valid, np.rint(probability * 254), 255).astype(np.uint8), nodata=255, **where)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (1 / 254,)
    return path


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, Path, np.ndarray, np.ndarray, np.ndarray]:
    """Give files of a prediction and a truth with holes in both, and their arrays."""
    rng = np.random.default_rng(5)
    truth = blocks_mask(rng, 90, 110, 20)
    probability = np.clip(np.roll(truth, 1, axis=1) * 0.5 + rng.uniform(0, 0.6, truth.shape), 0, 1)
    valid_p, valid_t = np.ones((2, *truth.shape), bool)
    valid_p[30:40, 20:60], valid_t[:, 100:] = False, False
    prediction = write_probability(tmp_path / "p.tif", probability, valid_p)
    true = write_raster(tmp_path / "t.tif", np.where(valid_t, truth, 9).astype(np.uint8), nodata=9)
    return prediction, true, np.rint(probability * 254) >= 127, truth > 0, valid_p & valid_t


@pytest.mark.parametrize("rows", [1, 7, 64, None])
def test_strips_give_what_the_whole_arrays_give(scene: tuple, rows: int | None) -> None:
    prediction, truth, mask, true_mask, counted = scene
    got = score(prediction, truth, strip_rows=rows)
    assert got.confusion == count(mask, true_mask, counted)
    assert got.instances == score(prediction, truth, strip_rows=90).instances
    assert got.instances.tp + got.instances.fn > 3


def test_the_threshold_decides_what_a_building_is(scene: tuple) -> None:
    prediction, truth, _, true_mask, counted = scene
    with rasterio.open(prediction) as dataset:
        values = dataset.read(1)
    got = score(prediction, truth, threshold=0.75)
    assert got.confusion == count(values >= 191, true_mask, counted)


@pytest.mark.parametrize("rows", [3, 40])
def test_an_area_of_interest_in_another_crs_counts_its_pixels_and_buildings_only(
    tmp_path: Path, rows: int
) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(10, 10), house(30, 10), house(60, 10)])
    pixels = np.zeros((100, 160), np.uint8)
    pixels[20:30, 20:30] = pixels[20:30, 120:130] = pixels[60:70, 60:70] = pixels[60:70, 140:150] = 1
    prediction = write_raster(tmp_path / "p.tif", pixels)
    area = gpd.GeoSeries([box(X, Y - 50, X + 50, Y)], crs=UTM).to_crs(3857)
    aoi = write_layer(tmp_path / "aoi.gpkg", list(area), crs="EPSG:3857")
    got = score(prediction, truth, aoi=aoi, strip_rows=rows)
    assert got.confusion == Confusion(tp=100, fp=100, fn=100, tn=100 * 100 - 300)
    assert got.instances == Instances(tp=1, fp=1, fn=1)
    limited = score(prediction, truth, bbox=(X, Y - 50, X + 50, Y), strip_rows=rows)
    assert limited == got
    both = score(prediction, truth, aoi=aoi, bbox=(X, Y - 20, X + 20, Y))
    assert both.instances == Instances(tp=1)


def test_a_building_without_valid_ground_in_both_is_no_object(tmp_path: Path) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(10, 10), house(30, 10)])
    valid = np.ones((60, 90), bool)
    valid[15:35, 55:75] = False
    prediction = write_probability(tmp_path / "p.tif", np.zeros((60, 90)), valid)
    assert score(prediction, truth).instances == Instances(fn=1)
    assert score(prediction, truth).confusion == Confusion(fn=100, tn=60 * 90 - 400 - 100)


def test_buildings_are_matched_one_to_one(tmp_path: Path) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(0, 0, 10), house(20, 0, 10), house(40, 0, 10)])
    found = [
        house(0, 1, 10),
        box(X + 20, Y - 10, X + 24.9, Y),
        box(X + 25.1, Y - 10, X + 30, Y),
        house(60, 0, 10),
    ]
    prediction = write_layer(tmp_path / "p.gpkg", found)
    area = write_layer(tmp_path / "aoi.gpkg", [box(X - 5, Y - 20, X + 100, Y + 5)])
    assert score(prediction, truth, aoi=area).instances == Instances(tp=1, fp=3, fn=2)


def test_small_buildings_can_be_left_out_of_the_objects(tmp_path: Path) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(0, 0, 10), house(20, 0, 2)])
    prediction = write_layer(tmp_path / "p.gpkg", [house(0, 0, 10), house(20, 3, 2)])
    everything, large = score(prediction, truth), score(prediction, truth, min_area_m2=50.0)
    assert everything.instances.fn == 1
    assert large.instances == Instances(tp=1)
    assert large.confusion == everything.confusion


def test_areas_need_a_crs(tmp_path: Path) -> None:
    pixels = write_raster(
        tmp_path / "p.tif", np.ones((8, 8), np.uint8), crs=None, transform=Affine(1, 0, 5, 0, 1, 5)
    )
    with pytest.raises(InputError, match="areas are unknown"):
        score(pixels, pixels, min_area_m2=1.0)


def test_two_empty_layers_agree(tmp_path: Path) -> None:
    empty = tmp_path / "none.gpkg"
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(empty, geometry_type="Polygon")
    got = score(empty, empty)
    assert got.instances == Instances()
    assert got.confusion.iou == 1


def test_a_prediction_where_nothing_is_true_is_all_wrong(tmp_path: Path) -> None:
    empty = tmp_path / "none.gpkg"
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(empty, geometry_type="Polygon")
    some = write_layer(tmp_path / "p.gpkg", [house(0, 0)])
    got = score(some, empty, gsd_m=0.5)
    assert got.instances == Instances(fp=1)
    assert (got.confusion.tp, got.confusion.fp, got.confusion.fn) == (0, 100, 0)


def test_layers_of_elsewhere_are_refused(tmp_path: Path) -> None:
    here = write_layer(tmp_path / "t.gpkg", [house(0, 0)])
    there = write_layer(tmp_path / "p.gpkg", [house(5000, 0)])
    with pytest.raises(InputError, match=r"p\.gpkg does not touch"):
        score(there, here)


def test_no_valid_pixel_in_common_is_refused(tmp_path: Path) -> None:
    left = np.zeros((20, 20), np.uint8)
    left[:, 10:] = 9
    a = write_raster(tmp_path / "a.tif", left, nodata=9)
    b = write_raster(tmp_path / "b.tif", left[:, ::-1].copy(), nodata=9)
    with pytest.raises(InputError, match="no valid pixel in common"):
        score(a, b)


def test_progress_is_told_of_every_strip(scene: tuple) -> None:
    class Told:
        def __init__(self) -> None:
            self.tasks: list[list[int]] = []

        def start(self, task: str, total: int) -> None:
            assert task
            self.tasks.append([total, 0])

        def advance(self, steps: int = 1) -> None:
            self.tasks[-1][1] += steps

    told = Told()
    score_pair(scene[0], scene[1], Evaluation(strip_rows=20), progress=told)
    assert told.tasks == [[5, 5]] * 3


@pytest.mark.parametrize(
    "transform", [ORIGIN, Affine.translation(X, Y) @ Affine.rotation(20) @ Affine.scale(0.5, 0.5)]
)
def test_rasters_without_a_crs_but_the_same_grid_are_compared(tmp_path: Path, transform: Affine) -> None:
    mask = blocks_mask(np.random.default_rng(1), 40, 40)
    path = write_raster(tmp_path / "a.tif", mask, crs=None, transform=transform)
    got = score(path, path)
    assert got.confusion == Confusion(tp=int(mask.sum()), tn=int((mask == 0).sum()))
    assert got.instances.fp == got.instances.fn == 0 < got.instances.tp
