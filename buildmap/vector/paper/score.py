"""The weighted score by which HR-Mamba chooses among simplified outlines (section 2.6, second step)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.paper.measures import noise_of
from buildmap.vector.paper.points import length_and_area, smooth, turning

_BENDS = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
"""Radians per pixel between the classes of curvature."""
_SMOOTHING_PASSES = 2


class Shape(NamedTuple):
    """What a ring is compared by."""

    bends: NDArray[np.float64]
    """(7,) share of the points, smoothed, in each class of curvature; from straight up."""
    ratio: float
    """Perimeter over area, per pixel; 0 where there is no area."""
    noise: float
    """Mean distance of the points from their smoothed places, over the perimeter."""


@compiled
def terms(raw: Shape, simplified: Shape) -> tuple[float, float, float]:
    """Compare a simplified ring with its contour; the paper names the terms and gives no formula.

    Curvature: what the distributions of curvature along both have in common. Ratio: the smaller of their
    perimeter-area ratios over the larger. Noise: the share of the contour's noise that is gone.

    Returns:
        Three values 0..1; zeros where one has no area.
    """
    if raw.ratio <= 0 or simplified.ratio <= 0:
        return 0.0, 0.0, 0.0
    curvature = np.minimum(raw.bends, simplified.bends).sum()
    ratio = min(raw.ratio, simplified.ratio) / max(raw.ratio, simplified.ratio)
    quiet = 1.0 - min(1.0, simplified.noise / raw.noise) if raw.noise > 0 else 0.0
    return float(curvature), ratio, quiet


@compiled
def shape_of(points: NDArray[np.float64]) -> Shape:
    """Describe a ring by its points, (p, 2), about a pixel apart."""
    length, area = length_and_area(points)
    return Shape(bend_shares(points), length / area if area > 0 else 0.0, noise_of(points, length))


@compiled
def bend_shares(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the share of the points of a ring, smoothed, in each of seven classes of curvature.

    Args:
        points: (p, 2).

    Returns:
        (7,) with the sum 1, from straight to a curvature of 0.8 radians per pixel and more.
    """
    curvature = turning(smooth(points, _SMOOTHING_PASSES))
    shares = np.zeros(len(_BENDS) + 1)
    for bend in curvature:
        place = 0
        while place < len(_BENDS) and bend >= _BENDS[place]:
            place += 1
        shares[place] += 1.0
    return shares / len(points)
