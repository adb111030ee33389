"""`evaluate` on files as they come: rasters against layers, other grids, other CRS, folders."""

import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import shapes
from rasterio.warp import Resampling, reproject, transform_bounds
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from buildmap.errors import InputError, MissingInput
from buildmap.evaluate import evaluate, find_pairs
from buildmap.metrics.confusion import Confusion, count, scores
from buildmap.metrics.scoring import Evaluation
from tests.scenes import ORIGIN, UTM, blocks_mask, write_layer, write_raster


@pytest.fixture
def mask() -> np.ndarray:
    """Draw buildings well away from the border."""
    return np.pad(blocks_mask(np.random.default_rng(2), 70, 90), 10)


def polygons(mask: np.ndarray) -> list[BaseGeometry]:
    return [shape(outline) for outline, value in shapes(mask, transform=ORIGIN) if value]


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
    summary = evaluate(files[prediction_is], files[truth_is])
    assert summary.micro.iou == pytest.approx(1, abs=1e-3)
    assert (summary.objects.f1, summary.buildings) == (1, len(outlines))
    assert len(outlines) > 3


def test_a_moved_map_loses_what_it_should(tmp_path: Path, mask: np.ndarray) -> None:
    truth = write_raster(tmp_path / "t.tif", mask)
    moved = write_layer(tmp_path / "p.gpkg", list(gpd.GeoSeries(polygons(mask)).translate(1.0, -0.5)))
    summary = evaluate(moved, truth)
    shifted = np.roll(mask, (1, 2), axis=(0, 1)) > 0
    assert summary.confusion == count(shifted, mask > 0, np.ones_like(shifted))
    assert 0.3 < summary.micro.iou < 0.9


def test_a_prediction_on_another_grid_is_compared_on_the_grid_of_the_truth(
    tmp_path: Path, mask: np.ndarray
) -> None:
    truth = write_raster(tmp_path / "t.tif", mask)
    finer = np.kron(mask, np.ones((3, 3), np.uint8))[32:, 52:]
    beginning = ORIGIN @ Affine.scale(1 / 3) @ Affine.translation(52, 32)
    summary = evaluate(write_raster(tmp_path / "p.tif", finer, transform=beginning), truth)
    assert summary.micro.iou == 1
    covered = mask[11:, 17:]  # a pixel counts where the middle one of its nine is there
    assert summary.confusion == Confusion(tp=int(covered.sum()), tn=int((covered == 0).sum()))


@pytest.mark.parametrize("rows", [5, None])
def test_a_prediction_in_degrees_is_compared_on_the_grid_of_the_truth(
    tmp_path: Path, mask: np.ndarray, rows: int | None
) -> None:
    left, bottom, right, top = transform_bounds(UTM, "EPSG:4326", 400_000, 4_999_955, 400_055, 5_000_000)
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
    summary = evaluate(prediction, truth, Evaluation(strip_rows=rows))
    assert 0.95 < summary.micro.iou <= 1
    assert summary.confusion == evaluate(prediction, truth, Evaluation(strip_rows=17)).confusion
    assert summary.objects.f1 > 0.9


def test_two_layers_are_compared_in_metres(tmp_path: Path, mask: np.ndarray) -> None:
    truth = write_layer(tmp_path / "t.gpkg", polygons(mask))
    some = gpd.GeoSeries(polygons(mask), crs=UTM).to_crs(3857)[1:]
    prediction = write_layer(tmp_path / "p.gpkg", list(some), crs="EPSG:3857")
    summary = evaluate(prediction, truth, Evaluation(gsd_m=0.1))
    assert summary.confusion.tp == pytest.approx(25 * sum(p.area * 4 for p in polygons(mask)[1:]), rel=1e-2)
    assert (summary.instances.tp, summary.instances.fn) == (len(some), 1)


