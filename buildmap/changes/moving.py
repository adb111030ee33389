"""Buildings as points, and buildings of the second date moved to where the first would have drawn them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from buildmap.changes.buildings import Buildings
from buildmap.changes.shifts import Points, ShiftField
from buildmap.vector.store import PolygonStore


def points_of(buildings: Buildings) -> Points:
    """Give the middle of the box around each, and its area."""
    return Points(xy=_middles(buildings.store), area=buildings.store.area)


def move_back(buildings: Buildings, field: ShiftField) -> Buildings:
    """Take the shift of each from it, and note it in the columns `dx` and `dy`."""
    store = buildings.store
    shift = field.at(_middles(store))
    corners = np.diff(store.flat.rings[store.flat.polygons])
    moved = PolygonStore(
        flat=store.flat._replace(corners=store.flat.corners - np.repeat(shift, corners, axis=0)),
        bounds=store.bounds - np.tile(shift, 2),
        area=store.area,
    )
    return replace(buildings, store=moved, columns={"dx": shift[:, 0], "dy": shift[:, 1]})


def _middles(store: PolygonStore) -> NDArray[np.float64]:
    return (store.bounds[:, :2] + store.bounds[:, 2:]) / 2
