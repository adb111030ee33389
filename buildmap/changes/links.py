"""Which buildings of two dates may be the same, from north to south, in the memory of what is still open.

Buildings and links make a graph of two sides, and what becomes of a building is settled in its component.
Drawings of a row of houses overlap those of the neighbours a little; so only a pair that shares a fair part
of its ground is linked, or whole streets would be one component.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from buildmap.changes.buildings import Buildings, gather, no_buildings
from buildmap.errors import InputError
from buildmap.vector.matching import Overlaps, find_overlaps

_DIGITS = 9  # beyond lies noise, which would decide at the thresholds
_NO_ROW = np.iinfo(np.int64).max
_MOST_COPIES = 20_000_000
"""Pairs of buildings in one place: more take gigabytes, and tell that a layer holds copies."""
_PILE = 1_000
_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """Buildings of two dates, with every building that is linked to one of them."""

    before: Buildings
    """n of the first date."""
    after: Buildings
    """m of the second."""
    overlaps: Overlaps
    """The pairs that are linked, as indices into both; not those that share less ground."""


class Linker:
    """Links buildings that come from north to south; the result does not depend on the strips.

    Over all calls, components come by their lowest y, the greatest first; of equal ones, first that with the
    lowest `row` before, then that with the lowest `row` after, those without a building of a date last. The
    buildings of a component come by `row`.

    Memory holds the buildings that something still to come may reach, and what is linked to them.
    """

    def __init__(self, *, link_share: float = 0.1, link_iou: float = 0.05) -> None:
        """Start with no building.

        Args:
            link_share: A pair is linked that shares more than this part of the smaller's area.
            link_iou: And one whose intersection over union is higher than this.

        Raises:
            ValueError: If one is not within 0..1.
        """
        for name, value in (("link_share", link_share), ("link_iou", link_iou)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} {value} is not within 0..1")
        self._share, self._iou = link_share, link_iou
        self._below = np.inf
        self._held = _Sides(no_buildings({}), no_buildings({}))
        self._links = find_overlaps(self._held.before.store, self._held.after.store)

    def __len__(self) -> int:
        """Count the buildings held."""
        return len(self._held.before) + len(self._held.after)

    def push(self, before: Buildings, after: Buildings, *, below: float) -> Linked:
        """Take buildings of both dates, in any order, and give those that nothing to come can reach.

        Args:
            before: Of the first date; none reaches above the last `below`.
            after: Of the second, moved to where they would have been on the first; none reaches above it.
            below: No building of either date still to come reaches above this y.

        Raises:
            ValueError: If a building reaches above the last `below`, or that was lower.
            InputError: If thousands of buildings are copies of each other.
        """
        highest = max(below, *(part.store.bounds[:, 3].max(initial=-np.inf) for part in (before, after)))
        if not highest <= self._below:
            raise ValueError(f"y {highest} comes after y {self._below}")
        self._below = below
        sides = _Sides(gather(self._held.before, before), gather(self._held.after, after))
        _refuse_piles(sides)
        links = self._links_of(sides, len(before), len(after))
        closed, still_open = _parted(sides, links, below)
        self._held, self._links = sides.take(still_open), _within(links, still_open)
        whole = sides.take(closed)
        return Linked(before=whole.before, after=whole.after, overlaps=_within(links, closed))

    def finish(self) -> Linked:
        """Give the rest."""
        return self.push(no_buildings({}), no_buildings({}), below=-np.inf)

    def _links_of(self, sides: "_Sides", fresh_before: int, fresh_after: int) -> Overlaps:
        """Add the links of the last buildings of both sides to those held."""
        old_before, old_after = len(sides.before) - fresh_before, len(sides.after) - fresh_after
        before, after = sides.before.store, sides.after.store
        with_any = find_overlaps(before.select(slice(old_before, None)), after)
        with_fresh = find_overlaps(self._held.before.store, after.select(slice(old_after, None)))
        parts = [
            (self._links, 0, 0),
            (self._enough(with_any), old_before, 0),
            (self._enough(with_fresh), 0, old_after),
        ]
        return Overlaps(
            left=np.concatenate([part.left + added for part, added, _ in parts]),
            right=np.concatenate([part.right + added for part, _, added in parts]),
            shared=np.concatenate([part.shared for part, _, _ in parts]),
            left_area=before.area,
            right_area=after.area,
        )

    def _enough(self, overlaps: Overlaps) -> Overlaps:
        """Keep the pairs that share enough to be linked."""
        smaller = np.minimum(overlaps.left_area[overlaps.left], overlaps.right_area[overlaps.right])
        linked = np.round(overlaps.shared / smaller, _DIGITS) > self._share
        return _chosen(overlaps, np.flatnonzero(linked | (overlaps.iou > self._iou)))


class _Sides(NamedTuple):
    """Buildings of both dates."""

    before: Buildings
    after: Buildings

    def take(self, rows: "_Rows") -> "_Sides":
        return _Sides(self.before.take(rows.before), self.after.take(rows.after))


def _refuse_piles(sides: _Sides) -> None:
    """Look for boxes that occur so often at both dates that their pairs would fill the memory."""
    boxes = [part.store.bounds for part in sides]
    if len(boxes[0]) * len(boxes[1]) <= _MOST_COPIES:
        return
    (before, befores), (after, afters) = map(_piles, boxes)
    meet = (before[:, None, :2] < after[:, 2:]) & (before[:, None, 2:] > after[:, :2])
    pairs = np.where(meet.all(axis=2), np.multiply.outer(befores, afters), 0)
    if pairs.max(initial=0) > _MOST_COPIES:
        worst, other = np.unravel_index(pairs.argmax(), pairs.shape)
        left, bottom = before[worst, :2].tolist()
        raise InputError(
            f"{befores[worst]:,} buildings of BEFORE and {afters[other]:,} of AFTER are copies in one place, "
            f"at {left:.9g}, {bottom:.9g}",
            hint="keep one of each: ogr2ogr -dialect SQLite -sql 'SELECT * FROM layer GROUP BY geom' ...",
        )


def _piles(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give the boxes that occur often, (k, 4), and how often each does, (k,)."""
    _, first, count = np.unique(_keys(boxes), return_index=True, return_counts=True)
    often = count >= _PILE
    return boxes[first[often]], count[often]