def test_pictures_without_georeference_are_compared_pixel_by_pixel(tmp_path: Path, mask: np.ndarray) -> None:
    def picture(name: str, pixels: np.ndarray) -> Path:
        write_raster(tmp_path / "plain.tif", pixels)
        with rasterio.open(tmp_path / "plain.tif") as source:
            values = source.read()
        path = tmp_path / name
        shape = {"width": values.shape[2], "height": values.shape[1], "count": 1, "dtype": "uint8"}
        with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "w", driver="PNG", **shape) as png:
            png.write(values)
        return path

    truth, prediction = picture("t.png", mask * 255), picture("p.png", np.roll(mask, 1, axis=0))
    summary = evaluate(prediction, truth)
    assert summary.confusion == count(np.roll(mask, 1, axis=0) > 0, mask > 0, np.ones_like(mask, bool))
    with pytest.raises(InputError, match=r"110 x 50 pixels, .* 110 x 90, .*no georeference"):
        evaluate(picture("small.png", mask[:50]), truth)
    with pytest.raises(InputError, match="no CRS or no transform"):
        evaluate(prediction, write_raster(tmp_path / "t.tif", mask))


def test_folders_are_compared_by_stem_and_macro_is_the_mean(tmp_path: Path, mask: np.ndarray) -> None:
    predicted, true = tmp_path / "p", tmp_path / "t"
    predicted.mkdir()
    true.mkdir()
    empty = np.zeros_like(mask)
    for name, found in [("a", mask), ("b", np.roll(mask, 3)), ("c", empty)]:
        write_raster(predicted / f"{name}.tif", found)
    write_layer(true / "a.gpkg", polygons(mask))
    write_raster(true / "b.tif", mask)
    write_raster(true / "c.tif", empty)
    (true / "b.tif.aux.xml").write_text("<PAMDataset/>", encoding="utf-8")
    summary = evaluate(predicted, true)
    assert [Path(pair.truth).name for pair in summary.pairs] == ["a.gpkg", "b.tif", "c.tif"]
    assert summary.pairs[2].pixels.iou == 1
    assert summary.macro.iou == pytest.approx(np.mean([pair.pixels.iou for pair in summary.pairs]))
    assert summary.confusion == sum((pair.confusion for pair in summary.pairs), Confusion())
    assert summary.micro == scores(summary.confusion)
    assert summary.instances.tp + summary.instances.fn == summary.buildings == 2 * len(polygons(mask))


def test_folders_whose_files_do_not_pair_up_are_refused(tmp_path: Path, mask: np.ndarray) -> None:
    predicted, true = tmp_path / "p", tmp_path / "t"
    predicted.mkdir()
    true.mkdir()
    with pytest.raises(MissingInput, match="no rasters or layers"):
        find_pairs(predicted, true)
    write_raster(predicted / "a.tif", mask)
    write_raster(true / "b.tif", mask)
    with pytest.raises(MissingInput) as missing:
        find_pairs(predicted, true)
    assert f"a is only in {predicted}" in str(missing.value)
    assert f"b is only in {true}" in str(missing.value)
    with pytest.raises(InputError, match="is a folder"):
        find_pairs(predicted, true / "b.tif")
    write_raster(true / "b.png", mask, transform=Affine(1, 0, 1, 0, -1, 0), crs=None).rename(true / "b.tiff")
    with pytest.raises(InputError, match=r"two files named b: b\.tif, b\.tiff"):
        find_pairs(predicted, true)


def test_no_torch_is_needed(tmp_path: Path, mask: np.ndarray) -> None:
    truth, prediction = (
        write_raster(tmp_path / "t.tif", mask),
        write_layer(tmp_path / "p.gpkg", polygons(mask)),
    )
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'lightning_fabric', 'segmentation_models_pytorch'):\n"
        "    sys.modules[name] = None\n"
        "from buildmap.cli.app import main\n"
        f"sys.argv = ['buildmap', 'evaluate', {str(prediction)!r}, {str(truth)!r}, '--json', '-q']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"iou": 1.0' in done.stdout
