"""No invalid polygon leaves: a change that spoils one is taken back."""

import numpy as np
import shapely
from numpy.typing import NDArray


def roll_back(changed: NDArray[np.object_], originals: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give every changed polygon that is still a valid polygon, and the original of every other.

    Args:
        changed: (n,) geometries.
        originals: (n,) valid polygons.
    """
    sound = shapely.is_valid(changed) & ~shapely.is_empty(changed)
    sound &= shapely.get_type_id(changed) == shapely.GeometryType.POLYGON
    return np.where(sound, changed, originals)
