"""From strips of probability to footprints with their attributes; no file in sight."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.errors import InputError
from buildmap.vector.crs import as_crs
from buildmap.vector.measures import area_and_perimeter
from buildmap.vector.outlines import Outlines, OutlineTracer
from buildmap.vector.outlining import Outlining
from buildmap.vector.polygons import to_map
from buildmap.vector.simplify import fill_holes, simplify
from buildmap.vector.validity import roll_back

_STEPS = 254
"""uint8 value of probability 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintBatch:
    """Some finished buildings."""

    polygons: NDArray[np.object_]
    """(n,) valid polygons in the CRS, exteriors counter-clockwise."""
    footprint_id: NDArray[np.int64]
    """(n,) 1, 2, ... over all batches."""
    area_m2: NDArray[np.float64]
    """(n,) on the ground."""
    perimeter_m: NDArray[np.float64]
    """(n,) on the ground, all rings."""
    confidence: NDArray[np.float64]
    """(n,) mean probability of the pixels, 0..1."""

    def __len__(self) -> int:
        return len(self.polygons)


def footprints(
    strips: Iterable[NDArray[np.uint8]], *, transform: Affine, crs: object | None, settings: Outlining
) -> Iterator[FootprintBatch]:
    """Draw the footprints of a raster that streams by, the same for any height of strips.

    Args:
        strips: (rows, width) from top to bottom: 0..254 is probability times 254, 255 no data.
        transform: Pixel corners (col, row) to coordinates (x, y).
        crs: What pyproj understands as a CRS, or an object with `to_wkt`.
        settings: Threshold, simplification and smallest areas.

    Yields:
        Batches that are not empty, sorted by the last row of the buildings, then by their first corner;
        what lies outside the domain of the CRS is left out.

    Raises:
        InputError: If there is no CRS, or none in which areas can be measured.
    """
    if crs is None:
        raise InputError(
            "the raster has no CRS, so areas and lengths are unknown",
            hint="give it one: rio edit-info --crs EPSG:CODE RASTER",
        )
    known_crs = as_crs(crs)
    found = 0
    for outlines in _trace(strips, lowest=lowest_value(settings.threshold)):
        if not len(outlines.polygons):
            continue
        batch = _describe(outlines, transform, known_crs, settings, found)
        found += len(batch)
        if len(batch):
            yield batch


def lowest_value(threshold: float) -> int:
    """Give the smallest of the values 0..254 that reaches a probability."""
    return math.ceil(round(threshold * _STEPS, 6))


def _trace(strips: Iterable[NDArray[np.uint8]], *, lowest: int) -> Iterator[Outlines]:
    tracer = None
    for strip in strips:
        if tracer is None:
            tracer = OutlineTracer(strip.shape[1], lowest=lowest)
        yield tracer.push(strip)
    if tracer is not None:
        yield tracer.finish()


def _describe(
    outlines: Outlines, transform: Affine, crs: CRS, settings: Outlining, found: int
) -> FootprintBatch:
    """Fill, simplify, place and measure; drop what is too small."""
    pixel_m2 = _pixel_area(outlines.polygons, transform, crs)
    raw = fill_holes(outlines.polygons, settings.min_hole_m2 / pixel_m2)
    tolerance_px = (
        np.ones_like(pixel_m2) if settings.simplify_m is None else settings.simplify_m / pixel_m2**0.5
    )
    simple = to_map(simplify(raw, tolerance_px), transform)
    polygons = roll_back(simple, to_map(raw, transform))
    area_m2, perimeter_m = area_and_perimeter(polygons, crs)
    large = area_m2 >= settings.min_area_m2
    return FootprintBatch(
        polygons=polygons[large],
        footprint_id=np.arange(large.sum(), dtype=np.int64) + found + 1,
        area_m2=area_m2[large],
        perimeter_m=perimeter_m[large],
        confidence=(outlines.total / (_STEPS * outlines.pixels))[large],
    )


def _pixel_area(polygons: NDArray[np.object_], transform: Affine, crs: CRS) -> NDArray[np.float64]:
    """Measure one pixel at the first corner of each polygon, in square metres."""
    left, top = shapely.bounds(polygons).reshape(-1, 4)[:, :2].T
    pixels = np.asarray(shapely.box(left, top, left + 1, top + 1), np.object_)
    return area_and_perimeter(to_map(pixels, transform), crs)[0]
