from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.features import geometry_mask
from shapely.affinity import rotate
from shapely.geometry import MultiPolygon, Point, Polygon, box

from buildmap.changes import seen_pixels as module
from buildmap.changes.seen_pixels import SeenPixels
from buildmap.errors import InputError
from buildmap.raster.grid import Bounds
from buildmap.raster.reader import RasterReader
from tests.scenes import ORIGIN, UTM, write_raster

METRES = CRS(UTM)


def shares(raster: Path, polygons: list[object], *, crs: CRS = METRES) -> NDArray[np.float64]:
    seen = SeenPixels(RasterReader(raster), crs=crs)
    try:
        return seen.share(np.array(polygons, np.object_))
    finally:
        seen.close()


def holed(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Draw a raster of ones and nodata, 0: some noise, and blocks of it."""
    pixels = (rng.random((height, width)) > 0.1).astype(np.uint8)
    for _ in range(4):
        row, col = rng.integers(0, height), rng.integers(0, width)
        pixels[row : row + height // 4, col : col + width // 4] = 0
    return pixels


def buildings(rng: np.random.Generator, count: int, bounds: Bounds) -> list[Polygon]:
    """Draw polygons of many shapes, with holes, also beyond the border and smaller than a pixel."""
    left, bottom, right, top = bounds
    drawn = []
    for _ in range(count):
        x, y = rng.uniform(left - 5, right + 5), rng.uniform(bottom - 5, top + 5)
        width, height = rng.uniform(0.05, 12, 2)
        outer = box(x, y, x + width, y + height)
        if rng.random() < 0.5:
            outer -= box(x + width / 4, y + height / 4, x + width / 2, y + height / 2)
        drawn.append(rotate(outer, rng.choice([0, rng.uniform(0, 90)])))
    return drawn


def by_intersection(pixels: NDArray[np.uint8], transform: Affine, polygon: object) -> float:
    """Intersect a polygon with the square of every valid pixel."""
    corners = [
        [transform @ corner for corner in [(c, r), (c + 1, r), (c + 1, r + 1), (c, r + 1)]]
        for r, c in np.argwhere(pixels > 0)
    ]
    return float(shapely.area(shapely.intersection(polygon, shapely.polygons(corners))).sum() / polygon.area)  # type: ignore[attr-defined]


@given(seed=st.integers(0, 2**32), chunk_px=st.sampled_from([3, 8, 1024]))
@settings(max_examples=8, deadline=None)
def test_shares_are_the_areas_on_the_squares_of_valid_pixels(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chunk_px: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = holed(rng, *rng.integers(1, 25, 2))
    turned = ORIGIN @ Affine.rotation(float(rng.choice([0, 25])))
    raster = write_raster(tmp_path_factory.mktemp("seen") / "a.tif", pixels, transform=turned, nodata=0)
    with RasterReader(raster) as reader:
        polygons = buildings(rng, 15, reader.grid.bounds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK_PX", chunk_px)
        found = shares(raster, list(polygons))
    expected = [by_intersection(pixels, turned, polygon) for polygon in polygons]
    np.testing.assert_allclose(found, expected, atol=2e-8)


def test_shares_are_near_those_of_the_pixels_whose_centres_lie_inside(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pixels = holed(rng, 300, 300)
    raster = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    polygons = [
        rotate(box(x, y, x + 20, y + 15), 17)
        for x, y in rng.uniform([400_000, 4_999_850], [400_130, 4_999_985], (30, 2))
    ]
    expected = []
    for polygon in polygons:
        inside = geometry_mask([polygon], pixels.shape, ORIGIN, invert=True)
        expected.append((pixels[inside] > 0).sum() / (polygon.area / 0.25))
    found = shares(raster, list(polygons))
    assert min(expected) < 0.2
    assert max(expected) > 0.8
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("kind", ["nodata", "nan", "alpha", "mask"])
def test_every_way_to_have_no_data_counts(tmp_path: Path, kind: str) -> None:
    valid = np.zeros((40, 40), np.bool_)
    valid[:, 10:] = True
    raster, pixels = tmp_path / "a.tif", np.full((3, 40, 40), 7, np.uint8)
    if kind == "nodata":
        write_raster(raster, pixels * valid, nodata=0)
    elif kind == "nan":
        write_raster(raster, np.where(valid, 1, np.nan).astype(np.float32))
    elif kind == "alpha":
        write_raster(
            raster, np.append(pixels, valid[None] * np.uint8(255), axis=0), photometric="RGB", alpha="YES"
        )
    else:
        write_raster(raster, pixels)
        with rasterio.open(raster, "r+") as dataset:
            dataset.write_mask(valid)
    # columns 5..15 of 0.5 m
    assert shares(raster, [box(400_002.5, 4_999_990, 400_007.5, 4_999_995)]).tolist() == [0.5]


def test_a_raster_that_is_all_valid_ends_at_its_border(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "a.tif", np.zeros((20, 20), np.uint8))
    inside, across = box(400_001, 4_999_991, 400_002, 4_999_992), box(399_999, 4_999_991, 400_001, 4_999_992)
    outside = box(399_000, 4_999_991, 399_001, 4_999_992)
    around = box(399_990, 4_999_980, 400_020, 5_000_010)
    assert shares(raster, [inside, across, outside, around]).tolist() == [1, 0.5, 0, round(1 / 9, 9)]


def test_polygons_of_another_crs_are_brought_to_the_raster(tmp_path: Path) -> None:
    pixels = np.ones((40, 40), np.uint8)
    pixels[:, 20:] = 0
    raster = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    to_degrees = Transformer.from_crs(UTM, 4326, always_xy=True)
    metres = [box(400_001, 4_999_991, 400_003, 4_999_993), box(400_009, 4_999_985, 400_011, 4_999_993)]
    degrees = [shapely.transform(one, to_degrees.transform, interleaved=False) for one in metres]
    nowhere = box(10, 89, 20, 91)
    found = shares(raster, [*degrees, nowhere], crs=CRS(4326))
    np.testing.assert_allclose(found, [1, 0.5, 0], atol=1e-6)


def test_parts_of_a_multipolygon_count_by_their_area_and_empty_ones_not_at_all(tmp_path: Path) -> None:
    pixels = np.ones((40, 40), np.uint8)
    pixels[:, 20:] = 0
    raster = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    both = MultiPolygon(
        [box(400_001, 4_999_991, 400_004, 4_999_992), box(400_015, 4_999_991, 400_016, 4_999_992)]
    )
    assert shares(raster, [both, Polygon()]).tolist() == [0.75, 0]
    assert shares(raster, []).tolist() == []


def test_neighbours_share_a_read_and_no_more_is_read_than_lies_around_polygons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = write_raster(tmp_path / "a.tif", np.ones((3000, 3000), np.uint8), nodata=0)
    read: list[tuple[int, int]] = []
    once = RasterReader.read

    def counting(self: RasterReader, window: module.Window, **shape: tuple[int, int]) -> object:
        read.append((window.width, window.height))
        return once(self, window, **shape)

    monkeypatch.setattr(RasterReader, "read", counting)
    near = [Point(400_100 + 3 * step, 4_999_900).buffer(2) for step in range(20)]
    assert shares(raster, [*near, Point(401_000, 4_999_000).buffer(2)]).tolist() == [1] * 21
    assert sorted(read) == [(8, 8), (122, 8)]


def test_memory_does_not_follow_the_size_of_a_polygon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK_PX", 64)
    pixels = np.ones((500, 500), np.uint8)
    pixels[100:200, 300:] = 0
    raster = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    largest = 0
    once = RasterReader.read

    def measuring(self: RasterReader, window: module.Window, **shape: tuple[int, int]) -> object:
        nonlocal largest
        largest = max(largest, window.width * window.height)
        return once(self, window, **shape)

    monkeypatch.setattr(RasterReader, "read", measuring)
    assert shares(raster, [box(400_000, 4_999_750, 400_250, 5_000_000)]).tolist() == [0.92]
    assert largest == 64 * 64


@pytest.mark.parametrize(
    ("lacking", "options"), [("CRS", {"crs": None}), ("georeference", {"transform": Affine.identity()})]
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_a_place_is_refused(
    tmp_path: Path, lacking: str, options: dict[str, object]
) -> None:
    raster = write_raster(tmp_path / "a.tif", np.ones((4, 4), np.uint8), **options)  # type: ignore[arg-type]
    with RasterReader(raster) as reader, pytest.raises(InputError, match=f"has no {lacking}"):
        SeenPixels(reader, crs=METRES)
