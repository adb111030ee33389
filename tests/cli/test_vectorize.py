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
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.errors import StorageError
from buildmap.vector.writing.writer import FootprintWriter
from tests.scenes import UTM, blocks_mask, write_raster

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


def test_a_failure_midway_leaves_the_old_output_and_nothing_else(
    tmp_path: Path, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster, output = write_raster(tmp_path / "m.tif", mask), tmp_path / "out.gpkg"
    assert run(raster, output, "-q")[0] == 0
    before = output.read_bytes()

    def fail(*_: object) -> None:
        raise StorageError("the disk has gone")

    monkeypatch.setattr(FootprintWriter, "write", fail)
    code, _, err = run(raster, output, "-q", "--overwrite")
    assert code == 74 and "the disk has gone" in err
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.tif", "out.gpkg"]


def test_what_made_the_layer_is_stored_in_it(tmp_path: Path, mask: np.ndarray) -> None:

    raster = write_raster(tmp_path / "m.tif", mask)
    assert run(raster, tmp_path / "out.gpkg", "-q", "--threshold", 0.25)[0] == 0
    stored = json.loads(pyogrio.read_info(tmp_path / "out.gpkg")["layer_metadata"]["BUILDMAP"])
    assert (stored["verb"], stored["source"]) == ("vectorize", "m.tif")
    assert "threshold=0.25" in stored["options"]
