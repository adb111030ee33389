"""`buildmap vectorize`, seen from a shell."""

import json
import os
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from rasterio import features
from shapely import MultiPolygon, Polygon, box, transform
from shapely.affinity import translate
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.errors import StorageError
from buildmap.vector.writing.writer import FootprintWriter
from tests.scenes import ORIGIN, UTM, blocks_mask, write_layer, write_raster

RAW = ("--method", "raw", "--min-area-m2", 0, "--min-hole-m2", 0, "-q")


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["vectorize", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def mask() -> np.ndarray:
    return blocks_mask(np.random.default_rng(0), 90, 70)


def burned(layer: Path, raster: Path) -> np.ndarray:
    """Rasterize a layer on the grid of a raster."""
    with rasterio.open(raster) as dataset:
        shapes = gpd.read_file(layer).geometry
        return features.rasterize(
            shapes, out_shape=dataset.shape, transform=dataset.transform, default_value=1
        )


def test_a_mask_becomes_footprints_and_one_json_object(tmp_path: Path, mask: np.ndarray) -> None:
    raster, output = write_raster(tmp_path / "m.tif", mask), tmp_path / "out.gpkg"
    code, out, err = run(raster, output, *RAW, "--json")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    layer = gpd.read_file(output, layer="footprints")
    assert summary["footprints"] == len(layer) > 3
    assert summary["area_m2"] == pytest.approx(layer.area_m2.sum(), abs=0.01)
    assert summary["area_m2"] == pytest.approx(mask.sum() * 0.25, rel=2e-3)
    assert (summary["width_px"], summary["height_px"]) == (70, 90)
    assert layer.crs.to_epsg() == 32633
    assert (burned(output, raster) == mask).all()
    assert layer.footprint_id.tolist() == list(range(1, len(layer) + 1))


def test_a_layer_without_footprints_is_a_failure_when_told(tmp_path: Path, mask: np.ndarray) -> None:
    empty = write_raster(tmp_path / "empty.tif", np.zeros_like(mask))
    assert run(empty, tmp_path / "o.gpkg", *RAW, "--fail-if-empty")[0] == 4
    assert len(gpd.read_file(tmp_path / "o.gpkg")) == 0
    assert run(empty, tmp_path / "o.gpkg", *RAW, "--overwrite")[0] == 0
    assert run(write_raster(tmp_path / "m.tif", mask), tmp_path / "p.gpkg", *RAW, "--fail-if-empty")[0] == 0


def test_the_summary_without_json_is_lines_for_people(tmp_path: Path, mask: np.ndarray) -> None:
    code, out, _ = run(write_raster(tmp_path / "m.tif", mask), tmp_path / "out.gpkg")
    assert code == 0
    assert any(line.split()[:1] == ["footprints"] for line in out.splitlines())


def coded(mask: np.ndarray, kind: str) -> tuple[np.ndarray, float | None]:
    probability = np.where(mask > 0, 0.75, 0.25)
    return {
        "predict": (np.rint(probability * 254).astype(np.uint8), 1 / 254),
        "float": (probability.astype(np.float32), None),
        "0/1": (mask, None),
        "0/255": (mask * np.uint8(255), None),
        "16 bit": (mask.astype(np.uint16) * 7, None),
    }[kind]


@pytest.mark.parametrize("kind", ["predict", "float", "0/1", "0/255", "16 bit"])
def test_every_coding_of_the_same_mask_gives_the_same_footprints(
    tmp_path: Path, mask: np.ndarray, kind: str
) -> None:
    pixels, scale = coded(mask, kind)
    raster = write_raster(tmp_path / "m.tif", pixels)
    if scale is not None:
        with rasterio.open(raster, "r+") as dataset:
            dataset.scales = (scale,)
    assert run(raster, tmp_path / "out.gpkg", *RAW)[0] == 0
    assert (burned(tmp_path / "out.gpkg", raster) == mask).all()
    confidence = gpd.read_file(tmp_path / "out.gpkg").confidence
    assert np.allclose(confidence, 0.75 if kind in {"predict", "float"} else 1.0, atol=0.003)


def test_the_threshold_is_a_probability(tmp_path: Path) -> None:
    probability = np.full((20, 20), 0.1, np.float32)
    probability[2:9, 2:9], probability[12:18, 12:18] = 0.4, 0.9
    raster = write_raster(tmp_path / "p.tif", probability)
    found = {}
    for threshold in (0.3, 0.5, 0.95):
        _, out, _ = run(raster, tmp_path / f"{threshold}.gpkg", "--threshold", threshold, "--json", "-q")
        found[threshold] = json.loads(out)["footprints"]
    assert found == {0.3: 2, 0.5: 1, 0.95: 0}


@pytest.mark.parametrize("kind", ["nodata", "nan"])
def test_no_data_is_never_a_building(tmp_path: Path, kind: str) -> None:
    pixels = np.ones((20, 20), np.float32 if kind == "nan" else np.uint8)
    pixels[:, 10:] = np.nan if kind == "nan" else 255
    raster = write_raster(tmp_path / "m.tif", pixels, nodata=None if kind == "nan" else 255)
    assert run(raster, tmp_path / "out.gpkg", *RAW)[0] == 0
    assert gpd.read_file(tmp_path / "out.gpkg").area.tolist() == [50.0]


def test_many_bands_and_blocks_give_whole_buildings(
    tmp_path: Path, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.tile(mask, (20, 3))
    raster = write_raster(tmp_path / "m.tif", large, tiled=True, blockxsize=256, blockysize=256)
    assert run(raster, tmp_path / "one.gpkg", *RAW)[0] == 0
    monkeypatch.setattr("buildmap.vectorize.rows_per_band", lambda *_: 37)
    code, out, _ = run(raster, tmp_path / "many.gpkg", *RAW, "--json")
    assert (code, json.loads(out)["bands"]) == (0, 49)
    one, many = gpd.read_file(tmp_path / "one.gpkg"), gpd.read_file(tmp_path / "many.gpkg")
    assert one.to_wkb().equals(many.to_wkb())
    assert (burned(tmp_path / "one.gpkg", raster) == large).all()


@pytest.mark.parametrize(
    "transform",
    [Affine(0.5, 0, 400_000, 0, 0.5, 5_000_000), Affine(0.4, 0.3, 400_000, 0.3, -0.4, 5_000_000)],
    ids=["south-up", "rotated"],
)
def test_a_raster_in_any_position_gives_the_right_polygons(
    tmp_path: Path, mask: np.ndarray, transform: Affine
) -> None:
    raster = write_raster(tmp_path / "m.tif", mask, transform=transform)
    assert run(raster, tmp_path / "out.gpkg", *RAW)[0] == 0
    layer = gpd.read_file(tmp_path / "out.gpkg")
    assert (burned(tmp_path / "out.gpkg", raster) == mask).all()
    assert layer.geometry.exterior.is_ccw.all()
    assert layer.is_valid.all()


def test_an_empty_mask_gives_a_valid_empty_layer(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "m.tif", np.zeros((10, 10), np.uint8))
    code, out, _ = run(raster, tmp_path / "out.gpkg", "--layer", "houses", "--json", "-q")
    assert (code, json.loads(out)["footprints"], json.loads(out)["area_m2"]) == (0, 0, 0)
    layer = gpd.read_file(tmp_path / "out.gpkg", layer="houses")
    assert len(layer) == 0
    assert {"footprint_id", "area_m2", "perimeter_m", "confidence"} < set(layer.columns)
    assert layer.crs.to_epsg() == 32633


def test_an_existing_output_is_refused_and_replaced_when_told(tmp_path: Path, mask: np.ndarray) -> None:
    raster, output = write_raster(tmp_path / "m.tif", mask), tmp_path / "out.gpkg"
    output.write_text("old")
    code, out, err = run(raster, output, "-q")
    assert (code, out) == (73, "")
    assert err == f"error: {output} exists already\n hint: pass --overwrite to replace it\n"
    assert output.read_text() == "old"
    assert run(raster, output, "-q", "--overwrite")[0] == 0
    assert len(gpd.read_file(output)) > 0


def test_a_raster_without_crs_needs_one_to_be_assumed(tmp_path: Path, mask: np.ndarray) -> None:
    raster, output = write_raster(tmp_path / "m.tif", mask, crs=None), tmp_path / "out.gpkg"
    code, _, err = run(raster, output, "-q")
    assert code == 65
    assert "has no CRS" in err and "--assume-crs" in err
    assert run(raster, output, "-q", "--assume-crs", "nonsense")[0] == 65
    assert run(raster, output, "-q", "--assume-crs", UTM)[0] == 0
    assert gpd.read_file(output).crs.to_epsg() == 32633


def test_a_crs_assumed_against_the_raster_is_refused(tmp_path: Path, mask: np.ndarray) -> None:
    raster = write_raster(tmp_path / "m.tif", mask)
    code, _, err = run(raster, tmp_path / "out.gpkg", "-q", "--assume-crs", "EPSG:3857")
    assert code == 65
    assert "EPSG:32633" in err and "EPSG:3857" in err


def test_a_raster_whose_crs_has_no_such_place_is_refused(tmp_path: Path, mask: np.ndarray) -> None:
    lost = write_raster(tmp_path / "m.tif", mask, crs="EPSG:4326")  # coordinates in metres
    code, _, err = run(lost, tmp_path / "out.gpkg", "-q")
    assert code == 65
    assert "have no place in EPSG:4326" in err and "rio edit-info" in err
    assert list(tmp_path.iterdir()) == [lost]


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_a_name_that_is_not_utf_8_is_no_bug(tmp_path: Path, mask: np.ndarray) -> None:
    raster = write_raster(tmp_path / "m.tif", mask).rename(tmp_path / os.fsdecode(b"\xfc.tif"))
    code, _, err = run(raster, tmp_path / "out.gpkg", "-q")
    assert code == 65
    assert "it is not valid utf-8" in err
    assert list(tmp_path.iterdir()) == [raster]


def test_inputs_and_outputs_that_cannot_be_used_are_refused(tmp_path: Path, mask: np.ndarray) -> None:
    raster = write_raster(tmp_path / "m.tif", mask)
    colored = write_raster(tmp_path / "rgb.tif", np.stack([mask] * 3))
    assert run(tmp_path / "none.tif", tmp_path / "out.gpkg")[0] == 66
    code, _, err = run(colored, tmp_path / "out.gpkg")
    assert code == 65 and "has 3 bands" in err and "gdal_translate -b 1" in err
    code, _, err = run(raster, tmp_path / "out.kml")
    assert code == 73 and "only as .gpkg, .fgb" in err
    code, _, err = run(raster, tmp_path / "out.gpkg", "-f", "shape")
    assert code == 73 and "only as GPKG, FlatGeobuf" in err
    code, _, err = run(raster, tmp_path / "out.gpkg", "--layer", "gpkg_contents")
    assert code == 73 and "cannot have a layer 'gpkg_contents'" in err
    assert run(raster, raster, "--overwrite")[0] == 73
    assert run(raster, tmp_path / "out.gpkg", "--threshold", 1.5)[0] == 2
    assert run(raster, tmp_path / "out.gpkg", "--simplify-m", "nan")[0] == 2
    assert not (tmp_path / "out.gpkg").exists()


def test_a_failure_midway_leaves_the_old_output_and_the_next_run_goes_on(
    tmp_path: Path, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster, output = write_raster(tmp_path / "m.tif", mask), tmp_path / "out.gpkg"
    assert run(raster, output, "-q")[0] == 0
    before, expected = output.read_bytes(), gpd.read_file(output)

    def fail(*_: object) -> None:
        raise StorageError("the disk has gone")

    with monkeypatch.context() as patched:
        patched.setattr(FootprintWriter, "write", fail)
        code, _, err = run(raster, output, "-q", "--overwrite")
    assert code == 74 and "the disk has gone" in err
    assert output.read_bytes() == before
    code, out, _ = run(raster, output, "-q", "--overwrite", "--json")
    assert (code, json.loads(out)["bands"], json.loads(out)["bands_resumed"]) == (0, 1, 1)
    assert gpd.read_file(output).equals(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.tif", "out.gpkg"]


def test_what_made_the_layer_is_stored_in_it(tmp_path: Path, mask: np.ndarray) -> None:

    raster = write_raster(tmp_path / "m.tif", mask)
    assert run(raster, tmp_path / "out.gpkg", "-q", "--threshold", 0.25)[0] == 0
    stored = json.loads(pyogrio.read_info(tmp_path / "out.gpkg")["layer_metadata"]["BUILDMAP"])
    assert (stored["verb"], stored["source"]) == ("vectorize", "m.tif")
    assert "threshold=0.25" in stored["options"]


@pytest.fixture
def hills(tmp_path: Path) -> Path:
    """Write probability with slopes: two touching houses, one less certain, one with a hole."""
    probability = np.full((60, 90), 0.02, np.float32)
    probability[4:24, 4:24] = probability[4:24, 26:46] = 0.99
    probability[4:24, 24:26] = 0.7
    probability[4:24, 60:80] = 0.6
    probability[34:56, 10:40], probability[42:48, 20:30] = 0.99, 0.02
    probability[34:56, 9], probability[34:56, 40] = 0.3, 0.3
    return write_raster(tmp_path / "hills.tif", probability)


def drawn(*arguments: object) -> gpd.GeoDataFrame:
    output = Path(str(arguments[1]))
    code, _, err = run(*arguments, "-q")
    assert (code, err) == (0, "")
    return gpd.read_file(output)


@pytest.mark.parametrize(
    ("method", "drawn_by"),
    [
        ("raw", {"raw"}),
        ("simplify", {"simplify", "raw"}),
        ("paper", {"paper", "raw"}),
        ("adaptive", {"adaptive", "simplify", "circle", "raw"}),
    ],
)
def test_each_method_says_what_drew_each_footprint(
    tmp_path: Path, mask: np.ndarray, method: str, drawn_by: set[str]
) -> None:
    raster = write_raster(tmp_path / "m.tif", mask)
    layer = drawn(raster, tmp_path / "out.gpkg", "--method", method)
    assert method in set(layer["method"]) <= drawn_by
    assert layer.is_valid.all()
    assert layer.iou_raw.between(0.5, 1).all()


def test_a_tolerance_asks_for_the_method_that_has_one(tmp_path: Path, mask: np.ndarray) -> None:
    raster = write_raster(tmp_path / "m.tif", np.kron(mask, np.ones((3, 3), np.uint8)))
    corners = {
        metres: drawn(raster, tmp_path / f"{metres}.gpkg", "--simplify-m", metres).count_coordinates().sum()
        for metres in (0.1, 2, 8)
    }
    assert corners[0.1] > corners[2] > corners[8]
    assert set(drawn(raster, tmp_path / "0.gpkg", "--simplify-m", 2)["method"]) <= {"simplify", "raw"}


def test_hysteresis_leaves_out_what_is_nowhere_certain(tmp_path: Path, hills: Path) -> None:
    assert len(drawn(hills, tmp_path / "all.gpkg", *RAW)) == 3
    certain = drawn(hills, tmp_path / "certain.gpkg", *RAW, "--hysteresis", 0.8)
    assert len(certain) == 2
    assert certain.confidence.min() > 0.9


def test_split_parts_touching_buildings_at_a_shared_wall(tmp_path: Path, hills: Path) -> None:
    whole = drawn(hills, tmp_path / "whole.gpkg", *RAW)
    parts = drawn(hills, tmp_path / "parts.gpkg", *RAW, "--split")
    assert len(parts) == len(whole) + 1
    assert parts.union_all().equals(whole.union_all())
    assert parts.area.sum() == pytest.approx(whole.area.sum())
    high = drawn(hills, tmp_path / "high.gpkg", *RAW, "--split", "--seed-probability", 0.995)
    assert len(high) == len(whole)  # nothing reaches such a seed


def test_a_subpixel_outline_runs_where_the_probability_crosses_the_threshold(tmp_path: Path) -> None:
    probability = np.full((40, 40), 0.0, np.float32)
    probability[10:30, 10:30] = 1
    probability[10:30, 30] = 0.4
    raster = write_raster(tmp_path / "p.tif", probability)
    edge = drawn(raster, tmp_path / "edge.gpkg", "--method", "simplify")
    fine = drawn(raster, tmp_path / "fine.gpkg", "--method", "simplify", "--outline", "subpixel")
    assert edge.total_bounds[2] == 400_000 + 15
    # between the centre of the last pixel of 1 and the next of 0.4, the threshold lies 5/6 of a pixel on
    assert fine.total_bounds[2] == pytest.approx(400_000 + 0.5 * (29.5 + 5 / 6), abs=0.02)


def test_the_smallest_area_and_hole_are_in_square_metres(tmp_path: Path, hills: Path) -> None:
    assert len(drawn(hills, tmp_path / "a.gpkg", *RAW[:2], "--min-area-m2", 105)) == 2  # 20 x 20 px is 100
    filled = drawn(hills, tmp_path / "b.gpkg", *RAW[:2], "--min-hole-m2", 15.5)  # the hole has 15
    kept = drawn(hills, tmp_path / "c.gpkg", *RAW[:2], "--min-hole-m2", 14.5)
    holes = [int(layer.count_interior_rings().sum()) for layer in (filled, kept)]
    assert holes == [0, 1]


def test_blocks_of_ground_change_the_thresholds_of_the_papers_method(tmp_path: Path) -> None:
    mask = blocks_mask(np.random.default_rng(1), 400, 400, count=300)
    raster = write_raster(tmp_path / "m.tif", mask)
    one = drawn(raster, tmp_path / "one.gpkg", "--method", "paper")
    wide = drawn(raster, tmp_path / "wide.gpkg", "--method", "paper", "--quantile-area", 1)
    small = drawn(raster, tmp_path / "small.gpkg", "--method", "paper", "--quantile-area", 0.01)
    assert one.geometry.to_wkb().equals(wide.geometry.to_wkb())  # all of it is 0.04 km2
    assert len(small) > 10
    assert not one.geometry.to_wkb().equals(small.geometry.to_wkb())


def test_the_steps_of_the_papers_method_are_kept_as_layers(tmp_path: Path, mask: np.ndarray) -> None:
    raster, steps = write_raster(tmp_path / "m.tif", mask), tmp_path / "steps.gpkg"
    layer = drawn(raster, tmp_path / "out.gpkg", "--method", "paper", "--keep-steps", steps)
    assert pyogrio.list_layers(steps)[:, 0].tolist() == ["simplified", "regularized", "final"]
    counts = {name: len(gpd.read_file(steps, layer=name)) for name in ("simplified", "regularized", "final")}
    assert len(set(counts.values())) == 1
    assert counts["final"] >= len(layer) > 3
    assert gpd.read_file(steps, layer="final").crs == layer.crs


def test_steps_that_cannot_be_kept_are_refused_before_any_work(tmp_path: Path, mask: np.ndarray) -> None:
    raster, output = write_raster(tmp_path / "m.tif", mask), tmp_path / "out.gpkg"
    for steps, told in [("steps.fgb", "must be a GeoPackage"), ("out.gpkg", "is both the output and")]:
        code, _, err = run(raster, output, "--method", "paper", "--keep-steps", tmp_path / steps)
        assert code == 73 and told in err and "hint:" in err
    (tmp_path / "old.gpkg").touch()
    code, _, err = run(raster, output, "--method", "paper", "--keep-steps", tmp_path / "old.gpkg")
    assert code == 73 and "old.gpkg exists already" in err
    code, _, err = run(raster, "-", "--method", "paper", "--keep-steps", raster, "--overwrite")
    assert code == 73 and "cannot be written as '.tif'" in err
    aoi = write_layer(tmp_path / "aoi.gpkg", [box(399_990, 4_999_000, 400_025, 5_000_010)])
    flags = ("--aoi", aoi, "--keep-steps", aoi, "--overwrite")
    code, _, err = run(raster, "-", "--method", "paper", *flags)
    assert code == 73 and "aoi.gpkg is the input" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aoi.gpkg", "m.tif", "old.gpkg"]


def test_an_area_of_interest_keeps_what_lies_in_it(tmp_path: Path, hills: Path) -> None:
    west = gpd.GeoSeries([box(399_990, 4_999_000, 400_025, 5_000_010)], crs=UTM).to_crs(4326)
    west.to_file(tmp_path / "aoi.fgb")
    assert len(drawn(hills, tmp_path / "in.gpkg", *RAW, "--aoi", tmp_path / "aoi.fgb")) == 2
    write_layer(tmp_path / "far.fgb", [box(0, 0, 1, 1)])
    code, _, err = run(hills, tmp_path / "out.gpkg", *RAW, "--aoi", tmp_path / "far.fgb")
    assert code == 65 and "does not touch the raster: extents" in err
    code, _, err = run(hills, tmp_path / "aoi.fgb", "--overwrite", "--aoi", tmp_path / "aoi.fgb")
    assert code == 73 and "is the input" in err
    assert not list(tmp_path.glob(".*"))


def test_the_layer_is_written_in_the_crs_asked_for(tmp_path: Path, hills: Path) -> None:
    here = drawn(hills, tmp_path / "here.gpkg", *RAW)
    there = drawn(hills, tmp_path / "there.gpkg", *RAW, "--target-crs", "EPSG:4326")
    assert there.crs.to_epsg() == 4326
    assert there.area_m2.tolist() == here.area_m2.tolist()
    back = there.to_crs(here.crs)
    assert back.geometry.geom_equals_exact(here.geometry, 1e-5).all()
    code, _, err = run(hills, tmp_path / "out.gpkg", *RAW, "--target-crs", "nonsense")
    assert code == 65 and "nonsense" in err
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("o.gpkg", None), ("o.fgb", None), ("o.geojsonl", None), ("o.bin", "flatgeobuf"), ("o.x", "GeoJSONSeq")],
)
def test_every_format_comes_back_the_same(
    tmp_path: Path, hills: Path, name: str, kind: str | None, empty: bool
) -> None:
    asked = () if kind is None else ("-f", kind)
    threshold = ("--threshold", 1) if empty else ()
    expected = drawn(hills, tmp_path / "expected.gpkg", *RAW, *threshold)
    code, out, err = run(hills, tmp_path / name, *RAW, *asked, *threshold, "--json")
    assert (code, err, json.loads(out)["footprints"]) == (0, "", len(expected))
    if empty and "json" in (kind or name).lower():  # no GDAL opens a sequence of nothing
        assert (tmp_path / name).read_bytes() == b""
        return
    found = gpd.read_file(tmp_path / name)
    assert list(found.columns) == list(expected.columns)
    assert len(found) == len(expected) == (0 if empty else 3)
    found = found.sort_values("footprint_id").to_crs(expected.crs)
    assert np.allclose(found.area, expected.area, rtol=1e-5)
    assert found.area_m2.tolist() == pytest.approx(expected.area_m2.tolist())


def test_parquet_is_read_back_by_geopandas(tmp_path: Path, hills: Path) -> None:
    pytest.importorskip("pyarrow")
    expected = drawn(hills, tmp_path / "expected.gpkg", *RAW)
    assert run(hills, tmp_path / "o.parquet", *RAW)[0] == 0
    found = gpd.read_parquet(tmp_path / "o.parquet")
    assert found.geometry.to_wkb().tolist() == expected.geometry.to_wkb().tolist()
    assert found.crs.to_epsg() == 32633


@pytest.mark.parametrize(("threshold", "count"), [(0.5, 3), (1, 0)])
def test_tiles_show_every_footprint(tmp_path: Path, hills: Path, threshold: float, count: int) -> None:
    code, out, _ = run(hills, tmp_path / "o.pmtiles", *RAW, "--threshold", threshold, "--json")
    assert (code, json.loads(out)["footprints"]) == (0, count)
    info = pyogrio.read_info(tmp_path / "o.pmtiles", force_feature_count=True)
    assert (info["driver"], info["layer_name"]) == ("PMTiles", "footprints")
    assert info["features"] >= count
    assert bool(info["features"]) == bool(count)


def test_styles_are_a_second_layer_where_they_are_asked_for(tmp_path: Path, hills: Path) -> None:
    drawn(hills, tmp_path / "plain.gpkg", *RAW)
    assert run(hills, tmp_path / "styled.gpkg", *RAW, "--style", "--layer", "houses")[0] == 0
    assert pyogrio.list_layers(tmp_path / "plain.gpkg")[:, 0].tolist() == ["footprints"]
    assert pyogrio.list_layers(tmp_path / "styled.gpkg")[:, 0].tolist() == ["houses", "layer_styles"]
    styles = pyogrio.read_dataframe(tmp_path / "styled.gpkg", layer="layer_styles")
    assert set(styles.f_table_name) == {"houses"}


def test_the_date_of_the_imagery_is_the_rasters_or_the_one_given(tmp_path: Path, hills: Path) -> None:
    assert drawn(hills, tmp_path / "none.gpkg", *RAW).source_date.isna().all()
    with rasterio.open(hills, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2021:05:17 10:00:00")
    assert set(drawn(hills, tmp_path / "own.gpkg", *RAW).source_date.astype(str)) == {"2021-05-17"}
    given = drawn(hills, tmp_path / "given.gpkg", *RAW, "--source-date", "2024-06")
    assert set(given.source_date) == {"2024-06"}


@pytest.mark.parametrize("more", [("--workers", 2), ("--dask", "local", "--workers", 2)])
def test_workers_change_no_bit(
    tmp_path: Path, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch, more: tuple[object, ...]
) -> None:
    raster = write_raster(tmp_path / "m.tif", np.tile(mask, (6, 3)))
    expected = drawn(raster, tmp_path / "one.gpkg")
    monkeypatch.setattr("buildmap.vectorize.rows_per_band", lambda *_: 60)
    code, out, _ = run(raster, tmp_path / "more.gpkg", "-q", "--json", *more)
    assert (code, json.loads(out)["bands"]) == (0, 9)
    found = gpd.read_file(tmp_path / "more.gpkg")
    assert found.geometry.to_wkb().equals(expected.geometry.to_wkb())
    assert found.drop(columns="geometry").equals(expected.drop(columns="geometry"))


def test_valid_ground_is_a_layer_beside_the_footprints(tmp_path: Path, mask: np.ndarray) -> None:
    pixels = mask.copy()
    pixels[:48, 32:] = 255
    raster = write_raster(tmp_path / "m.tif", pixels, nodata=255)
    code, out, _ = run(raster, tmp_path / "out.gpkg", *RAW, "--valid", "--json")
    assert code == 0
    (ground,) = gpd.read_file(tmp_path / "out.gpkg", layer="valid").geometry
    expected = box(0, 0, 70, 90) - box(32, 0, 70, 48)
    assert ground.equals(transform(expected, lambda xy: np.column_stack(ORIGIN @ tuple(xy.T))))
    layer = gpd.read_file(tmp_path / "out.gpkg", layer="footprints")
    assert json.loads(out)["footprints"] == len(layer)
    assert run(raster, tmp_path / "plain.gpkg", *RAW)[0] == 0
    assert [name for name, _ in pyogrio.list_layers(tmp_path / "plain.gpkg")] == ["footprints"]
    assert gpd.read_file(tmp_path / "plain.gpkg").equals(layer)


def test_nothing_is_valid_outside_an_area(tmp_path: Path, mask: np.ndarray) -> None:
    raster = write_raster(tmp_path / "m.tif", mask)
    aoi = write_layer(tmp_path / "aoi.gpkg", [box(400_000, 4_999_960, 400_008, 5_000_000)])
    assert run(raster, tmp_path / "out.gpkg", *RAW, "--valid", "--aoi", aoi)[0] == 0
    (ground,) = gpd.read_file(tmp_path / "out.gpkg", layer="valid").geometry
    assert ground.bounds == (400_000, 4_999_960, 400_008, 5_000_000)


@pytest.mark.parametrize(
    ("output", "options", "told"),
    [
        ("out.fgb", (), "FlatGeobuf has no room for a layer 'valid' beside the footprints"),
        ("-", (), "FlatGeobuf has no room for a layer 'valid' beside the footprints"),
        ("out.gpkg", ("--layer", "valid"), "the footprints' layer cannot be called 'valid'"),
        ("out.gpkg", ("-f", "GeoJSONSeq"), "GeoJSONSeq has no room"),
    ],
)
def test_valid_ground_needs_room(
    tmp_path: Path, mask: np.ndarray, output: str, options: tuple[str, ...], told: str
) -> None:
    raster = write_raster(tmp_path / "m.tif", mask)
    target = output if output == "-" else tmp_path / output
    code, _, err = run(raster, target, "--valid", *options)
    assert code == 73
    assert told in err
    assert [path.name for path in tmp_path.iterdir()] == ["m.tif"]


USELESS = [
    (("--quantile-area", 1), "--quantile-area would do nothing without --method paper"),
    (("--keep-steps", "s.gpkg"), "--keep-steps would do nothing without --method paper"),
    (("--seed-probability", 0.9), "--seed-probability would do nothing without --split"),
    (("--split", "--seed-probability", 0.4), "seed 0.4 is not above threshold 0.5"),
    (("--hysteresis", 0.4), "hysteresis 0.4 is below threshold 0.5"),
    (("--method", "raw", "--simplify-m", 1), "--simplify-m belongs to --method simplify, not to raw"),
    (("--from-layer", "a"), "--from-layer would do nothing: m.tif is a raster"),
    (("--gsd-m", 1), "--gsd-m would do nothing: m.tif is a raster"),
    (("--style", "-f", "FlatGeobuf"), "--style would do nothing"),
    (("--source-date", "yesterday"), "'yesterday' is not a date"),
    (("--source-date", "2024-13-01"), "'2024-13-01' is not a date"),
    (("--gsd-m", "nan"), "nan is not a finite number"),
    (("--workers", 0), "--workers"),
    (("--method", "best"), "--method"),
    (("--outline", "fine"), "--outline"),
]


@pytest.mark.parametrize(("options", "told"), USELESS)
def test_options_that_would_do_nothing_are_usage_errors(options: tuple[object, ...], told: str) -> None:
    code, out, err = run("m.tif", "out.gpkg", *options)
    assert (code, out) == (2, "")
    assert told in " ".join(err.split())


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--method", "paper"), "--method paper needs a raster"),
        (("--split",), "--split would do nothing"),
        (("--outline", "subpixel"), "--outline would do nothing"),
        (("--threshold", 0.3, "--hysteresis", 0.4), "--threshold, --hysteresis would do nothing"),
        (("--assume-crs", "EPSG:4326"), "--assume-crs would do nothing"),
        (("--valid",), "--valid would do nothing"),
    ],
)
def test_options_of_rasters_beside_a_layer_are_usage_errors(option: tuple[object, ...], told: str) -> None:
    code, _, err = run("in.gpkg", "out.gpkg", *option)
    assert code == 2
    assert told in err and "in.gpkg is a layer" in err


def test_what_the_environment_says_of_other_runs_is_no_usage_error(
    tmp_path: Path, hills: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDMAP_SEED", "0.9")
    monkeypatch.setenv("BUILDMAP_VECTORIZE_GSD_M", "0.5")
    assert len(drawn(hills, tmp_path / "out.gpkg", *RAW)) == 3


def test_a_layer_is_fitted_anew_and_shared_walls_stay_shared(tmp_path: Path) -> None:
    row = [box(0, 0, 8, 10), box(8, 0, 16, 10.2), Polygon([(30, 0), (40, 0.2), (40.1, 10), (30, 10.1)])]
    source = write_layer(tmp_path / "in.gpkg", [translate(one, 4e5, 5e6) for one in row])
    layer = drawn(source, tmp_path / "out.gpkg")
    assert len(layer) == 3
    assert layer.is_valid.all()
    left, right = layer.geometry[:2]
    assert left.intersection(right).area == 0
    assert left.intersection(right).length == pytest.approx(10, abs=0.3)
    assert layer.confidence.isna().all()
    assert layer.area.tolist() == pytest.approx([one.area for one in row], rel=0.03)


def test_what_is_sick_in_a_layer_is_mended_or_left_out(tmp_path: Path) -> None:
    sick = [
        Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]),
        MultiPolygon([box(20, 0, 30, 10), box(40, 0, 50, 10)]),
        None,
        Polygon(),
        box(60, 0, 60.5, 0.5),
    ]
    shapes = [one if one is None else translate(one, 4e5, 5e6) for one in sick]
    layer = drawn(write_layer(tmp_path / "in.gpkg", shapes), tmp_path / "out.gpkg", "--method", "raw")
    assert sorted(layer.area.round(6)) == [25, 25, 100, 100]
    assert layer.is_valid.all()
    assert set(layer.geom_type) == {"Polygon"}