def _keys(boxes: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Give (n,) numbers that are equal where (n, 4) boxes are."""
    return np.asarray((np.ascontiguousarray(boxes).view(np.uint64) * _ODD).sum(axis=1))


class _Rows(NamedTuple):
    """Indices of some buildings of both dates."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]


def find_components(links: Overlaps) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the components that links make.

    Args:
        links: Between n buildings before and m after.

    Returns:
        (n,) and (m,) number of the component of each, counted from 0, in no order that means anything.
    """
    count_before, count = len(links.left_area), len(links.left_area) + len(links.right_area)
    ends = (links.left, links.right + count_before)
    graph = coo_array((np.ones(len(links.left), np.int8), ends), shape=(count, count))
    component = np.asarray(connected_components(graph, directed=False)[1], np.int64)
    return component[:count_before], component[count_before:]


def rank_components(
    before: Buildings, after: Buildings, components: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Put components in the order of `Linker`.

    Args:
        before: n buildings.
        after: m buildings.
        components: By `find_components`.

    Returns:
        (c,) rank of each component, from 0, and (c,) its lowest y.
    """
    count = 1 + max(part.max(initial=-1) for part in components)
    lowest, first_rows = np.full(count, np.inf), []
    for buildings, component in zip((before, after), components, strict=True):
        np.minimum.at(lowest, component, buildings.store.bounds[:, 1])
        first_rows.append(np.full(count, _NO_ROW))
        np.minimum.at(first_rows[-1], component, buildings.row)
    # what closes later has a lower y: so the order is the same for any strips
    rank = np.empty(count, np.int64)
    rank[np.lexsort((*first_rows[::-1], -lowest))] = np.arange(count)
    return rank, lowest


def _parted(sides: _Sides, links: Overlaps, below: float) -> tuple[_Rows, _Rows]:
    """Tell whose component nothing below can reach, in the order of `Linker`, and who is still open."""
    components = find_components(links)
    rank, lowest = rank_components(sides.before, sides.after, components)
    is_closed = lowest >= below
    closed, still_open = [], []
    for buildings, component in zip(sides, components, strict=True):
        done = np.flatnonzero(is_closed[component])
        closed.append(done[np.lexsort((buildings.row[done], rank[component[done]]))])
        still_open.append(np.flatnonzero(~is_closed[component]))
    return _Rows(*closed), _Rows(*still_open)


def _within(links: Overlaps, rows: _Rows) -> Overlaps:
    """Give the links of some buildings, by their numbers among these; sorted by left, then right."""
    left = _renumbered(links.left, rows.before, len(links.left_area))
    right = _renumbered(links.right, rows.after, len(links.right_area))
    inside = np.flatnonzero(left >= 0)
    order = inside[np.lexsort((right[inside], left[inside]))]
    return Overlaps(
        left=left[order],
        right=right[order],
        shared=links.shared[order],
        left_area=links.left_area[rows.before],
        right_area=links.right_area[rows.after],
    )


def _renumbered(ends: NDArray[np.int64], chosen: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Give the place of each of `ends` among the chosen of `count`, -1 where it is not among them."""
    number = np.full(count, -1)
    number[chosen] = np.arange(len(chosen))
    return number[ends]


def _chosen(overlaps: Overlaps, pairs: NDArray[np.int64]) -> Overlaps:
    return Overlaps(
        left=overlaps.left[pairs],
        right=overlaps.right[pairs],
        shared=overlaps.shared[pairs],
        left_area=overlaps.left_area,
        right_area=overlaps.right_area,
    )
