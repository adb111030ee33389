"""Which way a second date lies off the first: every likely pair of buildings votes, and the mode is found.

Changes, false buildings and chance pairs vote all over the place, the same building seen twice votes for one
place. Rows of like houses vote for several places, one house further each.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.spatial import cKDTree

_LIKE = 1.5
"""Two buildings whose areas differ by this factor are not the same one."""
_MOST_CANDIDATES = 64
"""A building with more of the other date around it tells nothing, and costs as many pairs."""
_BINS = 2
"""Bins of a histogram per radius."""
_SMOOTHING = np.array([1.0, 2, 1])
"""A triangle one radius wide to either side."""
_MOST_PEAKS = 8
"""A shorter way than that of the highest peak is looked for among so many."""
_ROUNDS = 5
"""How often the median moves the circle that it is the median of."""
_FEWEST_PAIRS = 12
_SMALLEST_SHARE = 0.25
"""Of the buildings that could support a shift: half of them may have changed, and some are seen badly."""
_OVER_CHANCE = 3.0
"""How many times more pairs support a shift than would where votes fall anywhere."""
_RIVAL = 0.5
"""Height of a peak, as a share of the highest, from which on it is looked at."""
_NEAR_EQUAL = 0.8
_CELLS_AT_A_TIME = 2_000_000


class Points(NamedTuple):
    """Buildings of one date, by where they are and how large."""

    xy: NDArray[np.float64]
    """(n, 2) centroids in CRS units."""
    area: NDArray[np.float64]
    """(n,) in square CRS units."""


class Votes(NamedTuple):
    """Ways from a building of BEFORE to one of AFTER, in groups of which each has one shift."""

    group: NDArray[np.int64]
    """(v,) ascending."""
    way: NDArray[np.float64]
    """(v, 2) in CRS units."""
    weight: NDArray[np.int64]
    """(v,) how many pairs vote for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How far to look, all in CRS units."""

    tolerance: float
    """The longest shift."""
    radius: float
    """How far a pair may lie from the shift that it supports."""

    @property
    def reach(self) -> float:
        """The longest way that votes; with it the longest shift has all of its support."""
        return self.tolerance + self.radius


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """The shift of each group; NaN and 0 pairs where none has enough support."""

    way: NDArray[np.float64]
    """(g, 2) in CRS units."""
    pairs: NDArray[np.int64]
    """(g,) that support it."""
    spread: NDArray[np.float64]
    """(g,) median distance from it of the pairs that support it, in CRS units."""
    clear: NDArray[np.bool_]
    """(g,) whether no other way has as much support, as far as one can tell."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """(g,) whether there is a shift."""
        return self.pairs > 0


def cast_votes(before: Points, after: Points, group: NDArray[np.int64], search: Search) -> Votes:
    """Let each pair of buildings of like size within reach vote.

    Args:
        before: (n) buildings.
        after: Those of the other date around them.
        group: (n,) which group each of `before` votes in.
        search: How far to look.
    """
    if not len(before.area) or not len(after.area):
        return no_votes()
    tree = cKDTree(after.xy)
    around = tree.query_ball_point(before.xy, search.reach, return_length=True)
    few = np.flatnonzero(around <= _MOST_CANDIDATES)
    near = cKDTree(before.xy[few]).sparse_distance_matrix(tree, search.reach, output_type="ndarray")
    one, other = few[near["i"]], near["j"]
    areas = np.stack([before.area[one], after.area[other]])
    alike = areas.max(axis=0) < _LIKE * areas.min(axis=0)
    one, other = one[alike], other[alike]
    order = np.argsort(group[one], kind="stable")
    one, other = one[order], other[order]
    return Votes(group[one], after.xy[other] - before.xy[one], np.ones(len(one), np.int64))


def no_votes() -> Votes:
    """Give none."""
    return Votes(np.empty(0, np.int64), np.empty((0, 2)), np.empty(0, np.int64))


def find_modes(
    votes: Votes, could: NDArray[np.int64], search: Search, expected: NDArray[np.float64] | None = None
) -> Modes:
    """Find the way that most votes of each group agree on.

    Of several that have nearly the same support, as in a row of like houses, the one nearest to
    what is expected is taken. The order of the votes within a group has no influence.

    Args:
        votes: Groups are 0 to g - 1.
        could: (g,) how many pairs could support a shift: the buildings of the date that has fewer.
        search: How far to look.
        expected: (g, 2) shifts; none, if not given.
    """
    groups = len(could)
    expected = np.zeros((groups, 2)) if expected is None else expected
    step = max(_CELLS_AT_A_TIME // _side(search) ** 2, 1)
    found = []
    for first in range(0, groups, step):
        last = min(first + step, groups)
        begin, end = np.searchsorted(votes.group, [first, last])
        some = Votes(votes.group[begin:end] - first, votes.way[begin:end], votes.weight[begin:end])
        found.append(_find_modes(some, could[first:last], search, expected[first:last]))
    return Modes(
        way=np.concatenate([part.way for part in found]) if found else np.empty((0, 2)),
        pairs=np.concatenate([part.pairs for part in found]) if found else np.empty(0, np.int64),
        spread=np.concatenate([part.spread for part in found]) if found else np.empty(0),
        clear=np.concatenate([part.clear for part in found]) if found else np.empty(0, np.bool_),
    )


def _find_modes(
    votes: Votes, could: NDArray[np.int64], search: Search, expected: NDArray[np.float64]
) -> Modes:
    groups = np.arange(len(could))
    refined = [_refine(votes, centres, search.radius) for centres in _peaks(votes, len(could), search)]
    ways = np.stack([way for way, _ in refined])  # (k, g, 2)
    pairs = np.stack([count for _, count in refined])
    best = pairs.argmax(axis=0)
    most = pairs[best, groups]
    # a count of pairs is as uncertain as its root
    near_equal = pairs >= np.maximum(most - np.sqrt(most), _NEAR_EQUAL * most)
    off = np.where(near_equal & (pairs > 0), np.linalg.norm(ways - expected, axis=2), np.inf)
    chosen = off.argmin(axis=0)
    way, count = ways[chosen, groups], pairs[chosen, groups]
    away = np.linalg.norm(ways - way, axis=2) > 2 * search.radius
    total = np.bincount(votes.group, votes.weight, minlength=len(could))
    by_chance = (total - count) * (search.radius / search.reach) ** 2
    accepted = (count >= np.maximum(_FEWEST_PAIRS, _SMALLEST_SHARE * could)) & (
        count >= _OVER_CHANCE * by_chance
    )
    accepted &= np.linalg.norm(way, axis=1) <= search.tolerance
    return Modes(
        way=np.where(accepted[:, None], way, np.nan),
        pairs=np.where(accepted, count, 0),
        spread=np.where(accepted, _spread(votes, way, search.radius), np.nan),
        clear=~(near_equal & away).any(axis=0),
    )


def _side(search: Search) -> int:
    """Give the bins of a histogram along one side: those within reach, and room to blot out a peak."""
    return 2 * (int(np.ceil(search.reach * _BINS / search.radius)) + 2 * _BINS) + 1


def _peaks(votes: Votes, groups: int, search: Search) -> list[NDArray[np.float64]]:
    """Find the highest places of smoothed histograms, [(g, 2)] from high to low; NaN where there is none."""
    width, side = search.radius / _BINS, _side(search)
    cells = np.rint(votes.way / width).astype(np.int64) + side // 2
    flat = (votes.group * side + cells[:, 0]) * side + cells[:, 1]
    counts = np.bincount(flat, votes.weight, groups * side**2).reshape(groups, side, side)
    heights = correlate1d(correlate1d(counts, _SMOOTHING, 1, mode="constant"), _SMOOTHING, 2, mode="constant")
    around = np.arange(-2 * _BINS, 2 * _BINS + 1)
    every = np.arange(groups)
    found: list[NDArray[np.float64]] = []
    highest = heights.max(axis=(1, 2))
    while len(found) < _MOST_PEAKS:
        column, row = np.divmod(heights.reshape(groups, -1).argmax(axis=1), side)
        height = heights[every, column, row]
        is_peak = (height > 0) & (height >= _RIVAL * highest)
        if found and not is_peak.any():
            break
        centres = (np.stack([column, row], axis=1) - side // 2) * width
        found.append(np.where(is_peak[:, None], centres, np.nan))
        blot = np.clip(column[:, None] + around, 0, side - 1), np.clip(row[:, None] + around, 0, side - 1)
        heights[every[:, None, None], blot[0][:, :, None], blot[1][:, None, :]] = 0
    return found


def _refine(
    votes: Votes, centres: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Move centres, (g, 2), to the median of the votes around them, and count those around them then."""
    groups = len(centres)
    for _ in range(_ROUNDS):
        near = np.linalg.norm(votes.way - centres[votes.group], axis=1) <= radius
        group, weight = votes.group[near], votes.weight[near]
        centres = np.stack(
            [group_medians(values, weight, group, groups) for values in votes.way[near].T], axis=1
        )
    near = np.linalg.norm(votes.way - centres[votes.group], axis=1) <= radius
    return centres, np.bincount(votes.group[near], votes.weight[near], groups).astype(np.int64)


def _spread(votes: Votes, way: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    off = np.linalg.norm(votes.way - way[votes.group], axis=1)
    near = off <= radius
    return group_medians(off[near], votes.weight[near], votes.group[near], len(way))


def group_medians(
    values: NDArray[np.float64], weight: NDArray[np.int64], group: NDArray[np.int64], groups: int
) -> NDArray[np.float64]:
    """Give the weighted median of each group, (g,); NaN where a group has no value.

    Args:
        values: (v,)
        weight: (v,) how often each value counts.
        group: (v,) 0 to g - 1, ascending.
        groups: How many.
    """
    order = np.lexsort((values, group))
    until = np.cumsum(weight[order])
    total = np.bincount(group, weight, groups)
    half = np.cumsum(total) - total / 2
    middle = np.stack([np.searchsorted(until, half, side) for side in ("left", "right")])
    medians = np.full(groups, np.nan)
    some = total > 0
    medians[some] = values[order][middle[:, some]].mean(axis=0)
    return medians
