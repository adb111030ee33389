"""`evaluate` on files as they come: rasters, layers, other grids, other CRS, folders; and what it writes."""

import base64
import csv
import html
import io
import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import shapes
from rasterio.warp import Resampling, reproject, transform_bounds
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.stats import wilcoxon
from shapely.geometry import box, shape
from shapely.geometry.base import BaseGeometry
from typer.testing import CliRunner, Result

from buildmap.cli.app import app
from buildmap.data.comparisons import Comparison, find_comparisons, read_comparisons
from buildmap.errors import InputError, StorageError
from buildmap.evaluate import Grouping, Outputs, evaluate
from buildmap.metrics.confusion import Confusion, count, scores
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.instances import Instances
from buildmap.metrics.summary import EvaluateSummary
from tests.scenes import ORIGIN, UTM, blocks_mask, houses_image, write_layer, write_raster

X, Y = 400_000, 5_000_000
PIXELS = frozenset[str]()
OBJECTS = frozenset({"objects"})


@pytest.fixture
def mask() -> np.ndarray:
    """Draw buildings well away from the border."""
    return np.pad(blocks_mask(np.random.default_rng(2), 70, 90), 10)


def polygons(mask: np.ndarray, transform: Affine = ORIGIN) -> list[BaseGeometry]:
    return [shape(outline) for outline, value in shapes(mask, transform=transform) if value]


def moved(mask: np.ndarray, rows: int = 1, cols: int = 2) -> np.ndarray:
    return np.roll(mask, (rows, cols), axis=(0, 1))


def write_no_buildings(path: Path) -> Path:
    pyogrio.write_dataframe(gpd.GeoDataFrame(geometry=[], crs=UTM), path, geometry_type="Polygon")
    return path


def compare(prediction: Path, truth: Path, **asked: object) -> EvaluateSummary:
    return evaluate(find_comparisons(prediction, truth), Evaluation(**asked))


def whole(prediction: np.ndarray, truth: np.ndarray) -> Confusion:
    return count(prediction > 0, truth > 0, np.ones(truth.shape, bool))


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    return float((prediction & truth).sum() / (prediction | truth).sum())


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.mark.parametrize("truth_is", ["raster", "layer"])
@pytest.mark.parametrize("prediction_is", ["raster", "layer", "degrees"])
def test_a_map_and_its_own_outlines_agree_completely(
    tmp_path: Path, mask: np.ndarray, prediction_is: str, truth_is: str
) -> None:
    outlines = polygons(mask)
    degrees = list(gpd.GeoSeries(outlines, crs=UTM).to_crs(4326))
    files = {
        "raster": write_raster(tmp_path / "m.tif", mask),
        "layer": write_layer(tmp_path / "m.gpkg", outlines),
        "degrees": write_layer(tmp_path / "m.fgb", degrees, crs="EPSG:4326"),
    }
    total = compare(files[prediction_is], files[truth_is]).total
    assert total.pixels.iou == pytest.approx(1, abs=1e-3)
    assert total.instances == Instances(tp=len(outlines))
    assert total.objects.f1_50_95 == 1
    assert total.outlines.polis_m.mean == pytest.approx(0, abs=1e-3)
    assert (total.topology is None) == (prediction_is == "raster")
    assert len(outlines) > 3


def test_a_moved_map_loses_what_it_should(tmp_path: Path, mask: np.ndarray) -> None:
    truth = write_raster(tmp_path / "t.tif", mask)
    layer = write_layer(tmp_path / "p.gpkg", list(gpd.GeoSeries(polygons(mask)).translate(1.0, -0.5)))
    summary = compare(layer, truth)
    assert summary.total.confusion == whole(moved(mask), mask)
    assert 0.3 < summary.total.pixels.iou < 0.9
    assert summary.pairs[0].alignment is None
    assert summary.total.outlines.polis_m.mean == pytest.approx(0.5, abs=0.3)  # half a metre to a whole one


