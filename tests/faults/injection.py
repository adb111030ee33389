"""Commands in processes of their own, in which a system call fails or kills at a chosen time."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from shapely import box
from typer.testing import CliRunner

from buildmap.cli.app import app
from tests.cli.test_train import TOML
from tests.networks import write_onnx
from tests.scenes import blocks_mask, houses_image, write_layer, write_raster, write_training_data

WRITES = "write,pwrite64,writev,ftruncate"
TRAINING = ["train", "data", "t.safetensors", "--preset", "p.toml", "--device", "cpu"]
VERBS = {
    "predict": ["predict", "in.tif", "o.tif", "--model", "m.onnx"],
    "predict-layer": ["predict", "in.tif", "o.gpkg", "--model", "m.onnx"],
    "vectorize": ["vectorize", "p.tif", "v.gpkg"],
    "change": ["change", "before.gpkg", "after.gpkg", "c.gpkg"],
    "train": TRAINING,
}
"""Every verb whose work a kill may cut short."""


def output_of(arguments: Sequence[str]) -> Path:
    """Name what a command writes."""
    return Path(arguments[3 if arguments[0] == "change" else 2])


def write_scene(folder: Path, side: int = 300) -> Path:
    """Write what the verbs read: an image, a probability raster, a model, a data folder and a preset."""
    rng = np.random.default_rng(0)
    mask = blocks_mask(rng, side, side, count=side * side // 900)
    write_raster(folder / "in.tif", houses_image(mask, rng))
    write_raster(folder / "p.tif", np.where(mask, 254, 3).astype(np.uint8))
    with rasterio.open(folder / "p.tif", "r+") as dataset:
        dataset.scales = (1 / 254,)
    write_onnx(folder / "m.onnx")
    write_training_data(folder / "data")
    for name, dx in (("before", 0), ("after", 3)):
        houses = [
            box(4e5 + 30 * n % 900 + dx, 5e6 + n, 4e5 + 30 * n % 900 + dx + 12, 5e6 + n + 9)
            for n in range(0, 900, 10)
        ]
        write_layer(folder / f"{name}.gpkg", houses[dx:])
    (folder / "p.toml").write_text(TOML)
    return folder


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "buildmap", *map(str, arguments), "-q"]


def run(*arguments: object) -> tuple[int, str, str]:
    """Run a command in this process: code, stdout, stderr."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def run_with(fault: str, at: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Run a command in which writing to one file goes wrong.

    Args:
        fault: What strace is to inject: `error=ENOSPC:when=2+`, `signal=KILL:when=2`.
        at: The file.
        arguments: Of the command.

    Returns:
        The exit code, minus the signal if one ended it, and stderr.
    """
    if not can_inject():
        pytest.skip("strace is not installed, or may not trace here")
    fast = [] if fault.startswith("signal") else ["--seccomp-bpf"]  # with which strace forgets its signals
    strace = ["strace", "-f", *fast, "-qqq", "-o", "/dev/null", "-P", str(at)]
    strace += ["-e", f"trace={WRITES}", "-e", f"inject={WRITES}:{fault}"]
    done = subprocess.run(
        [*strace, *command(*arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    return done.returncode, done.stderr


@cache
def can_inject() -> bool:
    if shutil.which("strace") is None:
        return False
    probe = ["strace", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def content(path: Path) -> object:
    """Give what a file says: its bytes, or for a GeoPackage, which holds a date, its features."""
    if path.suffix != ".gpkg":
        return path.read_bytes()
    _, _, geometry, fields = pyogrio.raw.read(path)
    return [bytes(shape) for shape in geometry], [repr(values.tolist()) for values in fields]
