"""How far a footprint drawn anew is from the outline it was drawn from, and whether that is too far."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.overlap_area import common_area
from buildmap.vector.ragged import Ragged, to_ragged

_MANY_DISTANCES = 4_000_000
"""From here on, an index of the edges is faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a footprint may be from its raw outline."""

    iou_min: float
    """Intersection over union, 0..1."""
    area_error_max: float
    """Area over raw area, less 1, in either direction."""
    shift_max_px: float
    """Greatest distance of a corner of either outline from the other outline, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """How near footprints are to their raw outlines."""

    iou: NDArray[np.float64]
    """(n,) intersection over union; 0 for what is no valid polygon."""
    area_error: NDArray[np.float64]
    """(n,) area over raw area, less 1."""
    shift_px: NDArray[np.float64]
    """(n,) greatest distance of a corner of either outline from the other outline."""

    def within(self, limits: Limits) -> NDArray[np.bool_]:
        """Tell which footprints are near enough, (n,)."""
        near = (self.iou >= limits.iou_min) & (np.abs(self.area_error) <= limits.area_error_max)
        return np.asarray(near & (self.shift_px <= limits.shift_max_px))


def closeness(polygons: NDArray[np.object_], raw: NDArray[np.object_]) -> Closeness:
    """Compare footprints with the outlines they were drawn from.

    Args:
        polygons: (n,) polygons in pixels, valid or not, or None.
        raw: (n,) valid polygons.
    """
    count = len(raw)
    iou, error, shift = np.zeros(count), np.full(count, np.inf), np.full(count, np.inf)
    sound = shapely.is_valid(polygons) & ~shapely.is_empty(polygons)
    sound &= shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON
    known = np.flatnonzero(sound)
    drawn, outlines = polygons[known], raw[known]
    area, raw_area = shapely.area(drawn), shapely.area(outlines)
    shared = common_area(drawn, outlines)
    iou[known] = shared / (area + raw_area - shared)
    error[known] = area / raw_area - 1
    shift[known] = np.maximum(shifts(drawn, outlines), shifts(outlines, drawn))
    return Closeness(iou=iou, area_error=error, shift_px=shift)


def shifts(polygons: NDArray[np.object_], targets: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give the greatest distance of a corner of each polygon from the rings of its target.

    Args:
        polygons: (n,) valid.
        targets: (n,) valid.

    Returns:
        (n,).
    """
    outlines, rings = to_ragged(polygons), to_ragged(targets)
    greatest = np.asarray(_shifts(outlines, rings, _MANY_DISTANCES))
    for pair in np.flatnonzero(np.isnan(greatest)):
        ends, ring = shapely.get_coordinates(shapely.get_rings(targets[pair]), return_index=True)
        edges = np.stack([ends[:-1], ends[1:]], axis=1)[ring[:-1] == ring[1:]]
        corners = shapely.points(shapely.get_coordinates(polygons[pair]))
        tree = shapely.STRtree(shapely.linestrings(edges))
        _, distance = tree.query_nearest(corners, return_distance=True, all_matches=False)
        greatest[pair] = distance.max()
    return greatest


@compiled
def _shifts(outlines: Ragged, targets: Ragged, most: int) -> NDArray[np.float64]:
    """Give the greatest distance of a corner of each polygon from its target; NaN where that takes long."""
    greatest = np.zeros(len(outlines.polygons) - 1)
    for pair in range(len(greatest)):
        first, stop = outlines.rings[outlines.polygons[pair]], outlines.rings[outlines.polygons[pair + 1]]
        edges = targets.rings[targets.polygons[pair + 1]] - targets.rings[targets.polygons[pair]]
        if edges * (stop - first) > most:
            greatest[pair] = np.nan
            continue
        square = 0.0
        for corner in range(first, stop):
            x, y = outlines.corners[corner, 0], outlines.corners[corner, 1]
            square = max(square, _square(targets, pair, x, y, square))
        greatest[pair] = np.sqrt(square)
    return greatest


@compiled
def _square(targets: Ragged, pair: int, x: float, y: float, enough: float) -> float:
    """Give the square of the distance of a point from the rings of a polygon, or less than `enough`."""
    nearest = np.inf
    for ring in range(targets.polygons[pair], targets.polygons[pair + 1]):
        for corner in range(targets.rings[ring], targets.rings[ring + 1] - 1):
            from_x, from_y = targets.corners[corner, 0], targets.corners[corner, 1]
            wall_x = targets.corners[corner + 1, 0] - from_x
            wall_y = targets.corners[corner + 1, 1] - from_y
            length = wall_x * wall_x + wall_y * wall_y
            share = 0.0
            if length > 0:
                share = min(max(((x - from_x) * wall_x + (y - from_y) * wall_y) / length, 0.0), 1.0)
            nearest = min(nearest, (x - from_x - share * wall_x) ** 2 + (y - from_y - share * wall_y) ** 2)
            if nearest <= enough:
                return float(nearest)
    return float(nearest)