@pytest.mark.parametrize("off", [(0.25, -0.375), (-0.4, 0.125)])
def test_a_prediction_on_a_shifted_grid_is_resampled_and_its_shift_reported(
    tmp_path: Path, mask: np.ndarray, off: tuple[float, float]
) -> None:
    truth = write_raster(tmp_path / "t.tif", mask)
    shifted = write_raster(tmp_path / "p.tif", mask, transform=ORIGIN @ Affine.translation(*off))
    summary = compare(shifted, truth)
    alignment = summary.pairs[0].alignment
    assert (alignment.same_grid, alignment.offset_px) == (False, off)
    assert alignment.gsd_ratio == pytest.approx(1)
    confusion = summary.total.confusion
    assert confusion.tp == mask.sum()  # by less than half a pixel, so each takes the same one
    assert confusion.fp == confusion.fn == 0
    told = f"p.tif to the grid it is compared on, its pixels are 1 times as large, corners off by {off} px"
    assert told in run(shifted, truth, "-q").stdout


def test_a_prediction_on_another_grid_is_compared_on_the_grid_of_the_truth(
    tmp_path: Path, mask: np.ndarray
) -> None:
    truth = write_raster(tmp_path / "t.tif", mask)
    finer = np.kron(mask, np.ones((3, 3), np.uint8))[32:, 52:]
    beginning = ORIGIN @ Affine.scale(1 / 3) @ Affine.translation(52, 32)
    summary = compare(write_raster(tmp_path / "p.tif", finer, transform=beginning), truth)
    assert summary.total.pixels.iou == 1
    covered = mask[11:, 17:]  # a pixel counts where the middle one of its nine is there
    assert summary.total.confusion == Confusion(tp=int(covered.sum()), tn=int((covered == 0).sum()))
    alignment = summary.pairs[0].alignment
    assert alignment.offset_px == pytest.approx((1 / 3, -1 / 3), abs=1e-5)
    assert alignment.gsd_ratio == pytest.approx(1 / 3)


@pytest.mark.parametrize("rows", [5, None])
def test_a_prediction_in_degrees_is_compared_on_the_grid_of_the_truth(
    tmp_path: Path, mask: np.ndarray, rows: int | None
) -> None:
    left, bottom, right, top = transform_bounds(UTM, "EPSG:4326", X, Y - 45, X + 55, Y)
    grid = Affine((right - left) / 700, 0, left, 0, (bottom - top) / 500, top)
    degrees, _ = reproject(
        mask,
        np.full((500, 700), 7, np.uint8),
        src_transform=ORIGIN,
        src_crs=UTM,
        dst_transform=grid,
        dst_crs="EPSG:4326",
        dst_nodata=7,
        init_dest_nodata=True,
        resampling=Resampling.nearest,
    )
    assert (degrees == 1).any()
    prediction = write_raster(tmp_path / "p.tif", degrees, transform=grid, crs="EPSG:4326", nodata=7)
    truth = write_raster(tmp_path / "t.tif", mask)
    summary = compare(prediction, truth, strip_rows=rows)
    assert 0.95 < summary.total.pixels.iou <= 1
    assert summary.total.confusion == compare(prediction, truth, strip_rows=17).total.confusion
    assert summary.total.objects.at_50.f1 > 0.9
    (pair,) = summary.pairs
    assert pair.crs == UTM
    assert (pair.alignment.same_grid, pair.alignment.offset_px) == (False, None)
    assert 0.1 < pair.alignment.gsd_ratio < 0.4


def test_two_layers_are_compared_in_metres(tmp_path: Path, mask: np.ndarray) -> None:
    truth = write_layer(tmp_path / "t.gpkg", polygons(mask))
    some = gpd.GeoSeries(polygons(mask), crs=UTM).to_crs(3857)[1:]
    prediction = write_layer(tmp_path / "p.gpkg", list(some), crs="EPSG:3857")
    total = compare(prediction, truth, gsd_m=0.1).total
    assert total.confusion.tp == pytest.approx(25 * sum(p.area * 4 for p in polygons(mask)[1:]), rel=1e-2)
    assert total.instances == Instances(tp=len(some), fn=1)


