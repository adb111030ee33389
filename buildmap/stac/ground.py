"""Where something lies, as GeoJSON wants it: degrees, counter-clockwise, cut where the date changes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike
from pyproj import CRS, Transformer

from buildmap.errors import InputError

Degrees = tuple[float, float, float, float]
"""West, south, east, north."""

WORLD: Degrees = (-180.0, -90.0, 180.0, 90.0)
_STEPS = 8
"""Straight lines that stand for one edge, which is curved in degrees."""
_DIGITS = 7
"""Of degrees: a centimetre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A piece of the Earth's surface."""

    geometry: dict[str, Any]
    """GeoJSON, Polygon or MultiPolygon."""
    bbox: Degrees
    """West, south, east, north; west is larger than east where the date line is crossed."""


def ground_of(corners: ArrayLike, crs: CRS) -> Ground:
    """Give the ground inside four corners.

    Args:
        corners: (4, 2) x and y in the CRS, in order around.
        crs: Of the corners.

    Raises:
        InputError: If a corner has no place on the Earth.
    """
    ring = np.asarray(corners, np.float64)
    ends = np.roll(ring, -1, axis=0)
    share = np.arange(_STEPS)[:, None] / _STEPS
    outline = np.concatenate([start + share * (end - start) for start, end in zip(ring, ends, strict=True)])
    to_degrees = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    lon, lat = to_degrees.transform(*np.concatenate([outline, ring[:1]]).T)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise InputError(
            f"the corners have no place in {crs.name}", hint="CRS or transform are wrong: see gdalinfo"
        )
    lon = np.unwrap(lon, period=360)
    if abs(lon[-1] - lon[0]) > 180:  # once around the Earth: a pole lies inside
        north = 90.0 if lat.mean() > 0 else float(lat.max())
        south = -90.0 if lat.mean() < 0 else float(lat.min())
        return box_ground((-180.0, south, 180.0, north))
    lon -= 360 * np.floor((lon.min() + 180) / 360)
    return _cut(shapely.Polygon(np.column_stack([lon, lat])))


def box_ground(box: Degrees) -> Ground:
    """Give the ground inside a box that does not cross the date line."""
    return _cut(shapely.box(*box))


def _cut(polygon: shapely.Polygon) -> Ground:
    """Cut a polygon, whose longitudes begin within -180..180, at the date line."""
    west, south, east, north = polygon.bounds
    parts = [polygon]
    if east > 180:
        beyond = shapely.clip_by_rect(polygon, 180, -90, 540, 90)
        parts = [
            shapely.clip_by_rect(polygon, -180, -90, 180, 90),
            shapely.transform(beyond, lambda places: places - (360, 0)),
        ]
        east -= 360
    rings = [_ring(part) for part in parts]
    geometry: dict[str, Any] = {"type": "Polygon", "coordinates": [rings[0]]}
    if len(rings) > 1:
        geometry = {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
    west, south, east, north = (round(edge, _DIGITS) for edge in (west, south, east, north))
    return Ground(geometry=geometry, bbox=(west, south, east, north))


def _ring(polygon: shapely.Polygon) -> list[list[float]]:
    """Give the exterior, counter-clockwise."""
    ring = shapely.get_exterior_ring(shapely.orient_polygons(polygon))
    return [[round(x, _DIGITS), round(y, _DIGITS)] for x, y in shapely.get_coordinates(ring).tolist()]
