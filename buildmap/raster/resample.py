"""Resampling that does not know through which window it is asked.

A pixel of the working grid is computed from its place in the whole raster alone, tap by tap in a fixed
order, so two overlapping windows agree to the last bit. (GDAL's resampling does not: its windows
differ in one of twenty at odd ratios, and by up to 90 grey levels where overviews are at hand.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # of any type of number

_SNAP_PX = 1e-6
"""Edges this close to a source pixel's own edge are on it."""
_HALF_KNOWN = 0.5
_PART_PX = 2**24
"""Source pixels that are fetched at a time, where the result is much coarser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How the pixels along one axis are made: each is a weighted sum of a few source pixels."""

    start: int
    """First source pixel that is needed."""
    stop: int
    """One past the last."""
    taps: NDArray[np.intp]
    """(n, k) source pixels of each pixel, counted from `start`."""
    weights: NDArray[np.float32]
    """(n, k), adding up to one for each pixel."""
    exact: bool
    """Every pixel is a source pixel as it is."""

    def part(self, first: int, end: int) -> "Axis":
        """Give the axis for pixels `first` to `end` of it, made in the same way."""
        taps, weights = self.taps[first:end], self.weights[first:end]
        used = taps[weights > 0]
        start, stop = int(used.min()), int(used.max()) + 1
        return Axis(
            start=self.start + start,
            stop=self.start + stop,
            taps=np.clip(taps, start, stop - 1) - start,
            weights=weights,
            exact=self.exact,
        )


def plan_axis(edges: NDArray[np.float64], *, extent: int) -> Axis:
    """Plan pixels between edges: the mean of what they cover, or linear between centres where they are finer.

    Args:
        edges: (n + 1,) where pixels begin and end, in source pixels; evenly spaced.
        extent: Number of source pixels.
    """
    whole = np.rint(edges)
    edges = np.where(np.abs(edges - whole) < _SNAP_PX, whole, edges)
    step = (edges[-1] - edges[0]) / (len(edges) - 1)
    taps, weights = _covered(edges) if step > 1 - _SNAP_PX else _between(edges)
    taps = np.clip(taps, 0, extent - 1)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    start, stop = int(taps[weights > 0].min()), int(taps[weights > 0].max()) + 1
    return Axis(
        start=start,
        stop=stop,
        taps=(np.clip(taps, start, stop - 1) - start).astype(np.intp),
        weights=weights,
        exact=bool(step == 1 and (edges == np.rint(edges)).all()),
    )


def resample_parts(
    fetch: Callable[[Axis, Axis], tuple[Pixels, NDArray[np.bool_] | None]], rows: Axis, cols: Axis
) -> tuple[Pixels, NDArray[np.bool_] | None]:
    """Fetch and resample, a part of the rows at a time: memory does not follow how coarse the result is.

    Args:
        fetch: Gives the source pixels that two axes need, and where they are valid, as for `resample`.
        rows: How rows are made.
        cols: How columns are made.
    """
    if rows.exact and cols.exact:
        return fetch(rows, cols)
    count = len(rows.taps)
    source_rows = max(_PART_PX // (cols.stop - cols.start), 1)
    step = max(count * source_rows // (rows.stop - rows.start), 1)
    parts = [rows.part(first, min(first + step, count)) for first in range(0, count, step)]
    made = [resample(*fetch(part, cols), part, cols) for part in parts]
    known = [valid for _, valid in made if valid is not None]
    return np.concatenate([pixels for pixels, _ in made], axis=1), np.concatenate(known) if known else None


def resample(
    pixels: Pixels, valid: NDArray[np.bool_] | None, rows: Axis, cols: Axis
) -> tuple[Pixels, NDArray[np.bool_] | None]:
    """Make pixels from the source pixels that two axes need.

    Args:
        pixels: (bands, rows.stop - rows.start, cols.stop - cols.start).
        valid: The same without bands; None where all are.
        rows: How rows are made.
        cols: How columns are made.

    Returns:
        Means of the valid source pixels, of the same type, zero where there are none; and where at least
        half of a pixel's weight is valid, None where `valid` is.
    """
    dtype = pixels.dtype
    share = None if valid is None else _weigh(valid.astype(np.float32), rows, cols)
    if share is not None:  # all but for rounding: the pixel must not depend on invalid ones elsewhere
        share[share > 1 - _SNAP_PX] = 1
    made = np.empty((len(pixels), len(rows.taps), len(cols.taps)), dtype)
    for band, source in zip(made, pixels, strict=True):
        values = source.astype(np.result_type(dtype, np.float32))
        if valid is not None:
            values[~valid] = 0
        values = _weigh(values, rows, cols)
        if share is not None:
            np.divide(values, share, out=values, where=share > 0)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        band[:] = values.astype(dtype)
    return made, None if share is None else share >= _HALF_KNOWN


def _covered(edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Weigh source pixels by the length that a pixel covers of them."""
    first = np.floor(edges[:-1]).astype(np.int64)
    count = int((np.ceil(edges[1:]) - first).max())
    taps = first[:, None] + np.arange(count)
    covered = np.minimum(taps + 1, edges[1:, None]) - np.maximum(taps, edges[:-1, None])
    return taps, np.maximum(covered, 0)


def _between(edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Weigh the two source pixels whose centres a pixel's centre lies between."""
    centres = (edges[:-1] + edges[1:]) / 2 - 0.5
    first = np.floor(centres).astype(np.int64)
    behind = centres - first
    return np.stack([first, first + 1], axis=1), np.stack([1 - behind, behind], axis=1)


def _weigh(source: Pixels, rows: Axis, cols: Axis) -> Pixels:
    from buildmap.raster.taps import weigh  # noqa: PLC0415 (loads the compiler: only for those who resample)

    made = np.empty((len(rows.taps), len(cols.taps)), source.dtype)
    weigh(source, rows.taps, rows.weights, cols.taps, cols.weights, made)
    return made
