"""A model whose pixels are four times finer than the raster's, through all of `predict` and what follows."""

import hashlib
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from shapely import box
from torch import Tensor, nn

from buildmap.data.comparisons import find_comparisons
from buildmap.errors import Stopped
from buildmap.evaluate import evaluate
from buildmap.inference.devices import BackendOptions
from buildmap.inference.onnx_backend import sigmoid
from buildmap.inference.options import Prediction, Running
from buildmap.metrics.evaluation import Evaluation
from buildmap.models.checkpoint import save_checkpoint
from buildmap.predict import PredictSummary, dry_run, predict
from buildmap.publish import workspace
from buildmap.raster.normalize import scale_pixels
from buildmap.vector.outlining import Outlining
from buildmap.vectorize import vectorize
from tests.networks import PRESET, make_card, write_onnx
from tests.scenes import UTM, houses_image, write_layer, write_raster

SCALE = 4
PLACE = Affine(10, 0, 399_960, 0, -10, 5_300_040)
"""Pixels of ten metres, as Sentinel-2 has them."""
CARD = make_card(scale=SCALE, data=replace(make_card().data, gsd_min_m=9.0, gsd_max_m=11.0))
HOUSES = [(2, 3, 9, 12), (40, 250, 75, 301), (96, 20, 140, 21), (95, 64, 97, 200), (180, 130, 203, 160)]
"""Top, left, bottom, right in the raster's pixels: at borders, across strips and windows, one pixel thin."""


def finer(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.kron(pixels, np.ones((SCALE, SCALE), pixels.dtype))


@pytest.fixture(scope="module")
def mask() -> NDArray[np.uint8]:
    mask = np.zeros((203, 301), np.uint8)
    for top, left, bottom, right in HOUSES:
        mask[top:bottom, left:right] = 1
    return mask


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, mask: NDArray[np.uint8]) -> Path:
    """Write a raster of 301 x 203 pixels, four rows of cores high, with a hole; and models beside it."""
    folder = tmp_path_factory.mktemp("scale")
    pixels = houses_image(mask, np.random.default_rng(0))
    pixels[:, 150:160, 31:78] = 0
    write_onnx(folder / "copy.onnx", CARD)
    write_onnx(folder / "blur.onnx", CARD, kernel_px=9, enlarging="linear")
    return write_raster(folder / "in.tif", pixels, transform=PLACE, nodata=0)


def run(
    raster: Path,
    output: Path,
    running: Running | None = None,
    *,
    model: str = "copy",
    folder: Path | None = None,
    **options: object,
) -> PredictSummary:
    """Predict with a model from the scene's folder."""
    models = ((folder or raster.parent) / f"{model}.onnx",)
    prediction = Prediction(models=models, device="cpu", **options)  # type: ignore[arg-type]
    return predict(raster, output, prediction, running)


def rows_of(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as dataset:
        rows: NDArray[np.uint8] = dataset.read(1)
    return rows


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_network_that_copies_gives_the_raster_back_in_finer_pixels(
    scene: Path, tmp_path: Path, mask: NDArray[np.uint8]
) -> None:
    summary = run(scene, tmp_path / "p.tif")
    assert (summary.width_px, summary.height_px, summary.strips) == (1204, 812, 3)
    assert summary.gsd_m == pytest.approx(2.5, rel=2e-3)
    assert summary.seams is not None and summary.seams.disagreement < 1e-4
    expected = np.where(finer(mask), 1, 0)
    expected[600:640, 124:312] = 255
    found = rows_of(tmp_path / "p.tif")
    np.testing.assert_array_equal(np.where(found == 255, 255, found >= 127), expected)
    with rasterio.open(scene) as raster:
        logits = 4 * scale_pixels(raster.read(), CARD.data).mean(0)
    values = finer(254 * sigmoid(logits))
    assert np.abs(found - values)[found != 255].max() <= 1


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (PLACE, UTM),
        (Affine(8, 6, 399_960, 6, -8, 5_300_040), UTM),  # turned
        (Affine(1e-4, 0, 13.4567, 0, -9e-5, 0.1), "EPSG:4326"),
    ],
)
def test_every_pixel_lies_on_the_one_it_was_made_from(
    scene: Path, tmp_path: Path, mask: NDArray[np.uint8], transform: Affine, crs: str
) -> None:
    pixels = houses_image(mask, np.random.default_rng(0))
    raster = write_raster(tmp_path / "in.tif", pixels, transform=transform, crs=crs)
    run(raster, tmp_path / "p.tif", folder=scene.parent, resample=False)
    with rasterio.open(tmp_path / "p.tif") as dataset:
        assert dataset.crs == crs
        found, placed = dataset.read(1), dataset.transform
    cols, rows = np.meshgrid(np.arange(1204) + 0.5, np.arange(812) + 0.5)
    in_raster = ~transform @ placed
    col, row = in_raster @ (cols, rows)
    np.testing.assert_array_equal(found >= 127, mask[row.astype(int), col.astype(int)] == 1)
    for corner in [(0, 0), (301, 0), (0, 203), (301, 203)]:
        off = np.subtract(~placed @ (transform @ corner), np.multiply(corner, SCALE))
        assert np.abs(off).max() < 1e-3


