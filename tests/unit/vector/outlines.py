"""Exact outlines of shapes, as a raster of them would give."""

from collections.abc import Sequence

import numpy as np
import shapely
from rasterio import features
from scipy import ndimage

from buildmap.vector.tracing.label_outlines import label_outlines


def pixel_outlines(
    shapes: Sequence[shapely.Polygon], height: int, width: int, *, shared: bool = False
) -> np.ndarray:
    """Give the outline along pixel edges of each shape, in its order.

    Args:
        shapes: In pixels; each becomes one 4-connected part.
        height: Rows.
        width: Columns.
        shared: The shapes touch, and their outlines get a corner wherever three areas meet.
    """
    labels = features.rasterize(
        [(shape, number) for number, shape in enumerate(shapes, 1)], out_shape=(height, width), dtype="int32"
    )
    if shared:
        return label_outlines(labels, left=0, top=0)[0]
    return np.concatenate(
        [
            label_outlines(np.where(labels == number, 1, 0).astype(np.int32), left=0, top=0)[0]
            for number in range(1, len(shapes) + 1)
        ]
    )


def component_at(values: np.ndarray, row: int, col: int, lowest: int) -> np.ndarray:
    """Give the 4-connected pixels from `lowest` to 254 around one of them, True on (rows, cols)."""
    labels, _ = ndimage.label((values >= lowest) & (values < 255))
    assert labels[row, col]
    return np.asarray(labels == labels[row, col])
