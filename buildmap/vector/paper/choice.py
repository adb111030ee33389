"""Outlines simplified by the way that suits their class, at the tolerance that scores best."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.paper.kinds import COMPLEX, NOISY, REGULAR
from buildmap.vector.paper.options import PaperOptions
from buildmap.vector.paper.points import GRID, Contours, cut_ring, smooth, turning
from buildmap.vector.paper.score import shape_of, terms
from buildmap.vector.paper.simplifiers import deviations, effective_areas, sample_by_curvature

SIMPLIFIERS = {REGULAR: "douglas-peucker", COMPLEX: "visvalingam-whyatt", NOISY: "curvature-sampling"}
"""The simplifier of each class."""

_DOUGLAS_PEUCKER, _VISVALINGAM, _SAMPLING = range(3)
_SMOOTHING_PASSES = 3


class Choice(NamedTuple):
    """How each polygon is simplified; its interiors go by what was chosen for its exterior."""

    simplifier: NDArray[np.int64]
    """(n,) place in `SIMPLIFIERS`."""
    tolerance_px: NDArray[np.float64]
    """(n,) pixels; 0 where every candidate collapsed, which leaves the polygon as it is."""
    score: NDArray[np.float64]
    """(n,) 0..1 of the chosen candidate."""


class Simplified(NamedTuple):
    """Simplified rings, not closed, in the places of their contours."""

    corners: NDArray[np.float64]
    """(c, 2) x and y."""
    starts: NDArray[np.int64]
    """(c,) the first of the contour's points that the edge after a corner stands for."""
    rings: NDArray[np.int64]
    """(r + 1,) where each ring starts in `corners`; collapsed ones are empty."""


def choose(outlines: Contours, kind: NDArray[np.object_], options: PaperOptions) -> Choice:
    """Choose the candidate with the highest score; of equal ones the coarser.

    Args:
        outlines: n polygons.
        kind: (n,) "regular", "complex" or "noisy".
        options: Candidates and weights.
    """
    names = list(SIMPLIFIERS)
    own = np.array([names.index(one) for one in kind], np.int64)
    weights = np.array([options.curvature_weight, options.ratio_weight, options.noise_weight])
    coarsest_first = np.sort(np.array(options.tolerances_px, np.float64))[::-1].copy()
    return Choice(*_choose(outlines, own, coarsest_first, weights / weights.sum(), options.all_simplifiers))


def simplify_contours(
    outlines: Contours, simplifier: NDArray[np.int64], tolerance_px: NDArray[np.float64]
) -> Simplified:
    """Simplify all rings of n polygons.

    Args:
        outlines: n polygons.
        simplifier: (n,) place in `SIMPLIFIERS`.
        tolerance_px: (n,) 0 leaves a polygon as it is.
    """
    return Simplified(*_simplify(outlines, simplifier, tolerance_px))


@compiled
def simplify_ring(
    corners: NDArray[np.float64],
    first_point: NDArray[np.int64],
    points: NDArray[np.float64],
    simplifier: int,
    tolerance: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Simplify one ring.

    Visvalingam and Whyatt's algorithm keeps the corners whose effective area is at least the square of
    the tolerance. Sampling takes its points from the smoothed contour.

    Args:
        corners: (c, 2) of the raw ring.
        first_point: (c,) first point after each.
        points: (p, 2) of the contour.
        simplifier: Place in `SIMPLIFIERS`.
        tolerance: Pixels; 0 leaves the ring as it is.

    Returns:
        (m, 2) corners and (m,) the first point after each.
    """
    if tolerance <= 0:
        return corners.copy(), first_point.copy()
    if simplifier == _SAMPLING:
        smoothed = smooth(points, _SMOOTHING_PASSES)
        chosen = sample_by_curvature(smoothed, turning(smoothed), tolerance)
        return np.round(smoothed[chosen] * GRID) / GRID, chosen
    if simplifier == _DOUGLAS_PEUCKER:
        kept = np.flatnonzero(deviations(corners) > tolerance)
    else:
        kept = np.flatnonzero(effective_areas(corners) >= tolerance * tolerance)
    return corners[kept], first_point[kept]


@compiled
def _choose(
    outlines: Contours,
    own: NDArray[np.int64],
    tolerances: NDArray[np.float64],
    weights: NDArray[np.float64],
    compete: bool,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    count = len(own)
    simplifier, tolerance, score = own.copy(), np.zeros(count), np.zeros(count)
    for polygon in range(count):
        exterior = outlines.polygons[polygon]
        corners, first_point, points = _ring(outlines, exterior)
        raw = shape_of(points)
        for candidate in range(3):
            if candidate != own[polygon] and not compete:
                continue
            for step in tolerances:
                ring, _ = simplify_ring(corners, first_point, points, candidate, step)
                if len(ring) < 3:
                    continue
                kept, alike, quiet = terms(raw, shape_of(cut_ring(ring)[0]))
                reached = weights[0] * kept + weights[1] * alike + weights[2] * quiet
                if reached > score[polygon]:
                    score[polygon] = reached
                    simplifier[polygon], tolerance[polygon] = candidate, step
    return simplifier, tolerance, score


@compiled
def _simplify(
    outlines: Contours, simplifier: NDArray[np.int64], tolerance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    rings = np.zeros(len(outlines.corner_rings), np.int64)
    room = max(len(outlines.corners), len(outlines.points))
    kept, starts = np.empty((room, 2)), np.empty(room, np.int64)
    for polygon in range(len(simplifier)):
        for ring in range(outlines.polygons[polygon], outlines.polygons[polygon + 1]):
            corners, first_point, points = _ring(outlines, ring)
            some, first = simplify_ring(corners, first_point, points, simplifier[polygon], tolerance[polygon])
            rings[ring + 1] = rings[ring]
            if len(some) >= 3:
                rings[ring + 1] += len(some)
                kept[rings[ring] : rings[ring + 1]] = some
                starts[rings[ring] : rings[ring + 1]] = first
    return kept[: rings[-1]].copy(), starts[: rings[-1]].copy(), rings


@compiled
def _ring(
    outlines: Contours, ring: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    one, other = outlines.corner_rings[ring], outlines.corner_rings[ring + 1]
    points = outlines.points[outlines.point_rings[ring] : outlines.point_rings[ring + 1]]
    return outlines.corners[one:other], outlines.first_point[one:other], points
