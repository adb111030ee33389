"""Memory of drawing in bands against the raster's height, and two workers against one.

Takes some minutes on two cores: `pytest -m benchmark tests/benchmarks/test_bands_scale.py -s`.
"""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from buildmap.polygonize.job import BandJob, rows_per_band
from tests.scenes import blocks_mask
from tests.unit.polygonize.test_job import make_job

WIDTH = 8192
BAND_PX = 2**24
PROGRAM = """
import pickle, sys, time
from pathlib import Path
from buildmap.execution.executor import Processes
from buildmap.execution.journal import Journal
from buildmap.execution.progress import Silent
from buildmap.polygonize.bands import SUFFIX, drawn_bands
from buildmap.polygonize.job import plan_facts
from buildmap.vector.drawing import draw
job, folder, workers = pickle.loads(bytes.fromhex(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
executor = Processes(workers=workers, ahead=workers + 1) if workers > 1 else None
began = time.monotonic()
journal = Journal(folder, plan_facts(job), suffix=SUFFIX)
count = sum(map(len, drawn_bands(job, draw, journal, executor, progress=Silent(), stop=lambda: False)))
peak_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(count, int(peak_kb) / 1024, time.monotonic() - began)
"""


def scene(folder: Path, height: int) -> BandJob:
    """Write a mask of so many rows, the same 2048 rows over and over, and plan to draw it."""
    rng = np.random.default_rng(0)
    tile = blocks_mask(rng, 2048, WIDTH, count=8_000)
    job = make_job(
        folder / f"{height}.tif", np.tile(tile, (height // 2048, 1)), band_rows=2048, compress="deflate"
    )
    return replace(job, band_rows=rows_per_band(WIDTH, job.height, band_px=BAND_PX))


def drawn(job: BandJob, folder: Path, workers: int) -> tuple[int, float, float]:
    """Draw in a process of its own; give the footprints, its peak memory in MB and the seconds."""
    command = [sys.executable, "-c", PROGRAM, pickle.dumps(job).hex(), str(folder), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, peak_mb, seconds = map(float, done.stdout.split())
    print(f"{job.height:>6} rows, {workers} workers: {count:8.0f}, {peak_mb:5.0f} MB, {seconds:6.1f} s")
    return int(count), peak_mb, seconds


@pytest.mark.benchmark
def test_six_times_the_height_needs_no_more_memory(tmp_path: Path) -> None:
    few, low_mb, _ = drawn(scene(tmp_path, 2 * 2048), tmp_path / "low", 1)
    many, high_mb, _ = drawn(scene(tmp_path, 12 * 2048), tmp_path / "high", 1)
    assert many > 5 * few > 5_000
    assert high_mb < 1.1 * low_mb


@pytest.mark.benchmark
def test_two_workers_are_nearly_twice_as_fast_as_one(tmp_path: Path) -> None:
    job = scene(tmp_path, 12 * 2048)
    drawn(scene(tmp_path, 2048), tmp_path / "warm", 2)
    took = {workers: drawn(job, tmp_path / str(workers), workers)[2] for workers in (1, 2)}
    assert took[1] > 1.7 * took[2]
