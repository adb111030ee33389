from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import Polygon, box

from buildmap.errors import InputError, MissingInput
from buildmap.execution.progress import Silent
from buildmap.metrics import scoring
from buildmap.metrics.boundary import boundary_counts
from buildmap.metrics.cells import Cells
from buildmap.metrics.confusion import Confusion, count
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.ground import Ground
from buildmap.metrics.instances import Instances
from buildmap.metrics.scoring import PairFindings, boundary_width_px, score_pair
from buildmap.metrics.sides import Side
from buildmap.metrics.similarity import similarity_sum
from buildmap.metrics.topology import Topology
from buildmap.metrics.worst import WorstPlaces
from tests.scenes import ORIGIN, UTM, blocks_mask, write_layer, write_raster

X, Y = 400_000, 5_000_000


def score(prediction: Path, truth: Path, **choices: object) -> PairFindings:
    return score_pair(prediction, truth, Evaluation(**choices), progress=Silent())


def pixels(found: PairFindings, lowest: int = 127) -> Confusion:
    return found.counts.histogram.confusion(lowest)


def instances(found: PairFindings) -> Instances:
    assert found.counts.objects is not None
    return found.counts.objects.over_iou[0]


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
    got, whole = score(prediction, truth, strip_rows=rows), score(prediction, truth, strip_rows=90)
    assert pixels(got) == count(mask, true_mask, counted)
    rows_of_all = slice(0, 90)
    assert got.counts.boundary == boundary_counts(
        mask, true_mask, counted, width_px=2, at_top=True, at_bottom=True, rows=rows_of_all
    )
    assert got.counts.similarity == similarity_sum(mask, true_mask, counted, rows=rows_of_all)
    assert got.counts.similarity.pixels > 1000 and got.counts.boundary.either > 100
    assert got.counts.objects is not None and whole.counts.objects is not None
    assert got.counts.objects.over_iou == whole.counts.objects.over_iou
    assert got.counts.objects.cells == whole.counts.objects.cells
    assert got.counts.objects.segmentation == whole.counts.objects.segmentation
    for one, other in zip(got.counts.objects.ranked, whole.counts.objects.ranked, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.right, other.right)
        np.testing.assert_array_equal(one.wrong, other.wrong)
    assert instances(got).tp + instances(got).fn > 3


def test_the_threshold_decides_what_a_building_is(scene: tuple) -> None:
    prediction, truth, _, true_mask, counted = scene
    with rasterio.open(prediction) as dataset:
        values = dataset.read(1)
    got = score(prediction, truth, threshold=0.75)
    assert pixels(got, 191) == count(values >= 191, true_mask, counted)
    assert got.counts.boundary == boundary_counts(
        values >= 191, true_mask, counted, rows=slice(0, 90), width_px=2, at_top=True, at_bottom=True
    )


def test_the_histogram_holds_every_value_with_its_truth(scene: tuple) -> None:
    prediction, truth, _, true_mask, counted = scene
    with rasterio.open(prediction) as dataset:
        values = dataset.read(1)
    got = score(prediction, truth, strip_rows=11).counts.histogram
    for true in (False, True):
        expected = np.bincount(values[counted & (true_mask == true)], minlength=255)
        np.testing.assert_array_equal(got.counts[int(true)], expected)


def test_at_a_threshold_of_0_everything_is_predicted_but_only_buildings_are_true(scene: tuple) -> None:
    prediction, truth, _, true_mask, counted = scene
    got = score(prediction, truth, threshold=0.0)
    true = int((true_mask & counted).sum())
    assert pixels(got, 0) == Confusion(tp=true, fp=int(counted.sum()) - true)
    assert instances(got).fn > 3


@pytest.mark.parametrize("rows", [3, 40])
def test_an_area_of_interest_in_another_crs_counts_its_pixels_and_buildings_only(
    tmp_path: Path, rows: int
) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(10, 10), house(30, 10), house(60, 10)])
    mask = np.zeros((100, 160), np.uint8)
    mask[20:30, 20:30] = mask[20:30, 120:130] = mask[60:70, 60:70] = mask[60:70, 140:150] = 1
    prediction = write_raster(tmp_path / "p.tif", mask)
    area = gpd.GeoSeries([box(X, Y - 50, X + 50, Y)], crs=UTM).to_crs(3857)
    aoi = write_layer(tmp_path / "aoi.gpkg", list(area), crs="EPSG:3857")
    got = score(prediction, truth, aoi=aoi, strip_rows=rows)
    assert pixels(got) == Confusion(tp=100, fp=100, fn=100, tn=100 * 100 - 300)
    assert instances(got) == Instances(tp=1, fp=1, fn=1)
    limited = score(prediction, truth, bbox=(X, Y - 50, X + 50, Y), strip_rows=rows)
    assert limited.counts.histogram == got.counts.histogram
    assert limited.counts.boundary == got.counts.boundary
    assert limited.counts.similarity == got.counts.similarity
    assert instances(limited) == instances(got)
    both = score(prediction, truth, aoi=aoi, bbox=(X, Y - 20, X + 20, Y))
    assert instances(both) == Instances(tp=1)


