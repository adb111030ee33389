"""kill -9 in the middle of a verb: no output, or the old one whole; run again, it completes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio

from tests.networks import write_onnx
from tests.scenes import blocks_mask, houses_image, write_raster

KILLS = ((None, 0.5), (b"the old output", 0.9))
"""What is there before, and when to kill, as a share of an uninterrupted run's time."""


def start(folder: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "buildmap", *arguments, "-q"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(folder: Path, arguments: list[str]) -> float:
    began = time.monotonic()
    process = start(folder, arguments)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    return time.monotonic() - began


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    rng = np.random.default_rng(0)
    mask = blocks_mask(rng, 1000, 1000, count=1100)
    write_raster(folder / "in.tif", houses_image(mask, rng))
    probability = np.where(mask, 254, 3).astype(np.uint8)
    raster = write_raster(folder / "p.tif", np.tile(probability, (2, 2)))
    with rasterio.open(raster, "r+") as dataset:
        dataset.scales = (1 / 254,)
    write_onnx(folder / "m.onnx")
    return folder


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["predict", "in.tif", "out.tif", "--model", "m.onnx"], "out.tif"),
        (["predict", "in.tif", "out.gpkg", "--model", "m.onnx"], "out.gpkg"),
        (["vectorize", "p.tif", "v.gpkg"], "v.gpkg"),
    ],
    ids=["predict", "predict-layer", "vectorize"],
)
def test_a_killed_run_leaves_the_old_output_and_the_next_completes(
    folder: Path, arguments: list[str], output: str
) -> None:
    path = folder / output
    finish(folder, [*arguments])
    whole_s = finish(folder, [*arguments, "--overwrite"])  # compiled functions are cached by now
    expected = content(path)
    path.unlink()
    unfinished = 0
    for old, moment in KILLS:
        path.unlink(missing_ok=True) if old is None else path.write_bytes(old)
        process = start(folder, [*arguments, "--overwrite"])
        time.sleep(moment * whole_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (path.read_bytes() if path.exists() else None) == old:
            unfinished += 1
        else:  # killed after the rename
            assert content(path) == expected
    assert unfinished > 0
    finish(folder, [*arguments, "--overwrite"])
    assert content(path) == expected
    assert not list(folder.glob(f".{output}*"))


def content(path: Path) -> object:
    """Give what a file says: its bytes, or for a GeoPackage, which holds a date, its features."""
    if path.suffix != ".gpkg":
        return path.read_bytes()
    _, _, geometry, fields = pyogrio.raw.read(path)
    return [bytes(shape) for shape in geometry], [repr(values.tolist()) for values in fields]
