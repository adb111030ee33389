"""Two maps of the same ground, image by image or cell by cell: is one better?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from buildmap.errors import InputError
from buildmap.metrics.cells import Cells
from buildmap.metrics.scoring import PairFindings
from buildmap.metrics.statistics import PairedTest, holm, object_statistics, paired_test, pixel_statistics
from buildmap.raster.warp import is_same_grid

FEWEST_IMAGES = 6
"""From as many pairs of files on, images are compared; below, no test could find anything in so few."""
_PIXELS, _OBJECTS = ("iou", "f1"), "object_f1"


def compare_maps(
    ours: Sequence[PairFindings], others: Sequence[PairFindings], *, seed: int
) -> dict[str, PairedTest]:
    """Test whether one map is better than another, by IoU and F1 of pixels and F1 of buildings.

    The units are images, or where there are fewer than `FEWEST_IMAGES` the cells of ground. The p values
    are corrected for being several, by Holm's method.

    Args:
        ours: Of each pair of files.
        others: Of the other map against the same truths.
        seed: Of the draws for the intervals.

    Raises:
        InputError: If cells are compared, and the two were on different grids: not the same ground.
    """
    rng = np.random.default_rng(seed)
    units: Literal["images", "cells"] = "images" if len(ours) >= FEWEST_IMAGES else "cells"
    if units == "images":
        tables = [np.concatenate([_of_all(found.cells) for found in side]) for side in (ours, others)]
    else:
        parts = [_of_cells(a, b) for a, b in zip(ours, others, strict=True)]
        tables = [np.concatenate([part[side] for part in parts]) for side in (0, 1)]
    matched = any(table[:, 3:].any() for table in tables)
    scores = [_scores(table, matched=matched) for table in tables]
    tests = {name: paired_test(scores[0][name], scores[1][name], units=units, rng=rng) for name in scores[0]}
    return _corrected(tests)


def _of_all(cells: Cells) -> NDArray[np.int64]:
    """Sum over a whole image: (1, 6) pixels and buildings that are tp, fp, fn."""
    pixels, objects = cells.pixel_counts().sum(axis=0), cells.object_counts().sum(axis=0)
    return np.concatenate([pixels, objects])[None]


def _of_cells(ours: PairFindings, others: PairFindings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give (n, 6) counts of the cells that both maps were seen on."""
    if not is_same_grid(ours.grid, others.grid):
        raise InputError(
            "the two maps were compared on different grids, so their cells are not the same ground",
            hint="give the truth as a raster, or both maps on one grid",
        )
    shared = [_shared(ours.cells, others.cells), _shared(others.cells, ours.cells)]
    seen = ours.cells.counted[shared[0]] & others.cells.counted[shared[1]]
    both = [
        np.concatenate([cells.pixels[part][seen][:, :3], cells.objects[part][seen]], axis=1).astype(np.int64)
        for cells, part in zip((ours.cells, others.cells), shared, strict=True)
    ]
    return both[0], both[1]


def _shared(cells: Cells, other: Cells) -> tuple[slice, slice]:
    """Give the rows and columns of cells that another window of the same grid reaches, too."""
    starts = [max(a - b, 0) for a, b in zip(other.first, cells.first, strict=True)]
    ends = [
        max(a + size - b, 0)
        for a, b, size in zip(other.first, cells.first, other.pixels.shape[:2], strict=True)
    ]
    return slice(starts[0], ends[0]), slice(starts[1], ends[1])


def _scores(table: NDArray[np.int64], *, matched: bool) -> dict[str, NDArray[np.float64]]:
    pixels, objects = (
        pixel_statistics(table[:, :3].astype(float)),
        object_statistics(table[:, 3:].astype(float)),
    )
    scores = {name: pixels[:, column] for column, name in enumerate(_PIXELS)}
    return scores | ({_OBJECTS: objects[:, 2]} if matched else {})


def _corrected(tests: dict[str, PairedTest]) -> dict[str, PairedTest]:
    two_sided = holm([test.p_value for test in tests.values()])
    greater = holm([test.p_greater for test in tests.values()])
    return {
        name: replace(test, p_value=p_value, p_greater=p_greater)
        for (name, test), p_value, p_greater in zip(tests.items(), two_sided, greater, strict=True)
    }
