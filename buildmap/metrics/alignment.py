"""How the pixels of one grid lie on those of another."""

import numpy as np

from buildmap.metrics.summary import Alignment
from buildmap.raster.grid import Grid
from buildmap.raster.warp import is_same_grid

_TURNED = 1e-6


def align(prediction: Grid, compared: Grid) -> Alignment:
    """Tell how far the pixel corners of a prediction lie from those it is compared on.

    Args:
        prediction: Its own grid.
        compared: The grid of the comparison.
    """
    ours, theirs = prediction.gsd_m(), compared.gsd_m()
    return Alignment(
        same_grid=is_same_grid(prediction, compared),
        offset_px=_offset_px(prediction, compared),
        gsd_ratio=None if ours is None or theirs is None else ours / theirs,
    )


def _offset_px(prediction: Grid, compared: Grid) -> tuple[float, float] | None:
    """Give the way from the nearest compared corner to the first predicted one, (x, y), -0.5..0.5 each."""
    if prediction.crs != compared.crs:
        return None
    to_pixel = ~compared.transform @ prediction.transform
    if max(abs(to_pixel.b), abs(to_pixel.d)) > _TURNED:
        return None
    x, y = (float(np.round(value - np.round(value), 6)) + 0.0 for value in (to_pixel.c, to_pixel.f))
    return x, y
