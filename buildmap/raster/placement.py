"""Where the windows of a working grid lie on the raster's own pixels."""

import math
from dataclasses import dataclass

import numpy as np

from buildmap.errors import InputError
from buildmap.raster.grid import Bounds, Grid
from buildmap.raster.resample import Axis, plan_axis
from buildmap.raster.windows import Window

Shape = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A working grid: the raster's own pixels, or others of a better size, of all of it or of a part."""

    grid: Grid
    """The working grid."""
    native_grid: Grid
    """Whole pixels of the raster under it."""
    whole: Grid
    """What the working grid is a part of: the raster at the working GSD."""
    native: Grid
    """All of the raster's own pixels."""
    row_off: int
    """First row of `grid` in `whole`."""
    col_off: int
    """First column of `grid` in `whole`."""

    def size(self, window: Window, out_shape: Shape) -> tuple[float, float]:
        """Give width and height that the whole raster would have, were it read like a window."""
        return self.whole.width * out_shape[1] / window.width, self.whole.height * out_shape[
            0
        ] / window.height

    def axes(self, window: Window, out_shape: Shape, source: Shape) -> tuple[Axis, Axis]:
        """Plan rows and columns of a window, made from the raster or an overview of the shape `source`."""
        top, left = self.row_off + window.row_off, self.col_off + window.col_off
        rows = _plan((top, window.height, self.whole.height), out_shape[0], source[0])
        cols = _plan((left, window.width, self.whole.width), out_shape[1], source[1])
        return rows, cols

    def box(self, window: Window, source: Shape, reach_px: int) -> tuple[int, int, int, int]:
        """Give the raster's own pixels that may have a part in a window: top, left, bottom, right.

        Args:
            window: In `grid`.
            source: Shape of the raster or overview that is read.
            reach_px: Pixels of it beyond the window that have a part too.
        """
        top, left = self.row_off + window.row_off, self.col_off + window.col_off
        ends = []
        for first, length, whole, read, native in (
            (top, window.height, self.whole.height, source[0], self.native.height),
            (left, window.width, self.whole.width, source[1], self.native.width),
        ):
            begin = math.floor(first * read / whole) - reach_px
            end = math.ceil((first + length) * read / whole) + reach_px
            ends.append((math.floor(begin * native / read), math.ceil(end * native / read)))
        return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def place(
    native: Grid,
    *,
    gsd_range_m: tuple[float, float] | None,
    bbox: Bounds | None,
    name: str,
    align_px: int = 1,
) -> Placement:
    """Choose the working grid of a raster.

    Args:
        native: The raster's own grid.
        gsd_range_m: Finest and coarsest GSD in metres; None keeps the raster's.
        bbox: What to keep of it, in its CRS; all when None.
        name: What to call the raster in messages.
        align_px: What is kept begins at a multiple of so many pixels of the whole working grid.

    Raises:
        InputError: If the GSD is out of reach, pixels have no area, or the box does not touch the raster.
    """
    if not abs(native.transform.determinant) > 0:
        raise InputError(f"{name} has pixels without area: {tuple(native.transform)[:6]}")
    try:
        whole = native if gsd_range_m is None else native.at_gsd(*gsd_range_m)
        part = whole.window if bbox is None else whole.window_of(bbox).begin_at_multiple(align_px)
        grid = whole.part(part)
        under = native.window if bbox is None else native.window_of(grid.bounds)
    except InputError as error:
        raise InputError(f"{name}: {error}", hint=error.hint) from error
    return Placement(
        grid=grid,
        native_grid=native.part(under),
        whole=whole,
        native=native,
        row_off=part.row_off,
        col_off=part.col_off,
    )


def _plan(span: tuple[int, int, int], count: int, extent: int) -> Axis:
    """Plan `count` pixels along one axis.

    Args:
        span: First pixel of the whole working axis that they cover, how many, and of how many in all.
        count: Number of new pixels.
        extent: Pixels of the axis that is read from.
    """
    first, length, whole = span
    steps = np.arange(count + 1)
    places = first + (steps if count == length else steps * length / count)
    return plan_axis(places * extent / whole, extent=extent)