def test_a_raster_that_is_resampled_first_keeps_its_bounds(scene: Path, tmp_path: Path) -> None:
    place = Affine(5, 0, 399_960, 0, -5, 5_300_040)
    raster = write_raster(tmp_path / "in.tif", np.full((3, 100, 120), 200, np.uint8), transform=place)
    summary = run(raster, tmp_path / "p.tif", folder=scene.parent)
    assert summary.gsd_m == pytest.approx(9 / SCALE, rel=0.02)
    with rasterio.open(tmp_path / "p.tif") as finer_one, rasterio.open(raster) as dataset:
        assert finer_one.bounds == pytest.approx(dataset.bounds, abs=1e-6)
        assert (finer_one.read(1) > 127).all()


def test_a_blur_that_is_enlarged_is_that_of_the_whole_raster(tmp_path: Path, scene: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (3, 203, 301), np.uint8)
    raster = write_raster(tmp_path / "in.tif", pixels, transform=PLACE)
    run(raster, tmp_path / "p.tif", model="blur", folder=scene.parent)
    padded = np.pad(scale_pixels(pixels, CARD.data), ((0, 0), (0, 5), (0, 3)), mode="edge")  # to the stride
    weights = torch.full((1, 3, 9, 9), 4 / (3 * 81))
    logits = nn.functional.conv2d(torch.from_numpy(padded)[None], weights, padding=4)
    whole = nn.functional.interpolate(logits, scale_factor=SCALE, mode="bilinear")[0, 0]
    expected = 254 * whole.sigmoid().numpy()[:812, :1204]
    found = rows_of(tmp_path / "p.tif")
    assert expected.std() > 10
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("rows_per_strip", [2, 3])
def test_strips_processes_and_shards_change_no_byte(scene: Path, tmp_path: Path, rows_per_strip: int) -> None:
    run(scene, tmp_path / "a.tif", model="blur")
    run(scene, tmp_path / "b.tif", model="blur", rows_per_strip=rows_per_strip)
    assert digest(tmp_path / "b.tif") == digest(tmp_path / "a.tif")
    if rows_per_strip == 2:
        run(scene, tmp_path / "c.tif", Running(workers=2), model="blur")
    else:
        for share in (2, 1):
            run(scene, tmp_path / "c.tif", Running(shard=(share, 2)), model="blur")
        assert run(scene, tmp_path / "c.tif", Running(only_finish=True), model="blur").strips_resumed == 3
    assert digest(tmp_path / "c.tif") == digest(tmp_path / "a.tif")


