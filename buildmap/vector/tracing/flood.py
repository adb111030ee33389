"""Seeds of a building, and its flooding from them: compiled loops over pixels.

Pictures come flat and framed by one pixel on every side, so that no neighbour of a pixel is missing.
"""

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined

OUTSIDE, OPEN = -1, 0
"""Labels of a pixel off the building, and of one that no seed has reached."""

_BARREN = -2
_LEVELS = 256


@compiled
def frame(
    component: NDArray[np.bool_], score: NDArray[np.uint8]
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Frame a building for `plant` and `flood`.

    Args:
        component: (rows, cols) True on the building.
        score: (rows, cols).

    Returns:
        Labels and scores, both ((rows + 2) * (cols + 2),).
    """
    rows, cols = component.shape
    labels = np.full((rows + 2, cols + 2), OUTSIDE, np.int32)
    framed = np.zeros((rows + 2, cols + 2), np.uint8)
    for row in range(rows):
        for col in range(cols):
            if component[row, col]:
                labels[row + 1, col + 1] = OPEN
                framed[row + 1, col + 1] = score[row, col]
    return labels.ravel(), framed.ravel()


@compiled
def plant(
    labels: NDArray[np.int32], score: NDArray[np.uint8], width: int, seed_value: int, min_seed_px: int
) -> int:
    """Label the seeds of a building: 1, 2, ... by their first pixel.

    Args:
        labels: (size,) `OPEN` on the building, `OUTSIDE` off it; updated in place.
        score: (size,) 0..254.
        width: Pixels in a row, frame included.
        seed_value: Lowest score within a seed.
        min_seed_px: Fewer 4-connected pixels are no seed.

    Returns:
        How many there are.
    """
    size = len(labels)
    part = np.empty(size, np.int32)
    seeds = 0
    for start in range(size):
        if labels[start] != OPEN or score[start] < seed_value:
            continue
        part[0], labels[start] = start, seeds + 1
        seen, done = 1, 0
        while done < seen:
            pixel = part[done]
            done += 1
            for step in (-width, -1, 1, width):
                if labels[pixel + step] == OPEN and score[pixel + step] >= seed_value:
                    labels[pixel + step] = seeds + 1
                    part[seen] = pixel + step
                    seen += 1
        if seen >= min_seed_px:
            seeds += 1
        else:
            labels[part[:seen]] = _BARREN
    for pixel in range(size):
        if labels[pixel] == _BARREN:
            labels[pixel] = OPEN
    return seeds


@compiled
def flood(labels: NDArray[np.int32], score: NDArray[np.uint8], width: int) -> int:
    """Let the seeds grow over what is open, always where the score is highest, first come first served.

    A pixel waits in a queue of its own score, and takes the label of the neighbour that reached it first:
    so every label is 4-connected to its seed.

    Args:
        labels: (size,) 1, 2, ... on seeds, `OPEN` or `OUTSIDE` elsewhere; updated in place.
        score: (size,) 0..255.
        width: Pixels in a row, frame included.

    Returns:
        How many pixels stay open, because no seed reaches them.
    """
    # a pixel waits only in the queue of its own score, so the histogram tells how long each gets
    first = np.zeros(_LEVELS, np.int64)
    still_open = 0
    for pixel in range(len(labels)):
        if labels[pixel] != OUTSIDE:
            first[score[pixel]] += 1
            still_open += labels[pixel] == OPEN
    first = np.cumsum(first) - first
    end = first.copy()
    queue = np.empty(len(labels), np.int32)
    for pixel in range(len(labels)):
        if labels[pixel] > 0 and _has_open_neighbour(labels, pixel, width):
            _wait(queue, end, score[pixel], pixel)
    level = _LEVELS - 1
    while level >= 0:
        if first[level] == end[level]:
            level -= 1
            continue
        pixel = queue[first[level]]
        first[level] += 1
        for step in (-width, -1, 1, width):
            neighbour = pixel + step
            if labels[neighbour] == OPEN:
                labels[neighbour] = labels[pixel]
                still_open -= 1
                _wait(queue, end, score[neighbour], neighbour)
                level = max(level, int(score[neighbour]))
    return still_open


@compiled
def unframe(labels: NDArray[np.int32], width: int) -> NDArray[np.int32]:
    """Give labels without their frame, (rows, cols), 0 off the building."""
    framed = labels.reshape(-1, width)
    inner = np.zeros((framed.shape[0] - 2, width - 2), np.int32)
    for row in range(inner.shape[0]):
        for col in range(inner.shape[1]):
            inner[row, col] = max(framed[row + 1, col + 1], 0)
    return inner


@inlined
def _has_open_neighbour(labels: NDArray[np.int32], pixel: int, width: int) -> bool:
    return bool(
        labels[pixel - width] == OPEN
        or labels[pixel - 1] == OPEN
        or labels[pixel + 1] == OPEN
        or labels[pixel + width] == OPEN
    )


@inlined
def _wait(queue: NDArray[np.int32], end: NDArray[np.int64], level: int, pixel: int) -> None:
    """Add a pixel at the end of the queue of a level."""
    queue[end[level]] = pixel
    end[level] += 1
