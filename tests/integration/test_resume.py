"""One result whatever happens: any strips, workers, machines, kills; nothing forgotten, nothing mixed."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from buildmap.errors import IncompleteError, MismatchError, Stopped
from buildmap.inference.options import Prediction, Running
from buildmap.predict import PredictSummary, predict
from buildmap.publish import workspace
from buildmap.raster.parts import DamagedPart
from tests.networks import make_card, write_onnx
from tests.scenes import blocks_mask, houses_image, write_raster

KILLS = int(os.environ.get("BUILDMAP_KILLS", "6"))
SIDE = 1100
STRIPS = 17
"""Cores of 64 pixels."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    rng = np.random.default_rng(0)
    write_onnx(folder / "m.onnx", kernel_px=9)
    pixels = houses_image(blocks_mask(rng, SIDE, SIDE, count=1500), rng)
    pixels[:, 400:600, 300:700] = 0
    return write_raster(folder / "in.tif", pixels, nodata=0)


@pytest.fixture(scope="module")
def expected(scene: Path) -> str:
    return digest(run(scene, scene.with_name("expected.tif")))


def run(scene: Path, output: Path, running: Running | None = None, **options: object) -> Path:
    summary(scene, output, running, **options)
    return output


def summary(scene: Path, output: Path, running: Running | None = None, **options: object) -> PredictSummary:
    prediction = Prediction(models=(scene.with_name("m.onnx"),), **options)  # type: ignore[arg-type]
    return predict(scene, output, prediction, running)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("rows_per_strip", [1, 3, 17])
def test_the_height_of_strips_changes_no_byte(
    scene: Path, expected: str, tmp_path: Path, rows_per_strip: int
) -> None:
    assert digest(run(scene, tmp_path / "o.tif", rows_per_strip=rows_per_strip)) == expected


def test_four_processes_change_no_byte(scene: Path, expected: str, tmp_path: Path) -> None:
    found = summary(scene, tmp_path / "o.tif", Running(workers=4))
    assert digest(tmp_path / "o.tif") == expected
    assert found.strips == STRIPS


def test_a_dask_cluster_that_loses_a_worker_changes_no_byte(
    scene: Path, expected: str, tmp_path: Path
) -> None:
    output = tmp_path / "o.tif"
    command = [sys.executable, "-m", "buildmap", "predict", str(scene), str(output), "-q", "--json"]
    command += ["--model", str(scene.with_name("m.onnx")), "--dask", "local", "--workers", "2"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    strips = workspace(output) / "strips"
    while driver.poll() is None and not list(strips.glob("[0-9]*.json")):
        time.sleep(0.01)
    workers = [
        process
        for process in psutil.Process(driver.pid).children(recursive=True)
        if "spawn_main" in " ".join(process.cmdline())
    ]
    workers[-1].kill()
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    assert json.loads(out)["strips"] == STRIPS
    assert digest(output) == expected


def test_shards_change_no_byte_and_finishing_waits_for_all(
    scene: Path, expected: str, tmp_path: Path
) -> None:
    output = tmp_path / "o.tif"
    for share in (3, 1):
        found = summary(scene, output, Running(shard=(share, 3)))
        assert found.strips == {1: 5, 3: 6}[share]
        assert not output.exists()
    with pytest.raises(IncompleteError, match=r"6 of 17 strips are missing: 5, 6, 7, 8, 9, \.\.\."):
        summary(scene, output, Running(only_finish=True))
    summary(scene, output, Running(shard=(2, 3)))
    found = summary(scene, output, Running(only_finish=True))
    assert digest(output) == expected
    assert found.strips_resumed == STRIPS
    assert not workspace(output).exists()


def test_a_run_that_is_stopped_goes_on_where_it_was(scene: Path, expected: str, tmp_path: Path) -> None:
    output = tmp_path / "o.tif"
    stops = iter([False] * 150)
    model = Prediction(models=(scene.with_name("m.onnx"),))
    with pytest.raises(Stopped, match=r"interrupted after \d+/17 strips") as caught:
        predict(scene, output, model, stop=lambda: next(stops, True))
    done = int(str(caught.value).split()[2].split("/")[0])
    assert 0 < done < STRIPS
    assert not output.exists()
    found = predict(scene, output, model)
    assert found.strips_resumed == done
    assert digest(output) == expected


def test_work_of_another_model_or_option_or_input_is_refused(scene: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.tif"
    summary(scene, output, Running(shard=(1, 2)))
    with pytest.raises(MismatchError, match="halo_px was 32, is 16"):
        summary(scene, output, halo_px=16)
    with pytest.raises(MismatchError, match="bands was"):
        summary(scene, output, bands=(3, 2, 1))
    write_onnx(other := tmp_path / "other.onnx", make_card(fingerprint="1" * 16))
    with pytest.raises(MismatchError, match="model was"):
        predict(scene, output, Prediction(models=(other,)))
    copy = tmp_path / "in.tif"
    copy.write_bytes(scene.read_bytes()[:-1] + b"x")
    with pytest.raises(MismatchError, match="input was"):
        predict(copy, output, Prediction(models=(scene.with_name("m.onnx"),)))
    found = summary(scene, output, Running(restart=True), halo_px=16)
    assert found.strips_resumed == 0


def test_a_damaged_strip_is_made_again(scene: Path, expected: str, tmp_path: Path) -> None:
    output = tmp_path / "o.tif"
    summary(scene, output, Running(shard=(1, 1)))
    part = workspace(output) / "strips" / "000007.tif"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(DamagedPart, match=r"000007\.tif is damaged"):
        summary(scene, output)
    assert not output.exists()
    found = summary(scene, output)
    assert found.strips_resumed == STRIPS - 1
    assert digest(output) == expected


def test_kills_at_random_moments_change_no_byte(scene: Path, expected: str, tmp_path: Path) -> None:
    output = tmp_path / "o.tif"
    command = [sys.executable, "-m", "buildmap", "predict", str(scene), str(output), "-q", "--json"]
    command += ["--model", str(scene.with_name("m.onnx"))]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole_s = time.monotonic() - began
    assert digest(output) == expected
    rng = random.Random(0)
    kills = 0
    while kills < KILLS:
        output.unlink(missing_ok=True)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.05) * whole_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        if output.exists():
            assert digest(output) == expected
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == (73 if output.exists() and not done.stdout else 0), done.stderr
    if done.stdout:
        assert json.loads(done.stdout)["strips"] == STRIPS
    assert digest(output) == expected
    assert not workspace(output).exists()
