"""How regular, complex and noisy a contour is: the three measures of HR-Mamba, section 2.6."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.paper.points import Contours, contours, length_and_area, smooth, turning


@dataclass(frozen=True, slots=True, kw_only=True)
class ContourMeasures:
    """Measures of the exteriors of some polygons."""

    curvature: NDArray[np.float64]
    """(n,) mean discrete curvature, radians per pixel."""
    ratio: NDArray[np.float64]
    """(n,) perimeter over area, per pixel."""
    noise: NDArray[np.float64]
    """(n,) mean distance of the points from their smoothed places, over the perimeter; no unit."""

    def __len__(self) -> int:
        return len(self.curvature)


def measure(polygons: NDArray[np.object_]) -> ContourMeasures:
    """Measure the exteriors of polygons by their contours (HR-Mamba, section 2.6, first step).

    The vertices of the paper are the points of `points.contours`: at the corners of a pixel-edge
    ring every turn is a right angle, which says nothing of the shape.

    Args:
        polygons: (n,) not empty, in pixels.

    Raises:
        ValueError: If something else than a polygon is among them, or one is empty.
    """
    return measure_contours(contours(polygons))


def measure_contours(outlines: Contours) -> ContourMeasures:
    """Measure the exteriors of n contours."""
    curvature, ratio, noise = _measure(outlines.points, outlines.point_rings, outlines.polygons)
    return ContourMeasures(curvature=curvature, ratio=ratio, noise=noise)


@compiled
def noise_of(points: NDArray[np.float64], length: float) -> float:
    """Give the mean distance of the points of a ring from their smoothed places, over its length."""
    smoothed = smooth(points, 1)
    total = 0.0
    for i in range(len(points)):
        total += np.sqrt((points[i, 0] - smoothed[i, 0]) ** 2 + (points[i, 1] - smoothed[i, 1]) ** 2)
    return float(total / (len(points) * length)) if length > 0 else 0.0


@compiled
def _measure(
    points: NDArray[np.float64], rings: NDArray[np.int64], polygons: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    count = len(polygons) - 1
    curvature, ratio, noise = np.empty(count), np.empty(count), np.empty(count)
    for polygon in range(count):
        exterior = polygons[polygon]
        ring = points[rings[exterior] : rings[exterior + 1]]
        length, area = length_and_area(ring)
        curvature[polygon] = turning(ring).mean()
        ratio[polygon] = length / area if area > 0 else np.inf
        noise[polygon] = noise_of(ring, length)
    return curvature, ratio, noise
