"""What is known of buildings that were found one by one, and the columns of their layer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OBJECT_COLUMNS = {
    "footprint_id": np.int64,
    "area_m2": np.float64,
    "perimeter_m": np.float64,
    "orientation_deg": np.float64,
    "score": np.float64,
    "class": np.object_,
    "method": np.object_,
    "verdict": np.object_,
    "iou_raw": np.float64,
    "source_date": np.object_,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectBatch:
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
    score: NDArray[np.float64]
    """(n,) confidence of the detection, 0..1; of parts that were united, the first's."""
    class_: NDArray[np.object_]
    """(n,) str: name of the class; the column `class`."""
    method: NDArray[np.object_]
    """(n,) str: 'along' or 'walk', the order in which keypoints were joined; 'raw', the outline of the mask,
    or the box where there is none; 'united' of parts from several windows."""
    verdict: NDArray[np.object_]
    """(n,) str: why: 'kept', or 'few' keypoints, 'crossing' walls, 'unlike' the mask; 'united'."""
    iou_raw: NDArray[np.float64]
    """(n,) IoU with the outline of the mask, 0..1; NaN where united."""
    source_date: NDArray[np.object_]
    """(n,) str or None: when the imagery was taken."""

    def __len__(self) -> int:
        return len(self.polygons)