def test_the_size_of_a_pixel_decides_what_is_a_detail_of_a_layer(tmp_path: Path) -> None:
    notched = box(0, 0, 20, 10).difference(box(9, 9.5, 10, 10))
    source = write_layer(tmp_path / "in.gpkg", [translate(notched, 4e5, 5e6)])
    fine = drawn(source, tmp_path / "fine.gpkg", "--gsd-m", 0.05, "--method", "simplify")
    coarse = drawn(source, tmp_path / "coarse.gpkg", "--gsd-m", 1, "--method", "simplify")
    assert fine.count_coordinates().tolist() == [9]
    assert coarse.count_coordinates().tolist() == [5]


def test_which_layer_of_several_is_fitted_must_be_said(tmp_path: Path) -> None:
    source = tmp_path / "in.gpkg"
    for number, name in enumerate(("a", "b"), 1):
        houses = [translate(box(0, 0, 10, 10), 4e5 + 20 * n, 5e6) for n in range(number)]
        gpd.GeoDataFrame(geometry=houses, crs=UTM).to_file(source, layer=name)
    code, _, err = run(source, tmp_path / "out.gpkg")
    assert code == 65 and "hint:" in err
    assert len(drawn(source, tmp_path / "out.gpkg", "--from-layer", "b")) == 2


def test_layers_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    lost = tmp_path / "lost.fgb"
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        write_layer(lost, [box(0, 0, 1, 1)], crs=None)
    code, _, err = run(lost, tmp_path / "out.gpkg")
    assert code == 65 and "has no CRS" in err and "ogr2ogr -a_srs" in err
    code, _, err = run("https://localhost/x.gpkg", tmp_path / "out.gpkg")
    assert code == 65 and "https://localhost/x.gpkg is a layer elsewhere" in err
    assert run(tmp_path / "none.gpkg", tmp_path / "out.gpkg")[0] == 66
    assert run(lost, lost, "--overwrite")[0] == 73
    assert [path.name for path in tmp_path.iterdir()] == ["lost.fgb"]


def test_an_empty_layer_gives_an_empty_layer(tmp_path: Path) -> None:
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(tmp_path / "in.gpkg")
    layer = drawn(tmp_path / "in.gpkg", tmp_path / "out.gpkg")
    assert len(layer) == 0
    assert layer.crs.to_epsg() == 32633
