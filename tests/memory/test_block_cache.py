"""GDAL's block cache keeps to its bound: nothing that opens a raster fixes its size before it is known."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.benchmarks.mosaic import write_mosaic
from tests.scenes import write_raster

PROGRAM = """
import sys
from buildmap.execution.memory import bound_block_cache, resident_bytes
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
with RasterReader(sys.argv[1], bands=(1, 2, 3), gsd_range_m=(0.1, 2)) as reader:
    bound_block_cache(20 * 2**20)
    reader.read(Window(col_off=0, row_off=0, width=8192, height=512))
    before = resident_bytes()
    for row in range(0, 8192, 512):
        reader.read(Window(col_off=0, row_off=row, width=8192, height=512))
    print(resident_bytes() - before)
"""


def test_reading_a_mosaic_of_200_mb_holds_20(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 1024, 1024), np.uint8)
    piece = write_raster(tmp_path / "a.tif", pixels, tiled=True)
    mosaic = write_mosaic(piece, tmp_path / "a.vrt", width=8192, height=8192)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(mosaic)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 50 * 2**20
