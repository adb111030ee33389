"""Peak memory of `predict` and `vectorize` with the built-in model, against the raster's height.

Takes about ten minutes on two cores: `pytest -m benchmark tests/benchmarks/test_peak_memory.py -s`.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from buildmap.demo import SCENE
from buildmap.inference.backend import builtin_model
from tests.scenes import UTM

SIDE_PX = 20_000
BLOCK_PX = 1_000
PROGRAM = """
import resource, sys, time
from pathlib import Path
from buildmap.predict import predict
from buildmap.vectorize import vectorize
began = time.monotonic()
{"predict": predict, "vectorize": vectorize}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(peak_mb, time.monotonic() - began)
"""
SOURCE = """<SimpleSource>
<SourceFilename relativeToVRT="1">block.tif</SourceFilename><SourceBand>{band}</SourceBand>
<SrcRect xOff="0" yOff="0" xSize="{block}" ySize="{block}"/>
<DstRect xOff="{col}" yOff="{row}" xSize="{block}" ySize="{block}"/></SimpleSource>"""


def repeated_scene(folder: Path, height: int) -> Path:
    """Write a VRT of `SIDE_PX` columns that repeats a square of the demo scene, as if it were 0.3 m."""
    with rasterio.open(builtin_model().parents[1] / "scene" / SCENE) as scene:
        pixels = scene.read(window=((0, BLOCK_PX), (0, BLOCK_PX)))
    profile = {"count": 3, "height": BLOCK_PX, "width": BLOCK_PX, "dtype": "uint8"}
    transform = rasterio.Affine(0.3, 0, 400_000, 0, -0.3, 5_000_000)
    with rasterio.open(
        folder / "block.tif", "w", driver="GTiff", crs=UTM, transform=transform, tiled=True, **profile
    ) as block:
        block.write(pixels.astype(np.uint8))
        wkt = block.crs.to_wkt()
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">'
        + "".join(
            SOURCE.format(band=band, block=BLOCK_PX, col=col, row=row)
            for row in range(0, height, BLOCK_PX)
            for col in range(0, SIDE_PX, BLOCK_PX)
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    path = folder / f"{height}.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{SIDE_PX}" rasterYSize="{height}"><SRS>{wkt}</SRS>'
        f"<GeoTransform>400000, 0.3, 0, 5000000, 0, -0.3</GeoTransform>{bands}</VRTDataset>"
    )
    return path


def measured(verb: str, source: Path, output: Path) -> float:
    """Run a verb in a process of its own; give its peak memory in MB."""
    arguments = [verb, str(source), str(output)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    peak_mb, seconds = map(float, done.stdout.split())
    print(f"{verb:>9} {source.name:>16}: {peak_mb:6.0f} MB, {seconds:6.1f} s")
    return peak_mb


@pytest.mark.benchmark
def test_four_times_the_height_needs_no_more_memory(tmp_path: Path) -> None:
    peaks: dict[str, list[float]] = {"predict": [], "vectorize": []}
    for height in (SIDE_PX, 4 * SIDE_PX):
        probability = tmp_path / f"{height}.tif"
        peaks["predict"].append(measured("predict", repeated_scene(tmp_path, height), probability))
        peaks["vectorize"].append(measured("vectorize", probability, tmp_path / f"{height}.gpkg"))
    for verb, (low, high) in peaks.items():
        assert high < 1.1 * low, verb
