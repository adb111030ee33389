"""How far one date lies off another, from place to place: a translation per square block of ground.

Imagery of two dates is misregistered by metres. A block whose buildings do not tell takes the shift of the
nine blocks around it together, or that of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.changes.votes import Modes, Points, Search, Votes, cast_votes, find_modes, no_votes

__all__ = ["Points", "ShiftBlocks", "ShiftField", "ShiftSurvey"]

_RADIUS_M = 1.0
"""How far the centroids of a building, drawn twice, may lie from the shift, at least."""
_RADIUS_SHARE = 0.1
"""The same, as a share of the longest shift: where that is long, pixels are large."""
_TALLY_BINS = 20
"""Bins per radius of the tally of all votes."""
_COLUMNS = 2**32
"""More than a row of blocks has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftBlocks:
    """The blocks in which any building stands, from north to south, each row from west to east."""

    box: NDArray[np.float64]
    """(b, 4) left, bottom, right, top in CRS units."""
    dx: NDArray[np.float64]
    """(b,) how far AFTER lies to the right of BEFORE, in CRS units."""
    dy: NDArray[np.float64]
    """(b,) how far it lies above, in CRS units."""
    pairs: NDArray[np.int64]
    """(b,) how many pairs of buildings support that."""
    spread: NDArray[np.float64]
    """(b,) median distance of those pairs from the shift, in CRS units; NaN where there are none."""
    source: NDArray[np.str_]
    """(b,) whose pairs they are: "own", "neighbours", "all" or "none"."""

    def __len__(self) -> int:
        return len(self.dx)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftField:
    """How far AFTER lies off BEFORE, anywhere."""

    blocks: ShiftBlocks
    """Shifts at the centres of blocks."""
    block: float
    """Side of a block in CRS units."""
    overall: tuple[float, float]
    """Shift of all blocks together, right and up in CRS units; (0, 0) where none was found."""

    def at(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the shift of AFTER against BEFORE at points of AFTER or BEFORE, (n, 2) in CRS units.

        It is bilinear between the centres of blocks; blocks without a building have no say. Far from any
        block it is the overall shift.

        Args:
            xy: (n, 2) in CRS units.
        """
        if not len(self.blocks):
            return np.tile(self.overall, (len(xy), 1))
        place = xy / self.block - 0.5
        corner = np.floor(place).astype(np.int64)
        part = place - corner
        shift, weights = np.zeros((len(xy), 2)), np.zeros(len(xy))
        known = np.stack([self.blocks.dx, self.blocks.dy], axis=1)
        numbers = _number(np.rint(self.blocks.box[:, :2] / self.block).astype(np.int64))
        for right, up in ((0, 0), (1, 0), (0, 1), (1, 1)):
            index, is_known = _look_up(_number(corner + np.array([right, up])), numbers)
            weight = np.abs(1 - right - part[:, 0]) * np.abs(1 - up - part[:, 1]) * is_known
            weights += weight
            shift += weight[:, None] * known[index]
        near = weights > 0
        shift[near] /= weights[near, None]
        shift[~near] = self.overall
        return shift


class _Row(NamedTuple):
    """A row of blocks that has all of its votes."""

    number: int
    """Of the row, upwards from the origin of the CRS."""
    columns: NDArray[np.int64]
    """(b,) ascending numbers of its blocks, to the right from the origin."""
    could: NDArray[np.int64]
    """(b,) how many pairs could support a shift."""
    votes: Votes
    """Their groups are indices of `columns`."""


class ShiftSurvey:
    """Estimates shifts from buildings that stream by from north to south.

    Blocks lie on a lattice through the origin of the CRS, so that neither the batches nor the extent have
    an influence. It holds the votes of three rows of blocks, and the buildings of rows not complete.
    """

    def __init__(self, *, block: float, tolerance: float, unit_m: float = 1.0) -> None:
        """Start with no building.

        Args:
            block: Side of a block in CRS units.
            tolerance: The longest shift looked for, in CRS units; with 0 there is none.
            unit_m: Metres per CRS unit.

        Raises:
            ValueError: If a block is not larger than the tolerance, or a length is negative.
        """
        radius = max(_RADIUS_M / unit_m, _RADIUS_SHARE * tolerance)
        self._search = Search(tolerance=tolerance, radius=radius)
        if not 0 <= tolerance < self._search.reach < block:
            raise ValueError(f"blocks of {block} do not hold shifts of {tolerance} and {radius} around it")
        self._block = block
        self._before = self._after = Points(np.empty((0, 2)), np.empty(0))
        self._counted = 0
        self._limit = np.inf
        self._older: _Row | None = None
        self._newer: _Row | None = None
        self._tally = _Tally(self._search)
        self._settled: list[ShiftBlocks] = []

    def push(self, before: Points, after: Points, *, below: float) -> None:
        """Take buildings of both dates, in any order.

        Args:
            before: Of the first date.
            after: Of the second.
            below: No building still to come has its centroid above this y.

        Raises:
            ValueError: If one has its centroid above what was said before.
        """
        for points in (before, after):
            if len(points.area) and points.xy[:, 1].max() > self._limit:
                raise ValueError("buildings have to come from north to south")
        self._limit = min(self._limit, below)
        self._before, self._after = _from_north(self._before, before), _from_north(self._after, after)
        self._complete_rows()

    def finish(self) -> ShiftField:
        """Give the shifts of all blocks."""
        self._limit = -np.inf
        self._complete_rows()
        self._settle(None)
        overall = self._tally.mode()
        found = bool(overall.found[0])
        return ShiftField(
            blocks=_filled(_joined(self._settled), overall),
            block=self._block,
            overall=(float(overall.way[0, 0]), float(overall.way[0, 1])) if found else (0.0, 0.0),
        )

    def _complete_rows(self) -> None:
        """Count the votes of all rows in which no building to come has a part."""
        while True:
            tops = [*self._before.xy[:1, 1], *self._after.xy[self._counted : self._counted + 1, 1]]
            if not tops:
                return
            number = int(_cells(np.array(max(tops)), self._block))
            if not self._limit < number * self._block - self._search.reach:
                return
            self._add(self._complete(number))

    def _complete(self, number: int) -> _Row:
        """Count the votes of one row, and let go of its buildings."""
        bottom, reach = number * self._block, self._search.reach
        before, rest = _cut(self._before, bottom)
        near, _ = _cut(self._after, bottom - reach)
        inside, _ = _cut(self._after, bottom)
        own = inside.xy[self._counted :, 0]
        columns_before, columns_after = _cells(before.xy[:, 0], self._block), _cells(own, self._block)
        columns = np.union1d(columns_before, columns_after)
        group = np.searchsorted(columns, columns_before)
        could = np.minimum(
            np.bincount(group, minlength=len(columns)),
            np.bincount(np.searchsorted(columns, columns_after), minlength=len(columns)),
        )
        votes = cast_votes(before, near, group, self._search)
        too_high, self._after = _cut(self._after, bottom + reach)
        self._before, self._counted = rest, len(inside.area) - len(too_high.area)
        return _Row(number, columns, could, votes)

    def _add(self, row: _Row) -> None:
        self._tally.add(row)
        self._settle(row)
        self._older, self._newer = self._newer, row

    def _settle(self, south: _Row | None) -> None:
        """Find the shifts of the row whose neighbours are all known now."""
        row = self._newer
        if row is None:
            return
        rows = [one for one in (self._older, row, south) if one and abs(one.number - row.number) <= 1]
        modes = find_modes(row.votes, row.could, self._search)
        unsure = np.flatnonzero(~(modes.found & modes.clear))
        around = find_modes(*_pool(rows, row.columns[unsure], beside=(-1, 0, 1)), self._search)
        helped = around.found & around.clear & modes.found[unsure]
        torn = unsure[helped]
        votes, could = _pool([row], row.columns[torn], beside=(0,))
        again = find_modes(votes, could, self._search, expected=around.way[helped])
        source = np.where(modes.found, "own", "all").astype("U10")
        source[unsure[~modes.found[unsure] & around.found]] = "neighbours"
        modes = _replaced(modes, torn, again, np.ones(len(torn), np.bool_))
        modes = _replaced(modes, unsure, around, source[unsure] == "neighbours")
        self._settled.append(_described(row, modes, source, self._block))


class _Tally:
    """Counts all votes in small bins."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._width = search.radius / _TALLY_BINS
        self._half = int(np.ceil(search.reach / self._width))
        self._counts = np.zeros((2 * self._half + 1) ** 2, np.int64)
        self._could = 0

    def add(self, row: _Row) -> None:
        """Count the votes of a row."""
        cells = np.rint(row.votes.way / self._width).astype(np.int64) + self._half
        flat, counts = np.unique(cells[:, 0] * (2 * self._half + 1) + cells[:, 1], return_counts=True)
        self._counts[flat] += counts
        self._could += int(row.could.sum())

    def mode(self) -> Modes:
        """Find the shift of all, one group."""
        flat = np.flatnonzero(self._counts)
        cells = np.stack(np.divmod(flat, 2 * self._half + 1), axis=1) - self._half
        votes = Votes(np.zeros(len(flat), np.int64), cells * self._width, self._counts[flat])
        return find_modes(votes, np.array([self._could]), self._search)


def _cells(values: NDArray[np.float64], side: float) -> NDArray[np.int64]:
    """Number the cells of a lattice so that c * side <= value < (c + 1) * side, to the last bit."""
    cells = np.floor(values / side)
    cells += values >= (cells + 1) * side
    return np.asarray(cells - (values < cells * side)).astype(np.int64)


def _number(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number blocks by column and row, (n, 2), ascending from north to south and from west to east."""
    return np.asarray(cells[:, 0] - cells[:, 1] * _COLUMNS)


def _from_north(held: Points, fresh: Points) -> Points:
    """Join buildings, from the highest y to the lowest."""
    xy, area = np.concatenate([held.xy, fresh.xy]), np.concatenate([held.area, fresh.area])
    order = np.argsort(-xy[:, 1], kind="stable")
    return Points(xy[order], area[order])


def _cut(points: Points, y: float) -> tuple[Points, Points]:
    """Part buildings sorted from the north into those at or above y, and those below."""
    above = len(points.area) - int(np.searchsorted(points.xy[::-1, 1], y, "left"))
    return Points(points.xy[:above], points.area[:above]), Points(points.xy[above:], points.area[above:])


def _look_up(
    wanted: NDArray[np.int64], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find numbers among ascending ones: (n,) the index of each, and whether it is there."""
    if not len(numbers):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    index = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    return index, numbers[index] == wanted


def _pool(
    rows: Sequence[_Row], columns: NDArray[np.int64], *, beside: tuple[int, ...]
) -> tuple[Votes, NDArray[np.int64]]:
    """Put the votes of several blocks together: for each column those of the columns beside it, in all rows.

    Returns:
        The votes, whose groups are indices of `columns`, and (n,) how many pairs could support a shift.
    """
    could = np.zeros(len(columns), np.int64)
    parts = [no_votes()]
    for row in rows:
        for step in beside:
            index, is_known = _look_up(columns + step, row.columns)
            group, index = np.flatnonzero(is_known), index[is_known]
            could[group] += row.could[index]
            begin, end = (np.searchsorted(row.votes.group, index, side) for side in ("left", "right"))
            lengths = end - begin
            some = np.arange(lengths.sum()) + np.repeat(end - np.cumsum(lengths), lengths)
            parts.append(Votes(np.repeat(group, lengths), row.votes.way[some], row.votes.weight[some]))
    group, way, weight = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(group, kind="stable")
    return Votes(group[order], way[order], weight[order]), could


def _replaced(modes: Modes, index: NDArray[np.int64], others: Modes, which: NDArray[np.bool_]) -> Modes:
    """Put those of the others that are meant in the place of the ones with these indices."""
    arrays = []
    for name in ("way", "pairs", "spread", "clear"):
        values = getattr(modes, name).copy()
        values[index[which]] = getattr(others, name)[which]
        arrays.append(values)
    return Modes(way=arrays[0], pairs=arrays[1], spread=arrays[2], clear=arrays[3])


def _described(row: _Row, modes: Modes, source: NDArray[np.str_], block: float) -> ShiftBlocks:
    """Say where the blocks of a row lie and how they are shifted."""
    corner = np.stack([row.columns, np.full(len(row.columns), row.number)], axis=1)
    return ShiftBlocks(
        box=np.concatenate([corner, corner + 1], axis=1) * block,
        dx=modes.way[:, 0],
        dy=modes.way[:, 1],
        pairs=modes.pairs,
        spread=modes.spread,
        source=source,
    )


def _joined(parts: Sequence[ShiftBlocks]) -> ShiftBlocks:
    nothing = np.empty(0)
    first = ShiftBlocks(
        box=np.empty((0, 4)),
        dx=nothing,
        dy=nothing,
        pairs=np.empty(0, np.int64),
        spread=nothing,
        source=np.empty(0, "U10"),
    )
    names = [one.name for one in fields(ShiftBlocks)]
    return ShiftBlocks(
        **{name: np.concatenate([getattr(part, name) for part in (first, *parts)]) for name in names}
    )


def _filled(blocks: ShiftBlocks, overall: Modes) -> ShiftBlocks:
    """Give the blocks that know nothing of their own the shift of all, or none."""
    open_, found = blocks.source == "all", bool(overall.found[0])
    values = np.append(overall.way[0], overall.spread[0]) if found else np.array([0, 0, np.nan])
    return ShiftBlocks(
        box=blocks.box,
        dx=np.where(open_, values[0], blocks.dx),
        dy=np.where(open_, values[1], blocks.dy),
        pairs=np.where(open_, overall.pairs[0], blocks.pairs),
        spread=np.where(open_, values[2], blocks.spread),
        source=np.where(open_ & (not found), "none", blocks.source),
    )
