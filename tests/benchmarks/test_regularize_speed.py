"""Footprints regularized a second on one core, the guard included, beside buildingregulariser."""

import importlib
import importlib.util
import time
from collections.abc import Callable

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely import affinity
from shapely.geometry import Polygon

from buildmap.vector.fitting.regularize import regularize
from buildmap.vector.tracing.outlines import OutlineTracer

RIVAL = "buildingregulariser"
BUILDINGS, CELL_PX = 2500, 100
FLOOR, TIMES_RIVAL = 10_000, 30
L_SHAPE = Polygon([(-25, -18), (25, -18), (25, 4), (2, 4), (2, 18), (-25, 18)])


def town() -> NDArray[np.object_]:
    """Trace L-shaped buildings of all sizes and directions with edges as a network draws them."""
    rng = np.random.default_rng(0)
    side = int(BUILDINGS**0.5) * CELL_PX
    solid = np.zeros((side, side), np.float32)
    centres = np.arange(CELL_PX) + 0.5 - CELL_PX / 2
    for row in range(0, side, CELL_PX):
        for col in range(0, side, CELL_PX):
            size = rng.uniform(0.4, 1.2)
            house = affinity.rotate(affinity.scale(L_SHAPE, size, size), rng.uniform(0, 360))
            solid[row : row + CELL_PX, col : col + CELL_PX] = shapely.contains_xy(
                house, *np.meshgrid(centres, centres)
            )
    soft = ndimage.gaussian_filter(solid, 1.9)
    noise = ndimage.gaussian_filter(rng.normal(0, 1, soft.shape).astype(np.float32), 2) * 2.5
    tracer = OutlineTracer(side, lowest=1)
    mask = (soft + noise * soft * (1 - soft) > 0.5).astype(np.uint8)
    outlines = np.concatenate([tracer.push(mask).polygons, tracer.finish().polygons])
    return np.asarray(outlines[shapely.area(outlines) > 100])


def speed(work: Callable[[NDArray[np.object_]], object], outlines: NDArray[np.object_], times: int) -> float:
    """Give the best of some runs in polygons per second of CPU."""
    seconds = []
    for _ in range(times):
        began = time.process_time()
        work(outlines)
        seconds.append(time.process_time() - began)
    return len(outlines) / min(seconds)


def by_buildingregulariser(outlines: NDArray[np.object_]) -> None:
    import geopandas  # noqa: PLC0415

    metres = shapely.transform(outlines, lambda corners: corners * 0.3)
    rival = importlib.import_module(RIVAL)
    rival.regularize_geodataframe(geopandas.GeoDataFrame(geometry=metres, crs="EPSG:32633"), num_cores=1)


@pytest.mark.benchmark
@pytest.mark.filterwarnings("default")  # the rival has its own
def test_ten_thousand_footprints_a_second_are_regularized() -> None:
    outlines = town()
    assert len(outlines) > 0.9 * BUILDINGS
    regularize(outlines[:8])  # compile
    ours = speed(regularize, outlines, times=5)
    size = shapely.get_num_coordinates(outlines).mean()
    print(f"regularize: {ours:,.0f} footprints/s, of {size:.0f} corners")
    assert ours >= FLOOR
    if importlib.util.find_spec(RIVAL):
        rival = speed(by_buildingregulariser, outlines[:500], times=1)
        print(f"{RIVAL}: {rival:,.0f} footprints/s; {ours / rival:.0f} x")
        assert ours >= TIMES_RIVAL * rival
