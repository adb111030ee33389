"""Outlines of a mask a second of CPU, beside GDALPolygonize of every GDAL there is.

    BUILDMAP_BENCH_MASKS=masks pytest -m benchmark tests/benchmarks/test_polygonize_speed.py -s

The folder holds `s16k_mask.tif`, 16384 x 16384 and dense, and `c64k_mask.tif`, 65536 x 65536 and mostly
empty, with 0 for no data; without it, masks of blocks are made. All read the same file, in one thread of a
process of their own, with the same block cache, and keep their polygons in memory. Imports and compiling are
not counted.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from tests.scenes import ORIGIN, UTM, blocks_mask

MASKS = Path(os.environ["BUILDMAP_BENCH_MASKS"]) if "BUILDMAP_BENCH_MASKS" in os.environ else None
TIMES_DENSE, TIMES_EMPTY = 8, 12
CELL_PX, REPEATS = 4096, 2
SYSTEM_GDAL = sorted(Path("/usr/lib").glob("*/libgdal.so.*"))[:1]
"""The one that the distribution's `gdal_polygonize.py` calls, for comparison."""
OURS = """
import sys, time
from buildmap.polygonize.job import BandJob, open_source, read_band, rows_per_band
from buildmap.raster.source import Source
from buildmap.vector.outlining import Outlining
from buildmap.vector.tracing.bands import Seam, trace_band
path, kept = sys.argv[1], []
source = Source(rasters=(path,))
with open_source(source) as reader:
    grid = reader.grid
    rows = rows_per_band(grid.width, grid.height, reader.dtype.itemsize)
    job = BandJob(source=source, width=grid.width, height=grid.height, band_rows=rows, lowest=127,
        settings=Outlining(), transform=grid.transform, crs="EPSG:32633")
    def trace(seam, bands):
        for index in bands:
            first, rows = job.rows(index)
            above, below = index > 0, index < job.bands - 1
            band = trace_band(read_band(reader, job, index), first, above=above, below=below, lowest=127)
            kept.append(band.finished.polygons)
            kept.append(seam.push(band.cut, first, rows).polygons)
        kept.append(seam.finish().polygons)
    trace(Seam(job.width), range(2))  # compile
    kept.clear()
    began = time.process_time()
    trace(Seam(job.width), range(job.bands))
    print(sum(map(len, kept)), time.process_time() - began)
"""
GDAL = """
import ctypes, importlib, sys, time
path, package, library = sys.argv[1:4]
if package:
    importlib.import_module(package)
    library = next(line.split()[-1] for line in open("/proc/self/maps") if "libgdal" in line)
gdal = ctypes.CDLL(library)
text, handle, number = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int
def call(name, result, *arguments):
    function = getattr(gdal, name)
    function.restype, function.argtypes = result, [kind for kind, _ in arguments]
    return function(*(value for _, value in arguments))
call("GDALAllRegister", None)
began = time.process_time()
raster = call("GDALOpen", handle, (text, path.encode()), (number, 0))
band = call("GDALGetRasterBand", handle, (handle, raster), (number, 1))
drivers = [call("GDALGetDriverByName", handle, (text, name)) for name in (b"Memory", b"MEM")]
driver = next(filter(None, drivers))
dataset = call("GDALCreate", handle, (handle, driver), (text, b""), *[(number, 0)] * 4, (handle, None))
layer = call("GDALDatasetCreateLayer", handle, (handle, dataset), (text, b"out"), (handle, None), (number, 3),
    (handle, None))
failed = call("GDALPolygonize", number, (handle, band), (handle, band), (handle, layer), (number, -1),
    (handle, None), (handle, None), (handle, None))
assert not failed
seconds = time.process_time() - began
print(call("OGR_L_GetFeatureCount", ctypes.c_longlong, (handle, layer), (number, 1)), seconds)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What one run gave."""

    polygons: int
    """How many."""
    cpu_s: float
    """User and system, from opening the raster on."""


def run(program: str, *arguments: str, repeats: int = REPEATS) -> Traced:
    """Give the fastest of some runs in processes of their own."""
    environment = os.environ | {"GDAL_CACHEMAX": "128", "GDAL_NUM_THREADS": "1"}
    runs = []
    for _ in range(repeats):
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        count, cpu_s = done.stdout.split()
        runs.append(Traced(polygons=int(count), cpu_s=float(cpu_s)))
    return min(runs, key=lambda one: one.cpu_s)


def made_mask(path: Path, *, side: int, cells: Iterable[tuple[int, int]]) -> Path:
    """Write a mask of `side` x `side` pixels with blocks in some of its square cells (row, col)."""
    cell = blocks_mask(np.random.default_rng(0), CELL_PX, CELL_PX, count=1500)
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 1,
        "dtype": "uint8",
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "nodata": 0,
        "SPARSE_OK": True,
        "crs": UTM,
        "transform": ORIGIN,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        for row, col in cells:
            dataset.write(cell, 1, window=Window(col * CELL_PX, row * CELL_PX, CELL_PX, CELL_PX))
    return path


def compare(mask: Path, *, repeats: int = REPEATS) -> float:
    """Trace a mask with all there are; give the CPU of the faster of the wheels' GDALs over ours."""
    ours = run(OURS, str(mask), repeats=repeats)
    print(f"\n{mask.name:>14} buildmap: {ours.polygons:8} polygons, {ours.cpu_s:6.2f} s")
    libraries = [("rasterio", ""), ("pyogrio", ""), *(("", str(path)) for path in SYSTEM_GDAL)]
    rivals = {}
    for package, library in libraries:
        rival = run(GDAL, str(mask), package, library, repeats=repeats)
        rivals[package] = rival.cpu_s
        print(f"{package or Path(library).name:>23}: {rival.polygons:8} polygons, {rival.cpu_s:6.2f} s")
        assert rival.polygons == ours.polygons
    return min(rivals["rasterio"], rivals["pyogrio"]) / ours.cpu_s


@pytest.mark.benchmark
def test_a_dense_mask_is_polygonized_eight_times_as_fast(tmp_path: Path) -> None:
    cells = [(row, col) for row in range(4) for col in range(4)]
    mask = MASKS / "s16k_mask.tif" if MASKS else made_mask(tmp_path / "s16k.tif", side=16_384, cells=cells)
    times = compare(mask)
    print(f"{times:.1f} x")
    assert times >= TIMES_DENSE


@pytest.mark.benchmark
def test_a_mostly_empty_mask_is_polygonized_twelve_times_as_fast(tmp_path: Path) -> None:
    cells = [(row, col) for row in range(16) for col in range(16) if (row // 4, col // 4) in {(0, 1), (3, 2)}]
    mask = MASKS / "c64k_mask.tif" if MASKS else made_mask(tmp_path / "c64k.tif", side=65_536, cells=cells)
    times = compare(mask, repeats=1)
    print(f"{times:.1f} x")
    assert times >= TIMES_EMPTY
