"""Where chips are cut: at random over valid ground to learn from, in a fixed grid to judge by."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from buildmap.data.sources import TrainingSource
from buildmap.raster.windows import Window

D = TypeVar("D", bound=np.generic)

_MOST_CELLS = 2**20
_PART_PX = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidMap:
    """Where a rectangle of ground is valid, coarsely."""

    source: TrainingSource
    """Whose ground it is."""
    window: Window
    """The rectangle on the source's grid."""
    cells: NDArray[np.bool_]
    """(rows, cols), True = valid at the cell's middle; the last ones may reach beyond the rectangle."""
    cell_px: int
    """Side of a cell."""

    @property
    def valid_px(self) -> int:
        """Valid pixels, about."""
        return _covered_px(self.window, self.cells)

    def share(self, window: Window, side_px: int) -> float:
        """Estimate how much of a square chip is valid, 0..1, of which `window` lies in the rectangle."""
        top, left = window.row_off - self.window.row_off, window.col_off - self.window.col_off
        rows = slice(top // self.cell_px, (top + window.height - 1) // self.cell_px + 1)
        cols = slice(left // self.cell_px, (left + window.width - 1) // self.cell_px + 1)
        return float(self.cells[rows, cols].mean()) * window.width * window.height / side_px**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationChip:
    """A window of the fixed grid; what its neighbours own of it does not count."""

    source: TrainingSource
    """What to read."""
    window: Window
    """On the source's grid; smaller than a chip only where the rectangle is."""
    shared_rows: int
    """First rows that belong to the chip above."""
    shared_cols: int
    """First columns that belong to the chip on the left."""


class ChipGround:
    """Cells of many rectangles, to draw pixels from: all that are valid, or some of them."""

    def __init__(
        self,
        maps: Sequence[ValidMap],
        chosen: Sequence[NDArray[np.bool_]] | None = None,
        *,
        at_middle: bool = False,
        source_balance: float = 0.0,
    ) -> None:
        """List the cells; within a source, each is as likely as another of its size.

        Args:
            maps: Rectangles.
            chosen: For each, which of its cells to draw from; None means the valid ones.
            at_middle: Draw a cell's middle, where it was looked at, and not anywhere in it.
            source_balance: As `Sampling.source_balance`.
        """
        chosen = [valid.cells for valid in maps] if chosen is None else chosen
        self._maps, self._at_middle = maps, at_middle
        self._cells = [np.flatnonzero(cells).astype(np.int32) for cells in chosen]
        pixels = [_covered_px(valid.window, cells) for valid, cells in zip(maps, chosen, strict=True)]
        weights = _balance([valid.source.name for valid in maps], pixels, source_balance)
        self._ends = np.cumsum([0, *weights], dtype=np.int64)[1:]

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return len(self._ends) > 0 and bool(self._ends[-1] > 0)

    def draw(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """Draw a rectangle's number, and row and column on its source's grid of a pixel in a cell."""
        number = int(np.searchsorted(self._ends, rng.integers(self._ends[-1]), side="right"))
        valid, cells = self._maps[number], self._cells[number]
        cell_row, cell_col = divmod(int(cells[rng.integers(len(cells))]), valid.cells.shape[1])
        window, cell_px = valid.window, valid.cell_px
        row, col = (cell_px // 2,) * 2 if self._at_middle else rng.integers(cell_px, size=2).tolist()
        return (
            number,
            window.row_off + min(cell_row * cell_px + row, window.height - 1),
            window.col_off + min(cell_col * cell_px + col, window.width - 1),
        )


def map_valid(source: TrainingSource, window: Window, *, cell_px: int) -> ValidMap:
    """Look once, coarsely, where a rectangle of a source is valid and annotated.

    Args:
        source: What to look at.
        window: A rectangle of its grid.
        cell_px: Side of a cell; larger where a map of a huge rectangle would itself be huge.

    Raises:
        StorageError: If a file cannot be read.
    """
    cell_px = max(cell_px, int(np.ceil((window.width * window.height / _MOST_CELLS) ** 0.5)))
    cells = np.ones((-(-window.height // cell_px), -(-window.width // cell_px)), np.bool_)
    if not source.all_valid:
        for place, part in _parts(cells, window, cell_px):
            place[:] = source.read(part, out_shape=place.shape).valid
    return ValidMap(source=source, window=window, cells=cells, cell_px=cell_px)


def map_buildings(valid: ValidMap, *, look_px: int) -> NDArray[np.bool_]:
    """Look once, coarsely, which cells hold a building: the valid ones whose middle is on one.

    The middles fall on every square metre of building alike; cells that reach beyond the rectangle do
    not count.

    Args:
        valid: A rectangle and its cells.
        look_px: How much of a cell's middle to look at, if a cell is larger.

    Returns:
        As `valid.cells`.

    Raises:
        StorageError: If a file cannot be read.
    """
    window, cell_px = valid.window, valid.cell_px
    finer = -(-cell_px // look_px) // 2 * 2 + 1
    rows, cols = window.height // cell_px, window.width // cell_px
    building = np.zeros(valid.cells.shape, np.bool_)
    whole = replace(window, width=cols * cell_px, height=rows * cell_px)
    for place, part in _parts(building[:rows, :cols], whole, cell_px):
        shape = place.shape[0] * finer, place.shape[1] * finer
        truth = valid.source.annotations.draw(part, out_shape=shape)
        place[:] = (truth.building & truth.known)[finer // 2 :: finer, finer // 2 :: finer]
    return building & valid.cells


def place_chip(bounds: Window, *, row: int, col: int, side_px: int, rng: np.random.Generator) -> Window:
    """Lay a square around a pixel, at random, inside a rectangle, which cuts it where it is too small."""
    left, width = _place(bounds.col_off, bounds.width, col, side_px, rng)
    top, height = _place(bounds.row_off, bounds.height, row, side_px, rng)
    return Window(col_off=left, row_off=top, width=width, height=height)


def plan_validation(
    source: TrainingSource, *, chip_px: int, ground: Sequence[Window] | None = None
) -> Iterator[ValidationChip]:
    """Cover the validation ground of a source: every pixel is owned by exactly one chip.

    The last chips of a row or column are shifted inwards.

    Args:
        source: What will be read.
        chip_px: Side of a chip.
        ground: Disjoint rectangles to cover instead.
    """
    for rectangle in source.ground.validation if ground is None else ground:
        for top, shared_rows in _starts(rectangle.height, chip_px):
            for left, shared_cols in _starts(rectangle.width, chip_px):
                window = Window(
                    col_off=rectangle.col_off + left,
                    row_off=rectangle.row_off + top,
                    width=min(chip_px, rectangle.width),
                    height=min(chip_px, rectangle.height),
                )
                yield ValidationChip(
                    source=source, window=window, shared_rows=shared_rows, shared_cols=shared_cols
                )


def pad(array: NDArray[D], side_px: int) -> NDArray[D]:
    """Fill (…, rows, cols) up to a square with zeros, below and on the right."""
    rows, cols = array.shape[-2:]
    if rows == cols == side_px:
        return array
    filled = np.zeros((*array.shape[:-2], side_px, side_px), array.dtype)
    filled[..., :rows, :cols] = array
    return filled


def _balance(sources: Sequence[str], pixels: Sequence[int], source_balance: float) -> list[int]:
    """Weigh rectangles so that a source counts by the power 1 - `source_balance` of its pixels."""
    totals = Counter[str]()
    for source, count in zip(sources, pixels, strict=True):
        totals[source] += count
    largest = max(totals.values(), default=0)
    return [
        round(count * (largest / totals[source]) ** source_balance) if count else 0
        for source, count in zip(sources, pixels, strict=True)
    ]


def _covered_px(window: Window, cells: NDArray[np.bool_]) -> int:
    """Give the pixels of a rectangle that some of its cells cover, about."""
    return round(float(cells.mean()) * window.width * window.height)


def _parts(
    cells: NDArray[np.bool_], window: Window, cell_px: int
) -> Iterator[tuple[NDArray[np.bool_], Window]]:
    """Cut a map of a rectangle: views of its cells, and the ground of each."""
    step = max(_PART_PX // cell_px, 1)
    for row in range(0, cells.shape[0], step):
        for col in range(0, cells.shape[1], step):
            place = cells[row : row + step, col : col + step]
            top, left = row * cell_px, col * cell_px
            yield (
                place,
                Window(
                    col_off=window.col_off + left,
                    row_off=window.row_off + top,
                    width=min(place.shape[1] * cell_px, window.width - left),
                    height=min(place.shape[0] * cell_px, window.height - top),
                ),
            )


def _place(first: int, length: int, at: int, side_px: int, rng: np.random.Generator) -> tuple[int, int]:
    """Choose start and length of an interval around `at` within another."""
    if side_px >= length:
        return first, length
    start = at - int(rng.integers(side_px))
    return min(max(start, first), first + length - side_px), side_px


def _starts(length: int, chip_px: int) -> Sequence[tuple[int, int]]:
    """Give where chips begin along one axis, and how much of each the chip before has."""
    last = max(length - chip_px, 0)
    return [(min(start, last), start - min(start, last)) for start in range(0, length, chip_px)]