def test_a_building_without_valid_ground_in_both_is_no_object(tmp_path: Path) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(10, 10), house(30, 10)])
    valid = np.ones((60, 90), bool)
    valid[15:35, 55:75] = False
    prediction = write_probability(tmp_path / "p.tif", np.zeros((60, 90)), valid)
    got = score(prediction, truth)
    assert instances(got) == Instances(fn=1)
    assert pixels(got) == Confusion(fn=100, tn=60 * 90 - 400 - 100)


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
    got = score(prediction, truth, aoi=area)
    assert instances(got) == Instances(tp=1, fp=3, fn=2)
    assert got.counts.objects is not None
    assert got.counts.objects.segmentation.split == 1


def test_small_buildings_can_be_left_out_of_the_objects(tmp_path: Path) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(0, 0, 10), house(20, 0, 2)])
    prediction = write_layer(tmp_path / "p.gpkg", [house(0, 0, 10), house(20, 3, 2)])
    everything, large = score(prediction, truth), score(prediction, truth, min_area_m2=50.0)
    assert instances(everything).fn == 1
    assert instances(large) == Instances(tp=1)
    assert large.counts.histogram == everything.counts.histogram


def test_areas_need_a_crs(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "p.tif", np.ones((8, 8), np.uint8), crs=None, transform=Affine(1, 0, 5, 0, 1, 5)
    )
    with pytest.raises(InputError, match="areas are unknown"):
        score(path, path, min_area_m2=1.0)


def test_two_empty_layers_agree(tmp_path: Path) -> None:
    empty = tmp_path / "none.gpkg"
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(empty, geometry_type="Polygon")
    got = score(empty, empty)
    assert instances(got) == Instances()
    assert pixels(got) == Confusion(tn=1)
    assert got.counts.topology == Topology(
        polygons=0, invalid=0, self_intersections=0, overlaps=0, overlap_m2=0
    )


def test_a_prediction_where_nothing_is_true_is_all_wrong(tmp_path: Path) -> None:
    empty = tmp_path / "none.gpkg"
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(empty, geometry_type="Polygon")
    some = write_layer(tmp_path / "p.gpkg", [house(0, 0)])
    got = score(some, empty, gsd_m=0.5)
    assert instances(got) == Instances(fp=1)
    assert (pixels(got).tp, pixels(got).fp, pixels(got).fn) == (0, 100, 0)


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
    told.tasks.clear()
    score_pair(scene[0], scene[1], Evaluation(strip_rows=20, measures=frozenset()), progress=told)
    assert told.tasks == [[5, 5]]


@pytest.mark.parametrize(
    "transform", [ORIGIN, Affine.translation(X, Y) @ Affine.rotation(20) @ Affine.scale(0.5, 0.5)]
)
def test_rasters_without_a_crs_but_the_same_grid_are_compared(tmp_path: Path, transform: Affine) -> None:
    mask = blocks_mask(np.random.default_rng(1), 40, 40)
    path = write_raster(tmp_path / "a.tif", mask, crs=None, transform=transform)
    got = score(path, path)
    assert pixels(got) == Confusion(tp=int(mask.sum()), tn=int((mask == 0).sum()))
    assert instances(got).fp == instances(got).fn == 0 < instances(got).tp
    assert got.gsd_m is None and got.grid.crs is None
    assert got.counts.boundary_px == 2  # a unit of the CRS is taken for a metre
    assert got.cells.cell_px == 200


@pytest.mark.parametrize("name", ["boundary", "ssim", "objects", "outlines", "topology"])
def test_what_is_not_asked_for_is_not_measured(tmp_path: Path, name: str) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(0, 0, 10)])
    counts = score(truth, truth, measures=frozenset({name})).counts
    takes_objects = name in ("objects", "outlines")
    assert (counts.boundary is not None) == (name == "boundary")
    assert (counts.similarity is not None) == (name == "ssim")
    assert (counts.objects is not None) == takes_objects
    assert (counts.topology is not None) == (name == "topology")
    if counts.objects is not None:
        assert bool(counts.objects.outlines) == (name == "outlines")
        assert counts.objects.by_size == ()


