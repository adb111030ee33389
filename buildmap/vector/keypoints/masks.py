"""The outlines of many small masks, one for each object, traced as if they were one tall raster."""

from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.tracing.outlines import OutlineTracer, join_outlines

_STRIP_PX = 2**22


def mask_outlines(masks: Sequence[NDArray[np.bool_]], corners: NDArray[np.int64]) -> NDArray[np.object_]:
    """Give the exact outline of the largest 4-connected piece of each mask.

    Of pieces of one size, the one that ends first stays.

    Args:
        masks: n of (rows, cols), each of its own size; True = building.
        corners: (n, 2) column and row of the first pixel of each mask in the raster.

    Returns:
        (n,) valid polygons in pixel corners (column, row) of the raster; None for a mask without a building.
    """
    outlines = np.full(len(masks), None, np.object_)
    for start, stop in _batches(masks):
        outlines[start:stop] = _outlines(masks[start:stop], corners[start:stop])
    return outlines


def _batches(masks: Sequence[NDArray[np.bool_]]) -> Iterator[tuple[int, int]]:
    """Part the masks so that those of a batch, below each other, are not too large for memory."""
    start, rows, cols = 0, 0, 0
    for number, mask in enumerate(masks):
        height, width = mask.shape
        if number > start and (rows + height + 1) * max(cols, width) > _STRIP_PX:
            yield start, number
            start, rows, cols = number, 0, 0
        rows, cols = rows + height + 1, max(cols, width)
    if len(masks):
        yield start, len(masks)


def _outlines(masks: Sequence[NDArray[np.bool_]], corners: NDArray[np.int64]) -> NDArray[np.object_]:
    tops = np.append(0, np.cumsum([len(mask) + 1 for mask in masks]))
    strip = np.zeros((tops[-1], max(mask.shape[1] for mask in masks)), np.uint8)
    for mask, top in zip(masks, tops[:-1], strict=True):
        strip[top : top + len(mask), : mask.shape[1]] = mask
    tracer = OutlineTracer(strip.shape[1], lowest=1)
    traced = join_outlines([tracer.push(strip), tracer.finish()])
    outlines = np.full(len(masks), None, np.object_)
    if not len(traced):
        return outlines
    number = np.searchsorted(tops, shapely.bounds(traced.polygons)[:, 1], side="right") - 1
    largest_first = np.lexsort((-traced.pixels, number))
    found, first = np.unique(number[largest_first], return_index=True)
    chosen = traced.polygons[largest_first[first]]
    points, owner = shapely.get_coordinates(chosen, return_index=True)
    shift = corners[found] - np.column_stack([np.zeros(len(found), np.int64), tops[found]])
    outlines[found] = shapely.set_coordinates(chosen, points + shift[owner])
    return outlines
