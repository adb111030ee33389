"""The principal directions of an outline, and whether it has any (HR-Mamba, section 2.6, third step)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.paper.clusters import clusters
from buildmap.vector.paper.hough import lines
from buildmap.vector.paper.options import PaperOptions
from buildmap.vector.paper.points import Contours

_LINE_SHARE_MIN = 0.04
_SQUARE_DEG = 10.0
_ALONG_DEG = 7.5


class Directions(NamedTuple):
    """Principal directions of n polygons; a polygon without lines has none."""

    angle: NDArray[np.float64]
    """(a,) radians, 0 up to pi, that with the most points of each polygon first."""
    polygons: NDArray[np.int64]
    """(n + 1,) where each polygon starts in `angle`."""
    consensus: NDArray[np.float64]
    """(n,) share of the exterior's points on lines within 7.5 degrees of a principal direction, beyond the
    share that would be there if lines had any direction; 1 = all, 0 = as by chance, less = fewer."""
    roundness: NDArray[np.float64]
    """(n,) root mean square of the deviation of the exterior's radii from their mean, over it."""


def principal_directions(outlines: Contours, options: PaperOptions) -> Directions:
    """Find the directions most of an exterior follows.

    The orientations of its lines are clustered by k-means. From the strongest cluster on, each that lies
    within 10 degrees of parallel or right angle to an earlier one is made exactly so, both sharing one
    mean; where only one direction is left, the right angle to it is added. The paper says that edges
    become "parallel or orthogonal to dominant structural directions" and gives no rule for it.
    """
    return Directions(*_directions(outlines, options.directions_max))


def is_organic(directions: Directions, options: PaperOptions) -> NDArray[np.bool_]:
    """Tell which outlines are round, or follow no direction, and are not to be regularized, (n,).

    HR-Mamba (section 4) asks for it, "detecting roundness or low directional consensus", without values.
    """
    lost = np.diff(directions.polygons) == 0
    lost |= directions.roundness < options.roundness_max
    return np.asarray(lost | (directions.consensus < options.consensus_min))


@compiled
def square_up(orientation: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make directions that are nearly parallel, or at right angles, exactly so.

    Args:
        orientation: (k,) radians.
        weight: (k,) positive; the heaviest come first.

    Returns:
        (a,) radians, 0 up to pi, no two alike; two at least when k is not 0.
    """
    quarter = np.pi / 2
    frame, total = [0.0 for _ in range(0)], [0.0 for _ in range(0)]
    member = np.empty(len(orientation), np.int64)
    for i in np.argsort(-weight, kind="mergesort"):
        member[i] = -1
        for j in range(len(frame)):
            turn = (orientation[i] - frame[j] + quarter / 2) % quarter - quarter / 2
            if abs(turn) <= np.radians(_SQUARE_DEG):
                total[j] += weight[i]
                frame[j] += turn * weight[i] / total[j]
                member[i] = j
                break
        if member[i] < 0:
            member[i] = len(frame)
            frame.append(orientation[i])
            total.append(weight[i])
    angle = [0.0 for _ in range(0)]
    for i in np.argsort(-weight, kind="mergesort"):
        own = frame[member[i]] % quarter
        _add_new(angle, own + quarter * np.round((orientation[i] - own) / quarter))
    if len(angle) == 1:
        _add_new(angle, angle[0] + quarter)
    return np.array(angle)


@compiled
def roundness(points: NDArray[np.float64]) -> float:
    """Give the root mean square deviation of the radii of a ring from their mean, over that mean."""
    x, y = points[:, 0].mean(), points[:, 1].mean()
    radius = np.sqrt((points[:, 0] - x) ** 2 + (points[:, 1] - y) ** 2)
    return float(radius.std() / radius.mean()) if radius.mean() > 0 else 0.0


@compiled
def _add_new(angle: list[float], other: float) -> None:
    """Add a direction that is not there yet."""
    other = other % np.pi
    for known in angle:
        if abs((other - known + np.pi / 2) % np.pi - np.pi / 2) < 1e-9:
            return
    angle.append(other)


@compiled
def _directions(
    outlines: Contours, limit: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    count = len(outlines.polygons) - 1
    starts = np.zeros(count + 1, np.int64)
    angle = np.empty(count * (limit + 2))
    consensus, round_by = np.zeros(count), np.zeros(count)
    for polygon in range(count):
        exterior = outlines.polygons[polygon]
        points = outlines.points[outlines.point_rings[exterior] : outlines.point_rings[exterior + 1]]
        round_by[polygon] = roundness(points)
        orientation, members = lines(points, _LINE_SHARE_MIN)
        found = _cluster_means(orientation, members.astype(np.float64), limit)
        starts[polygon + 1] = starts[polygon] + len(found)
        angle[starts[polygon] : starts[polygon + 1]] = found
        along = 0
        for i in range(len(orientation)):
            for one in found:
                turn = abs((orientation[i] - one + np.pi / 2) % np.pi - np.pi / 2)
                if turn <= np.radians(_ALONG_DEG):
                    along += members[i]
                    break
        chance = len(found) * 2 * _ALONG_DEG / 180
        consensus[polygon] = (along / len(points) - chance) / (1 - chance)
    return angle[: starts[count]].copy(), starts, consensus, round_by


@compiled
def _cluster_means(
    orientation: NDArray[np.float64], weight: NDArray[np.float64], limit: int
) -> NDArray[np.float64]:
    """Cluster orientations, and square up the means of the clusters."""
    if not len(orientation):
        return np.empty(0)
    member = clusters(orientation, weight, limit)
    mean, total = [0.0 for _ in range(0)], [0.0 for _ in range(0)]
    for number in range(member.max() + 1):
        x, y, mass = 0.0, 0.0, 0.0
        for i in range(len(member)):
            if member[i] == number:
                x += weight[i] * np.cos(2 * orientation[i])
                y += weight[i] * np.sin(2 * orientation[i])
                mass += weight[i]
        if mass > 0:
            mean.append(float(0.5 * np.arctan2(y, x) % np.pi))
            total.append(mass)
    return square_up(np.array(mean), np.array(total))
