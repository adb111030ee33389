"""Splitting a component of touching buildings where the probability dips between them."""

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.outlining import STEPS
from buildmap.vector.tracing.flood import flood, frame, plant, unframe
from buildmap.vector.tracing.trace import NODATA

MIN_SEED_PX = 20
"""Fewer pixels are no middle of a building."""
MAX_SPLIT_PX = 2**24
"""Pixels of the largest picture that is split, which takes some 250 MB: larger components stay whole."""


def seed_score(values: NDArray[np.uint8], border: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Give body * (1 - border), the score of the SpaceNet-4 recipe: low between touching buildings.

    Args:
        values: (rows, cols) probability of a building, 0..254, 255 no data.
        border: (rows, cols) probability of a border between buildings, 0..254, 255 no data.

    Returns:
        (rows, cols) 0..254, rounded to the nearest; 0 without data, `values` where only the border has
        none.
    """
    score = np.where(values == NODATA, np.uint8(0), values)
    if border is None:
        return score
    body = np.where(border == NODATA, np.uint16(STEPS), np.uint16(STEPS) - border)
    return ((score * body + np.uint16(STEPS // 2)) // np.uint16(STEPS)).astype(np.uint8)


def split(
    values: NDArray[np.uint8],
    component: NDArray[np.bool_],
    *,
    seed_value: int,
    min_seed_px: int = MIN_SEED_PX,
    border: NDArray[np.uint8] | None = None,
) -> NDArray[np.int32]:
    """Give every pixel of a component to one of its seeds.

    Seeds are the 4-connected parts of `seed_score` from `seed_value` on. They grow where the score is
    highest, in the order of a watershed (Meyer), ties first come first served; seeds come in the order of
    their pixels. Every label is 4-connected.

    Args:
        values: (rows, cols) probability of a building, 0..254, 255 no data.
        component: (rows, cols) True on one 4-connected component.
        seed_value: Lowest score within a seed.
        min_seed_px: Smaller seeds are none.
        border: (rows, cols) probability of a border between buildings, if there is one.

    Returns:
        (rows, cols) 0 off the component; 1, 2, ... in the order of the seeds' first pixels. With fewer
        than two seeds, 1 on the whole component.

    Raises:
        ValueError: If the pictures have different shapes or more than `MAX_SPLIT_PX`, or the component is
            in pieces and a piece has no seed.
    """
    if values.shape != component.shape or (border is not None and border.shape != values.shape):
        raise ValueError(f"values {values.shape}, component {component.shape} and border differ in shape")
    if values.size > MAX_SPLIT_PX:
        raise ValueError(f"a picture of {values.size} pixels is too large to split")
    width = values.shape[1] + 2
    labels, score = frame(component, seed_score(values, border))
    if plant(labels, score, width, seed_value, min_seed_px) < 2:
        return component.astype(np.int32)
    if flood(labels, score, width):
        raise ValueError("the component is not 4-connected")
    return unframe(labels, width)
