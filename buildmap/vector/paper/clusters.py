"""Orientations gathered into clusters: k-means on the circle, as many as the silhouette says.

An orientation has no sense, so it is a point on the unit circle at twice its angle.
"""

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled

_ONE_CLUSTER_DEG = 15.0
_ROUNDS_MAX = 100


@compiled
def clusters(orientation: NDArray[np.float64], weight: NDArray[np.float64], limit: int) -> NDArray[np.int64]:
    """Put each orientation into a cluster.

    The number of clusters is that with the highest mean silhouette, from two up to a limit; of equal ones
    the fewest. A single cluster has no silhouette: there is one when all lie within 15 degrees.

    Args:
        orientation: (k,) radians.
        weight: (k,) positive.
        limit: Most clusters.

    Returns:
        (k,) numbers from 0 on.
    """
    places = on_circle(orientation)
    best = np.zeros(len(places), np.int64)
    if limit < 2 or len(places) < 2 or _spread(places) <= 2 * np.sin(np.radians(_ONE_CLUSTER_DEG)):
        return best
    reached = -2.0
    for count in range(2, min(limit, len(places)) + 1):
        member = k_means(places, weight, first_centres(places, weight, count))
        quality = silhouette(places, member)
        if quality > reached + 1e-9:
            best, reached = member, quality
    return best


@compiled
def on_circle(orientation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the place of each orientation on the unit circle, (k, 2)."""
    places = np.empty((len(orientation), 2))
    places[:, 0], places[:, 1] = np.cos(2 * orientation), np.sin(2 * orientation)
    return places


@compiled
def first_centres(
    places: NDArray[np.float64], weight: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Begin with the heaviest place, then always the one farthest from those chosen, (count, 2)."""
    centres = np.empty((count, 2))
    centres[0] = places[np.argmax(weight)]
    nearest = ((places - centres[0]) ** 2).sum(axis=1)
    for number in range(1, count):
        centres[number] = places[np.argmax(nearest)]
        nearest = np.minimum(nearest, ((places - centres[number]) ** 2).sum(axis=1))
    return centres


@compiled
def k_means(
    places: NDArray[np.float64], weight: NDArray[np.float64], centres: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Cluster places by Lloyd's algorithm until nothing changes.

    Args:
        places: (k, 2).
        weight: (k,) positive.
        centres: (c, 2) to begin with; a cluster that loses all keeps its centre.

    Returns:
        (k,) the number of the nearest centre; of equal ones the first.
    """
    moved = centres.copy()
    member = np.full(len(places), -1, np.int64)
    for _ in range(_ROUNDS_MAX):
        changed = False
        for i in range(len(places)):
            nearest = int(np.argmin(((moved - places[i]) ** 2).sum(axis=1)))
            changed |= nearest != member[i]
            member[i] = nearest
        if not changed:
            break
        for number in range(len(moved)):
            total, x, y = 0.0, 0.0, 0.0
            for i in range(len(places)):
                if member[i] == number:
                    total += weight[i]
                    x += weight[i] * places[i, 0]
                    y += weight[i] * places[i, 1]
            if total > 0:
                moved[number, 0], moved[number, 1] = x / total, y / total
    return member


@compiled
def silhouette(places: NDArray[np.float64], member: NDArray[np.int64]) -> float:
    """Give the mean silhouette (Rousseeuw, 1987) by straight distances; a place alone counts 0.

    Args:
        places: (k, 2).
        member: (k,) the cluster of each.

    Returns:
        -1..1; -1 where there is one cluster only.
    """
    count = int(member.max()) + 1
    size = np.zeros(count)
    for number in member:
        size[number] += 1
    if (size > 0).sum() < 2:
        return -1.0
    total = 0.0
    for i in range(len(places)):
        distance = np.zeros(count)
        for j in range(len(places)):
            distance[member[j]] += np.sqrt(((places[i] - places[j]) ** 2).sum())
        own = member[i]
        if size[own] < 2:
            continue
        within, other = distance[own] / (size[own] - 1), np.inf
        for number in range(count):
            if number != own and size[number] > 0:
                other = min(other, distance[number] / size[number])
        if max(within, other) > 0:
            total += (other - within) / max(within, other)
    return total / len(places)


@compiled
def _spread(places: NDArray[np.float64]) -> float:
    """Give the largest distance of two places."""
    widest = 0.0
    for place in places:
        widest = max(widest, ((places - place) ** 2).sum(axis=1).max())
    return float(np.sqrt(widest))
