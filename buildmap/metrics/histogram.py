"""Pixels counted by predicted value and truth: every threshold's confusion, from one pass.

A histogram holds whole numbers, so the sum over the strips of a raster is the same for any cut. Where a
pixel does not count, its value and its truth say nothing and may be anything.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.metrics.confusion import Confusion, EmptyRule, scores

STEPS = 254
"""Values are probability times this; the next one, 255, is no data and never counts."""
_HALF = 127
"""Value of the probability 0.5."""
_NODATA = 255
_KEYS = 1024
"""Keys of a tally: 512 where a pixel counts + 256 where it is true + its value."""
_TALLIES = 4

_EACH = np.uint64(0x0101010101010101)
"""One in each of eight bytes."""
_BYTE = np.uint64(255)
_BIT = np.uint64(1)
_FLAGS = np.uint64(3)
_SHIFT = np.uint64(8)
_HIGH = np.uint64(0x8080808080808080)
"""The highest bit of each of eight bytes."""
_FROM = np.triu(np.ones((9, 8), np.uint8)).view(np.uint64)[:, 0]
"""(9,) one in each byte of a word from this one on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """What one threshold gives."""

    threshold: float
    """Probability from which a pixel is a building."""
    iou: float
    """Intersection over union, 0..1, as the three below; NaN where the rule leaves it undefined."""
    f1: float
    """Harmonic mean of precision and recall."""
    precision: float
    """Share of the predicted pixels that are right."""
    recall: float
    """Share of the true pixels that were found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What every threshold gives."""

    best_iou: Operating
    """The one with the highest IoU."""
    best_f1: Operating
    """The one with the highest F1."""
    points: tuple[Operating, ...]
    """(254,) thresholds from 1/254 to 1."""


