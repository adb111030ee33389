from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio import features
from shapely.geometry import Point, box, shape

from buildmap.errors import InputError, Stopped
from buildmap.execution.progress import Silent
from buildmap.polygonize.job import BandJob, open_source
from buildmap.polygonize.seen import seen_ground
from buildmap.raster.reader import RasterReader
from tests.scenes import ORIGIN
from tests.unit.polygonize.test_job import make_job

Polygons = NDArray[np.object_]


class Counting(Silent):
    """Counts how far the work got."""

    left = 0

    def start(self, task: str, total: int) -> None:
        assert task == "valid"
        self.left = total

    def advance(self, steps: int = 1) -> None:
        self.left -= steps


def seen(job: BandJob, area: Polygons | None = None) -> list[bytes]:
    progress = Counting()
    with open_source(job.source) as reader:
        batches = seen_ground(job, reader, area=area, progress=progress, stop=lambda: False)
        polygons = [polygon.wkb for polygon in np.concatenate(list(batches))]
    assert progress.left == 0
    return polygons


def by_cells(valid: NDArray[np.bool_]) -> list[bytes]:
    """Paint the cells of 16 pixels of which at least half are valid, and have rasterio trace them."""
    painted = np.zeros(valid.shape, np.uint8)
    for row, col in np.ndindex(-(-valid.shape[0] // 16), -(-valid.shape[1] // 16)):
        cell = np.s_[16 * row : 16 * row + 16, 16 * col : 16 * col + 16]
        painted[cell] = valid[cell].mean() >= 0.5
    found = features.shapes(painted, mask=painted > 0, connectivity=4, transform=ORIGIN)
    return sorted(shape(geometry).normalize().wkb for geometry, _ in found)


def normal(polygons: list[bytes]) -> list[bytes]:
    return sorted(shapely.from_wkb(polygon).normalize().wkb for polygon in polygons)


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    coarse = rng.random((30, 12)) < 0.6
    pixels = np.kron(coarse, np.ones((20, 20))).astype(np.uint8) * np.uint8(9)
    pixels[rng.random(pixels.shape) < 0.3] = 255
    return pixels


def test_ground_is_what_is_valid_whatever_the_bands(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    job = make_job(tmp_path / "in.tif", pixels, band_rows=512, nodata=0)
    found = seen(job)
    assert normal(found) == by_cells(pixels != 0)
    for rows in (1, 7, 100, 600):
        assert seen(replace(job, band_rows=rows)) == found


def test_ground_comes_as_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stripes = np.repeat(np.array([9, 0, 9, 0], np.uint8), 16)[:, None].repeat(48, axis=1)
    job = make_job(tmp_path / "in.tif", stripes, band_rows=16, nodata=0)
    monkeypatch.setattr("buildmap.vector.tracing.outlines._COLLECT_FROM_CORNERS", 0)
    with open_source(job.source) as reader:
        batches = seen_ground(job, reader, area=None, progress=Silent(), stop=lambda: False)
        assert [len(polygons) for polygons in batches] == [0, 1, 0, 1, 0]


def test_ground_ends_at_an_area(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    job = make_job(tmp_path / "in.tif", pixels, band_rows=90, nodata=0)
    disc = Point(ORIGIN @ (120, 250)).buffer(50)
    inside = features.geometry_mask([disc], pixels.shape, ORIGIN, invert=True)
    assert normal(seen(job, np.array([disc], np.object_))) == by_cells((pixels != 0) & inside)


def test_a_raster_that_is_all_valid_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tmp_path / "in.tif", np.zeros((70, 50), np.uint8), band_rows=30)
    monkeypatch.delattr(RasterReader, "read")
    (ground,) = seen(job)
    assert shapely.from_wkb(ground).equals(box(*(ORIGIN @ (0, 70)), *(ORIGIN @ (50, 0))))


def test_bands_outside_an_area_are_not_read(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    job = make_job(tmp_path / "in.tif", pixels, band_rows=100, nodata=0)
    rows = []
    read = RasterReader.read

    def noting(self: RasterReader, window: object, **shape: object) -> object:
        rows.append(window.row_off // 100)  # type: ignore[attr-defined]
        return read(self, window, **shape)  # type: ignore[arg-type]

    area = np.array([box(*(ORIGIN @ (0, 290)), *(ORIGIN @ (50, 110)))], np.object_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RasterReader, "read", noting)
        seen(job, area)
    assert set(rows) == {1, 2}


def test_an_area_beside_the_raster_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    job = make_job(tmp_path / "in.tif", np.ones((9, 9), np.uint8), band_rows=9)
    with open_source(job.source) as reader, pytest.raises(InputError, match="does not touch the raster"):
        seen_ground(job, reader, area=np.array([box(0, 0, 1, 1)]), progress=Silent(), stop=lambda: False)


def test_it_stops_when_told(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    job = make_job(tmp_path / "in.tif", pixels, band_rows=100, nodata=0)
    asked = iter([False, False, True])
    with open_source(job.source) as reader:
        batches = seen_ground(job, reader, area=None, progress=Silent(), stop=lambda: next(asked))
        with pytest.raises(Stopped, match="valid ground of 2/6 bands"):
            list(batches)
