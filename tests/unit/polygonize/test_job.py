"""A job travels: pickled, it draws the same band elsewhere."""

import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from buildmap.errors import StorageError
from buildmap.polygonize.job import (
    BandJob,
    BandTask,
    drawer,
    open_source,
    plan_facts,
    read_band,
    rows_per_band,
)
from buildmap.raster.source import Source
from buildmap.raster.windows import Window
from buildmap.vector.outlining import Outlining
from buildmap.vector.spool import load, save
from buildmap.vector.tracing.bands import trace_band
from tests.scenes import ORIGIN, UTM, blocks_mask, write_raster
from tests.unit.polygonize.sketch import sketch


def make_job(path: Path, pixels: NDArray[np.generic], *, band_rows: int, **options: object) -> BandJob:
    """Write (rows, cols) as a raster, and plan to draw it."""
    height, width = pixels.shape
    return BandJob(
        source=Source(rasters=(str(write_raster(path, pixels, **options)),)),  # type: ignore[arg-type]
        width=width,
        height=height,
        band_rows=band_rows,
        lowest=127,
        settings=Outlining(),
        transform=ORIGIN,
        crs=UTM,
    )


def test_a_pickled_task_gives_what_is_traced_and_drawn_here(tmp_path: Path) -> None:
    pixels = blocks_mask(np.random.default_rng(0), 700, 90, count=300)
    job = make_job(tmp_path / "in.tif", pixels, band_rows=300)
    task = pickle.loads(pickle.dumps(BandTask(job=job, draw=sketch)))
    assert task == BandTask(job=job, draw=sketch)
    assert job.bands == 3
    save(tmp_path / "band.npz", task(1))
    drawn, pieces = load(tmp_path / "band.npz")
    values = pixels[300:600] * np.uint8(254)
    traced = trace_band(values, 300, above=True, below=True, lowest=127)
    padded = np.pad(pixels * np.uint8(254), 1, constant_values=255)
    expected = drawer(job, sketch)(
        traced.finished, lambda left, top, right, bottom: padded[top + 1 : bottom + 1, left + 1 : right + 1]
    )
    assert len(drawn) > 50
    assert shapely.equals_exact(drawn.polygons, expected.polygons).all()
    np.testing.assert_array_equal(drawn.edge_certainty, expected.edge_certainty)
    for part, whole in zip((*pieces.runs, *pieces.spans), (*traced.cut.runs, *traced.cut.spans), strict=True):
        np.testing.assert_array_equal(part, whole)
    assert len(pieces.runs.row) > 20


@pytest.mark.parametrize(
    ("pixels", "options", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0, np.nan]], np.float32), {}, [0, 127, 254, 255]),
        (np.array([[0, 7, 9, 1]], np.int16), {"nodata": 9}, [0, 254, 255, 254]),
    ],
    ids=["probability", "mask with no data"],
)
def test_a_band_is_read_as_steps_of_probability(
    tmp_path: Path, pixels: NDArray[np.generic], options: dict[str, object], expected: list[int]
) -> None:
    job = make_job(tmp_path / "in.tif", np.tile(pixels, (1300, 1)), band_rows=600, **options)
    with open_source(job.source) as reader:
        shapes = [read_band(reader, job, index) for index in range(job.bands)]
    assert [len(values) for values in shapes] == [600, 600, 100]
    assert all((values == expected).all() for values in shapes)


def test_each_row_is_read_into_its_place(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 2, (1500, 3)).astype(np.uint8)
    job = make_job(tmp_path / "in.tif", pixels, band_rows=1024)
    with open_source(job.source) as reader:
        read = np.concatenate([read_band(reader, job, index) for index in range(job.bands)])
    np.testing.assert_array_equal(read, pixels * 254)


@pytest.mark.parametrize("stored", [True, False], ids=["all stored", "with gaps"])
def test_each_column_of_a_wide_raster_is_read_into_its_place(tmp_path: Path, stored: bool) -> None:
    pixels = np.random.default_rng(2).integers(1, 3, (600, 17_000)).astype(np.uint8)
    if not stored:
        pixels[:, 7936:16_700] = 9
    options = {"nodata": 9, "tiled": True, "blockxsize": 256, "blockysize": 256, "SPARSE_OK": not stored}
    job = make_job(tmp_path / "in.tif", pixels, band_rows=512, **options)
    with open_source(job.source) as reader:
        gap = Window(col_off=8192, row_off=0, width=8192, height=512)
        assert reader.has_data(gap) == stored
        read = np.concatenate([read_band(reader, job, index) for index in range(job.bands)])
    np.testing.assert_array_equal(read, np.where(pixels == 9, 255, 254))


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    job = make_job(tmp_path / "in.tif", np.ones((600, 600), np.uint8), band_rows=512, compress="deflate")
    path = Path(job.source.rasters[0])
    data = path.read_bytes()
    path.write_bytes(data[:-300] + bytes(300))
    with pytest.raises(StorageError, match="cannot read"):
        BandTask(job=job, draw=sketch)(1)


def test_bands_are_whole_blocks_of_about_so_many_pixels() -> None:
    assert rows_per_band(8192, 10**6, band_px=2**26) == 8192
    assert rows_per_band(65_537, 10**6, band_px=2**26) == 512
    assert rows_per_band(10_000, 10**6, band_px=2**26) == 6656
    assert rows_per_band(10**6, 10**6, band_px=2**26) == 512


def test_wide_rasters_have_bands_of_half_a_block_where_the_cache_holds_the_other_half() -> None:
    assert [rows_per_band(width, 10**6) for width in (32_768, 32_769, 65_536, 65_537)] == [512, 256, 256, 512]
    assert rows_per_band(32_769, 10**6, 4) == 512, "a row of blocks of float32 does not stay in the cache"


def test_a_raster_that_is_not_small_has_eight_bands_or_more() -> None:
    assert rows_per_band(8192, 8 * 1024, band_px=2**26) == 1024
    assert rows_per_band(8192, 8 * 1024 - 1, band_px=2**26) == 512
    assert rows_per_band(100, 40_000, band_px=2**26) == 4608
    assert rows_per_band(100, 700, band_px=2**26) == 512


def test_the_plan_of_a_job_changes_with_all_that_bands_depend_on(tmp_path: Path) -> None:
    job = make_job(tmp_path / "in.tif", np.ones((600, 60), np.uint8), band_rows=512)
    other = write_raster(tmp_path / "other.tif", np.zeros((600, 60), np.uint8))
    changed = [
        replace(job, source=Source(rasters=(str(other),))),
        replace(job, band_rows=1024),
        replace(job, lowest=100),
        replace(job, settings=Outlining(method="raw")),
        replace(job, transform=ORIGIN @ ORIGIN),
        replace(job, crs="EPSG:32634"),
    ]
    plans = [plan_facts(one) for one in (job, *changed)]
    assert all(plan != plans[0] for plan in plans[1:])
    assert plan_facts(replace(job)) == plans[0]
    assert io.BytesIO(pickle.dumps(job)).getbuffer().nbytes < 3000
