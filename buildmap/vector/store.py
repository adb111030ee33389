"""Millions of polygons in little memory: flat arrays of coordinates, and shapely objects only on demand.

A shapely polygon of five corners takes more than a kilobyte; here it takes some 150 bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.ragged import Ragged

_AT_A_TIME = 65_536


@dataclass(frozen=True, kw_only=True)  # without slots, which `cached_property` could not fill
class PolygonStore:
    """The polygons of a layer, never to be changed."""

    flat: Ragged
    """Coordinates and offsets."""
    bounds: NDArray[np.float64]
    """(n, 4) left, bottom, right, top."""
    area: NDArray[np.float64]
    """(n,) CRS units squared."""

    def __post_init__(self) -> None:
        for array in (*self.flat, self.bounds, self.area):
            array.flags.writeable = False

    @classmethod
    def gather(cls, batches: Iterable[NDArray[np.object_]]) -> "PolygonStore":
        """Take in batches of polygons; none is kept as an object.

        Args:
            batches: Each (n,) valid two-dimensional shapely polygons, none empty.

        Raises:
            ValueError: If there is anything else than a polygon with an area, or a third dimension.
        """
        parts: tuple[list[NDArray[Any]], ...] = ([], [], [], [], [])
        for polygons in batches:
            for part, array in zip(parts, _flatten(polygons), strict=True):
                part.append(array)
        coordinates, ring_sizes, polygon_sizes, bounds, area = parts
        return cls(
            flat=Ragged(
                _joined(coordinates, (0, 2), np.float64),
                _offsets(_joined(ring_sizes, (0,), np.int64)),
                _offsets(_joined(polygon_sizes, (0,), np.int64)),
            ),
            bounds=_joined(bounds, (0, 4), np.float64),
            area=_joined(area, (0,), np.float64),
        )

    def __len__(self) -> int:
        return len(self.area)

    @cached_property
    def inside(self) -> NDArray[np.float64]:
        """(n, 2) a point inside each; found on first use."""
        points = np.empty((len(self), 2))
        for start in range(0, len(self), _AT_A_TIME):
            part = slice(start, start + _AT_A_TIME)
            points[part] = shapely.get_coordinates(shapely.point_on_surface(self.take(part)))
        points.flags.writeable = False
        return points

    def take(self, rows: NDArray[np.int64] | slice) -> NDArray[np.object_]:
        """Give the shapely polygons of some rows, in the order of the rows."""
        coordinates, *offsets = self._flat_of(self._indices(rows))
        polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, coordinates, tuple(offsets))
        return np.asarray(polygons, dtype=object)

    def select(self, rows: NDArray[np.int64] | slice) -> "PolygonStore":
        """Give a store of some rows, in the order of the rows."""
        indices = self._indices(rows)
        return PolygonStore(flat=self._flat_of(indices), bounds=self.bounds[indices], area=self.area[indices])

    def _indices(self, rows: NDArray[np.int64] | slice) -> NDArray[np.int64]:
        if isinstance(rows, slice):
            return np.arange(*rows.indices(len(self)))
        if rows.dtype == np.bool_:
            raise ValueError("rows are indices, not a mask")
        return np.arange(len(self))[rows]  # negative ones count from the end, others are refused

    def _flat_of(self, rows: NDArray[np.int64]) -> Ragged:
        rings, polygon_offsets = _runs(self.flat.polygons, rows)
        corners, ring_offsets = _runs(self.flat.rings, rings)
        return Ragged(self.flat.corners[corners], ring_offsets, polygon_offsets)


def _flatten(polygons: NDArray[np.object_]) -> tuple[NDArray[np.generic], ...]:
    """Give coordinates, vertices of each ring, rings of each polygon, bounds and areas."""
    if (shapely.get_type_id(polygons) != shapely.GeometryType.POLYGON).any() or shapely.has_z(polygons).any():
        raise ValueError("a store takes polygons in two dimensions")
    area = shapely.area(polygons)
    if not (area > 0).all():
        raise ValueError("a store takes polygons with an area")
    rings, polygon_of = shapely.get_rings(polygons, return_index=True)
    return (
        shapely.get_coordinates(rings),
        shapely.get_num_coordinates(rings).astype(np.int64),
        np.bincount(polygon_of, minlength=len(polygons)),
        shapely.bounds(polygons).reshape(-1, 4),
        area,
    )


def _joined(
    parts: list[NDArray[Any]], shape: tuple[int, ...], kind: type[np.float64] | type[np.int64]
) -> NDArray[Any]:
    """Join arrays, and let go of them before the next are joined."""
    whole = np.concatenate([np.empty(shape, kind), *parts])
    parts.clear()
    return whole


def _offsets(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _runs(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the indices of everything that belongs to some rows, and the offsets of the rows among them."""
    starts, sizes = offsets[rows], offsets[rows + 1] - offsets[rows]
    moved = _offsets(sizes)
    return np.repeat(starts - moved[:-1], sizes) + np.arange(moved[-1]), moved