def test_pictures_without_georeference_are_compared_pixel_by_pixel(tmp_path: Path, mask: np.ndarray) -> None:
    def picture(name: str, pixels: np.ndarray) -> Path:
        path = tmp_path / name
        kind = {"width": pixels.shape[1], "height": pixels.shape[0], "count": 1, "dtype": "uint8"}
        with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "w", driver="PNG", **kind) as png:
            png.write(pixels, 1)
        return path

    truth, prediction = picture("t.png", mask * 255), picture("p.png", moved(mask) * 255)
    summary = compare(prediction, truth)
    assert summary.total.confusion == whole(moved(mask), mask)
    assert (summary.pairs[0].crs, summary.pairs[0].gsd_m) == (None, None)
    with pytest.raises(InputError, match=r"110 x 50 pixels, .* 110 x 90, .*no georeference"):
        compare(picture("small.png", mask[:50]), truth)
    with pytest.raises(InputError, match="no CRS or no transform"):
        compare(prediction, write_raster(tmp_path / "t.tif", mask))


def test_a_layer_without_buildings_finds_nothing_of_what_is_there(tmp_path: Path, mask: np.ndarray) -> None:
    nothing, truth = write_no_buildings(tmp_path / "p.gpkg"), write_raster(tmp_path / "t.tif", mask)
    there, area = len(polygons(mask)), int(mask.sum())
    missed = compare(nothing, truth, empty="skip").total
    assert missed.confusion == Confusion(fn=area, tn=mask.size - area)
    assert missed.instances == Instances(fn=there)
    assert (missed.pixels.iou, missed.pixels.recall) == (0, 0)
    assert np.isnan([missed.pixels.precision, missed.objects.at_50.precision]).all()
    assert (missed.average_precision.ap, missed.outlines.pairs) == (0, 0)
    invented = compare(truth, nothing, empty="skip").total
    assert invented.confusion == Confusion(fp=area, tn=mask.size - area)
    assert invented.instances == Instances(fp=there)
    assert np.isnan(invented.average_precision.ap)


