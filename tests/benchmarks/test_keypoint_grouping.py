"""Two ways to join keypoints, on real footprints whose corners are shaken, lost and invented.

`BUILDMAP_BENCH_REAL=FOLDER pytest -m benchmark tests/benchmarks/test_keypoint_grouping.py -s`, where FOLDER
holds `joplin`, `banepa`, `accra`, `massachusetts` and `oam` as the presets name them. Hand-drawn footprints
are in pixels of 0.3 m; those of Accra, traced from a mask and simplified, in pixels of 0.1 m. Masks are as a
mask head gives them, but free of error: 28 x 28 values over the box of a building, enlarged to its pixels.
Where keypoints cross, such an outline is nearer to the truth than they are; so the ways are judged before it
is taken in their place.
"""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio import features
from rasterio.windows import Window
from scipy import ndimage

from buildmap.vector.keypoints.along import order_along
from buildmap.vector.keypoints.masks import mask_outlines
from buildmap.vector.keypoints.points import Keypoints, Order
from buildmap.vector.keypoints.polygons import WAYS, Grouping, KeypointPolygons, Way, polygons_of
from buildmap.vector.keypoints.walk import walk
from buildmap.vector.ragged import open_corners, to_ragged
from buildmap.vector.reader import read_footprints
from buildmap.vector.tracing.outlines import OutlineTracer
from tests.benchmarks.test_outline_quality_real import hand_drawn

FOLDER = Path(os.environ.get("BUILDMAP_BENCH_REAL", "/none"))
MASK_HEAD, PIXEL_M, ACCRA_M, ACCRA_GSD_M = 28, 0.3, 0.1, 0.055
MOST = 500
MIN_AREA_PX, STRAIGHT_PX, ACCRA_STRAIGHT_PX = 100, 0.5, 3.0
pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not FOLDER.exists(), reason="BUILDMAP_BENCH_REAL names no folder"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong with keypoints."""

    shaken_px: float
    """Standard deviation along each axis."""
    lost: float = 0.0
    """Share of the corners."""
    invented: float = 0.0
    """Keypoints anywhere in the box, as a share of the corners."""


FAULTS = (
    Faults(shaken_px=0.5),
    Faults(shaken_px=1.0),
    Faults(shaken_px=2.0),
    Faults(shaken_px=1.0, lost=0.1),
    Faults(shaken_px=1.0, invented=0.1),
    Faults(shaken_px=2.0, lost=0.1, invented=0.1),
)


@cache
def true_footprints(layer: str) -> NDArray[np.object_]:
    """Give some footprints without courtyards, in pixels, with corners where walls turn."""
    if layer == "accra":
        with rasterio.open(FOLDER / "accra/mask.tif") as dataset:
            mask = dataset.read(1, window=Window(0, 8192, 6144, 3072)).astype(np.uint8)
        tracer = OutlineTracer(mask.shape[1], lowest=1)
        traced = np.concatenate([tracer.push(mask).polygons, tracer.finish().polygons])
        found = shapely.simplify(
            shapely.transform(traced, lambda xy: xy * ACCRA_GSD_M / ACCRA_M), ACCRA_STRAIGHT_PX
        )
    elif layer == "massachusetts":
        labels = sorted((FOLDER / "massachusetts/labels").glob("*.gpkg"))
        metres = np.concatenate([read_footprints(path, crs="EPSG:26986").polygons for path in labels])
        corner = shapely.total_bounds(metres)[[0, 3]]
        found = shapely.transform(metres, lambda xy: (xy - corner) * (1, -1) / PIXEL_M)
        found = shapely.simplify(found, STRAIGHT_PX)
    else:
        found = shapely.simplify(hand_drawn(layer), STRAIGHT_PX)
    found = found[(shapely.area(found) >= MIN_AREA_PX) & (shapely.get_num_interior_rings(found) == 0)]
    return np.random.default_rng(3).permutation(found)[:MOST]


@cache
def seen_outlines(layer: str) -> NDArray[np.object_]:
    """Give the outlines of what a mask head would say of each footprint."""
    masks, corners = [], []
    for polygon in true_footprints(layer):
        left, top, right, bottom = np.round(polygon.bounds).astype(int).tolist()
        size = np.array([right - left, bottom - top])
        fine = features.rasterize(
            [shapely.transform(polygon, lambda xy: (xy - (left, top)) / size * 4 * MASK_HEAD)],  # noqa: B023
            out_shape=(4 * MASK_HEAD, 4 * MASK_HEAD),
            dtype="float32",
        )
        values = fine.reshape(MASK_HEAD, 4, MASK_HEAD, 4).mean((1, 3))
        places = np.meshgrid(*((np.arange(n) + 0.5) / n * MASK_HEAD - 0.5 for n in size[::-1]), indexing="ij")
        masks.append(ndimage.map_coordinates(values, places, order=1, mode="nearest") >= 0.5)
        corners.append((left, top))
    return mask_outlines(masks, np.array(corners))


def see(layer: str, faults: Faults) -> tuple[Keypoints, NDArray[np.int64]]:
    """Give keypoints, and the number of the corner that each stands for, -1 for those invented."""
    rng = np.random.default_rng(7)
    points, number, offsets = [], [], [0]
    for polygon in true_footprints(layer):
        corners = shapely.get_coordinates(polygon)[:-1]
        kept = np.flatnonzero(rng.random(len(corners)) >= faults.lost)
        false = rng.uniform(corners.min(0), corners.max(0), (rng.poisson(faults.invented * len(corners)), 2))
        points += [corners[kept] + rng.normal(0, faults.shaken_px, (len(kept), 2)), false]
        number += [kept, np.full(len(false), -1)]
        offsets.append(offsets[-1] + len(kept) + len(false))
    keypoints = Keypoints(
        points=np.concatenate(points), score=np.ones(offsets[-1]), offsets=np.array(offsets, np.int64)
    )
    return keypoints, np.concatenate(number)


def order_of(keypoints: Keypoints, outlines: NDArray[np.object_], grouping: Grouping) -> Order:
    if grouping.way == "walk":
        return walk(keypoints)
    flat = to_ragged(outlines)
    return order_along(keypoints, flat, merge_px=grouping.merge_px, reach_px=grouping.reach_px)


def in_order(order: Order, number: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which objects have their true corners in true order, (n,); False where there is no ring."""
    right = np.zeros(len(order.polygons) - 1, np.bool_)
    for index in np.flatnonzero(np.diff(order.polygons)):
        ring = order.polygons[index]
        corners = number[order.corner[order.rings[ring] : order.rings[ring + 1]]]
        corners = corners[corners >= 0]
        turns = np.roll(corners, -1) > corners
        right[index] = min(turns.sum(), (~turns).sum()) <= 1
    return right


