"""Peak memory of `predict` and `vectorize` with the built-in model, against the raster's height.

Takes about ten minutes on two cores: `pytest -m benchmark tests/benchmarks/test_peak_memory.py -s`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from buildmap.demo import SCENE
from buildmap.inference.backend import builtin_model
from tests.benchmarks.mosaic import write_mosaic

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


def repeated_scene(folder: Path, height: int) -> Path:
    """Write a VRT of `SIDE_PX` columns that repeats a square of the demo scene, as if it were 0.3 m."""
    scene = builtin_model().parents[1] / "scene" / SCENE
    return write_mosaic(scene, folder / f"{height}.vrt", width=SIDE_PX, height=height, piece_px=BLOCK_PX)


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
