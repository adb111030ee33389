"""Speed of counting pixels by value, beside numpy's way and beside reading the same pixels.

`pytest -m benchmark tests/benchmarks/test_pixel_counts.py -s`; one core, less than a minute.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from buildmap.metrics.histogram import Histogram, count_by_cell, count_by_region, count_values
from tests.scenes import write_raster

SIDE_PX = 4096
ROWS = 512
RUNS = 5

Pair = tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]


def houses(rng: np.random.Generator) -> Pair:
    """Draw a probability map with soft edges: a tenth of the ground is built up, a fifth of it sparsely."""
    truth = np.zeros((SIDE_PX, SIDE_PX), np.bool_)
    for row, col in rng.integers(0, SIDE_PX, (2500, 2)):
        truth[row : row + rng.integers(15, 40), col : col + rng.integers(15, 40)] = True
    truth[:, : SIDE_PX // 5] = False
    values = uniform_filter(np.roll(truth, 2, axis=1).astype(np.float32), 5) * np.float32(254)
    return values.astype(np.uint8), truth, np.ones_like(truth)


def noise(rng: np.random.Generator) -> Pair:
    """Draw values and truth at random, where a tenth does not count: nothing is like its neighbour."""
    shape = SIDE_PX, SIDE_PX
    return rng.integers(0, 255, shape, np.uint8), rng.random(shape) < 0.5, rng.random(shape) < 0.9


def by_bincount(values: NDArray[np.uint8], truth: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Histogram:
    joint = truth.astype(np.uint16) * np.uint16(255) + values
    return Histogram(counts=np.bincount(joint[counted], minlength=510).reshape(2, 255).astype(np.int64))


def strips(pair: Pair) -> list[Pair]:
    return [
        (values, truth, counted)
        for values, truth, counted in zip(*(np.split(part, SIDE_PX // ROWS) for part in pair), strict=True)
    ]


def rate(job: Callable[[], object]) -> float:
    """Give Gpx/s of CPU time, of the fastest of some runs over one square."""
    seconds = []
    for _ in range(RUNS):
        began = time.thread_time()
        job()
        seconds.append(time.thread_time() - began)
    return SIDE_PX**2 / min(seconds) / 1e9


def read(paths: list[Path]) -> None:
    for path in paths:
        with rasterio.open(path) as dataset:
            for row in range(0, SIDE_PX, ROWS):
                dataset.read(1, window=((row, row + ROWS), (0, SIDE_PX)))


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("draw", "times_bincount", "times_reading"),
    [(houses, 3, 1), (noise, 1.5, 0.6)],  # half of what was measured, or less
    ids=["houses", "noise"],
)
def test_counting_is_faster_than_numpy_and_does_not_hold_up_reading(
    draw: Callable[[np.random.Generator], Pair], times_bincount: float, times_reading: float, tmp_path: Path
) -> None:
    pair = draw(np.random.default_rng(0))
    layout = {"tiled": True, "blockxsize": ROWS, "blockysize": ROWS, "compress": "ZSTD", "zstd_level": 1}
    paths = [
        write_raster(tmp_path / f"{name}.tif", pixels.astype(np.uint8), **layout)
        for name, pixels in zip(("prediction", "truth"), pair[:2], strict=True)
    ]
    parts = strips(pair)
    regions = np.repeat(np.arange(4, dtype=np.int32), SIDE_PX // 4)[None].repeat(ROWS, axis=0)
    place = {"lowest": 127, "row_off": 0, "col_off": 0, "cell_px": 1000}
    jobs: dict[str, Callable[[], object]] = {
        "count_values": lambda: sum((count_values(*part) for part in parts), Histogram()),
        "numpy.bincount": lambda: sum((by_bincount(*part) for part in parts), Histogram()),
        "count_by_cell": lambda: [count_by_cell(*part, **place) for part in parts],
        "count_by_region": lambda: [count_by_region(*part, regions, regions_count=4) for part in parts],
        "read both": lambda: read(paths),
    }
    assert jobs["count_values"]() == jobs["numpy.bincount"]()
    rates = {name: rate(job) for name, job in jobs.items()}
    for name, gpx_s in rates.items():
        print(
            f"{draw.__name__:>8} {name:>16}: {gpx_s:6.3f} Gpx/s, {gpx_s / rates['read both']:6.1f} x reading"
        )
    assert rates["count_values"] > times_bincount * rates["numpy.bincount"]
    assert rates["count_values"] > times_reading * rates["read both"]