def iou(polygons: NDArray[np.object_], true: NDArray[np.object_]) -> NDArray[np.float64]:
    shared = shapely.area(shapely.intersection(polygons, true))
    return np.asarray(shared / (shapely.area(polygons) + shapely.area(true) - shared))


def as_joined(keypoints: Keypoints, order: Order) -> NDArray[np.object_]:
    """Give the ground of what is joined, even where edges cross; an exterior alone."""
    joined = np.full(len(keypoints), shapely.Polygon(), np.object_)
    for index in np.flatnonzero(np.diff(order.polygons)):
        ring = order.polygons[index]
        corners = order.corner[order.rings[ring] : order.rings[ring + 1]]
        joined[index] = shapely.make_valid(shapely.Polygon(keypoints.points[corners]))
    return joined


def concave(true: NDArray[np.object_]) -> NDArray[np.bool_]:
    return np.asarray(shapely.area(shapely.convex_hull(true)) > 1.05 * shapely.area(true))


def shares(found: KeypointPolygons) -> str:
    return "  ".join(f"{v} {100 * (found.verdict == v).mean():.1f}" for v in ("crossing", "unlike", "few"))


@pytest.mark.parametrize("layer", ["joplin", "banepa", "kampala", "massachusetts", "accra"])
def test_keypoints_along_the_outline_come_nearer_the_truth_than_the_walk(layer: str) -> None:
    true, outlines = true_footprints(layer), seen_outlines(layer)
    corners, _ = open_corners(to_ragged(true))
    some = concave(true)
    print(f"\n{layer}: {len(true)} footprints, {100 * some.mean():.0f} % concave, ", end="")
    print(
        f"{len(corners) / len(true):.1f} corners each, outlines of masks IoU {iou(outlines, true).mean():.4f}"
    )
    for faults in FAULTS:
        print(f" shaken {faults.shaken_px} px, lost {faults.lost}, invented {faults.invented}")
        keypoints, number = see(layer, faults)
        near, share = {}, {}
        for way in WAYS:
            order = order_of(keypoints, outlines, Grouping(way=way))
            joined, right = iou(as_joined(keypoints, order), true), in_order(order, number)
            found = polygons_of(keypoints, outlines, Grouping(way=way))
            near[way], share[way] = joined.mean(), right.mean()
            print(
                f"  {way:6} IoU {near[way]:.4f} (concave {joined[some].mean():.4f})  in order "
                f"{100 * share[way]:5.1f} % (concave {100 * right[some].mean():5.1f} %)  "
                f"finished IoU {iou(found.polygons, true).mean():.4f}, outlines taken, %: {shares(found)}"
            )
            assert shapely.is_valid(found.polygons).all()
        assert near["along"] > near["walk"]
        assert share["along"] > share["walk"]


@pytest.mark.parametrize("way", WAYS)
def test_thousands_of_objects_a_second(way: Way) -> None:
    keypoints, _ = see("joplin", Faults(shaken_px=1.0))
    outlines = seen_outlines("joplin")
    polygons_of(keypoints, outlines, Grouping(way=way))  # compile
    began = time.process_time()
    polygons_of(keypoints, outlines, Grouping(way=way))
    rate = len(keypoints) / (time.process_time() - began)
    print(f"\n{way}: {rate:,.0f} objects/s")
    assert rate > 5_000
