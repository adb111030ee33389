"""Peak memory of `predict` does not follow the raster's height."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.networks import write_onnx
from tests.scenes import ORIGIN, UTM

pytestmark = pytest.mark.benchmark

PROGRAM = """
import resource, sys
from pathlib import Path
from buildmap.inference.options import Prediction
from buildmap.predict import predict
predict(Path(sys.argv[1]), Path(sys.argv[2]), Prediction(models=(Path(sys.argv[3]),)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(folder: Path, height: int) -> int:
    """Predict a raster of 3000 columns, a block of noise repeated, in a process of its own."""
    block = np.random.default_rng(0).integers(1, 255, (3, 500, 3000), np.uint8)
    path = folder / f"{height}.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=3000,
        height=height,
        count=3,
        dtype="uint8",
        crs=UTM,
        transform=ORIGIN,
        tiled=True,
        blockxsize=512,
        blockysize=512,
    ) as dataset:
        for row in range(0, height, 500):
            dataset.write(block, window=((row, row + 500), (0, 3000)))
    arguments = [str(path), str(folder / f"{height}.out.tif"), str(write_onnx(folder / "m.onnx"))]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_four_times_the_rows_need_no_more_memory(tmp_path: Path) -> None:
    low, high = peak_kib(tmp_path, 3000), peak_kib(tmp_path, 12000)
    assert high < 1.1 * low, (low, high)
