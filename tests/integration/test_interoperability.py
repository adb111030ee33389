"""Other people's programs read what buildmap writes: rio-cogeo, GDAL's own, readers of tiles, geopandas."""

import csv
import gzip
import io
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from shapely import box
from typer.testing import CliRunner

from buildmap.cli.app import app
from tests.networks import make_card, write_onnx
from tests.scenes import UTM, houses_image, write_raster

METRE = Affine(1, 0, 500_000, 0, -1, 5_000_000)
HOUSES = [(20, 30, 18, 24), (60, 200, 30, 12), (300, 40, 16, 16), (420, 500, 22, 40), (505, 520, 14, 25)]
"""Row, column, height and width in pixels."""
needs_ogr2ogr = pytest.mark.skipif(not shutil.which("ogr2ogr"), reason="needs ogr2ogr")


def buildmap(*arguments: object) -> bytes:
    """Run a command, and give what it writes to stdout."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.stderr
    return result.stdout_bytes


def gdal(*command: object, stdin: bytes | None = None) -> str:
    """Run one of GDAL's programs that has nothing to complain of."""
    done = subprocess.run([*map(str, command)], input=stdin, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.fixture(scope="module")
def probability(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predict a town of bright houses, with a corner of no data."""
    folder = tmp_path_factory.mktemp("town")
    mask = np.zeros((530, 560), np.uint8)
    for row, col, height, width in HOUSES:
        mask[row : row + height, col : col + width] = 1
    image = houses_image(mask, np.random.default_rng(0))
    image[:, 400:, :80] = 0
    town = write_raster(folder / "town.tif", image, transform=METRE, nodata=0)
    model = write_onnx(folder / "m.onnx", make_card(window_px=512))
    buildmap("predict", town, folder / "probability.tif", "--model", model, "--no-resample", "-q")
    return folder / "probability.tif"


@pytest.fixture(scope="module")
def layer(probability: Path) -> Path:
    path = probability.with_name("town.gpkg")
    buildmap("vectorize", probability, path, "--style", "--valid", "-q")
    return path


@pytest.fixture(scope="module")
def stream(probability: Path) -> bytes:
    return buildmap("vectorize", probability, "-", "-q")


def test_a_stream_of_geojson_has_a_feature_a_line(probability: Path, stream: bytes) -> None:
    lines = buildmap("vectorize", probability, "-", "-f", "GeoJSONSeq", "-q").splitlines()
    frame = gpd.GeoDataFrame.from_features([*map(json.loads, lines)], crs="OGC:CRS84").to_crs(UTM)
    expected = pyogrio.read_dataframe(io.BytesIO(stream)).sort_values("footprint_id", ignore_index=True)
    assert frame.footprint_id.tolist() == expected.footprint_id.tolist()
    assert shapely.hausdorff_distance(frame.geometry.array, expected.geometry.array).max() < 1e-3


def test_rio_cogeo_calls_the_raster_a_valid_cog(probability: Path) -> None:
    rio_cogeo = pytest.importorskip("rio_cogeo", reason="needs rio-cogeo")
    assert rio_cogeo.cog_validate(probability, strict=True, quiet=True) == (True, [], [])
    info = rio_cogeo.cog_info(probability)
    assert [(level.Width, level.Height) for level in info.IFD] == [(560, 530), (280, 265)]
    assert (info.Profile.Nodata, info.Profile.Dtype) == (255, "uint8")
    with rasterio.open(probability, overview_level=0) as overview:
        assert (overview.read(1) == 255).sum() == pytest.approx(130 * 80 / 4, abs=40)  # no data stays none


@pytest.mark.skipif(not shutil.which("ogrinfo"), reason="needs ogrinfo")
def test_ogrinfo_reads_the_layers_and_styles_of_a_geopackage_without_a_warning(layer: Path) -> None:
    assert gdal("ogrinfo", "-ro", "-q", layer).splitlines() == [
        "1: footprints (Polygon)",
        "2: valid (Polygon)",
        "3: layer_styles (None)",
    ]
    styles = gdal("ogrinfo", "-ro", "-q", layer, "layer_styles")
    for told in ("f_table_name (String) = footprints", "f_geometry_column (String) = geom"):
        assert styles.count(told) == 2
    assert 'type="categorizedSymbol" attr="method"' in styles
    assert 'type="graduatedSymbol" attr="confidence"' in styles
    assert styles.count("useAsDefault (Integer(Boolean)) = 1") == 1


def test_gdal_s_validator_finds_a_geopackage_sound(layer: Path) -> None:
    python = shutil.which("python3", path=str(Path(shutil.which("ogrinfo") or "").parent)) or sys.executable
    validator = [python, "-m", "osgeo_utils.samples.validate_gpkg"]
    told = subprocess.run([*validator, "--extra", layer], check=False, capture_output=True)
    if b"No module named" in told.stderr:
        pytest.skip("needs GDAL's utilities in Python beside ogrinfo")
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")
    damaged = layer.with_name("damaged.gpkg")
    shutil.copy(layer, damaged)
    with closing(sqlite3.connect(damaged)) as database:
        database.execute("DELETE FROM gpkg_extensions WHERE table_name = 'valid'")
        database.commit()
    assert subprocess.run([*validator, damaged], check=False, capture_output=True).returncode == 1


@needs_ogr2ogr
@pytest.mark.parametrize("name", ["out.fgb", "out.geojsonl"])
def test_ogr2ogr_takes_the_stream_to_another_format(tmp_path: Path, stream: bytes, name: str) -> None:
    gdal("ogr2ogr", tmp_path / name, "/vsistdin/", stdin=stream)
    frame = pyogrio.read_dataframe(tmp_path / name).to_crs(UTM)
    assert frame.footprint_id.is_unique
    truth = [box(500_000 + c, 5_000_000 - r - h, 500_000 + c + w, 5_000_000 - r) for r, c, h, w in HOUSES]
    matched = [max(shapely.area(frame.geometry.intersection(one)) / one.area) for one in truth]
    assert len(frame) == len(HOUSES)
    assert matched == pytest.approx([1] * len(HOUSES), abs=0.02)


@needs_ogr2ogr
def test_ogr2ogr_makes_a_dump_for_postgis_from_the_stream(stream: bytes) -> None:
    dump = gdal("ogr2ogr", "-f", "PGDump", "/vsistdout/", "/vsistdin/", "-nln", "buildings", stdin=stream)
    assert "AddGeometryColumn('public','buildings','wkb_geometry',32633,'POLYGON',2)" in dump
    assert dump.count('INSERT INTO "public"."buildings"') == len(HOUSES)
    for column in ('"footprint_id" INT8', '"area_m2" FLOAT8', '"method" VARCHAR'):
        assert f'ALTER TABLE "public"."buildings" ADD COLUMN {column};' in dump


@needs_ogr2ogr
def test_ogr2ogr_makes_tables_and_geojson_from_the_stream(stream: bytes) -> None:
    options = ("-f", "CSV", "/vsistdout/", "/vsistdin/", "-lco", "GEOMETRY=AS_WKT")
    rows = [*csv.DictReader(gdal("ogr2ogr", *options, stdin=stream).splitlines())]
    assert len(rows) == len(HOUSES)
    for row in rows:
        assert shapely.from_wkt(row["WKT"]).area == pytest.approx(float(row["area_m2"]), rel=2e-3)
    options = ("-f", "GeoJSON", "/vsistdout/", "/vsistdin/", "-lco", "RFC7946=YES")
    features = json.loads(gdal("ogr2ogr", *options, stdin=stream))["features"]
    xs = [x for feature in features for x, _ in feature["geometry"]["coordinates"][0]]
    assert len(features) == len(HOUSES)
    assert 15 <= min(xs) <= max(xs) < 15.01


def test_the_archive_of_tiles_is_whole_and_its_tiles_are_vector_tiles(layer: Path) -> None:
    reader = pytest.importorskip("pmtiles.reader", reason="needs pmtiles")
    decoder = pytest.importorskip("mapbox_vector_tile", reason="needs mapbox-vector-tile")
    path = layer.with_suffix(".pmtiles")
    buildmap("vectorize", layer.with_name("probability.tif"), path, "-q")
    seen: dict[int, set[int]] = {}
    with path.open("rb") as file:
        source = reader.MmapSource(file)
        header, metadata = reader.Reader(source).header(), reader.Reader(source).metadata()
        tiles = [*reader.all_tiles(source)]
    for (zoom, _, _), tile in tiles:
        found = decoder.decode(gzip.decompress(tile))["footprints"]["features"]
        assert {feature["geometry"]["type"] for feature in found} <= {"Polygon", "MultiPolygon"}
        seen.setdefault(zoom, set()).update(feature["properties"]["footprint_id"] for feature in found)
    assert (header["version"], header["addressed_tiles_count"]) == (3, len(tiles))
    assert (header["min_zoom"], header["max_zoom"]) == (13, 15)
    assert seen[15] == {*range(1, len(HOUSES) + 1)}
    assert sorted(seen) == [13, 14, 15]
    assert metadata["name"] == metadata["vector_layers"][0]["id"] == "footprints"
    assert json.loads(metadata["description"])["verb"] == "vectorize"


def test_geoparquet_is_read_by_its_bounding_boxes(layer: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    path = layer.with_suffix(".parquet")
    buildmap("vectorize", layer.with_name("probability.tif"), path, "-q")
    whole = gpd.read_parquet(path)
    assert whole.crs == UTM
    part = (500_000, 4_999_950, 500_150, 5_000_000)
    assert gpd.read_parquet(path, bbox=part).footprint_id.tolist() == [1]
    assert whole.intersects(box(*part)).sum() == 1
