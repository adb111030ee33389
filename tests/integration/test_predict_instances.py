"""Buildings found one by one over a raster: whole, once, exactly, whatever the windows and whoever works."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from shapely import box
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.errors import IncompleteError, InputError, MismatchError, OutputError, Stopped
from buildmap.inference.options import Prediction, Running
from buildmap.predict import PredictSummary, dry_run, predict
from buildmap.publish import workspace
from buildmap.raster.parts import DamagedPart
from buildmap.vector.outlining import Outlining
from tests.networks import write_onnx
from tests.scenes import ORIGIN, UTM, write_layer, write_raster
from tests.unit.inference.instance_models import instance_card, write_instances

KILLS = int(os.environ.get("BUILDMAP_KILLS", "2"))
HEIGHT, WIDTH = 620, 710
STRIPS = 9
"""Cores of 64 pixels."""
Boxes = list[tuple[int, int, int, int]]


def draw_rectangles(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Boxes]:
    """Draw bright rectangles that do not touch, many of them on borders of windows, some longer than one."""
    wanted = [
        (100, 10, 400, 40),
        (500, 60, 530, 400),
        (0, 300, 9, 330),
        (690, 600, 710, 620),
        (300, 610, 340, 620),
    ]
    for _ in range(900):
        left, top = rng.integers(0, WIDTH - 4), rng.integers(0, HEIGHT - 4)
        if rng.random() < 0.5:  # on a border of cores, which are multiples of 64 from 96 on
            left, top = left // 64 * 64 + 32 - rng.integers(0, 12), top // 64 * 64 + 32 - rng.integers(0, 12)
        wanted.append((left, top, left + rng.integers(4, 30), top + rng.integers(4, 30)))
    pixels = np.full((3, HEIGHT, WIDTH), 20, np.uint8)
    drawn: Boxes = []
    for left, top, right, bottom in wanted:
        around = np.s_[:, max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
        if left >= 0 and top >= 0 and right <= WIDTH and bottom <= HEIGHT and (pixels[around] == 20).all():
            pixels[:, top:bottom, left:right] = rng.integers(160, 256)
            drawn.append((int(left), int(top), int(right), int(bottom)))
    return pixels, drawn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instances")
    pixels, drawn = draw_rectangles(np.random.default_rng(0))
    write_raster(folder / "in.tif", pixels)
    write_instances(folder / "m.onnx")
    (folder / "truth.json").write_text(json.dumps(drawn))
    return folder


@pytest.fixture(scope="module")
def truth(folder: Path) -> Boxes:
    return [tuple(one) for one in json.loads((folder / "truth.json").read_text())]


@pytest.fixture(scope="module")
def expected(folder: Path) -> object:
    run(folder, folder / "expected.gpkg")
    return content(folder / "expected.gpkg")


def run(folder: Path, output: Path, running: Running | None = None, **options: object) -> PredictSummary:
    given = {"models": (folder / "m.onnx",), "outlining": Outlining(min_area_m2=0)} | options
    return predict(folder / "in.tif", output, Prediction(**given), running)  # type: ignore[arg-type]


def content(path: Path) -> object:
    """Give all features of a layer: a GeoPackage holds a date, too."""
    _, _, geometry, fields = pyogrio.raw.read(path)
    return [bytes(shape) for shape in geometry], [repr(values.tolist()) for values in fields]


def in_pixels(polygons: NDArray[np.object_]) -> list[tuple[int, ...]]:
    """Give the boxes of rectangles on the map in pixels, having seen that they are rectangles on pixels."""
    moved = shapely.transform(
        np.asarray(polygons), lambda points: np.column_stack((~ORIGIN) @ tuple(points.T))
    )
    bounds = shapely.bounds(moved)
    np.testing.assert_allclose(shapely.area(moved), shapely.area(shapely.box(*bounds.T)), rtol=1e-6)
    np.testing.assert_allclose(bounds, np.round(bounds), atol=1e-5)
    return sorted(tuple(map(int, one)) for one in np.round(bounds))


@pytest.mark.parametrize("window_px", [128, 256, 512])
@pytest.mark.parametrize("rows_per_strip", [1, 3, 17])
def test_every_building_comes_out_whole_and_once_for_any_windows(
    folder: Path, truth: Boxes, tmp_path: Path, window_px: int, rows_per_strip: int
) -> None:
    summary = run(folder, tmp_path / "o.gpkg", window_px=window_px, rows_per_strip=rows_per_strip)
    layer = gpd.read_file(tmp_path / "o.gpkg")
    assert len(truth) > 200
    assert in_pixels(layer.geometry.to_numpy()) == sorted(truth)
    assert summary.footprints == len(truth)
    assert summary.seams is None
    assert summary.windows_skipped == 0
    assert layer.footprint_id.tolist() == list(range(1, len(truth) + 1))
    assert shapely.is_ccw(shapely.get_exterior_ring(layer.geometry.to_numpy())).all()


def test_a_layer_says_how_sure_the_network_was_and_how_each_was_drawn(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "o.gpkg")
    layer = gpd.read_file(tmp_path / "o.gpkg")
    assert layer.crs == UTM
    assert list(layer.columns) == [
        "footprint_id",
        "area_m2",
        "perimeter_m",
        "orientation_deg",
        "score",
        "class",
        "method",
        "verdict",
        "iou_raw",
        "source_date",
        "geometry",
    ]
    with rasterio.open(folder / "in.tif") as dataset:
        pixels = dataset.read(1)
    corner = np.array(in_corner(layer.geometry.to_numpy()))
    level = (pixels[corner[:, 1], corner[:, 0]] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(layer.score, 1 / (1 + np.exp(-level)), atol=1e-6)
    # a scale of 0.9996 along the meridian of the zone, 0.99972 here
    np.testing.assert_allclose(layer.area_m2, layer.geometry.area, rtol=1e-3)
    assert set(layer["class"]) == {"building"}
    united = layer.method == "united"
    assert united.sum() == 2
    assert (layer.verdict[united] == "united").all()
    assert layer.iou_raw[united].isna().all()
    assert set(layer.method[~united]) == {"along"}
    assert set(layer.verdict[~united]) == {"kept"}
    np.testing.assert_allclose(layer.iou_raw[~united], 1, atol=1e-6)


def in_corner(polygons: NDArray[np.object_]) -> list[tuple[int, int]]:
    """Give column and row of the first pixel of each rectangle."""
    left, _, _, top = shapely.bounds(polygons).T
    cols, rows = (~ORIGIN) @ (left, top)
    return list(zip(np.round(cols).astype(int), np.round(rows).astype(int), strict=True))


@pytest.mark.parametrize("rows_per_strip", [2, 17])
def test_the_height_of_strips_changes_no_byte(
    folder: Path, expected: object, tmp_path: Path, rows_per_strip: int
) -> None:
    run(folder, tmp_path / "o.gpkg", rows_per_strip=rows_per_strip)
    assert content(tmp_path / "o.gpkg") == expected


def test_two_processes_change_no_byte(folder: Path, expected: object, tmp_path: Path) -> None:
    summary = run(folder, tmp_path / "o.gpkg", Running(workers=2))
    assert content(tmp_path / "o.gpkg") == expected
    assert summary.strips == STRIPS
    assert summary.windows == STRIPS * 11


def test_shards_change_no_byte_and_finishing_waits_for_all(
    folder: Path, expected: object, tmp_path: Path
) -> None:
    output = tmp_path / "o.gpkg"
    found = run(folder, output, Running(shard=(2, 2)))
    assert (found.strips, found.footprints) == (5, None)
    with pytest.raises(IncompleteError, match="4 of 9 strips are missing: 0, 1, 2, 3"):
        run(folder, output, Running(only_finish=True))
    run(folder, output, Running(shard=(1, 2)))
    found = run(folder, output, Running(only_finish=True))
    assert content(output) == expected
    assert found.strips_resumed == STRIPS
    assert not workspace(output).exists()


def test_a_run_that_is_stopped_goes_on_where_it_was(folder: Path, expected: object, tmp_path: Path) -> None:
    output = tmp_path / "o.gpkg"
    stops = iter([False] * 40)
    model = Prediction(models=(folder / "m.onnx",), outlining=Outlining(min_area_m2=0))
    with pytest.raises(Stopped, match=r"interrupted after \d/9 strips") as caught:
        predict(folder / "in.tif", output, model, stop=lambda: next(stops, True))
    done = int(str(caught.value).split()[2].split("/")[0])
    assert 0 < done < STRIPS
    assert not output.exists()
    assert run(folder, output).strips_resumed == done
    assert content(output) == expected


def test_work_that_read_the_network_otherwise_is_refused(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.gpkg"
    run(folder, output, Running(shard=(1, 2)))
    for options in ({"min_score": 0.7}, {"grouping": "walk"}, {"threshold": 0.4}):
        with pytest.raises(MismatchError, match="objects was"):
            run(folder, output, **options)
    found = run(folder, output, outlining=Outlining(min_area_m2=30))  # only the layer depends on it
    assert found.strips_resumed == 4


def test_a_damaged_strip_is_made_again(folder: Path, expected: object, tmp_path: Path) -> None:
    output = tmp_path / "o.gpkg"
    run(folder, output, Running(shard=(1, 1)))
    part = workspace(output) / "strips" / "000004.npz"
    damaged = bytearray(part.read_bytes())
    damaged[300] ^= 1
    part.write_bytes(damaged)
    with pytest.raises(DamagedPart, match=r"000004\.npz is damaged"):
        run(folder, output)
    assert not output.exists()
    assert run(folder, output).strips_resumed == STRIPS - 1
    assert content(output) == expected


def test_kills_at_random_moments_change_no_byte(folder: Path, expected: object, tmp_path: Path) -> None:
    output = tmp_path / "o.gpkg"
    command = [sys.executable, "-m", "buildmap", "predict", str(folder / "in.tif"), str(output), "-q"]
    command += ["--model", str(folder / "m.onnx"), "--min-area-m2", "0", "--json"]
    rng = random.Random(0)
    for kill in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(list(workspace(output).glob("strips/0*.json"))) <= kill and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if output.exists():
            assert content(output) == expected
            output.unlink()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["strips"] == STRIPS
    assert content(output) == expected
    assert not workspace(output).exists()


@pytest.mark.parametrize(("suffix", "tolerance_m"), [(".fgb", 1e-6), (".geojsonl", 0.02)])
def test_every_format_of_layers_can_be_had(
    folder: Path, tmp_path: Path, suffix: str, tolerance_m: float
) -> None:
    run(folder, tmp_path / "o.gpkg")
    run(folder, tmp_path / f"o{suffix}")
    layer, other = gpd.read_file(tmp_path / "o.gpkg"), gpd.read_file(tmp_path / f"o{suffix}")
    assert {*other.columns} == {*layer.columns}
    other = other.set_index("footprint_id").sort_index()  # a FlatGeobuf is sorted by place
    moved = other.geometry.to_crs(UTM).to_numpy()
    away_m = shapely.hausdorff_distance(layer.geometry.to_numpy(), moved)
    assert away_m.max() < tolerance_m
    assert other["class"].tolist() == layer["class"].tolist()
    np.testing.assert_allclose(other.score, layer.score)


def test_a_building_belongs_to_an_area_that_holds_its_centre(
    folder: Path, truth: Boxes, tmp_path: Path
) -> None:
    wanted = [box(20, 90, 133, 291), box(600, 400, 690, 570)]
    on_map = shapely.transform(wanted, lambda points: np.column_stack(ORIGIN @ tuple(points.T)))
    layer = write_layer(tmp_path / "aoi.gpkg", list(on_map))
    summary = run(folder, tmp_path / "o.gpkg", aoi=layer)
    inside = [
        one
        for one in truth
        if any(part.covers(shapely.Point((one[0] + one[2]) / 2, (one[1] + one[3]) / 2)) for part in wanted)
    ]
    on_border = [one for one in inside if not any(part.covers(box(*one)) for part in wanted)]
    assert len(inside) > 30
    assert len(on_border) > 5
    assert in_pixels(gpd.read_file(tmp_path / "o.gpkg").geometry.to_numpy()) == sorted(inside)
    assert summary.windows_skipped > 20


def test_a_box_is_the_end_of_the_raster(folder: Path, truth: Boxes, tmp_path: Path) -> None:
    left, top = ORIGIN @ (160, 96)
    right, bottom = ORIGIN @ (420, 333)
    run(folder, tmp_path / "o.gpkg", bbox=(left, bottom, right, top))
    layer = gpd.read_file(tmp_path / "o.gpkg")
    expected = [
        (max(a, 160), max(b, 96), min(c, 420), min(d, 333))
        for a, b, c, d in truth
        if a < 420 and c > 160 and b < 333 and d > 96
    ]
    assert in_pixels(layer.geometry.to_numpy()) == sorted(expected)


def test_nothing_is_found_where_there_is_no_data(tmp_path: Path) -> None:
    pixels = np.full((3, 300, 300), 20, np.uint8)
    pixels[:, 100:120, 40:60] = 255
    pixels[:, 200:220, 230:260] = 255
    pixels[:, :, 250:] = 0
    write_instances(tmp_path / "m.onnx")
    write_raster(tmp_path / "in.tif", pixels, nodata=0)
    summary = run(tmp_path, tmp_path / "o.gpkg")
    found = in_pixels(gpd.read_file(tmp_path / "o.gpkg").geometry.to_numpy())
    assert found == [(40, 100, 60, 120), (230, 200, 250, 220)]
    assert summary.windows_skipped == 0
    write_raster(tmp_path / "in.tif", np.zeros((3, 300, 300), np.uint8), nodata=0)
    summary = run(tmp_path, tmp_path / "none.gpkg")
    assert summary.windows == summary.windows_skipped == 16
    assert summary.footprints == 0


def test_an_empty_raster_gives_an_empty_layer(tmp_path: Path) -> None:
    write_instances(tmp_path / "m.onnx")
    write_raster(tmp_path / "in.tif", np.full((3, 200, 200), 20, np.uint8))
    summary = run(tmp_path, tmp_path / "o.gpkg")
    assert (summary.footprints, summary.windows_skipped) == (0, 0)
    info = pyogrio.read_info(tmp_path / "o.gpkg")
    assert (info["features"], info["geometry_type"], info["crs"]) == (0, "Polygon", UTM)
    assert {"score", "class", "method", "verdict", "iou_raw", "area_m2"} <= {*info["fields"]}


def test_small_and_doubtful_buildings_are_left_out_when_told(
    folder: Path, truth: Boxes, tmp_path: Path
) -> None:
    run(folder, tmp_path / "all.gpkg")
    run(folder, tmp_path / "large.gpkg", outlining=Outlining(min_area_m2=30))
    run(folder, tmp_path / "sure.gpkg", min_score=0.8)
    layer = gpd.read_file(tmp_path / "all.gpkg")
    large, sure = gpd.read_file(tmp_path / "large.gpkg"), gpd.read_file(tmp_path / "sure.gpkg")
    assert 0 < len(large) == (layer.area_m2 >= 30).sum() < len(truth)
    assert 0 < len(sure) == (layer.score >= 0.8).sum() < len(truth)
    assert large.footprint_id.tolist() == list(range(1, len(large) + 1))


def test_a_block_that_cannot_be_read_is_a_gap(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "in.tif") as dataset:
        pixels = dataset.read()
    write_instances(tmp_path / "m.onnx")
    write_raster(tmp_path / "in.tif", pixels, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    with rasterio.open(tmp_path / "in.tif") as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_5_4", "TIFF", bidx=1))
    raw = bytearray((tmp_path / "in.tif").read_bytes())
    raw[offset : offset + 40] = bytes(40)
    (tmp_path / "in.tif").write_bytes(raw)
    summary = run(tmp_path, tmp_path / "o.gpkg", skip_errors=True, valid=True)
    gaps = gpd.read_file(tmp_path / "o.gpkg", layer="gaps")
    seen = gpd.read_file(tmp_path / "o.gpkg", layer="valid").union_all()
    assert seen.equals(shapely.box(*(ORIGIN @ (0, HEIGHT)), *(ORIGIN @ (WIDTH, 0))) - gaps.union_all())
    assert len(gaps) == len(summary.gaps) > 0
    assert 0 < summary.footprints < run(folder, tmp_path / "whole.gpkg").footprints  # type: ignore[operator]
    column, row = ORIGIN @ (5 * 64 + 32, 4 * 64 + 32)
    assert gaps.geometry.union_all().covers(shapely.Point(column, row))
    with pytest.raises(OutputError, match="no room for a layer of gaps"):
        run(tmp_path, tmp_path / "o.fgb", skip_errors=True)


def test_a_forecast_counts_windows_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    model = Prediction(models=(folder / "m.onnx",))
    found = dry_run(folder / "in.tif", tmp_path / "o.gpkg", model)
    assert (found.strips, found.strips_done) == (STRIPS, 0)
    assert (found.takes.windows, found.takes.windows_skipped) == (99, 0)
    assert found.takes.disk_mb == round(99 * 256 * 2000 / 1e6)
    assert list(tmp_path.iterdir()) == []
    run(folder, tmp_path / "o.gpkg", Running(shard=(1, 3)), outlining=Outlining())
    assert dry_run(folder / "in.tif", tmp_path / "o.gpkg", model).strips_done == 3


def test_a_raster_is_brought_to_the_gsd_of_the_model(folder: Path, truth: Boxes, tmp_path: Path) -> None:
    with rasterio.open(folder / "in.tif") as dataset:
        pixels = dataset.read().repeat(4, axis=1).repeat(4, axis=2)
    write_instances(tmp_path / "m.onnx", instance_card())
    write_raster(tmp_path / "in.tif", pixels, transform=ORIGIN @ rasterio.Affine.scale(0.25))
    summary = run(tmp_path, tmp_path / "o.gpkg")
    assert (summary.width_px, summary.height_px) != (WIDTH * 4, HEIGHT * 4)
    found = gpd.read_file(tmp_path / "o.gpkg").geometry.to_numpy()
    on_map = shapely.transform(
        shapely.box(*np.array(truth).T), lambda points: np.column_stack(ORIGIN @ tuple(points.T))
    )
    pairs = shapely.STRtree(found).query(on_map, predicate="intersects")
    shared = shapely.area(shapely.intersection(on_map[pairs[0]], found[pairs[1]]))
    whole = shapely.area(shapely.union(on_map[pairs[0]], found[pairs[1]]))
    best = np.zeros(len(truth))
    np.maximum.at(best, pairs[0], shared / whole)
    assert (best > 0.6).mean() > 0.95


@pytest.mark.parametrize(
    ("output", "options", "kind", "message"),
    [
        ("o.tif", {}, OutputError, "gives no probability to write as a raster"),
        ("o.gpkg", {"outlining": Outlining(method="raw")}, InputError, "--method is for models that give"),
        ("o.gpkg", {"outlining": Outlining(split=True)}, InputError, "--split is for models that give"),
    ],
)
def test_what_is_for_probability_only_is_refused(
    folder: Path, tmp_path: Path, output: str, options: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run(folder, tmp_path / output, **options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_for_objects_only_is_refused_with_probability(folder: Path, tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "p.onnx")
    for options, flag in (({"min_score": 0.3}, "--min-score"), ({"grouping": "walk"}, "--grouping")):
        with pytest.raises(InputError, match=f"{flag} is for models that find buildings one by one"):
            run(folder, tmp_path / "o.gpkg", models=(model,), **options)


def test_models_of_both_kinds_are_not_averaged(folder: Path, tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "p.onnx")
    for models in ((folder / "m.onnx", model), (model, folder / "m.onnx")):
        with pytest.raises(MismatchError, match=r"m.onnx finds buildings one by one"):
            run(folder, tmp_path / "o.gpkg", models=models)


def shell(folder: Path, output: Path, *arguments: object) -> tuple[int, str, str]:
    command = ["predict", folder / "in.tif", output, "--model", folder / "m.onnx", "-q", *arguments]
    result = CliRunner().invoke(app, list(map(str, command)))
    return result.exit_code, result.stdout, result.stderr


def test_a_shell_gets_buildings_and_one_json_object(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.gpkg"
    code, out, err = shell(folder, output, "--grouping", "walk", "--min-score", 0.85, "--json")
    assert (code, err) == (0, "")
    layer = gpd.read_file(output)
    assert json.loads(out)["footprints"] == len(layer) > 20
    assert layer.score.min() >= 0.85
    assert "walk" in set(layer.method)
    assert "walk" in json.loads(pyogrio.read_info(output)["layer_metadata"]["BUILDMAP"])["options"]
    code, out, _ = shell(folder, tmp_path / "o.fgb", "--dry-run", "--json")
    assert (code, json.loads(out)["takes"]["windows"]) == (0, 99)
    assert not (tmp_path / "o.fgb").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "code", "message", "hint"),
    [
        ("o.tif", [], 73, "gives no probability to write as a raster", "OUTPUT.gpkg"),
        ("o.gpkg", ["--method", "raw"], 65, "--method is for models that give probability", "--grouping"),
        ("o.gpkg", ["--seed-probability", 0.9], 65, "--seed-probability is for models", "leave out"),
        ("o.gpkg", ["--tta", "d4"], 65, "--tta d4 averages probability", "leave out --tta"),
        ("o.gpkg", ["--min-score", 2], 2, "2.0 is not in the range", ""),
        ("o.gpkg", ["--grouping", "round"], 2, "'round' is not one of", ""),
    ],
)
def test_wrong_wishes_say_what_is_wrong(
    folder: Path, tmp_path: Path, name: str, arguments: list[object], code: int, message: str, hint: str
) -> None:
    got, out, err = shell(folder, tmp_path / name, *arguments)
    assert (got, out) == (code, "")
    assert message in err
    assert hint in err
    assert list(tmp_path.iterdir()) == []


def test_a_dask_cluster_changes_no_byte(folder: Path, expected: object, tmp_path: Path) -> None:
    run(folder, tmp_path / "o.gpkg", Running(dask="local", workers=1))
    assert content(tmp_path / "o.gpkg") == expected
