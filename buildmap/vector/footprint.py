"""From footprints in pixels to footprints on the map, with their attributes; no file in sight."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.errors import InputError
from buildmap.vector.crs import as_crs
from buildmap.vector.drawn import Drawn
from buildmap.vector.measures import centroids, on_ground
from buildmap.vector.neighbours import Neighbours
from buildmap.vector.orientation import main_direction_deg
from buildmap.vector.outlining import Outlining
from buildmap.vector.polygons import to_map
from buildmap.vector.ragged import to_ragged
from buildmap.vector.streaming import draw_strips


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
    orientation_deg: NDArray[np.float64]
    """(n,) main direction of the walls on the ground, from east towards north, 0..90; NaN where round."""
    confidence: NDArray[np.float64]
    """(n,) mean probability of the pixels, 0..1."""
    edge_certainty: NDArray[np.float64]
    """(n,) mean step of probability across the outline before fitting, 0..1; NaN where unknown."""
    method: NDArray[np.object_]
    """(n,) str: how the outline was drawn."""
    iou_raw: NDArray[np.float64]
    """(n,) IoU with the outline before fitting."""
    max_shift_m: NDArray[np.float64]
    """(n,) greatest distance between a corner of the one and the outline of the other, on the ground."""
    quality: NDArray[np.float64]
    """(n,) geometric mean of what is known of confidence, edge certainty and IoU, 0..1."""
    source_date: NDArray[np.object_]
    """(n,) str or None: when the imagery was taken."""

    def __len__(self) -> int:
        return len(self.polygons)


def footprints(
    strips: Iterable[NDArray[np.uint8]],
    *,
    transform: Affine,
    crs: object | None,
    settings: Outlining,
    source_date: str | None = None,
) -> Iterator[FootprintBatch]:
    """Draw the footprints of a raster that streams by, the same for any height of strips.

    Args:
        strips: (rows, width) from top to bottom: 0..254 is probability times 254, 255 no data.
        transform: Pixel corners (col, row) to coordinates (x, y).
        crs: What pyproj understands as a CRS, or an object with `to_wkt`.
        settings: Threshold, method and smallest areas; not the method of the paper.
        source_date: When the imagery was taken.

    Yields:
        Batches that are not empty, sorted by the last row of the buildings, then by their first corner;
        what lies outside the domain of the CRS is left out.

    Raises:
        InputError: If there is no CRS, or none in which areas can be measured.
        ValueError: If the method is the paper's, which looks at all outlines first.
    """
    if settings.method == "paper":
        raise ValueError("the paper's method needs all outlines of a raster before the first is drawn")
    if crs is None:
        raise InputError(
            "the raster has no CRS, so areas and lengths are unknown",
            hint="give it one: rio edit-info --crs EPSG:CODE RASTER",
        )
    known_crs = as_crs(crs)
    drawn = draw_strips(strips, transform=transform, crs=known_crs, settings=settings)
    yield from placed(drawn, transform=transform, crs=known_crs, settings=settings, source_date=source_date)


def placed(
    drawn: Iterable[Drawn],
    *,
    transform: Affine,
    crs: CRS,
    settings: Outlining,
    within: Callable[[NDArray[np.object_]], NDArray[np.bool_]] | None = None,
    source_date: str | None = None,
    in_pixels: bool = True,
) -> Iterator[FootprintBatch]:
    """Settle footprints among their neighbours, place them on the map and measure them.

    Args:
        drawn: In order; valid polygons.
        transform: Their pixel corners (col, row) to coordinates (x, y).
        crs: Of these coordinates.
        settings: The smallest area.
        within: Tells which polygons on the map are wanted; all when None.
        source_date: When the imagery was taken.
        in_pixels: They were drawn from a raster; see `Neighbours`.

    Yields:
        Batches that are not empty.
    """
    found = 0
    for settled in _settled(drawn, Neighbours(in_pixels=in_pixels)):
        polygons = to_map(settled.polygons, transform)
        moved = on_ground(polygons, crs, centroids(polygons))
        wanted = shapely.area(moved) >= settings.min_area_m2  # False outside the domain, where it is NaN
        if within is not None:
            wanted[wanted] = within(polygons[wanted])
        batch = _measured(settled.take(wanted), polygons[wanted], moved[wanted], found, source_date)
        found += len(batch)
        if len(batch):
            yield batch


def _settled(drawn: Iterable[Drawn], neighbours: Neighbours) -> Iterator[Drawn]:
    for batch in drawn:
        yield neighbours.push(batch)
    rest = neighbours.finish()
    if rest is not None:
        yield rest


def _measured(
    drawn: Drawn,
    polygons: NDArray[np.object_],
    moved: NDArray[np.object_],
    found: int,
    source_date: str | None,
) -> FootprintBatch:
    """Describe footprints by `moved`, their polygons in metres on the ground."""
    return FootprintBatch(
        polygons=polygons,
        footprint_id=np.arange(len(drawn), dtype=np.int64) + found + 1,
        area_m2=shapely.area(moved),
        perimeter_m=shapely.length(moved),
        orientation_deg=main_direction_deg(to_ragged(moved)),
        confidence=drawn.confidence,
        edge_certainty=drawn.edge_certainty,
        method=drawn.method.astype(np.object_),
        iou_raw=drawn.iou_raw,
        max_shift_m=drawn.max_shift_m,
        quality=_quality(drawn),
        source_date=np.full(len(drawn), source_date, np.object_),
    )


def _quality(drawn: Drawn) -> NDArray[np.float64]:
    shares = np.stack([drawn.confidence, drawn.edge_certainty, drawn.iou_raw])
    known = np.isfinite(shares)
    return np.asarray(np.prod(np.where(known, shares, 1.0), axis=0) ** (1 / known.sum(axis=0)))
