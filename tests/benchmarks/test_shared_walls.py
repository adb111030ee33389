"""Attached houses, split and fitted: are shared walls still shared, and is it nearer the truth?

`BUILDMAP_BENCH_ATTACHED=FOLDER/NAME pytest -m benchmark tests/benchmarks/test_shared_walls.py -s`, where
NAME_prob.tif holds probabilities 0..255 and NAME_truth.gpkg every house by itself, in the same CRS.
"""

import os
import time
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from buildmap.vector.fitting.regularize import regularize
from buildmap.vector.holes import fill_holes
from buildmap.vector.matching import find_overlaps, match, overlaps_within
from buildmap.vector.ragged import count_corners, to_ragged
from buildmap.vector.store import PolygonStore
from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.walls.coverage import fit_groups
from buildmap.vector.walls.touching import touching_groups

ATTACHED = os.environ.get("BUILDMAP_BENCH_ATTACHED", "")
SEED_PX, FOOTPRINT_PX, HOLE_PX, WALL_PX = 20, 111, 55, 3.0


def split_houses(name: str) -> NDArray[np.object_]:
    """Flood from where the probability is above 0.95, and draw what has 10 m2 or more."""
    with rasterio.open(f"{name}_prob.tif") as dataset:
        values = dataset.read(1)
    parts, _ = ndimage.label(values > 0.95 * 255)
    large = np.bincount(parts.ravel()) >= SEED_PX
    large[0] = False
    labels = watershed(255 - values, parts * large[parts], mask=values >= 128)  # type: ignore[no-untyped-call]
    large = np.bincount(labels.ravel()) >= FOOTPRINT_PX
    large[0] = False
    houses, _ = label_outlines((np.cumsum(large) * large)[labels].astype(np.int32), left=0, top=0)
    return fill_holes(houses, np.full(len(houses), float(HOLE_PX)))


def true_houses(name: str) -> NDArray[np.object_]:
    with rasterio.open(f"{name}_prob.tif") as dataset:
        to_pixels = ~dataset.transform
    _, _, houses, _ = pyogrio.raw.read(f"{name}_truth.gpkg", columns=[])

    def place(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(to_pixels @ (xy[:, 0], xy[:, 1]))

    return np.asarray(shapely.transform(shapely.from_wkb(houses), place))


def walls_of(houses: NDArray[np.object_]) -> set[tuple[int, int]]:
    """List the pairs that share a wall of 1 m or more."""
    one, other = shapely.STRtree(houses).query(houses, predicate="intersects")
    once = one < other
    one, other = one[once], other[once]
    shared = shapely.intersection(shapely.boundary(houses[one]), shapely.boundary(houses[other]))
    long = shapely.length(shared) >= WALL_PX
    return set(zip(one[long].tolist(), other[long].tolist(), strict=True))


def line_of_table(
    name: str, houses: NDArray[np.object_], truth: PolygonStore, walls: set[tuple[int, int]]
) -> tuple[float, float, float]:
    """Print one method's figures; give IoU, C-IoU and the share of walls kept."""
    store = PolygonStore.gather([houses])
    matches = match(find_overlaps(store, truth), iou_min=0.5)
    turning = count_corners(to_ragged(shapely.simplify(houses, 0.05)))[matches.left]
    corners, true = count_corners(store.flat)[matches.left], count_corners(truth.flat)[matches.right]
    c_iou = matches.iou * (1 - np.abs(turning - true) / (turning + true))
    inside = overlaps_within(store)
    overlapping = (inside.shared > 0.01).sum()
    kept = len(walls_of(houses) & walls) / len(walls)
    print(
        f"{name:>20}: {len(matches.iou)} matched, IoU {matches.iou.mean():.4f}, C-IoU {c_iou.mean():.3f}, "
        f"corners {turning.sum() / true.sum():.2f}, vertices {corners.sum() / true.sum():.2f}, "
        f"{overlapping} overlaps of {inside.shared.sum():.2f} px2, "
        f"{(~shapely.is_valid(houses)).sum()} invalid, {100 * kept:.1f} % of walls shared"
    )
    return float(matches.iou.mean()), float(c_iou.mean()), kept


@pytest.mark.benchmark
@pytest.mark.skipif(not ATTACHED, reason="BUILDMAP_BENCH_ATTACHED names no raster")
def test_attached_houses_keep_their_walls_and_come_nearer_the_truth() -> None:
    name = str(Path(ATTACHED))
    houses = split_houses(name)
    group = touching_groups(houses)
    attached = np.bincount(group)[group] > 1
    houses, group = houses[attached], group[attached]
    truth, walls = PolygonStore.gather([true_houses(name)]), walls_of(houses)

    def fit(outlines: NDArray[np.object_]) -> NDArray[np.object_]:
        return regularize(outlines).polygons

    some = group <= group[20]
    fit_groups(houses[some], group[some], fit)  # compile
    began = time.process_time()
    fitted = fit_groups(houses, group, fit)
    took = time.process_time() - began
    names, counts = np.unique(fitted.method.astype(str), return_counts=True)
    print(f"\n{len(houses)} houses in {len(np.unique(group))} groups, {len(walls)} pairs share a wall")
    print(f"{len(houses) / took:,.0f} houses/s; {dict(zip(names.tolist(), counts.tolist(), strict=True))}")
    simple = np.concatenate(
        [shapely.coverage_simplify(houses[group == one], 3.0) for one in np.unique(group)]
    )[np.argsort(np.argsort(group, kind="stable"))]
    line_of_table("raw", houses, truth, walls)
    apart = line_of_table("each by itself", fit(houses), truth, walls)
    plain = line_of_table("coverage_simplify", simple, truth, walls)
    ours = line_of_table("walls shared", fitted.polygons, truth, walls)
    for one in np.unique(group):
        assert shapely.coverage_is_valid(fitted.polygons[group == one])
    assert shapely.is_valid(fitted.polygons).all()
    assert ours[2] >= 0.95 > apart[2]
    assert ours[1] > plain[1] + 0.1
    assert ours[0] > plain[0] - 0.01
    assert len(houses) / took >= 1_000
