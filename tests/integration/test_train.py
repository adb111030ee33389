"""Training from files to a model file: it learns, and survives what cuts it short."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from buildmap.errors import BuildmapError, LockedError, MismatchError, MissingInput, OutputError
from buildmap.execution.progress import Silent
from buildmap.inference.backend import BackendOptions, load_backend
from buildmap.models.checkpoint import load_checkpoint
from buildmap.preset import Preset, Sampling, find_preset
from buildmap.publish import staged
from buildmap.train import TrainOptions, TrainSummary, train
from tests.scenes import blocks_mask, houses_image, write_raster

LITE = find_preset("lite")
PRESET = replace(
    LITE,
    model=replace(LITE.model, width=8, depth=2),
    data=replace(LITE.data, gsd_min_m=0.5, gsd_max_m=0.5),
    training=replace(
        LITE.training, chip_px=32, batch_size=4, steps_per_epoch=20, epochs=4, learning_rate=0.01
    ),
    predict=replace(LITE.predict, window_px=64, halo_px=8),
    license="CC0-1.0",
    training_data="drawn at random",
)
ON_CPU = TrainOptions(device="cpu")
THOROUGH = replace(
    PRESET,
    training=replace(
        PRESET.training, optimizer="sgd", momentum=0.9, learning_rate=0.05, schedule="cosine", warmup_steps=5,
        accumulate=2, clip_norm=1.0, ema_decay=0.9, metric="f1",
    ),
    sampling=Sampling(hard_share=0.5),
)  # fmt: skip
"""Whatever a training can carry from step to step."""
RUN = """
import sys, tests.integration.test_train as this
from pathlib import Path
this.torch.set_num_threads(1)
this.train(Path(sys.argv[1]), Path(sys.argv[2]), this.THOROUGH, this.ON_CPU, progress=this.Slow())
"""


class Slow(Silent):
    """Leaves time to be killed in."""

    def advance(self, steps: int = 1) -> None:
        time.sleep(0.02 * steps)


class Interrupts(Silent):
    """Stops in an epoch's first step."""

    def __init__(self, epoch: int) -> None:
        self.task, self.stop_in = "", f"epoch {epoch}/"

    def start(self, task: str, total: int) -> None:  # noqa: ARG002
        self.task = task

    def advance(self, steps: int = 1) -> None:  # noqa: ARG002
        if self.task.startswith(self.stop_in):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for name in ("north", "süd"):
        mask = blocks_mask(rng, 192, 192, 60)
        write_raster(root / "images" / f"{name}.tif", houses_image(mask, rng))
        write_raster(root / "labels" / f"{name}.tif", mask)
    return root


def run(data: Path, output: Path, preset: Preset = PRESET, progress: Silent | None = None) -> TrainSummary:
    return train(data, output, preset, ON_CPU, progress=progress)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainSummary, Path]:
    """Give an uninterrupted training."""
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("whole") / "m.safetensors"
    return run(data, output), output


