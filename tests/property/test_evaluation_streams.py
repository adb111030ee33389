"""However a raster is cut into strips, an evaluation counts the same: what the whole arrays give."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import Polygon, box

from buildmap.errors import InputError
from buildmap.execution.progress import Silent
from buildmap.metrics.boundary import boundary_counts
from buildmap.metrics.confusion import count
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.histogram import count_values
from buildmap.metrics.scoring import PairFindings, boundary_width_px, score_pair
from buildmap.metrics.similarity import similarity_sum
from buildmap.vector.outlining import lowest_value
from buildmap.vector.tracing import outlines
from tests.scenes import ORIGIN, UTM, blocks_mask, write_layer, write_raster

X, Y = 400_000, 5_000_000
FINEST = 2**16
"""Corners of areas lie on this part of a pixel, where drawing does not move them."""


@dataclass(frozen=True)
class Scene:
    """Two rasters in a folder, and what is asked of them."""

    seed: int
    height: int
    width: int
    asked: dict[str, float]
    with_area: bool
    strip_rows: int

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    height = draw(st.integers(1, 48))
    return Scene(
        seed=draw(st.integers(0, 2**32 - 1)),
        height=height,
        width=draw(st.integers(1, 150)),
        asked={
            "threshold": draw(st.sampled_from([0.2, 0.5, 0.75])),
            "boundary_m": draw(st.sampled_from([0.5, 1.0, 3.0])),
            "cell_m": draw(st.sampled_from([1.0, 3.5, 50.0])),
        },
        with_area=draw(st.booleans()),
        strip_rows=draw(st.integers(1, height)),
    )


@pytest.fixture(autouse=True, scope="module")
def _collect_often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines, "_COLLECT_FROM_CORNERS", 0)
        yield


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def draw_probability(scene: Scene, path: Path, **where: object) -> Path:
    """Write uncertain buildings with holes, as `predict` does."""
    rng = scene.rng
    mask = blocks_mask(rng, scene.height, scene.width, rng.integers(1, 16))
    noise = rng.integers(0, 120, mask.shape)
    values = np.where(mask > 0, 254 - noise, noise)
    holes = blocks_mask(rng, scene.height, scene.width, rng.integers(0, 3))
    write_raster(path, np.where(holes > 0, 255, values).astype(np.uint8), nodata=255, **where)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (1 / 254,)
    return path


def draw_truth(scene: Scene, path: Path) -> Path:
    """Write a mask like the probability, but for some buildings, with holes of its own."""
    mask = blocks_mask(scene.rng, scene.height, scene.width, scene.rng.integers(1, 16))
    rng = np.random.default_rng(scene.seed + 1)
    mask ^= blocks_mask(rng, scene.height, scene.width, rng.integers(0, 4))
    holes = blocks_mask(rng, scene.height, scene.width, rng.integers(0, 3))
    return write_raster(path, np.where(holes > 0, 9, mask).astype(np.uint8), nodata=9)


def draw_areas(scene: Scene) -> list[Polygon]:
    """Give triangles that cover some of the ground."""
    corners = np.random.default_rng(scene.seed + 2).uniform(-0.3, 1.3, (3, 3, 2))
    pixels = np.rint(corners * (scene.width, scene.height) * FINEST) / FINEST
    return [Polygon([ORIGIN @ tuple(corner) for corner in triangle]) for triangle in pixels]


def is_inside(polygons: list[Polygon], height: int, width: int) -> NDArray[np.bool_]:
    """Tell of which pixels the centres lie in polygons, (rows, cols)."""
    rows, cols = np.mgrid[:height, :width] + 0.5
    xs, ys = ORIGIN @ (cols, rows)
    return np.logical_or.reduce([shapely.contains_xy(polygon, xs, ys) for polygon in polygons])


def read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    with rasterio.open(path) as dataset:
        return dataset.read(1), dataset.dataset_mask() > 0


def assert_same(one: PairFindings, other: PairFindings) -> None:
    """Compare all that is counted, bit for bit."""
    assert one.counts.histogram == other.counts.histogram
    assert one.counts.boundary == other.counts.boundary
    assert one.counts.similarity == other.counts.similarity
    for field in ("pixels", "buildings", "area_dm2", "objects"):
        np.testing.assert_array_equal(getattr(one.cells, field), getattr(other.cells, field), err_msg=field)
    assert one.counts.regions == other.counts.regions
    ours, theirs = one.counts.objects, other.counts.objects
    assert ours is not None and theirs is not None
    assert (ours.over_iou, ours.by_size) == (theirs.over_iou, theirs.by_size)
    assert (ours.segmentation, ours.cells) == (theirs.segmentation, theirs.cells)
    for ranked, expected in zip(ours.ranked, theirs.ranked, strict=True):
        for field in ("scores", "right", "wrong", "truths"):
            np.testing.assert_array_equal(getattr(ranked, field), getattr(expected, field), err_msg=field)
    for errors, expected in zip(ours.outlines, theirs.outlines, strict=True):
        for field in ("polis_m", "tangent_angle_deg", "iou", "area_error", "orientation_error_deg"):
            np.testing.assert_array_equal(getattr(errors, field), getattr(expected, field), err_msg=field)


@settings(max_examples=20)
@given(scene=scenes())
def test_any_strips_count_what_the_whole_arrays_give(scene: Scene) -> None:
    areas = draw_areas(scene)
    with folder() as here:
        prediction, truth = draw_probability(scene, here / "p.tif"), draw_truth(scene, here / "t.tif")
        (values, known), (true, known_true) = read(prediction), read(truth)
        counted = known & known_true
        if scene.with_area:
            counted &= is_inside(areas, scene.height, scene.width)
        assume(counted.any())
        evaluation = {
            **scene.asked,
            "aoi": write_layer(here / "aoi.gpkg", areas) if scene.with_area else None,
            "regions": write_regions(scene, here / "regions.gpkg"),
            "by_size": True,
        }
        cut, whole = (
            score_pair(prediction, truth, Evaluation(**evaluation, strip_rows=rows), progress=Silent())
            for rows in (scene.strip_rows, scene.height)
        )
    assert_same(cut, whole)
    assert_counts(cut, values, true == 1, counted, Evaluation(**scene.asked))
    middle = scene.width // 2
    for name, cols in (("west", slice(0, middle)), ("east", slice(middle, None))):
        there = values[:, cols], (true == 1)[:, cols], counted[:, cols]
        if there[2].any():
            assert cut.counts.regions[name].histogram == count_values(*map(np.ascontiguousarray, there))
        else:
            assert name not in cut.counts.regions


def write_regions(scene: Scene, path: Path) -> tuple[Path, str]:
    """Write two regions that meet on the middle column."""
    middle = X + scene.width // 2 * 0.5
    parts = [box(X - 9, Y - 99, middle, Y + 9), box(middle, Y - 99, X + 99, Y + 9)]
    gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=parts, crs=UTM).to_file(path)
    return path, "name"


def assert_counts(
    found: PairFindings,
    values: NDArray[np.uint8],
    true: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    evaluation: Evaluation,
) -> None:
    """Count the pixels of whole arrays, and compare."""
    lowest = lowest_value(evaluation.threshold)
    assert found.gsd_m is not None and found.gsd_m == pytest.approx(0.5, rel=1e-3)
    masks = values >= lowest, true, counted
    rows = slice(0, len(values))
    assert found.counts.histogram == count_values(values, true, counted)
    assert found.counts.histogram.confusion(lowest) == count(*masks)
    assert found.counts.boundary == boundary_counts(
        *masks,
        rows=rows,
        width_px=boundary_width_px(evaluation.boundary_m, 0.5),
        at_top=True,
        at_bottom=True,
    )
    assert found.counts.similarity == similarity_sum(*masks, rows=rows)
    side = round(evaluation.cell_m / 0.5)
    assert found.cells.cell_px == side
    for row, col in np.ndindex(found.cells.pixels.shape[:2]):
        cell = slice(row * side, (row + 1) * side), slice(col * side, (col + 1) * side)
        expected = count(*(mask[cell] for mask in masks))
        tp, fp, fn, tn = found.cells.pixels[row, col].tolist()
        assert (tp, fp, fn, tn) == (expected.tp, expected.fp, expected.fn, expected.tn)


@settings(max_examples=8)
@given(scene=scenes(), shift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)), turn=st.sampled_from([0, 3]))
def test_any_strips_of_a_resampled_raster_and_a_layer_count_the_same(
    scene: Scene, shift: tuple[float, float], turn: float
) -> None:
    with folder() as here:
        reference = draw_truth(scene, here / "t.tif")
        moved = ORIGIN @ Affine.translation(*shift) @ Affine.rotation(turn)
        prediction = draw_probability(scene, here / "p.tif", transform=moved)
        houses = write_layer(here / "h.gpkg", draw_areas(scene))
        for pair in ((prediction, reference), (houses, reference), (prediction, houses)):
            valid = read(pair[0] if pair[1] == houses else pair[1])[1]
            assume(valid.any())
            try:
                cut, whole = (
                    score_pair(*pair, Evaluation(**scene.asked, strip_rows=rows), progress=Silent())
                    for rows in (scene.strip_rows, 10_000)
                )
            except InputError as error:
                assume(not re.search("no valid pixel in common|does not touch", str(error)))
                raise
            assert_same(cut, whole)