@pytest.mark.parametrize(("rule", "worth"), [("epsilon", 1.0), ("one", 1.0), ("skip", None)])
def test_nothing_in_nothing_is_worth_what_the_rule_says(
    tmp_path: Path, rule: str, worth: float | None
) -> None:
    ours, theirs = (write_no_buildings(tmp_path / f"{name}.gpkg") for name in "pt")
    area = write_layer(tmp_path / "aoi.gpkg", [box(X, Y - 30, X + 60, Y)])
    done = run(ours, theirs, "--aoi", area, "--empty", rule, "--gsd-m", 0.5, "--json", "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    total = json.loads(done.stdout)["total"]
    assert total["confusion"]["tn"] == pytest.approx(120 * 60, rel=0.05)  # UTM's own zone, another scale
    assert (total["pixels"]["iou"], total["objects"]["at_50"]["f1"]) == (worth, worth)
    assert total["average_precision"]["ap"] is None


@pytest.mark.parametrize("empty_truth", [False, True])
def test_ground_that_neither_layer_maps_is_refused(
    tmp_path: Path, mask: np.ndarray, empty_truth: bool
) -> None:
    outlines = polygons(mask)
    prediction, truth = write_layer(tmp_path / "p.gpkg", outlines), tmp_path / "t.gpkg"
    write_no_buildings(truth) if empty_truth else write_layer(truth, outlines)
    far = write_layer(tmp_path / "far.gpkg", [box(X + 9000, Y, X + 9050, Y + 50)])
    done = run(prediction, truth, "--aoi", far)
    assert (done.exit_code, done.stdout) == (65, "")
    error, hint = done.stderr.splitlines()
    assert f"{far} touches neither {prediction} nor {truth}: extents (40" in error
    assert "--aoi" in hint
    between = write_layer(tmp_path / "between.gpkg", [box(X + 1, Y - 3, X + 4, Y - 1)])
    layers = gpd.GeoSeries(polygons(mask))
    assert not layers.intersects(box(X + 1, Y - 3, X + 4, Y - 1)).any()
    with pytest.raises(InputError, match="touches neither"):  # the margin: outside of both extents
        compare(prediction, truth, aoi=between)


def test_ground_that_the_layers_map_may_be_empty(tmp_path: Path) -> None:
    houses = [box(X + col, Y - 10, X + col + 8, Y) for col in (0, 100)]
    layer = write_layer(tmp_path / "t.gpkg", houses)
    garden = write_layer(tmp_path / "aoi.gpkg", [box(X + 40, Y - 9, X + 60, Y - 2)])
    assert compare(layer, layer, aoi=garden).total.instances == Instances()
    near = write_layer(tmp_path / "near.gpkg", [box(X + 90, Y - 20, X + 120, Y + 5)])
    only = write_layer(tmp_path / "p.gpkg", houses[:1])
    assert compare(only, layer, aoi=near).total.instances == Instances(fn=1)


@pytest.mark.parametrize("how", ["aoi", "bbox"])
def test_a_layer_of_elsewhere_is_refused_whatever_ground_is_asked_for(
    tmp_path: Path, mask: np.ndarray, how: str
) -> None:
    prediction = write_raster(tmp_path / "p.tif", mask * 0)
    far = write_layer(tmp_path / "far.gpkg", [box(X + 9000, Y, X + 9050, Y + 50)])
    ground = (X, Y - 40, X + 40, Y)
    asked = {"aoi": write_layer(tmp_path / "aoi.gpkg", [box(*ground)])} if how == "aoi" else {"bbox": ground}
    with pytest.raises(InputError, match=r"far\.gpkg does not touch the ground"):
        compare(prediction, far, **asked)
    assert compare(prediction, write_no_buildings(tmp_path / "t.gpkg"), **asked).buildings == 0


@pytest.fixture
def folders(tmp_path: Path, mask: np.ndarray) -> tuple[Path, Path]:
    """Write three pairs: a perfect one, a moved one, and nothing in nothing."""
    predicted, true = tmp_path / "p", tmp_path / "t"
    predicted.mkdir()
    true.mkdir()
    for name, found in [("a", mask), ("b", moved(mask)), ("c", mask * 0)]:
        write_raster(predicted / f"{name}.tif", found)
    write_layer(true / "a.gpkg", polygons(mask))
    write_raster(true / "b.tif", mask)
    write_raster(true / "c.tif", mask * 0)
    (true / "b.tif.aux.xml").write_text("<PAMDataset/>", encoding="utf-8")
    return predicted, true


def test_folders_are_compared_by_stem_and_macro_is_the_mean(
    folders: tuple[Path, Path], mask: np.ndarray
) -> None:
    summary = compare(*folders)
    assert [Path(pair.truth).name for pair in summary.pairs] == ["a.gpkg", "b.tif", "c.tif"]
    of_pairs = [pair.scores for pair in summary.pairs]
    assert of_pairs[2].pixels.iou == 1
    assert summary.macro["epsilon"].iou == pytest.approx(np.mean([one.pixels.iou for one in of_pairs]))
    assert summary.macro["skip"].iou == pytest.approx((1 + iou(moved(mask), mask)) / 2)
    assert summary.total.confusion == sum((one.confusion for one in of_pairs), Confusion())
    assert summary.total.pixels == scores(summary.total.confusion)
    assert summary.total.instances == sum((one.instances for one in of_pairs), Instances())
    assert summary.buildings == 2 * len(polygons(mask))


def test_pairs_are_grouped_by_pixel_size_column_and_region(tmp_path: Path, mask: np.ndarray) -> None:
    coarse = Affine(2, 0, X, 0, -2, Y)
    grids = {"fine": ORIGIN, "coarse": coarse, "again": coarse}
    for name, grid in grids.items():
        write_raster(tmp_path / f"{name}_p.tif", moved(mask), transform=grid)
        write_raster(tmp_path / f"{name}_t.tif", mask, transform=grid)
    lines = [
        f"{name}_p.tif,{name}_t.tif,{town}" for name, town in zip(grids, ("Ulm", "Ulm", "Bonn"), strict=True)
    ]
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(["prediction,truth,town", *lines]), encoding="utf-8")
    regions = tmp_path / "regions.gpkg"
    middle = X + 20
    halves = [box(X, Y - 180, middle, Y), box(middle, Y - 180, X + 220, Y)]
    gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=halves, crs=UTM).to_file(regions)
    summary = evaluate(
        read_comparisons(table),
        Evaluation(regions=(regions, "name"), by_size=True, measures=PIXELS),
        grouping=Grouping(gsd=True, columns=("town",)),
    )
    groups = {(group.kind, group.name): group for group in summary.groups}
    one = whole(moved(mask), mask)
    found = {key: (group.pairs, group.scores.confusion) for key, group in groups.items() if key[0] != "size"}
    west = [whole(moved(mask)[:, :col], mask[:, :col]) for col in (40, 10, 10)]
    west_of_all = sum(west, Confusion())
    everything = one + one + one
    assert found == {
        ("gsd", "0.50-1.00 m"): (1, one),
        ("gsd", ">= 1.00 m"): (2, one + one),
        ("town", "Ulm"): (2, one + one),
        ("town", "Bonn"): (1, one),
        ("region", "west"): (3, west_of_all),
        ("region", "east"): (
            3,
            Confusion(
                tp=everything.tp - west_of_all.tp,
                fp=everything.fp - west_of_all.fp,
                fn=everything.fn - west_of_all.fn,
                tn=everything.tn - west_of_all.tn,
            ),
        ),
    }
    sizes = [group.scores.instances for (kind, _), group in groups.items() if kind == "size"]
    assert sum(sizes, Instances()) == summary.total.instances
    assert len(sizes) == 4


