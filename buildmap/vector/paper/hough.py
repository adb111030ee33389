"""Straight lines among the points of a contour, by votes in polar space (Hough)."""

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled

_ANGLES = np.arange(90) * (np.pi / 90)
_NORMALS = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
_POINTS_MIN = 5
_BAND_PX = 1.0


@compiled
def votes(points: NDArray[np.float64], normals: NDArray[np.float64]) -> tuple[NDArray[np.int32], int]:
    """Count the points on every line x cos(angle) + y sin(angle) = distance, to a pixel.

    Args:
        points: (p, 2).
        normals: (a, 2) cosines and sines of the angles.

    Returns:
        (a, d) votes, and the column of distance 0.
    """
    zero = int(np.ceil(np.sqrt((points**2).sum(axis=1).max()))) + 1
    counted = np.zeros((len(normals), 2 * zero + 1), np.int32)
    for i in range(len(points)):
        _vote(counted, zero, points[i], normals, 1)
    return counted, zero


@compiled
def lines(points: NDArray[np.float64], share_min: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the straight lines of a contour, that with the most points first.

    The line with the most votes is laid through the points within a pixel of it by total least squares:
    votes alone know its orientation to two degrees. It takes the points within a pixel away from the
    others, then the next is found, until one has less than a share of all points, or less than five.
    HR-Mamba (section 2.6, third step) gives neither the steps of the votes nor the rule for peaks.

    Args:
        points: (p, 2) about a pixel apart.
        share_min: 0..1 of the points.

    Returns:
        (k,) orientations of the lines in radians, 0 up to pi, and (k,) their points.
    """
    centred = points - np.array([_middle(points[:, 0]), _middle(points[:, 1])])
    counted, zero = votes(centred, _NORMALS)
    fewest = max(float(_POINTS_MIN), share_min * len(points))
    free = np.ones(len(points), np.bool_)
    orientation, members = [0.0 for _ in range(0)], [0 for _ in range(0)]
    while True:
        best = int(np.argmax(counted))
        angle, column = best // counted.shape[1], best % counted.shape[1]
        if counted[angle, column] < fewest:
            break
        taken = _take(centred, free, _NORMALS[angle], float(column - zero))
        taken = _retake(centred, free, taken)
        for i in taken:
            free[i] = False
            _vote(counted, zero, centred[i], _NORMALS, -1)
        orientation.append(_orientation(centred, taken))
        members.append(len(taken))
    return np.array(orientation), np.array(members)


@compiled
def _middle(values: NDArray[np.float64]) -> float:
    return float(np.round((values.min() + values.max()) / 2))


@compiled
def _vote(
    counted: NDArray[np.int32],
    zero: int,
    point: NDArray[np.float64],
    normals: NDArray[np.float64],
    ballots: int,
) -> None:
    for a in range(len(normals)):
        distance = point[0] * normals[a, 0] + point[1] * normals[a, 1]
        counted[a, zero + int(np.floor(distance + 0.5))] += ballots


@compiled
def _take(
    points: NDArray[np.float64], free: NDArray[np.bool_], normal: NDArray[np.float64], distance: float
) -> NDArray[np.int64]:
    """Find the free points within a pixel of a line."""
    taken = np.empty(len(points), np.int64)
    count = 0
    for i in range(len(points)):
        off = points[i, 0] * normal[0] + points[i, 1] * normal[1] - distance
        if free[i] and -_BAND_PX <= off <= _BAND_PX:
            taken[count] = i
            count += 1
    return taken[:count]


@compiled
def _retake(
    points: NDArray[np.float64], free: NDArray[np.bool_], taken: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Find the free points within a pixel of the line through some points, or give these if they are more."""
    along = _orientation(points, taken)
    normal = np.array([-np.sin(along), np.cos(along)])
    off = 0.0
    for i in taken:
        off += points[i, 0] * normal[0] + points[i, 1] * normal[1]
    again = _take(points, free, normal, off / len(taken))
    return again if len(again) >= len(taken) else taken


@compiled
def _orientation(points: NDArray[np.float64], taken: NDArray[np.int64]) -> float:
    """Give the orientation of some points by total least squares, 0 up to pi."""
    x, y = 0.0, 0.0
    for i in taken:
        x += points[i, 0]
        y += points[i, 1]
    x, y = x / len(taken), y / len(taken)
    xx, xy, yy = 0.0, 0.0, 0.0
    for i in taken:
        dx, dy = points[i, 0] - x, points[i, 1] - y
        xx += dx * dx
        xy += dx * dy
        yy += dy * dy
    return float(0.5 * np.arctan2(2 * xy, xx - yy) % np.pi)
