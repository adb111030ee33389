"""Whether a layer is fit for use: valid geometries, and neighbours that do not overlap."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.vector.matching import Overlaps, overlaps_within
from buildmap.vector.measures import area_and_perimeter
from buildmap.vector.reader import read_unrepaired
from buildmap.vector.store import PolygonStore

SLIVER_SHARE = 1e-6
"""Neighbours that share less of the smaller one only touch, but for rounding."""
SLIVER_M2 = 0.01
"""Neighbours that share less only touch, but for rounding: square metres."""
_POLYGONAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryFaults:
    """What is wrong with the geometries of a layer as they are in the file."""

    polygons: int = 0
    """Polygons, and multipolygons, which count once."""
    invalid: int = 0
    """Of these, not valid by the rules of Simple Features."""
    self_intersections: int = 0
    """Of the invalid, those whose first fault is a ring that crosses or touches itself, or another
    ring of the same geometry."""

    def __add__(self, other: "GeometryFaults") -> "GeometryFaults":
        return GeometryFaults(
            polygons=self.polygons + other.polygons,
            invalid=self.invalid + other.invalid,
            self_intersections=self.self_intersections + other.self_intersections,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What is wrong with a layer."""

    polygons: int
    """Polygons in the file; a multipolygon counts once."""
    invalid: int
    """Of these, not valid."""
    self_intersections: int
    """Of these, with rings that cross or touch."""
    overlaps: int
    """Pairs of neighbours that share more than a sliver."""
    overlap_m2: float
    """Square metres that such pairs share."""


def geometry_faults(geometries: NDArray[np.object_]) -> GeometryFaults:
    """Count the faults of geometries that nothing has repaired.

    Args:
        geometries: (n,) shapely geometries or None; what is empty or no polygon does not count.
    """
    polygons = geometries[shapely.get_dimensions(geometries) == _POLYGONAL]
    polygons = polygons[~shapely.is_empty(polygons)]
    with np.errstate(invalid="ignore"):  # NaN coordinates are a fault like others
        invalid = polygons[~shapely.is_valid(polygons)]
        reasons = np.asarray(shapely.is_valid_reason(invalid), np.str_)
    crossing = np.char.startswith(reasons, "Self-intersection")
    crossing |= np.char.startswith(reasons, "Ring Self-intersection")
    return GeometryFaults(
        polygons=len(polygons), invalid=len(invalid), self_intersections=int(crossing.sum())
    )


def neighbour_overlaps(
    overlaps: Overlaps,
    m2_per_unit2: NDArray[np.float64],
    *,
    sliver_share: float = SLIVER_SHARE,
    sliver_m2: float = SLIVER_M2,
) -> tuple[int, float]:
    """Count the neighbours of one layer that share more than a sliver, and the ground they share.

    Ground that lies under three polygons is shared by three pairs, and counts thrice.

    Args:
        overlaps: All pairs within the layer that share area.
        m2_per_unit2: (n,) square metres in a square of one CRS unit at each polygon.
        sliver_share: Pairs that share no more than this of the smaller polygon only touch.
        sliver_m2: Pairs that share no more square metres only touch.

    Returns:
        Pairs, and the square metres they share.
    """
    smaller = np.minimum(overlaps.left_area[overlaps.left], overlaps.right_area[overlaps.right])
    shared_m2 = overlaps.shared * m2_per_unit2[overlaps.left]
    real = (overlaps.shared > sliver_share * smaller) & (shared_m2 > sliver_m2)
    return int(real.sum()), float(shared_m2[real].sum())


def topology(faults: GeometryFaults, overlaps: int, overlap_m2: float) -> Topology:
    """Put together what is wrong with a layer.

    Args:
        faults: Of the geometries as they are in the file.
        overlaps: Pairs of neighbours that share more than a sliver.
        overlap_m2: What they share.
    """
    return Topology(
        polygons=faults.polygons,
        invalid=faults.invalid,
        self_intersections=faults.self_intersections,
        overlaps=overlaps,
        overlap_m2=overlap_m2,
    )


def layer_topology(path: Path, store: PolygonStore, crs: CRS | None) -> Topology:
    """Look for faults in a layer: in its geometries as they are in the file, and among neighbours.

    Args:
        path: Vector file.
        store: Its polygons, repaired.
        crs: Of the store; None takes CRS units for metres.
    """
    faults = sum(map(geometry_faults, read_unrepaired(path)), start=GeometryFaults())
    overlaps = overlaps_within(store)
    units = np.ones(len(store))
    touched = np.unique(overlaps.left)
    if crs is not None and len(touched):
        units[touched] = area_and_perimeter(store.take(touched), crs)[0] / store.area[touched]
    return topology(faults, *neighbour_overlaps(overlaps, units))
