"""The whole of `vectorize`: CPU beside gdal_polygonize and buildingregulariser, memory, two workers.

    BUILDMAP_BENCH_MASKS=masks BUILDMAP_BENCH_RIVAL=venv/bin/python \\
        pytest -m benchmark tests/benchmarks/test_vectorize_end_to_end.py -s

The folder holds rasters of probability as `predict` writes them, `s8k_prob.tif` (8192 x 8192),
`s16k_prob.tif` (16384 x 16384) and `c64k_prob.tif` (65536 x 65536), and `s16k_mask.tif`, the second from
probability 0.5 on. The rival is a Python that has geopandas and buildingregulariser; `gdal_polygonize.py` is
the distribution's. Each command runs in a process of its own, whose start and imports count.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyogrio
import pytest

from tests.benchmarks.measure import measured

MASKS = Path(os.environ["BUILDMAP_BENCH_MASKS"]) if "BUILDMAP_BENCH_MASKS" in os.environ else None
RIVAL = os.environ.get("BUILDMAP_BENCH_RIVAL")
TIMES_RIVAL, TIMES_ONE_WORKER = 25, 1.7
PEAK_MB, GROWTH = 700, 1.25
PAPER_S, TILE_PX = 0.058, 500
"""HR-Mamba, section 4: post-processing of one tile."""
MIN_AREA_M2 = 5
POLYGONIZE = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
REGULARIZE = """
import sys
import geopandas
from buildingregulariser import regularize_geodataframe
outlines = geopandas.read_file(sys.argv[1])
outlines = outlines[outlines.area >= float(sys.argv[3])]
regularize_geodataframe(outlines, num_cores=1).to_file(sys.argv[2])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run took and gave."""

    footprints: int
    """In the layer."""
    wall_s: float
    """Start to end."""
    cpu_s: float
    """User and system, children included."""
    peak_mb: float
    """Of the process and its workers; pages they share count once."""


def vectorized(raster: Path, output: Path, *options: str) -> Run:
    """Run `buildmap vectorize`."""
    cost = measured(["-m", "buildmap", "vectorize", str(raster), str(output), "-q", *options])
    count = pyogrio.read_info(output, layer="footprints")["features"]
    print(
        f"{raster.name:>16} {' '.join(options):16} {count:7} footprints, {cost.wall_s:6.1f} s,"
        f" {cost.cpu_s:6.1f} s of CPU, {cost.peak_mb:4.0f} MB"
    )
    return Run(footprints=count, wall_s=cost.wall_s, cpu_s=cost.cpu_s, peak_mb=cost.peak_mb)


def rival_cpu_s(mask: Path, folder: Path) -> float:
    """Take a mask through gdal_polygonize and buildingregulariser, both as fast as they go; give the CPU."""
    raw, output = folder / "raw.gpkg", folder / "rival.gpkg"
    polygonize = ["gdal_polygonize.py", "-q", "-mask", str(mask), str(mask), "-f", "GPKG", str(raw)]
    first = measured(["-c", POLYGONIZE, *polygonize])
    before = os.times()
    command = [str(RIVAL), "-c", REGULARIZE, str(raw), str(output), str(MIN_AREA_M2)]
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    second_s = after.children_user + after.children_system - before.children_user - before.children_system
    count = pyogrio.read_info(output)["features"]
    steps = f"polygonize {first.cpu_s:.1f} s, regularize {second_s:.1f} s of CPU"
    print(f"{mask.name:>16} rival: {count} footprints, {steps}")
    return first.cpu_s + second_s


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of rasters; compile what is not yet on disk."""
    if MASKS is None:
        pytest.skip("BUILDMAP_BENCH_MASKS names no folder")
    warm = tmp_path_factory.mktemp("warm")
    for method in ("adaptive", "paper"):
        vectorized(MASKS / "s8k_prob.tif", warm / f"{method}.gpkg", "--method", method)
    return MASKS


@pytest.mark.benchmark
@pytest.mark.skipif(RIVAL is None, reason="BUILDMAP_BENCH_RIVAL names no Python")
@pytest.mark.skipif(shutil.which("gdal_polygonize.py") is None, reason="gdal_polygonize.py is not installed")
def test_raster_to_layer_takes_a_twenty_fifth_of_the_rivals_cpu(masks: Path, tmp_path: Path) -> None:
    runs = [vectorized(masks / "s16k_prob.tif", tmp_path / f"{run}.gpkg") for run in range(2)]
    ours = min(run.cpu_s for run in runs)
    theirs = rival_cpu_s(masks / "s16k_mask.tif", tmp_path)
    print(f"{theirs / ours:.1f} x")
    assert theirs >= TIMES_RIVAL * ours


@pytest.mark.benchmark
def test_the_papers_chain_beside_the_papers_own_time(masks: Path, tmp_path: Path) -> None:
    whole = vectorized(masks / "s8k_prob.tif", tmp_path / "paper.gpkg", "--method", "paper")
    tiles = (8192 / TILE_PX) ** 2
    tile_s = whole.cpu_s / tiles
    print(f"--method paper: {tile_s:.4f} s a tile of {TILE_PX} x {TILE_PX}; the paper: {PAPER_S} s")
    assert tile_s < 2 * PAPER_S


@pytest.mark.benchmark
def test_sixty_four_times_the_pixels_need_a_quarter_more_memory_at_most(masks: Path, tmp_path: Path) -> None:
    small = vectorized(masks / "s8k_prob.tif", tmp_path / "small.gpkg")
    large = vectorized(masks / "c64k_prob.tif", tmp_path / "large.gpkg")
    assert large.footprints > 6 * small.footprints
    assert large.peak_mb <= PEAK_MB
    assert large.peak_mb <= GROWTH * small.peak_mb


@pytest.mark.benchmark
def test_two_workers_are_nearly_twice_as_fast_and_give_the_same(masks: Path, tmp_path: Path) -> None:
    one = vectorized(masks / "s16k_prob.tif", tmp_path / "one.gpkg")
    two = vectorized(masks / "s16k_prob.tif", tmp_path / "two.gpkg", "--workers", "2")
    print(f"{one.wall_s / two.wall_s:.2f} x")
    assert two.footprints == one.footprints
    assert one.wall_s >= TIMES_ONE_WORKER * two.wall_s
