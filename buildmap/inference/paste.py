"""From masks over boxes to the pixels of a window, and their outlines.

A pixel belongs to an object where its centre lies in the box and the probability there reaches the threshold.
Cells of a mask are sampled bilinearly between their centres, as detectron2 and torchvision do, and the
outermost reach to the border of the box. There those libraries fade to 0, which takes the corners off every
box that is large against its cells; here a mask of ones gives all pixels of its box. Pixels may belong to
several objects: which of these stays is for the rule of `objects`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.keypoints.masks import mask_outlines

_AT_A_TIME = 32
"""Objects whose pixels are in memory at once: each may be as large as the window."""


class _Cells(NamedTuple):
    """One axis of a mask over the pixels of a window."""

    start: float
    """Where the first cell begins."""
    size: float
    """Of a cell."""
    first: int
    """Pixel whose centre is the first in the box."""
    stop: int
    """One past the last."""


def outline_masks(
    masks: NDArray[np.floating], boxes: NDArray[np.float64], valid: NDArray[np.bool_], threshold: float
) -> NDArray[np.object_]:
    """Give the exact outline of the largest piece of each mask, in pixel corners of the window.

    Args:
        masks: (n, rows, cols) probability over the box, stretched to it.
        boxes: (n, 4) left, top, right, bottom, none empty; what lies outside of the window is cut off.
        valid: (H, W) of the window; pixels without data belong to no object.
        threshold: Probability from which a pixel belongs to an object.

    Returns:
        (n,) valid polygons; None for an object without a pixel.
    """
    outlines = np.full(len(masks), None, np.object_)
    for start in range(0, len(masks), _AT_A_TIME):
        some = slice(start, start + _AT_A_TIME)
        pasted = [
            paste(mask, box, valid, threshold) for mask, box in zip(masks[some], boxes[some], strict=True)
        ]
        corners = np.array([corner for _, corner in pasted], np.int64)
        outlines[some] = mask_outlines([pixels for pixels, _ in pasted], corners)
    return outlines


def paste(
    mask: NDArray[np.floating], box: NDArray[np.float64], valid: NDArray[np.bool_], threshold: float
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """Give the pixels of an object over its box, and column and row of the first of them.

    Args:
        mask: (rows, cols) probability over the box, stretched to it.
        box: (4,) left, top, right, bottom, not empty.
        valid: (H, W) of the window.
        threshold: Probability from which a pixel belongs to the object.
    """
    down = _cells(box[1], box[3], mask.shape[0], valid.shape[0])
    across = _cells(box[0], box[2], mask.shape[1], valid.shape[1])
    pixels = valid[down.first : down.stop, across.first : across.stop].copy()
    _keep_probable(pixels, np.asarray(mask, np.float64), down, across, threshold)
    return pixels, (across.first, down.first)


def _cells(start: float, stop: float, cells: int, extent: int) -> _Cells:
    first = min(max(int(np.ceil(start - 0.5)), 0), extent)
    return _Cells(
        start=float(start),
        size=float(stop - start) / cells,
        first=first,
        stop=max(min(int(np.ceil(stop - 0.5)), extent), first),
    )


@compiled
def _keep_probable(
    pixels: NDArray[np.bool_], mask: NDArray[np.float64], down: _Cells, across: _Cells, threshold: float
) -> None:
    """Let go of the pixels whose probability is too low."""
    for row in range(pixels.shape[0]):
        v = (down.first + row + 0.5 - down.start) / down.size - 0.5
        above = int(np.floor(v))
        lower = v - above
        for col in range(pixels.shape[1]):
            u = (across.first + col + 0.5 - across.start) / across.size - 0.5
            before = int(np.floor(u))
            right = u - before
            upper_line = (1 - right) * _cell(mask, above, before) + right * _cell(mask, above, before + 1)
            lower_line = (1 - right) * _cell(mask, above + 1, before) + right * _cell(
                mask, above + 1, before + 1
            )
            if not (1 - lower) * upper_line + lower * lower_line >= threshold:
                pixels[row, col] = False


@inlined
def _cell(mask: NDArray[np.float64], row: int, col: int) -> float:
    return float(mask[min(max(row, 0), mask.shape[0] - 1), min(max(col, 0), mask.shape[1] - 1)])