@pytest.fixture(autouse=True)
def _no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the pictures, which take longer than so short a training; `trained` has drawn its own by then."""
    monkeypatch.setattr("buildmap.train._show", lambda *_: None)


def test_the_model_has_learned_to_find_bright_blocks(trained: tuple[TrainSummary, Path]) -> None:
    summary, output = trained
    assert summary.validation_iou is not None and summary.validation_iou > 0.8
    assert set(summary.validation_iou_by_source) == {"images/north", "images/süd"}
    rng = np.random.default_rng(9)
    mask = blocks_mask(rng, 64, 64)
    image = (houses_image(mask, rng) / 255 - 0.45) / 0.25
    backend = load_backend(output, BackendOptions(device="cpu"))
    found = backend.logits(image[None].astype(np.float32))[0, 0] >= 0
    assert (found & (mask == 1)).sum() / (found | (mask == 1)).sum() > 0.8


def test_the_card_says_what_the_preset_says(trained: tuple[TrainSummary, Path]) -> None:
    summary, output = trained
    network, card = load_checkpoint(output)
    assert (card.model, card.data, card.stride) == (PRESET.model, PRESET.data, 4)
    assert (card.window_px, card.halo_px, card.threshold) == (64, 8, 0.5)
    assert (card.license, card.training_data, card.classes) == ("CC0-1.0", "drawn at random", ("building",))
    assert summary.parameters == sum(p.numel() for p in network.parameters())


def test_the_run_folder_tells_how_it_went(trained: tuple[TrainSummary, Path]) -> None:
    summary, output = trained
    folder = output.with_suffix(".run")
    assert {path.name for path in output.parent.iterdir()} == {output.name, folder.name}
    assert {path.name for path in folder.iterdir()} == {
        "best.safetensors",
        "index.html",
        "curves.png",
        "metrics.jsonl",
        "samples.png",
        "state.safetensors",
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert (
        max(line["iou"] for line in lines) == lines[summary.best_epoch - 1]["iou"] == summary.validation_iou
    )


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_run_leaves_no_output_and_ends_with_the_same_bytes(
    data: Path, tmp_path: Path, trained: tuple[TrainSummary, Path], epoch: int
) -> None:
    output = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(data, output, progress=Interrupts(epoch))
    assert not output.exists()
    summary = run(data, output)
    assert summary.resumed_after_epoch == epoch - 1
    assert output.read_bytes() == trained[1].read_bytes()
    assert summary.validation_iou_by_source == trained[0].validation_iou_by_source


def test_a_killed_run_ends_with_the_same_bytes(
    data: Path, tmp_path: Path, trained: tuple[TrainSummary, Path]
) -> None:
    (tmp_path / "whole").mkdir()
    whole, output = tmp_path / "whole" / "m.safetensors", tmp_path / "m.safetensors"
    run(data, whole, THOROUGH)
    assert whole.read_bytes() != trained[1].read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(data), str(output)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    state, deadline = output.with_suffix(".run") / "state.safetensors", time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
    assert run(data, output, THOROUGH).resumed_after_epoch >= 1
    assert output.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} - {"whole"} == {output.name, "m.run"}


def test_another_preset_is_refused_until_told_to_restart(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(data, output, progress=Interrupts(2))
    shorter = replace(PRESET, training=replace(PRESET.training, epochs=1))
    with pytest.raises(MismatchError, match=r"training\.epochs 4, this one has 1") as caught:
        run(data, output, shorter)
    assert "--restart" in str(caught.value.hint)
    summary = train(data, output, shorter, TrainOptions(device="cpu", restart=True))
    assert (summary.epochs, summary.resumed_after_epoch) == (1, 0)


def test_changed_data_are_refused_and_a_changed_threshold_is_not(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    short = replace(PRESET, training=replace(PRESET.training, epochs=1))
    run(data, output, short)
    stricter = replace(short, predict=replace(PRESET.predict, threshold=0.7), license="MIT")
    summary = train(data, output, stricter, TrainOptions(device="cpu", overwrite=True))
    assert summary.resumed_after_epoch == 1
    assert (load_checkpoint(output)[1].threshold, load_checkpoint(output)[1].license) == (0.7, "MIT")
    other = tmp_path / "data"
    for folder in ("images", "labels"):
        (other / folder).mkdir(parents=True)
        for path in (data / folder).iterdir():
            (other / folder / path.name).write_bytes(path.read_bytes())
    write_raster(other / "labels" / "north.tif", np.ones((192, 192), np.uint8))
    with pytest.raises(MismatchError, match=r"files.labels/north.tif"):
        train(other, output, short, TrainOptions(device="cpu", overwrite=True))


def test_an_output_another_run_holds_is_left_alone(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    with staged(output, overwrite=False) as folder:
        (folder / output.name).write_text("theirs")
        with pytest.raises(LockedError, match="another run"):
            run(data, output)
    assert output.read_text() == "theirs"


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        (replace(PRESET, training=replace(PRESET.training, chip_px=30)), "chip_px 30 is not a multiple"),
        (replace(PRESET, predict=replace(PRESET.predict, window_px=62)), "window_px 62"),
        (replace(PRESET, model=replace(PRESET.model, depth=20)), "depth 20"),
    ],
)
def test_a_preset_that_does_not_fit_its_network_is_refused_before_any_work(
    data: Path, tmp_path: Path, preset: Preset, message: str
) -> None:
    with pytest.raises(MismatchError, match=message):
        run(data, tmp_path / "m.safetensors", preset)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "name", "error"),
    [("data", "m.onnx", OutputError), ("nowhere", "m.safetensors", MissingInput)],
)
def test_bad_arguments_leave_nothing_behind(
    data: Path, tmp_path: Path, source: str, name: str, error: type[BuildmapError]
) -> None:
    with pytest.raises(error):
        run(data if source == "data" else tmp_path / source, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
