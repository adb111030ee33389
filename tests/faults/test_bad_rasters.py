"""Rasters that cannot be used, or lie unusually: said before any work, or mapped where they are."""

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine

from buildmap.raster.quiet import unreferenced_is_fine
from tests.faults.injection import run, write_scene
from tests.networks import write_onnx
from tests.scenes import ORIGIN, write_raster


def test_all_bad_rasters_of_a_list_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(tmp_path, side=64)
    monkeypatch.chdir(tmp_path)
    Path("text.tif").write_text("no raster")
    Path("empty.tif").touch()
    Path("folder.tif").mkdir()
    Path("cut.tif").write_bytes(Path("in.tif").read_bytes()[:-5000])
    names = ["gone.tif", "text.tif", "empty.tif", "folder.tif", "cut.tif"]
    Path("list").write_text("\n".join(["in.tif", *names]))
    code, out, err = run("predict", "-i", "list", "o.tif", "--model", "m.onnx")
    assert (code, out) == (65, "")
    for name in names:
        assert name in err
    assert not list(tmp_path.glob(".o.tif*"))


@pytest.mark.parametrize(
    "turn",
    [
        Affine.identity(),
        Affine.scale(1, -1),
        Affine.scale(-1, 1),
        Affine.rotation(30),
        Affine.rotation(200) @ Affine.scale(1, -1),
    ],
    ids=["north-up", "south-up", "mirrored", "rotated", "rotated and mirrored"],
)
def test_a_building_lies_where_the_transform_puts_it(tmp_path: Path, turn: Affine) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[5:20, 10:40] = 1
    transform = ORIGIN @ turn
    raster = write_raster(tmp_path / "p.tif", mask, transform=transform)
    code, _, err = run("vectorize", raster, tmp_path / "o.gpkg", "--threshold", "1", "--method", "raw", "-q")
    assert code == 0, err
    (found,) = shapely.from_wkb(pyogrio.raw.read(tmp_path / "o.gpkg", layer="footprints")[2])
    corners = [transform @ corner for corner in ((10, 5), (40, 5), (40, 20), (10, 20))]
    assert shapely.area(shapely.symmetric_difference(found, shapely.Polygon(corners))) < 1e-6
    assert found.exterior.is_ccw


def test_pixels_of_unequal_sides_are_measured_as_they_are(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[5:20, 10:40] = 1
    raster = write_raster(tmp_path / "p.tif", mask, transform=ORIGIN @ Affine.scale(2, 1))
    options = ("--threshold", "1", "--method", "raw", "-q")
    assert run("vectorize", raster, tmp_path / "o.gpkg", *options)[0] == 0
    (found,) = shapely.from_wkb(pyogrio.raw.read(tmp_path / "o.gpkg", layer="footprints")[2])
    assert found.area == pytest.approx(15 * 30 * 0.5)


@pytest.mark.parametrize("lack", ["crs", "geotransform"])
def test_without_a_place_footprints_are_refused(tmp_path: Path, lack: str) -> None:
    write_onnx(tmp_path / "m.onnx")
    pixels = np.zeros((3, 40, 40), np.uint8)
    with unreferenced_is_fine():
        raster = write_raster(
            tmp_path / "in.tif",
            pixels,
            crs=None if lack == "crs" else "EPSG:32633",
            transform=Affine.identity() if lack == "geotransform" else ORIGIN,
        )
    code, _, err = run("predict", raster, tmp_path / "o.gpkg", "--model", tmp_path / "m.onnx", "-q")
    assert code == 65
    assert lack in err.lower()
    assert "hint: " in err


@pytest.mark.parametrize("kind", ["nodata", "nan", "sparse"])
def test_a_raster_without_any_data_gives_a_map_without_any(tmp_path: Path, kind: str) -> None:
    write_onnx(tmp_path / "m.onnx")
    pixels = np.zeros((3, 300, 200), np.uint8)
    options: dict[str, object] = {"SPARSE_OK": "TRUE"} if kind == "sparse" else {}
    raster = write_raster(tmp_path / "in.tif", pixels, nodata=0, **options)
    if kind == "nan":
        raster = write_raster(tmp_path / "f.tif", np.full((1, 300, 200), np.nan, np.float32))
        code, _, err = run("vectorize", raster, tmp_path / "o.gpkg", "--threshold", "0.5", "-q")
    else:
        code, _, err = run("predict", raster, tmp_path / "o.tif", "--model", tmp_path / "m.onnx", "-q")
        with rasterio.open(tmp_path / "o.tif") as dataset:
            assert (dataset.read(1) == 255).all()
        code, _, err = run("predict", raster, tmp_path / "o.gpkg", "--model", tmp_path / "m.onnx", "-q")
    assert code == 0, err
    info = pyogrio.read_info(tmp_path / "o.gpkg", layer="footprints")
    assert info["features"] == 0
    assert info["crs"] == "EPSG:32633"
