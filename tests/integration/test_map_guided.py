"""Map-guided cross-training from files to a raster of pixels four times as fine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import torch
from affine import Affine
from shapely.geometry import box

from buildmap.errors import MismatchError
from buildmap.execution.progress import Silent
from buildmap.inference.options import Prediction
from buildmap.models.checkpoint import load_checkpoint
from buildmap.models.esrgan import Generator
from buildmap.predict import predict
from buildmap.preset import Maps, Model, Preset, Pretrain, Source, find_preset
from buildmap.preset.maps import MapLayer
from buildmap.train import TrainOptions, TrainSummary, train
from tests.scenes import ORIGIN, write_layer, write_raster

LITE = find_preset("lite")
COARSE = ORIGIN @ Affine.scale(4)
PARTS = {"train": (0, 0, 48, 32), "validation": (0, 32, 48, 16), "test": (48, 0, 16, 48)}
SOURCES = tuple(
    Source(image="image.tif", annotations="a.gpkg", use=use, window_px=window)  # type: ignore[arg-type]
    for use, window in PARTS.items()
)
PRESET = replace(
    LITE,
    title="two phases",
    model=Model(name="map-guided-shallow-net", width=8, depth=1),
    data=replace(LITE.data, gsd_min_m=1.0, gsd_max_m=4.0, mean=(0.4,) * 3, std=(0.2,) * 3),
    augment=replace(LITE.augment, gsd="native", gsd_jitter=0, brightness=0, contrast=0, color=0),
    training=replace(
        LITE.training, chip_px=16, batch_size=2, steps_per_epoch=8, epochs=3, learning_rate=0.01,
        metric="balanced_accuracy",
    ),
    predict=replace(LITE.predict, window_px=32, halo_px=4),
    maps=Maps(layers=(MapLayer(path="a.gpkg", shows="building"),)),
    pretrain=Pretrain(iterations=12, perceptual=0, adversarial=0.01, discriminator_width=2, keep_steps=4,
        learning_rate=2e-3, ema_decay=0.5),
    sources=SOURCES,
)  # fmt: skip
ON_CPU = TrainOptions(device="cpu")


class Fails(Silent):
    """Lets the power fail at some step of a task."""

    def __init__(self, task: str, step: int) -> None:
        self._task, self._left, self._hears = task, step, False

    def start(self, task: str, total: int) -> None:  # noqa: ARG002
        self._hears = task.startswith(self._task)

    def advance(self, steps: int = 1) -> None:
        if self._hears:
            self._left -= steps
            if self._left <= 0:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make bright houses of 6 x 6 m at 0.5 m, seen with pixels of 2 m."""
    torch.set_num_threads(1)
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(4)
    fine = np.full((192, 256), 70, np.float64)
    houses = []
    for row in range(4, 180, 22):
        for col in range(4, 244, 22):
            top, left = row + int(rng.integers(8)), col + int(rng.integers(8))
            fine[top : top + 12, left : left + 12] = 190
            corners = [ORIGIN @ corner for corner in ((left, top), (left + 12, top + 12))]
            (west, north), (east, south) = corners
            houses.append(box(west, south, east, north))
    seen = fine.reshape(48, 4, 64, 4).mean(axis=(1, 3))
    write_raster(folder / "image.tif", np.repeat(seen[None], 3, axis=0).astype(np.uint8), transform=COARSE)
    write_layer(folder / "a.gpkg", houses)
    return folder


def run(data: Path, output: Path, preset: Preset = PRESET, **hears: Any) -> TrainSummary:
    return train(data, output, preset, ON_CPU, **hears)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainSummary, Path]:
    output = tmp_path_factory.mktemp("whole") / "m.safetensors"
    return run(data, output), output