def test_regions_of_other_ground_are_refused(tmp_path: Path, mask: np.ndarray) -> None:
    file = write_raster(tmp_path / "p.tif", mask)
    far = write_layer(tmp_path / "far.gpkg", [box(X + 9000, Y, X + 9050, Y + 50)])
    with pytest.raises(InputError, match=r"far\.gpkg: no polygon lies on the ground") as refused:
        compare(file, file, regions=(far, None))
    assert "--by" in str(refused.value.hint)


def paired(prediction: np.ndarray, other: np.ndarray, truth: np.ndarray, folder: Path) -> EvaluateSummary:
    files = {"p": prediction, "o": other, "t": truth}
    written = {name: write_raster(folder / f"{name}.tif", pixels) for name, pixels in files.items()}
    pairs = find_comparisons(written["p"], written["t"], other=written["o"])
    return evaluate(pairs, Evaluation(cell_m=5, measures=OBJECTS))


def iou_of_cells(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Give the IoU of each 10 x 10 pixels; NaN where there is no building."""
    parts = [
        (prediction[row : row + 10, col : col + 10], truth[row : row + 10, col : col + 10])
        for row in range(0, truth.shape[0], 10)
        for col in range(0, truth.shape[1], 10)
    ]
    return np.array([iou(*part) if (part[0] | part[1]).any() else np.nan for part in parts])


def test_a_worse_map_is_told_from_a_better_one_cell_by_cell(tmp_path: Path, mask: np.ndarray) -> None:
    worse = moved(mask, 3, 4)
    summary = paired(moved(mask), worse, mask, tmp_path)
    test = summary.paired["iou"]
    difference = iou_of_cells(moved(mask), mask) - iou_of_cells(worse, mask)
    difference = difference[~np.isnan(difference)]
    assert (test.units, test.n) == ("cells", len(difference))
    assert test.mean_difference == pytest.approx(difference.mean())
    expected = {
        name: wilcoxon(np.round(difference[difference != 0], 12), alternative=name).pvalue
        for name in ("two-sided", "greater")
    }
    assert expected["two-sided"] < test.p_value < 0.05  # by Holm's steps at most three times as much
    assert test.p_value <= 3 * expected["two-sided"] * (1 + 1e-9)
    assert expected["greater"] <= test.p_greater * (1 + 1e-9)
    assert test.effect_size > 0.3
    assert summary.other == str(tmp_path / "o.tif")
    turned = paired(worse, moved(mask), mask, tmp_path).paired["iou"]
    assert turned.mean_difference == pytest.approx(-test.mean_difference)
    assert turned.effect_size == pytest.approx(-test.effect_size)


def test_a_map_is_not_better_than_itself(tmp_path: Path, mask: np.ndarray) -> None:
    tests = paired(moved(mask), moved(mask), mask, tmp_path).paired
    assert set(tests) == {"iou", "f1", "object_f1"}
    assert {(test.p_value, test.mean_difference, test.effect_size) for test in tests.values()} == {
        (1.0, 0.0, 0.0)
    }


def test_folders_of_many_pairs_are_compared_image_by_image(tmp_path: Path, mask: np.ndarray) -> None:
    for number in range(6):
        for name, pixels in {
            "p": moved(mask, 1, number % 2),
            "t": mask,
            "o": moved(mask, 2 + number, 3),
        }.items():
            (tmp_path / name).mkdir(exist_ok=True)
            write_raster(tmp_path / name / f"{number}.tif", pixels)
    pairs = find_comparisons(*(tmp_path / name for name in "pt"), other=tmp_path / "o")
    summary = evaluate(pairs, Evaluation(measures=PIXELS))
    test = summary.paired["iou"]
    difference = [
        iou(moved(mask, 1, number % 2), mask) - iou(moved(mask, 2 + number, 3), mask) for number in range(6)
    ]
    assert (test.units, test.n, test.wins) == ("images", 6, 6)
    assert test.mean_difference == pytest.approx(np.mean(difference))
    assert test.p_value == pytest.approx(2 * 2 / 2**6)  # six of six, and two tests for Holm
    assert summary.other == str(tmp_path / "o")


def test_the_table_has_the_scores_of_every_pair(folders: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    summary = evaluate(find_comparisons(*folders), Evaluation(empty="skip"), outputs=Outputs(csv=output))
    rows = list(csv.DictReader(io.StringIO(output.read_text(encoding="utf-8"))))
    assert [row["scope"] for row in rows] == ["pair", "pair", "pair", "total", "macro"]
    for row, pair in zip(rows, summary.pairs, strict=False):
        assert (row["prediction"], row["truth"]) == (pair.prediction, pair.truth)
        assert int(row["tp_px"]) == pair.scores.confusion.tp
        assert int(row["object_tp"]) == pair.scores.instances.tp
    assert float(rows[1]["iou"]) == summary.pairs[1].scores.pixels.iou
    assert rows[2]["iou"] == ""  # undefined
    assert float(rows[-1]["iou"]) == summary.macro["skip"].iou


def crops(page: str) -> list[np.ndarray]:
    """Decode the pictures of the worst places."""
    coded = [part.split('"')[0] for part in page.split('<img src="data:image/png;base64,')[1:]]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in coded]


def test_the_worst_places_are_drawn_on_the_image_of_their_pair(tmp_path: Path, mask: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    pairs, images = [], []
    for name, off in (("bad", 6), ("good", 1)):
        images.append(houses_image(mask if name == "bad" else 1 - mask, rng))
        pairs.append(
            Comparison(
                prediction=write_raster(tmp_path / f"{name}_p.tif", moved(mask, 0, off)),
                truth=write_raster(tmp_path / f"{name}_t.tif", mask),
                image=write_raster(tmp_path / f"{name}_i.tif", images[-1]),
            )
        )
    output = tmp_path / "report.html"
    evaluate(pairs, Evaluation(measures=PIXELS, cell_m=1000), outputs=Outputs(html=output))
    page = output.read_text(encoding="utf-8")
    assert page.index("<b>bad_p.tif</b>") < page.index("<b>good_p.tif</b>")
    drawn = crops(page)
    assert len(drawn) == 2
    for picture, image, off in zip(drawn, images, (6, 1), strict=True):
        assert picture.shape == (*mask.shape, 3)
        near = np.zeros(mask.shape, bool)  # outlines are drawn, and their neighbours darkened
        for either in (mask, moved(mask, 0, off)):
            near |= binary_dilation(either, iterations=2) & ~binary_erosion(either, iterations=2)
        apart = np.abs(picture.astype(int) - np.moveaxis(image, 0, -1))[~near]
        assert np.mean(apart) < 8  # 256 colours
        assert (~near).mean() > 0.3


def test_an_image_of_elsewhere_is_refused_before_anything_is_read(
    tmp_path: Path, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the comparison has begun")

    monkeypatch.setattr("buildmap.metrics.sides.RasterSide.read", read)
    file = write_raster(tmp_path / "p.tif", mask)
    far = write_raster(tmp_path / "i.tif", mask, transform=ORIGIN.translation(9000, 0) @ ORIGIN)
    with pytest.raises(InputError, match=r"i\.tif does not touch"):
        evaluate(find_comparisons(file, file, image=far), outputs=Outputs(html=tmp_path / "a.html"))


def test_the_report_says_what_was_asked(
    tmp_path: Path, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = write_raster(tmp_path / "t <b>.tif", mask)
    prediction = write_raster(tmp_path / "p.tif", np.where(moved(mask), 0.7, 0.2).astype(np.float32))
    output = tmp_path / "report.html"
    options = ["--threshold", "0.65", "--empty", "skip", "--boundary-m", "1.5", "--html", output]
    arguments = [prediction, truth, *options, "--json", "-q"]
    monkeypatch.setattr(sys, "argv", ["/bin/buildmap", "evaluate", *map(str, arguments)])
    done = run(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    page = html.unescape(output.read_text(encoding="utf-8"))
    assert f"buildmap evaluate {prediction} '{truth}' --threshold 0.65 --empty skip --boundary-m 1.5" in page
    for told in ("probability 0.65 and more is building", "within 1.5 m (3 px)", "skip: ", str(prediction)):
        assert told in page
    assert "t <b>.tif" not in output.read_text(encoding="utf-8")  # a name is no markup
    summary = json.loads(done.stdout)
    assert (summary["threshold"], summary["empty_rule"]) == (0.65, "skip")
    assert summary["total"]["boundary"]["width_m"] == 1.5
    assert f"{summary['total']['pixels']['iou']:.3f}" in page


def test_mistakes_of_all_pairs_lie_in_layers_as_many_as_counted(tmp_path: Path) -> None:
    def street(name: str, *houses: tuple[float, float], north: float = 0.0, crs: str = UTM) -> Path:
        footprints = [box(X + west, Y + north, X + east, Y + north + 10) for west, east in houses]
        moved_to = list(gpd.GeoSeries(footprints, crs=UTM).to_crs(crs))
        return write_layer(tmp_path / name, moved_to, crs=crs)

    true = [(0, 10), (11, 21), (30, 50), (60, 70), (80, 90), (120, 130)]
    found = [(0, 21), (30, 39), (41, 50), (60, 70), (100, 110), (120, 130)]  # one of two, two halves, ...
    pairs = [
        Comparison(prediction=street("p1.gpkg", *found), truth=street("t1.gpkg", *true)),
        Comparison(
            prediction=street("p2.gpkg", (0, 10), (40, 50), north=500, crs="EPSG:4326"),
            truth=street("t2.gpkg", (0, 10), (20, 30), (60, 70), north=500),
        ),
    ]
    output = tmp_path / "errors.gpkg"
    summary = evaluate(pairs, Evaluation(measures=OBJECTS), outputs=Outputs(errors=output))
    assert list(gpd.list_layers(output)["name"]) == ["false", "missed", "merged", "split"]
    layers = {name: gpd.read_file(output, layer=name) for name in gpd.list_layers(output)["name"]}
    counted = summary.total
    wanted = {
        "false": counted.instances.fp,
        "missed": counted.instances.fn,
        "merged": counted.segmentation.merged,
        "split": counted.segmentation.split,
    }
    assert {name: len(layer) for name, layer in layers.items()} == wanted
    assert wanted == {"false": 5, "missed": 6, "merged": 1, "split": 1}
    at = {
        name: sorted(
            zip(layer["prediction"], np.round(layer.bounds["minx"] - X).astype(int).tolist(), strict=True)
        )
        for name, layer in layers.items()
    }
    one, two = "p1.gpkg", "p2.gpkg"
    assert at == {
        "false": [(one, 0), (one, 30), (one, 41), (one, 100), (two, 40)],
        "missed": [(one, 0), (one, 11), (one, 30), (one, 80), (two, 20), (two, 60)],
        "merged": [(one, 0)],
        "split": [(one, 30)],
    }
    assert layers["split"]["area_m2"][0] == pytest.approx(200, rel=2e-3)
    assert {layer.crs.to_epsg() for layer in layers.values()} == {32633}
    assert all(layer.is_valid.all() for layer in layers.values())


def test_a_map_without_mistakes_gives_empty_layers(tmp_path: Path, mask: np.ndarray) -> None:
    file, output = write_raster(tmp_path / "p.tif", mask), tmp_path / "errors.gpkg"
    evaluate(find_comparisons(file, file), Evaluation(measures=OBJECTS), outputs=Outputs(errors=output))
    for name in ("false", "missed", "merged", "split"):
        layer = gpd.read_file(output, layer=name)
        assert (len(layer), layer.crs.to_epsg(), "area_m2" in layer) == (0, 32633, True)


def test_what_was_there_stays_where_a_block_cannot_be_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (600, 256)).astype(np.uint8)
    truth = write_raster(tmp_path / "t.tif", pixels)
    damaged = write_raster(
        tmp_path / "p.tif", pixels, tiled=True, blockxsize=256, blockysize=256, compress="deflate"
    )
    with rasterio.open(damaged) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_0_2", "TIFF", bidx=1))
    with damaged.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 64)
    outputs = Outputs(
        csv=tmp_path / "a.csv", html=tmp_path / "a.html", errors=tmp_path / "a.gpkg", overwrite=True
    )
    for path in outputs.files:
        path.write_text("old", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match=r"p\.tif"):
        evaluate(find_comparisons(damaged, truth), Evaluation(strip_rows=100), outputs=outputs)
    assert {path.read_text(encoding="utf-8") for path in outputs.files} == {"old"}
    assert sorted(tmp_path.iterdir()) == before


def test_what_was_there_stays_where_the_last_file_cannot_be_made(
    tmp_path: Path, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageError("disk full")

    file = write_raster(tmp_path / "p.tif", mask)
    outputs = Outputs(csv=tmp_path / "a.csv", errors=tmp_path / "a.gpkg", overwrite=True)
    for path in outputs.files:
        path.write_text("old", encoding="utf-8")
    monkeypatch.setattr("buildmap.evaluate.write_layers", full)
    with pytest.raises(StorageError, match="disk full"):
        evaluate(find_comparisons(file, file), outputs=outputs)
    assert {path.read_text(encoding="utf-8") for path in outputs.files} == {"old"}


@pytest.mark.parametrize(
    ("measures", "absent"),
    [
        ("none", {"boundary", "similarity", "instances", "objects", "outlines", "topology", "cells"}),
        ("boundary,topology", {"similarity", "instances", "average_precision", "segmentation", "outlines"}),
        ("ssim,objects,outlines", {"boundary", "topology"}),
    ],
)
def test_what_was_left_out_is_null_for_every_pair_too(
    folders: tuple[Path, Path], measures: str, absent: set[str]
) -> None:
    done = run(*folders, "--measures", measures, "--json", "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    told = [summary["total"], *(pair["scores"] for pair in summary["pairs"])]
    assert len(told) == 4
    for of_one in told:
        assert {name for name in absent if of_one[name] is not None} == set()
        assert of_one["pixels"] is not None
    assert summary["total"]["calibration"] is summary["total"]["sweep"] is None  # masks


def test_no_torch_is_needed(tmp_path: Path, mask: np.ndarray) -> None:
    truth = write_raster(tmp_path / "t.tif", mask)
    prediction = write_layer(tmp_path / "p.gpkg", polygons(mask))
    output = tmp_path / "a.html"
    arguments = ["buildmap", "evaluate", *map(str, (prediction, truth, "--html", output)), "--json", "-q"]
    absent = ("torch", "torchvision", "timm", "lightning_fabric", "segmentation_models_pytorch")
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {absent}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from buildmap.cli.app import main\n"
        f"sys.argv = {arguments!r}\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["total"]["pixels"]["iou"] == 1
    assert output.exists()