def test_a_run_that_is_stopped_or_killed_goes_on_where_it_was(scene: Path, tmp_path: Path) -> None:
    run(scene, tmp_path / "a.tif", model="blur")
    stops = iter([False] * 6)
    model = Prediction(models=(scene.with_name("blur.onnx"),), device="cpu")
    with pytest.raises(Stopped):
        predict(scene, tmp_path / "b.tif", model, stop=lambda: next(stops, True))
    assert 0 < run(scene, tmp_path / "b.tif", model="blur").strips_resumed < 3
    assert digest(tmp_path / "b.tif") == digest(tmp_path / "a.tif")
    output = tmp_path / "c.tif"
    command = [sys.executable, "-m", "buildmap", "predict", str(scene), str(output), "-q", "--device", "cpu"]
    process = subprocess.Popen([*command, "--model", str(scene.with_name("blur.onnx"))])
    while process.poll() is None and not list((workspace(output) / "strips").glob("[0-9]*.json")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not output.exists():
        assert run(scene, output, model="blur").strips_resumed > 0
    assert digest(output) == digest(tmp_path / "a.tif")


def test_an_area_is_cut_out_in_finer_pixels_and_a_box_in_whole_ones(scene: Path, tmp_path: Path) -> None:
    run(scene, tmp_path / "all.tif")
    everywhere = rows_of(tmp_path / "all.tif")
    layer = write_layer(tmp_path / "aoi.gpkg", [box(400_462.5, 5_299_305, 402_700, 5_299_897.5)])
    run(scene, tmp_path / "p.tif", aoi=layer)
    with rasterio.open(tmp_path / "p.tif") as dataset:
        found = dataset.read(1)
        row, col = (round(at) for at in (~PLACE @ dataset.transform @ (0, 0))[::-1])
    assert (row % 16, col % 16) == (0, 0)
    expected = np.full_like(everywhere, 255)
    expected[57:294, 201:1096] = everywhere[57:294, 201:1096]  # 2.5 m from the corner (399 960, 5 300 040)
    expected = expected[row * SCALE :, col * SCALE :][: found.shape[0], : found.shape[1]]
    assert (found != 255).sum() == 237 * 895
    assert np.abs(found.astype(int) - expected).max() <= 1
    summary = run(scene, tmp_path / "box.tif", bbox=(400_465, 5_299_305, 402_700, 5_299_895))
    assert (summary.width_px, summary.height_px) == (SCALE * (224 + 2), SCALE * (60 + 14))


def test_symmetries_and_several_models_of_one_scale_are_averaged(scene: Path, tmp_path: Path) -> None:
    run(scene, tmp_path / "a.tif", model="blur")
    models = (scene.with_name("blur.onnx"), scene.with_name("blur.onnx"))
    both = Prediction(models=models, device="cpu", backend=BackendOptions(tta="d4"))
    predict(scene, tmp_path / "b.tif", both)
    one, other = rows_of(tmp_path / "a.tif"), rows_of(tmp_path / "b.tif")
    assert np.abs(one.astype(int) - other).max() <= 1  # the network is symmetric


class Copy(nn.Module):
    """What `copy.onnx` does."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Conv2d(3, 1, 1, bias=False)
        self.enlarge = nn.Upsample(scale_factor=SCALE)
        nn.init.constant_(self.mean.weight, 4 / 3)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.enlarge(self.mean(image))
        return logits


def test_torch_gives_what_onnx_gives(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildmap.models.checkpoint.build_model", lambda *_: Copy())
    model = tmp_path / "m.safetensors"
    save_checkpoint(model, Copy().state_dict(), replace(CARD, model=PRESET.model))
    threads = torch.get_num_threads()
    predict(scene, tmp_path / "t.tif", Prediction(models=(model,), device="cpu"))
    torch.set_num_threads(threads)
    run(scene, tmp_path / "o.tif")
    ours, theirs = rows_of(tmp_path / "t.tif"), rows_of(tmp_path / "o.tif")
    np.testing.assert_array_equal(ours == 255, theirs == 255)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_footprints_have_the_corners_of_the_rasters_pixels(scene: Path, tmp_path: Path) -> None:
    summary = run(scene, tmp_path / "p.gpkg")
    run(scene, tmp_path / "p.tif")
    vectorize(tmp_path / "p.tif", tmp_path / "v.gpkg", Outlining())
    expected = {
        box(*(PLACE @ (left, bottom)), *(PLACE @ (right, top))).normalize()
        for top, left, bottom, right in HOUSES
    }
    assert summary.footprints == len(HOUSES)
    for name in ("p.gpkg", "v.gpkg"):
        layer = gpd.read_file(tmp_path / name)
        assert layer.crs == UTM
        assert len(layer) == len(expected)
        for footprint in layer.geometry:
            (polygon,) = footprint.geoms if footprint.geom_type == "MultiPolygon" else (footprint,)
            off = [polygon.normalize().hausdorff_distance(house) for house in expected]
            assert min(off) < 2.5e-3
            assert len(polygon.exterior.coords) == 5


def test_a_prediction_is_scored_against_truth_of_its_own_pixels(
    scene: Path, tmp_path: Path, mask: NDArray[np.uint8]
) -> None:
    run(scene, tmp_path / "p.tif")
    truth = write_raster(tmp_path / "t.tif", finer(mask), transform=PLACE @ Affine.scale(1 / SCALE))
    shifted = write_raster(
        tmp_path / "s.tif", np.roll(finer(mask), 1, 1), transform=PLACE @ Affine.scale(1 / SCALE)
    )
    scored = evaluate(find_comparisons(tmp_path / "p.tif", truth), Evaluation())
    assert scored.total.pixels.iou == 1
    assert evaluate(find_comparisons(tmp_path / "p.tif", shifted), Evaluation()).total.pixels.iou < 1


def test_a_dry_run_counts_the_finer_pixels(scene: Path, tmp_path: Path) -> None:
    models = (scene.with_name("copy.onnx"),)
    told = dry_run(scene, tmp_path / "p.tif", Prediction(models=models, device="cpu"))
    assert (told.width_px, told.height_px, told.strips) == (1204, 812, 3)
    assert told.takes.disk_mb == round(1204 * 812 * (4 / 3 + 1.2) / 1e6)