def test_the_topology_is_that_of_the_predicted_layer_only(tmp_path: Path) -> None:
    overlapping = write_layer(tmp_path / "o.gpkg", [house(0, 0, 10), house(5, 0, 10)])
    sound = write_layer(tmp_path / "s.gpkg", [house(0, 0, 10)])
    faults = score(overlapping, sound).counts.topology
    assert faults is not None
    assert (faults.polygons, faults.overlaps) == (2, 1)
    assert faults.overlap_m2 == pytest.approx(50, rel=1e-3)
    fine = score(sound, overlapping).counts.topology
    assert fine is not None and (fine.polygons, fine.overlaps) == (1, 0)
    raster = write_raster(tmp_path / "p.tif", np.ones((20, 20), np.uint8))
    assert score(raster, sound).counts.topology is None


@pytest.mark.parametrize("rows", [1, 30, None])
def test_each_region_has_its_own_pixels_and_buildings(tmp_path: Path, scene: tuple, rows: int | None) -> None:
    prediction, truth, _, true_mask, counted = scene
    with rasterio.open(prediction) as dataset:
        values = dataset.read(1)
    parts = {"west": box(X - 9, Y - 99, X + 20, Y + 9), "east": box(X + 20, Y - 99, X + 99, Y + 9)}
    layer = tmp_path / "regions.gpkg"
    away = {"name": [*parts, "away"], "geometry": [*parts.values(), box(X + 500, Y, X + 501, Y + 1)]}
    gpd.GeoDataFrame(away, crs=UTM).to_crs(4326).to_file(layer)
    got = score(prediction, truth, regions=(layer, "name"), strip_rows=rows).counts
    assert set(got.regions) == {"west", "east"}
    for name, cols in (("west", slice(0, 40)), ("east", slice(40, None))):
        histogram = got.regions[name].histogram
        for true in (False, True):
            there = values[:, cols][(counted & (true_mask == true))[:, cols]]
            np.testing.assert_array_equal(histogram.counts[int(true)], np.bincount(there, minlength=255))
    whole = got.objects.over_iou
    for step in range(10):
        sums = got.regions["west"].over_iou[step] + got.regions["east"].over_iou[step]
        assert sums.tp + sums.fn == whole[step].tp + whole[step].fn
        assert sums.tp <= whole[step].tp


def test_a_building_belongs_to_the_region_around_a_point_inside_it(tmp_path: Path) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(0, 0, 10), house(28, 0, 10), house(60, 0, 10)])
    prediction = write_layer(tmp_path / "p.gpkg", [house(0, 1, 10), house(40, 0, 10)])
    names = gpd.GeoDataFrame(
        {"district": ["a", "b"]},
        geometry=[box(X - 5, Y - 50, X + 25, Y), box(X + 25, Y - 50, X + 55, Y)],
        crs=UTM,
    )
    names.to_file(tmp_path / "r.gpkg")
    regions = score(prediction, truth, regions=(tmp_path / "r.gpkg", None)).counts.regions
    assert {name: part.over_iou[0] for name, part in regions.items()} == {
        "a": Instances(tp=1),
        "b": Instances(fp=1, fn=1),
    }
    only = score(prediction, truth, regions=(tmp_path / "r.gpkg", None), measures=frozenset()).counts.regions
    assert [part.over_iou for part in only.values()] == [None, None]


def test_buildings_by_size_add_up_to_all(tmp_path: Path) -> None:
    truth = [house(0, 0, 5), house(20, 0, 12), house(40, 0, 20), house(70, 0, 40), house(200, 0, 5)]
    found = [house(0, 0, 5), house(20, 0, 12), house(100, 30, 5), house(70, 3, 40), house(170, 0, 20)]
    got = score(
        write_layer(tmp_path / "p.gpkg", found), write_layer(tmp_path / "t.gpkg", truth), by_size=True
    ).counts.objects
    assert got is not None
    assert [steps[0] for steps in got.by_size] == [
        Instances(tp=1, fp=1, fn=1),  # sheds
        Instances(tp=1),
        Instances(fp=1, fn=1),
        Instances(tp=1),
    ]
    assert sum((steps[0] for steps in got.by_size), Instances()) == got.over_iou[0]


