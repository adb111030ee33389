"""`evaluate` on pairs of rasters: its time against that of reading them, its memory against their size.

    pytest -m benchmark tests/benchmarks/test_evaluate_scale.py -s

`BUILDMAP_BENCH_PAIR` chooses the sides of the squares, such as 10000,20000,40000.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from tests.benchmarks.measure import Cost, measured
from tests.scenes import ORIGIN, UTM, blocks_mask

SIDES_PX = [int(side) for side in os.environ.get("BUILDMAP_BENCH_PAIR", "4096,8192").split(",")]
_PIECE_PX = 2048
_ROWS = 512
_MEASURES = ("none", "boundary,ssim")


def write_pair(folder: Path, side_px: int) -> tuple[Path, Path]:
    """Write a probability and a mask that repeat one scene, the map shifted and noisy: ZSTD, tiled."""
    rng = np.random.default_rng(0)
    truth = blocks_mask(rng, _PIECE_PX, _PIECE_PX, 4000)
    shifted = np.roll(truth, (1, 2), (0, 1)).astype(np.float64)
    chance = np.clip(0.08 + 0.85 * shifted + rng.normal(0, 0.05, truth.shape), 0, 1)
    pieces = {"prediction": np.rint(chance * 254).astype(np.uint8), "truth": truth}
    for name, piece in pieces.items():
        profile = {"driver": "GTiff", "width": side_px, "height": side_px, "count": 1, "dtype": "uint8"}
        blocks = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd", "zstd_level": 1}
        place = {"crs": UTM, "transform": ORIGIN, "nodata": 255}
        with rasterio.open(folder / f"{name}.tif", "w", **profile, **blocks, **place) as dataset:
            if name == "prediction":
                dataset.scales = (1 / 254,)
            wide = np.tile(piece, (1, -(-side_px // _PIECE_PX)))[:, :side_px]
            for row in range(0, side_px, _PIECE_PX):
                rows = min(_PIECE_PX, side_px - row)
                dataset.write(wide[:rows], 1, window=Window(0, row, side_px, rows))
    return folder / "prediction.tif", folder / "truth.tif"


def read_all(paths: list[str]) -> None:
    """Read rasters strip by strip, as little as any comparison could do."""
    for path in paths:
        with rasterio.open(path) as dataset:
            for row in range(0, dataset.height, _ROWS):
                dataset.read(1, window=Window(0, row, dataset.width, min(_ROWS, dataset.height - row)))


@pytest.mark.benchmark
def test_pixels_are_compared_near_the_rate_at_which_they_are_read(tmp_path: Path) -> None:
    peaks: dict[str, list[float]] = {measures: [] for measures in _MEASURES}
    print(f"\n{'':>8} {'measures':>14} {'wall s':>8} {'x read':>7} {'Mpx/s':>7} {'CPU s':>7} {'peak MB':>8}")
    for side_px in SIDES_PX:
        prediction, truth = map(str, write_pair(tmp_path, side_px))
        reading = measured(["-m", "tests.benchmarks.test_evaluate_scale", prediction, truth])
        show(side_px, "only read", reading, reading)
        for measures in _MEASURES:
            options = ["--measures", measures, "--quiet", "--json"]
            cost = measured(["-m", "buildmap", "evaluate", prediction, truth, *options])
            show(side_px, measures, cost, reading)
            peaks[measures].append(cost.peak_mb)
    for measures, peak in peaks.items():
        assert peak[-1] < 1.5 * peak[0], measures  # while the pair grew by the square of the sides


def show(side_px: int, measures: str, cost: Cost, reading: Cost) -> None:
    """Print a line of the table."""
    print(
        f"{side_px:>8} {measures:>14} {cost.wall_s:8.1f} {cost.wall_s / reading.wall_s:7.2f} "
        f"{side_px**2 / cost.wall_s / 1e6:7.0f} {cost.cpu_s:7.1f} {cost.peak_mb:8.0f}",
        flush=True,
    )


if __name__ == "__main__":
    read_all(sys.argv[1:])