def _nothing() -> NDArray[np.int64]:
    return np.zeros((2, STEPS + 1), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """How many pixels have which predicted value and which truth."""

    counts: NDArray[np.int64] = field(default_factory=_nothing)
    """(2, 255): background and building, by value 0..254; zeros to start with."""

    def __post_init__(self) -> None:
        if self.counts.shape != (2, STEPS + 1) or self.counts.dtype != np.int64:
            raise ValueError(
                f"counts are int64 (2, {STEPS + 1}), not {self.counts.dtype} {self.counts.shape}"
            )

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(counts=self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return bool(np.array_equal(self.counts, other.counts))

    __hash__ = None  # type: ignore[assignment]  # equal by what an array holds

    @property
    def pixels(self) -> int:
        """Everything counted."""
        return int(self.counts.sum())

    @property
    def is_binary(self) -> bool:
        """Whether only the values of a mask occur, so that all thresholds give the same."""
        return not self.counts[:, 1:STEPS].any()

    def confusion(self, lowest: int) -> Confusion:
        """Take the values from `lowest` on, 0..255, for buildings."""
        if not 0 <= lowest <= _NODATA:
            raise ValueError(f"lowest is {lowest}, not in 0..255")
        tn, fn = self.counts[:, :lowest].sum(axis=1).tolist()
        fp, tp = self.counts[:, lowest:].sum(axis=1).tolist()
        return Confusion(tp=tp, fp=fp, fn=fn, tn=tn)

    def sweep(self, rule: EmptyRule = "epsilon") -> Sweep:
        """Score every threshold; of equally good ones the best is next to 0.5, then the lower.

        Args:
            rule: For fractions of nothing in nothing.
        """
        fps, tps = np.cumsum(self.counts[:, ::-1], axis=1)[:, ::-1].tolist()
        points = tuple(
            _operate(
                lowest,
                Confusion(tp=tps[lowest], fp=fps[lowest], fn=tps[0] - tps[lowest]),
                rule,
            )
            for lowest in range(1, STEPS + 1)
        )
        return Sweep(
            best_iou=points[_best([point.iou for point in points])],
            best_f1=points[_best([point.f1 for point in points])],
            points=points,
        )


def count_values(
    values: NDArray[np.uint8], truth: NDArray[np.bool_], counted: NDArray[np.bool_]
) -> Histogram:
    """Count the pixels of one strip.

    Args:
        values: (rows, cols) predicted probability as 0..254.
        truth: (rows, cols) True = building.
        counted: (rows, cols) True = this pixel counts.

    Raises:
        ValueError: If shapes or types differ from these, or a pixel that counts is 255.
    """
    _check(values, truth, counted)
    value, true, counts = _flat(values, truth, counted)
    tallies = np.zeros((_TALLIES, _KEYS), np.int64)
    _tally(_words(value), _words(true), _words(counts), tallies)
    _tally(_last_word(value), _last_word(true), _last_word(counts), tallies)
    return Histogram(counts=_without_nodata(tallies.sum(axis=0)[_KEYS // 2 :].reshape(2, 256)))


def count_by_cell(
    values: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    *,
    lowest: int,
    row_off: int,
    col_off: int,
    cell_px: int,
) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Count the pixels of one block by square cells that start at the first pixel of the grid.

    Args:
        values: (rows, cols) predicted probability as 0..254.
        truth: (rows, cols) True = building.
        counted: (rows, cols) True = this pixel counts.
        lowest: Values from this one on are buildings.
        row_off: Row of the block's first pixel in the grid.
        col_off: Column of the block's first pixel in the grid.
        cell_px: Side of a cell.

    Returns:
        (cell rows, cell cols, 4) pixels that are tp, fp, fn, tn, and the row and column of the first
        cell, counted in cells.

    Raises:
        ValueError: If shapes or types differ from these, or a cell has no pixel.
    """
    _check(values, truth, counted)
    if cell_px < 1:
        raise ValueError(f"cells of {cell_px} pixels")
    rows, cols = values.shape
    first = row_off // cell_px, col_off // cell_px
    end = -(-(row_off + rows) // cell_px), -(-(col_off + cols) // cell_px)
    cells = np.zeros((end[0] - first[0], end[1] - first[1], 4), np.int64)
    inside = row_off - first[0] * cell_px, col_off - first[1] * cell_px
    value, true, counts = _flat(values, truth, counted)
    body = len(value) // 8 * 8
    place = _Place(start=0, stop=body, cols=cols, inside=inside, cell_px=cell_px)
    _tally_cells(_words(value), _words(true), _words(counts), lowest, place, cells)
    place = place._replace(start=body, stop=len(value))
    _tally_cells(_last_word(value), _last_word(true), _last_word(counts), lowest, place, cells)
    return cells, first


def count_by_region(
    values: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    regions: NDArray[np.int32],
    *,
    regions_count: int,
) -> NDArray[np.int64]:
    """Count the pixels of one strip by region.

    Args:
        values: (rows, cols) predicted probability as 0..254.
        truth: (rows, cols) True = building.
        counted: (rows, cols) True = this pixel counts.
        regions: (rows, cols) number of the region, -1 = none.
        regions_count: The highest number there may be, plus one.

    Returns:
        (regions_count, 2, 255) the counts of a `Histogram` each.

    Raises:
        ValueError: If shapes or types differ from these, a region's number is too high, or a pixel that
            counts in a region is 255.
    """
    _check(values, truth, counted)
    if regions.shape != values.shape or regions.dtype != np.int32:
        raise ValueError(f"regions are int32 {values.shape}, not {regions.dtype} {regions.shape}")
    tallies = np.zeros((regions_count, 2, 256), np.int64)
    highest = _tally_regions(values, truth.view(np.uint8), counted.view(np.uint8), regions, tallies)
    if highest >= 0:
        raise ValueError(f"region {highest} of {regions_count}")
    return _without_nodata(tallies)


class _Place(NamedTuple):
    """Where a row of words lies: in a block of pixels, and this in cells."""

    start: int
    """Pixel of the block with which the first word begins, counted along its rows."""
    stop: int
    """Behind the last pixel."""
    cols: int
    """Of the block."""
    inside: tuple[int, int]
    """Row and column of the block's first pixel in its cell."""
    cell_px: int
    """Side of a cell."""


def _operate(lowest: int, confusion: Confusion, rule: EmptyRule) -> Operating:
    scored = scores(confusion, rule)
    return Operating(
        threshold=lowest / STEPS,
        iou=scored.iou,
        f1=scored.f1,
        precision=scored.precision,
        recall=scored.recall,
    )


def _best(by_point: list[float]) -> int:
    """Give the position of the highest score; the first point is that of value 1."""

    def rank(position: int) -> tuple[float, int, int]:
        score = by_point[position]
        return (math.inf if math.isnan(score) else -score, abs(position + 1 - _HALF), position)

    return min(range(len(by_point)), key=rank)


def _check(values: NDArray[np.uint8], truth: NDArray[np.bool_], counted: NDArray[np.bool_]) -> None:
    if values.ndim != 2 or not values.shape == truth.shape == counted.shape:
        raise ValueError(f"not of one shape (rows, cols): {values.shape}, {truth.shape}, {counted.shape}")
    if values.dtype != np.uint8 or truth.dtype != np.bool_ or counted.dtype != np.bool_:
        raise ValueError(
            f"values are uint8, truth and counted bool, not {values.dtype}, {truth.dtype}, {counted.dtype}"
        )


def _without_nodata(tallies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop the last of the 256 values, which no pixel that counts may have."""
    if tallies[..., _NODATA].any():
        raise ValueError(f"pixels that count have the value {_NODATA}, no data")
    return np.ascontiguousarray(tallies[..., :_NODATA])


def _flat(*parts: NDArray[np.generic]) -> tuple[NDArray[np.uint8], ...]:
    """See each of some arrays of bytes as (n,)."""
    return tuple(np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts)


def _words(flat: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """See (n,) bytes as words of eight; the rest is left out."""
    return flat[: len(flat) // 8 * 8].view(np.uint64)


def _last_word(flat: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Give the bytes that `_words` leaves out, and zeros, as one word."""
    rest = flat[len(flat) // 8 * 8 :]
    padded = np.zeros(8, np.uint8)
    padded[: len(rest)] = rest
    return padded.view(np.uint64)


@compiled
def _tally(
    values: NDArray[np.uint64],
    truth: NDArray[np.uint64],
    counted: NDArray[np.uint64],
    tallies: NDArray[np.int64],
) -> None:
    """Add eight pixels at a time to the tallies.

    A sum that was just stored is slow to take up again. So neighbours go to different tallies, eight that
    are alike are added together, and empty ground, most of any map, is kept out of memory.
    """
    empty = 0
    for i in range(len(values)):
        value = values[i]
        flags = truth[i] | counted[i] << _BIT
        if value == 0 and flags == _EACH << _BIT:
            empty += 8
            continue
        if value == (value & _BYTE) * _EACH and flags == (flags & _FLAGS) * _EACH:
            tallies[0, (flags & _FLAGS) << _SHIFT | value & _BYTE] += 8
            continue
        for byte in range(8):
            shift = np.uint64(8 * byte)
            key = (flags >> shift & _FLAGS) << _SHIFT | value >> shift & _BYTE
            tallies[byte % _TALLIES, key] += 1
    tallies[0, _KEYS // 2] += empty


@compiled
def _tally_cells(
    values: NDArray[np.uint64],
    truth: NDArray[np.uint64],
    counted: NDArray[np.uint64],
    lowest: int,
    place: _Place,
    cells: NDArray[np.int64],
) -> None:
    """Add the pixels of each stretch of a row that lies in one cell, eight at a time."""
    limit = np.uint64(lowest) * _EACH
    pixel = place.start
    while pixel < place.stop:
        row = pixel // place.cols
        cell_row = (place.inside[0] + row) // place.cell_px
        cell_col = (place.inside[1] + pixel - row * place.cols) // place.cell_px
        border = min(place.cols, (cell_col + 1) * place.cell_px - place.inside[1])
        end = min(place.stop, row * place.cols + border)
        first, last = (pixel - place.start) // 8, (end - place.start - 1) // 8
        total = predicted = true = both = np.uint64(0)
        for i in range(first, last + 1):
            counts = counted[i]
            if i == first:
                counts &= _FROM[pixel % 8]
            if i == last:
                counts &= ~_FROM[(end - 1) % 8 + 1]
            building = _reaches(values[i], limit) & counts
            total += _ones(counts)
            predicted += _ones(building)
            true += _ones(truth[i] & counts)
            both += _ones(truth[i] & building)
        cell = cells[cell_row, cell_col]
        cell[0] += np.int64(both)
        cell[1] += np.int64(predicted - both)
        cell[2] += np.int64(true - both)
        cell[3] += np.int64(total - predicted - true + both)
        pixel = end


@inlined
def _reaches(values: np.uint64, limits: np.uint64) -> np.uint64:
    """Compare eight bytes with eight others: one in each byte that is at least as high, else zero."""
    without_high = (values | _HIGH) - (limits & ~_HIGH)  # its high bits: the lower seven reach the limit
    return ((values & ~limits | ~(values ^ limits) & without_high) & _HIGH) >> np.uint64(7)


@inlined
def _ones(flags: np.uint64) -> np.uint64:
    """Add up eight bytes, each zero or one."""
    return (flags * _EACH) >> np.uint64(56)


@compiled
def _tally_regions(
    values: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    counted: NDArray[np.uint8],
    regions: NDArray[np.int32],
    tallies: NDArray[np.int64],
) -> int:
    """Add pixels to (regions, 2, 256) tallies; give the highest region beyond them, or -1.

    Pixels like the one before them are added together: each sum would wait for the last to be stored.
    """
    flat = tallies.reshape(-1)
    rows, cols = values.shape
    highest, run, key = -1, 0, 0
    for row in range(rows):
        for col in range(cols):
            region = regions[row, col]
            if not counted[row, col] or region < 0:
                continue
            if region >= len(tallies):
                highest = max(highest, region)
                continue
            this = region * 512 + truth[row, col] * 256 + values[row, col]
            if this != key:
                flat[key] += run
                run, key = 0, this
            run += 1
    if run:
        flat[key] += run
    return highest
