"""How many seeds has a building? Asked of every one, so it is answered run by run, in one pass.

Most buildings have one seed, and are never looked at again.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined

_LABELS, _ABOVE, _HERE, _CURSOR = 0, 1, 2, 3


class _Runs(NamedTuple):
    """Runs of pixels in two rows, and the parts of a picture that they belong to."""

    fill: NDArray[np.int64]
    """(4,) labels in use, runs above, runs in this row, first run above that may touch the next one."""
    start: NDArray[np.int32]
    """(2, runs) first column, by parity of the row."""
    stop: NDArray[np.int32]
    """(2, runs) one past the last column."""
    label: NDArray[np.int64]
    """(2, runs)"""
    parent: NDArray[np.int64]
    """Of a label, in the union-find forest."""
    pixels: NDArray[np.int64]
    """Pixels of a root label."""


@compiled
def count_seeds(
    values: NDArray[np.uint8],
    score: NDArray[np.uint8],
    pixel: tuple[int, int],
    lowest: int,
    seed_value: int,
    min_seed_px: int,
) -> int:
    """Count the seeds of one building among those in a picture.

    Args:
        values: (rows, cols), values from `lowest` to 254 are buildings, 4-connected.
        score: (rows, cols) as `split.seed_score` gives it; `values` itself without a border class.
        pixel: (row, col) of the building.
        lowest: 0..255.
        seed_value: Lowest score within a seed.
        min_seed_px: Fewer 4-connected pixels are no seed.

    Returns:
        0 if that pixel is no building.
    """
    rows, cols = values.shape
    buildings, seeds = _new_runs(rows, cols), _new_runs(rows, cols)
    owner = np.empty(len(seeds.parent), np.int64)
    asked = -1
    for row in range(rows):
        here = row % 2
        _next_row(buildings)
        _next_row(seeds)
        col = 0
        while True:
            while col < cols and not lowest <= values[row, col] < 255:
                col += 1
            if col == cols:
                break
            start = col
            while col < cols and lowest <= values[row, col] < 255:
                col += 1
            building = _add(buildings, here, start, col)
            if row == pixel[0] and start <= pixel[1] < col:
                asked = building
            _add_seeds(seeds, owner, score[row], (here, start, col, building), seed_value)
    count = 0
    for seed in range(seeds.fill[_LABELS]):
        if asked >= 0 and seeds.parent[seed] == seed and seeds.pixels[seed] >= min_seed_px:
            count += _find(buildings.parent, owner[seed]) == _find(buildings.parent, asked)
    return count


@inlined
def _new_runs(rows: int, cols: int) -> _Runs:
    most = cols // 2 + 1
    return _Runs(
        np.zeros(4, np.int64),
        np.empty((2, most), np.int32),
        np.empty((2, most), np.int32),
        np.empty((2, most), np.int64),
        np.empty(rows * most, np.int64),
        np.empty(rows * most, np.int64),
    )


@inlined
def _next_row(runs: _Runs) -> None:
    runs.fill[_ABOVE], runs.fill[_HERE], runs.fill[_CURSOR] = runs.fill[_HERE], 0, 0


@compiled
def _add_seeds(
    seeds: _Runs,
    owner: NDArray[np.int64],
    score: NDArray[np.uint8],
    run: tuple[int, int, int, int],
    seed_value: int,
) -> None:
    """Find the runs of seeds within a run of a building: parity of its row, start, stop and label."""
    here, col, end, building = run
    while col < end:
        while col < end and score[col] < seed_value:
            col += 1
        start = col
        while col < end and score[col] >= seed_value:
            col += 1
        if start < col:
            owner[_add(seeds, here, start, col)] = building


@compiled
def _add(runs: _Runs, here: int, start: int, stop: int) -> int:
    """Add a run to this row, and join what it touches above; give its root label."""
    above, cursor = 1 - here, runs.fill[_CURSOR]
    while cursor < runs.fill[_ABOVE] and runs.stop[above, cursor] <= start:
        cursor += 1
    runs.fill[_CURSOR] = cursor
    label = -1
    while cursor < runs.fill[_ABOVE] and runs.start[above, cursor] < stop:
        root = _find(runs.parent, runs.label[above, cursor])
        if label < 0:
            label = root
        elif root != label:
            runs.parent[root] = label
            runs.pixels[label] += runs.pixels[root]
        cursor += 1
    if label < 0:
        label = runs.fill[_LABELS]
        runs.fill[_LABELS] += 1
        runs.parent[label] = label
        runs.pixels[label] = 0
    runs.pixels[label] += stop - start
    place = runs.fill[_HERE]
    runs.start[here, place], runs.stop[here, place], runs.label[here, place] = start, stop, label
    runs.fill[_HERE] += 1
    return int(label)


@inlined
def _find(parent: NDArray[np.int64], label: int) -> int:
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = int(parent[label])
    return label
