"""Splitting of attached houses on one core: right houses, and the time beside scikit-image's watershed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio import features
from scipy import ndimage
from skimage.segmentation import watershed

from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.tracing.outlines import OutlineTracer
from buildmap.vector.tracing.seeds import count_seeds
from buildmap.vector.tracing.split import MIN_SEED_PX, split
from buildmap.vector.tracing.subpixel import subpixel
from tests.unit.vector.outlines import component_at

SIZE_PX, LOWEST, SEED = 3072, 127, 242
CELL_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """One component, cut out of the raster."""

    polygon: shapely.Polygon
    left: int
    top: int
    pixel: tuple[int, int]
    values: NDArray[np.uint8]


def town() -> tuple[NDArray[np.uint8], NDArray[np.object_]]:
    """Draw probability, and the truth: terraces of 2 to 8 houses of different depth, turned at random."""
    rng = np.random.default_rng(0)
    houses, walls = [], []
    for x, y in np.mgrid[CELL_PX // 2 : SIZE_PX : CELL_PX, CELL_PX // 2 : SIZE_PX : CELL_PX].reshape(2, -1).T:
        units, width, depth = int(rng.integers(2, 9)), rng.uniform(18, 28), rng.uniform(26, 40)
        angle = rng.uniform(0, 180)
        for unit in range(units):
            left = x + (unit - units / 2) * width
            house = shapely.box(left, y - depth / 2 + rng.uniform(-2, 2), left + width, y + depth / 2)
            wall = shapely.LineString([(left, y - depth), (left, y + depth)]).buffer(1.5)
            turned = [shapely.affinity.rotate(part, angle, (x, y)) for part in (house, wall)]
            houses.append(turned[0])
            walls += turned[1:] if unit else []
    body = features.rasterize(houses, out_shape=(SIZE_PX, SIZE_PX)).astype(np.float64)
    body[features.rasterize(walls, out_shape=body.shape) > 0] *= 0.3
    probability = ndimage.gaussian_filter(body, 1.9)
    noise = ndimage.gaussian_filter(rng.standard_normal(body.shape), 1.6)
    probability += 0.08 * noise / noise.std() * (4 * probability * (1 - probability) + 0.06)
    probability = 1 / (1 + np.exp(-7.5 * (probability - 0.5)))
    return np.round(254 * np.clip((probability - 0.023) / 0.954, 0, 1)).astype(np.uint8), np.array(houses)


def cut_out(values: NDArray[np.uint8]) -> list[Building]:
    tracer = OutlineTracer(SIZE_PX, lowest=LOWEST)
    found = []
    for polygon in [*tracer.push(values).polygons, *tracer.finish().polygons]:
        left, top, right, bottom = (int(side) for side in polygon.bounds)
        col, row = (int(place) for place in polygon.exterior.coords[0])
        found.append(
            Building(
                polygon=polygon,
                left=left,
                top=top,
                pixel=(row - top, col - left),
                values=values[top:bottom, left:right].copy(),
            )
        )
    return found


def seconds(work: Callable[[], object], times: int) -> float:
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def f1(found: NDArray[np.object_], truth: NDArray[np.object_]) -> float:
    """Give F1 at IoU 0.5; above it there is at most one partner."""
    found = found[shapely.area(found) >= 100]
    one, other = shapely.STRtree(found).query(truth, predicate="intersects")
    shared = shapely.area(shapely.intersection(truth[one], found[other]))
    iou = shared / (shapely.area(truth[one]) + shapely.area(found[other]) - shared)
    return 2 * int((iou > 0.5).sum()) / (len(found) + len(truth))


def seeds_of(building: Building) -> int:
    return count_seeds(building.values, building.values, building.pixel, LOWEST, SEED, MIN_SEED_PX)


def labels_of(building: Building) -> NDArray[np.int32]:
    component = component_at(building.values, *building.pixel, LOWEST)
    return split(building.values, component, seed_value=SEED)


def labels_by_skimage(building: Building, component: NDArray[np.bool_]) -> NDArray[np.int32]:
    parts, count = ndimage.label(component & (building.values >= SEED))
    is_small = np.bincount(parts.ravel(), minlength=count + 1) < MIN_SEED_PX
    parts[is_small[parts]] = 0
    return np.asarray(watershed(254 - building.values, parts, mask=component))


@pytest.mark.benchmark
def test_attached_houses_are_found_one_by_one() -> None:
    values, truth = town()
    buildings = cut_out(values)
    whole = np.array([building.polygon for building in buildings])
    found, fine = [], []
    for building in buildings:
        edges, _ = label_outlines(labels_of(building), left=building.left, top=building.top)
        found.append(edges)
        fine.append(subpixel(edges, values, left=0, top=0, threshold=0.5))
    scores = f1(whole, truth), f1(np.concatenate(found), truth), f1(np.concatenate(fine), truth)
    print(
        f"F1 at 0.5: whole {scores[0]:.3f}, split {scores[1]:.3f}, split with fine outlines {scores[2]:.3f}"
    )
    assert scores[0] < 0.5
    assert min(scores[1:]) >= 0.96
    assert shapely.coverage_is_valid(np.concatenate(found))
    assert shapely.coverage_is_valid(np.concatenate(fine))


@pytest.mark.benchmark
def test_splitting_is_many_times_faster_than_that_of_scikit_image() -> None:
    buildings = [building for building in cut_out(town()[0]) if seeds_of(building) > 1]
    components = [component_at(building.values, *building.pixel, LOWEST) for building in buildings]
    flooded_mpx = sum(int(component.sum()) for component in components) / 1e6
    pairs = list(zip(buildings, components, strict=True))

    def ours() -> list[NDArray[np.int32]]:
        return [split(building.values, component, seed_value=SEED) for building, component in pairs]

    def theirs() -> list[NDArray[np.int32]]:
        return [labels_by_skimage(*pair) for pair in pairs]

    ours()
    speeds = flooded_mpx / seconds(ours, 9), flooded_mpx / seconds(theirs, 2)
    same = sum(
        int((_paired(mine, other) == mine).sum()) for mine, other in zip(ours(), theirs(), strict=True)
    ) / sum(component.size for component in components)
    print(f"split, {flooded_mpx:.2f} Mpx: {speeds[0]:.0f} Mpx/s, skimage {speeds[1]:.1f}, same {same:.4%}")
    assert same > 0.999
    assert speeds[0] >= 25
    assert speeds[0] >= 5 * speeds[1]


def _paired(ours: NDArray[np.int32], theirs: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the labels of scikit-image as ours: by the label of ours that each shares most with."""
    shared = np.zeros((theirs.max() + 1, ours.max() + 1), np.int64)
    np.add.at(shared, (theirs, ours), 1)
    return shared.argmax(1)[theirs].astype(np.int32)


@pytest.mark.benchmark
def test_asking_every_building_for_its_seeds_costs_little() -> None:
    buildings = cut_out(town()[0])
    asked_mpx = sum(building.values.size for building in buildings) / 1e6
    [seeds_of(building) for building in buildings]
    speed = asked_mpx / seconds(lambda: [seeds_of(building) for building in buildings], 9)
    print(f"seeds counted: {speed:.0f} Mpx/s")
    assert speed >= 100
