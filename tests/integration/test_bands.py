"""Bands: the same footprints for any height, workers and machines, and after any kill."""

import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from scipy.ndimage import gaussian_filter

from buildmap.errors import MismatchError, Stopped, StorageError
from buildmap.execution.cluster import Cluster
from buildmap.execution.executor import Processes
from buildmap.execution.journal import Journal
from buildmap.execution.progress import Silent
from buildmap.polygonize.bands import SUFFIX, drawn_bands
from buildmap.polygonize.job import BandJob, drawer, plan_facts
from buildmap.vector.tracing.bands import crop_band
from buildmap.vector.tracing.outlines import OutlineTracer, join_outlines
from tests.unit.polygonize.run import digest, draw
from tests.unit.polygonize.sketch import sketch
from tests.unit.polygonize.test_job import make_job

ROWS = 128
BANDS = 12


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> BandJob:
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal((ROWS * BANDS - 30, 300)), 4)
    values = np.clip(0.5 + field / field.std() / 4, 0, 1).astype(np.float32)
    values[:, 100:103] = 0.75
    values[:, 104:106] = 0
    values[300:310, 200:280] = np.nan
    return make_job(tmp_path_factory.mktemp("bands") / "in.tif", values, band_rows=ROWS)


@pytest.fixture(scope="module")
def expected(job: BandJob) -> str:
    """Trace and draw the whole raster at once."""
    with rasterio.open(job.source.rasters[0]) as dataset:
        probability = dataset.read(1).astype(np.float64)
    values = np.where(np.isnan(probability), 255, np.floor(np.nan_to_num(probability) * 254 + 1e-4))
    values = values.astype(np.uint8)
    tracer = OutlineTracer(job.width, lowest=job.lowest)
    outlines = join_outlines([tracer.push(values), tracer.finish()])
    drawn = drawer(job, sketch)(outlines, lambda *box: crop_band(values, 0, box)).in_order()
    heights = shapely.bounds(drawn.raw)[:, 3] - shapely.bounds(drawn.raw)[:, 1]
    assert len(drawn) > 100
    assert (heights > ROWS).sum() > 3
    return digest([drawn])


@pytest.mark.parametrize("band_rows", [11, 37, 128, 5000])
def test_the_height_of_bands_changes_no_bit(
    job: BandJob, expected: str, tmp_path: Path, band_rows: int
) -> None:
    one = replace(job, band_rows=band_rows)
    batches = draw(one, tmp_path)
    assert len(batches) == one.bands
    assert digest(batches) == expected


def test_two_processes_change_no_bit(job: BandJob, expected: str, tmp_path: Path) -> None:
    assert digest(draw(job, tmp_path, Processes(workers=2, ahead=3))) == expected
    assert job.bands == BANDS == len(list(tmp_path.glob(f"*{SUFFIX}")))


def test_a_dask_cluster_changes_no_bit(job: BandJob, expected: str, tmp_path: Path) -> None:
    assert digest(draw(job, tmp_path, Cluster(address="local", workers=2))) == expected


def test_a_run_that_is_stopped_goes_on_where_it_was(job: BandJob, expected: str, tmp_path: Path) -> None:
    stops = iter([False] * 5)
    with pytest.raises(Stopped, match=r"interrupted after 5/12 bands"):
        draw(job, tmp_path, stop=lambda: next(stops, True))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob(f"*{SUFFIX}")}
    assert len(before) == 5
    assert digest(draw(job, tmp_path)) == expected
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_is_done_is_given_again_without_the_raster(job: BandJob, expected: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path, plan_facts(job), suffix=SUFFIX)
    draw(job, tmp_path)
    absent = replace(job, source=replace(job.source, rasters=("absent.tif",)))
    again = drawn_bands(absent, sketch, journal, progress=Silent(), stop=lambda: False)
    assert digest(list(again)) == expected


def test_kills_at_random_moments_change_no_bit(job: BandJob, expected: str, tmp_path: Path) -> None:
    module = ["-m", "tests.unit.polygonize.run"]
    command = [sys.executable, *module, pickle.dumps(job).hex(), str(tmp_path), "1"]
    rng, done = random.Random(0), 0
    while done < BANDS - 3:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while len(list(tmp_path.glob("[0-9]*.json"))) < min(done + 3, BANDS) and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = len(list(tmp_path.glob("[0-9]*.json")))
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    assert finished.stdout.strip() == expected


def test_a_damaged_product_is_made_again(job: BandJob, expected: str, tmp_path: Path) -> None:
    draw(job, tmp_path)
    whole = {path: path.read_bytes() for path in sorted(tmp_path.glob(f"*{SUFFIX}"))}
    cut_short, changed, emptied = list(whole)[3:6]
    cut_short.write_bytes(whole[cut_short][:-100])
    changed.write_bytes(whole[changed][:500] + b"x" + whole[changed][501:])
    emptied.write_bytes(b"")
    assert digest(draw(job, tmp_path)) == expected
    assert {path: path.read_bytes() for path in whole} == whole


def test_work_of_another_threshold_is_refused(job: BandJob, tmp_path: Path) -> None:
    draw(job, tmp_path)
    with pytest.raises(MismatchError, match="lowest was 127, is 100"):
        draw(replace(job, lowest=100), tmp_path)


def test_a_band_that_fails_twice_ends_the_run_and_keeps_what_is_done(job: BandJob, tmp_path: Path) -> None:
    unknown = replace(job, crs="EPSG:4326")  # which the sketch refuses
    with pytest.raises(StorageError, match="band 0 failed twice: AssertionError"):
        draw(unknown, tmp_path, Processes(workers=1, ahead=1))