def test_cells_hold_pixels_and_buildings_where_they_lie(tmp_path: Path) -> None:
    truth = write_layer(tmp_path / "t.gpkg", [house(2, 2), house(12, 2), house(13, 12)])
    mask = np.zeros((45, 50), np.uint8)
    mask[4:14, 4:14] = mask[24:34, 4:14] = 1
    cells = score(write_raster(tmp_path / "p.tif", mask), truth, cell_m=10.0).cells
    assert cells.cell_px == 20
    assert cells.pixels[..., :3].tolist() == [
        [[100, 0, 0], [0, 0, 100], [0, 0, 0]],
        [[0, 100, 0], [0, 0, 100], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ]
    assert cells.pixels.sum(axis=-1).tolist() == [[400, 400, 200], [400, 400, 200], [100, 100, 50]]
    assert cells.objects[:2, :2].tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1]]]


def test_too_many_cells_are_refused_with_a_size_that_is_enough(
    scene: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_MOST_CELLS", 40)
    with pytest.raises(InputError, match=r"the ground has 9,900 cells of 0.1 m, 40 at most are kept") as many:
        score(scene[0], scene[1], cell_m=0.1)
    assert many.value.hint == "pass --cell-m 10"
    assert score(scene[0], scene[1], cell_m=10.0).cells.pixels.shape == (5, 6, 4)
    long = write_raster(tmp_path / "long.tif", np.ones((1, 1000), np.uint8))
    with pytest.raises(InputError, match=r"500 cells of 1 m") as many:
        score(long, long, cell_m=1.0)
    assert many.value.hint == "pass --cell-m 100"


@pytest.mark.parametrize(
    ("width_m", "gsd_m", "pixels"), [(1.0, 0.3, 3), (1.0, 0.5, 2), (1.0, 10.0, 1), (15.0, 0.3, 50)]
)
def test_the_width_of_rims_is_at_least_one_pixel(width_m: float, gsd_m: float, pixels: int) -> None:
    assert boundary_width_px(width_m, gsd_m) == pixels


def test_the_width_of_rims_is_in_metres_on_the_ground(tmp_path: Path) -> None:
    mask = blocks_mask(np.random.default_rng(2), 60, 60)
    there = Affine(1, 0, 1_528_000, 0, -1, 5_640_000)  # a metre of Mercator is 0.71 m at 45 degrees
    path = write_raster(tmp_path / "a.tif", mask, transform=there, crs="EPSG:3857")
    got = score(path, path, boundary_m=7.0)
    assert got.gsd_m == pytest.approx(np.cos(np.radians(45.1)), rel=0.01)
    assert got.counts.boundary_px == 10


def test_a_prediction_on_a_shifted_grid_is_compared_where_it_lies_and_the_shift_is_told(
    tmp_path: Path,
) -> None:
    mask = blocks_mask(np.random.default_rng(2), 60, 60)
    truth = write_raster(tmp_path / "t.tif", mask)
    moved = write_raster(tmp_path / "p.tif", mask, transform=ORIGIN @ Affine.translation(3.25, -2.125))
    got = score(moved, truth)
    assert got.alignment is not None
    assert got.alignment.offset_px == (0.25, -0.125) and not got.alignment.same_grid
    predicted, true = mask[2:, :57] > 0, mask[:58, 3:] > 0
    assert pixels(got) == count(predicted, true, np.ones_like(true))
    aligned = score(truth, truth).alignment
    assert aligned is not None and aligned.same_grid and aligned.offset_px == (0, 0)
    layer = write_layer(tmp_path / "l.gpkg", [house(0, 0)])
    assert score(layer, truth).alignment is None


def test_the_worst_places_are_drawn_while_both_sides_can_be_read(scene: tuple) -> None:
    class Drawn(WorstPlaces):
        seen: Confusion | None = None

        def draw(
            self, prediction: Path, cells: Cells, ground: Ground, sides: tuple[Side, Side], threshold: float
        ) -> None:
            assert prediction == scene[0]
            first, second = (side.read(ground.window) for side in sides)
            self.seen = count(first.values >= 254 * threshold, second.values > 0, first.valid & second.valid)
            assert cells.pixels.sum() == (first.valid & second.valid).sum()

    drawn = Drawn(1)
    found = score_pair(scene[0], scene[1], Evaluation(), progress=Silent(), worst=drawn)
    assert drawn.seen == pixels(found) == count(*scene[2:])


def test_a_missing_file_is_told_before_anything_is_measured(scene: tuple, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"none\.tif"):
        score(scene[0], tmp_path / "none.tif")