@pytest.fixture(autouse=True)
def _no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the pictures, which take longer than so short a training; `trained` has drawn its own by then."""
    monkeypatch.setattr("buildmap.train._show", lambda *_: None)


def test_the_run_leaves_a_generator_a_joint_model_and_pictures(trained: tuple[TrainSummary, Path]) -> None:
    summary, output = trained
    folder = output.with_suffix(".run")
    generator, of_generator = load_checkpoint(folder / "generator.safetensors")
    assert isinstance(generator, Generator)
    assert of_generator.classes == ("red", "green", "blue")
    _, card = load_checkpoint(output)
    assert (card.scale, card.stride, card.classes) == (4, 1, ("building",))
    assert (folder / "maps.png").stat().st_size > 1000
    assert 'id="maps"' in (folder / "index.html").read_text(encoding="utf-8")
    assert summary.test_balanced_accuracy is not None and summary.test_balanced_accuracy > 0.75
    assert summary.test_iou is not None and summary.test_mean_iou is not None
    assert summary.test_iou < summary.test_mean_iou


def test_a_prediction_has_pixels_four_times_as_fine_on_the_same_ground(
    trained: tuple[TrainSummary, Path], data: Path, tmp_path: Path
) -> None:
    predict(data / "image.tif", tmp_path / "p.tif", Prediction(models=(trained[1],)))
    with rasterio.open(tmp_path / "p.tif") as made, rasterio.open(data / "image.tif") as image:
        assert (made.width, made.height) == (4 * image.width, 4 * image.height)
        assert made.bounds == image.bounds
        building = made.read(1) >= 127
    layer = rasterio.features.rasterize(
        _shapes(data / "a.gpkg"), out_shape=building.shape, transform=ORIGIN, fill=0
    )
    test = np.s_[:, 192:]
    recalls = [(building == value)[test][(layer == value)[test]].mean() for value in (False, True)]
    assert np.mean(recalls) == pytest.approx(trained[0].test_balanced_accuracy, abs=0.08)


def _shapes(path: Path) -> list[Any]:
    return list(gpd.read_file(path).geometry)


@pytest.mark.parametrize(("task", "step"), [("draw maps", 7), ("epoch 2/", 3)])
def test_a_run_that_was_cut_short_in_either_phase_ends_with_the_same_bytes(
    trained: tuple[TrainSummary, Path], data: Path, tmp_path: Path, task: str, step: int
) -> None:
    cut = tmp_path / "cut.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(data, cut, progress=Fails(task, step))
    assert not cut.exists()
    run(data, cut)
    assert cut.read_bytes() == trained[1].read_bytes()


def test_another_run_s_generator_is_begun_with_and_another_plan_is_refused(
    trained: tuple[TrainSummary, Path], data: Path, tmp_path: Path
) -> None:
    learned = trained[1].with_suffix(".run") / "generator.safetensors"
    given = replace(
        PRESET,
        pretrain=Pretrain(iterations=0, generator=str(learned)),
        training=replace(PRESET.training, epochs=1, steps_per_epoch=1),
    )
    run(data, tmp_path / "given.safetensors", given)
    assert (tmp_path / "given.run" / "generator.safetensors").read_bytes() == learned.read_bytes()
    longer = Pretrain(iterations=13, perceptual=0)
    other = replace(given, pretrain=longer)
    with pytest.raises(MismatchError, match=r"earlier run in .*given\.run had") as caught:
        train(data, tmp_path / "given.safetensors", other, replace(ON_CPU, overwrite=True))
    assert "--restart" in str(caught.value.hint)


def test_an_audit_of_a_network_of_another_scale_is_refused(data: Path, tmp_path: Path) -> None:
    options = replace(ON_CPU, audit_annotations=tmp_path / "audit.gpkg")
    with pytest.raises(MismatchError, match="predicts at scale 4, and annotations are audited at scale 1"):
        train(data, tmp_path / "m.safetensors", PRESET, options)


def test_the_generator_alone_is_no_model_to_predict_with(
    trained: tuple[TrainSummary, Path], data: Path, tmp_path: Path
) -> None:
    generator = trained[1].with_suffix(".run") / "generator.safetensors"
    with pytest.raises(MismatchError, match="gives red, green, blue and no building"):
        predict(data / "image.tif", tmp_path / "p.tif", Prediction(models=(generator,)))
