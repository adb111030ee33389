"""Where chips are cut: at random over valid ground to learn from, in a fixed grid to judge by."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from buildmap.data.sources import TrainingSource
from buildmap.raster.windows import Window

D = TypeVar("D", bound=np.generic)

_MOST_CELLS = 2**20
_PART_CELLS = 64


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
        share = float(self.cells.mean())
        return round(share * self.window.width * self.window.height)

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


class ValidGround:
    """Valid ground of many rectangles, to draw pixels from."""

    def __init__(self, maps: Iterable[ValidMap]) -> None:
        """Weigh rectangles by their valid pixels; those without any are dropped."""
        self._maps = [valid for valid in maps if valid.valid_px > 0]
        self._cells = [np.flatnonzero(valid.cells).astype(np.int32) for valid in self._maps]
        self._ends = np.cumsum([valid.valid_px for valid in self._maps], dtype=np.int64)

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self._maps)

    def draw(self, rng: np.random.Generator) -> tuple[ValidMap, int, int]:
        """Draw a rectangle, and row and column on its source's grid of a pixel in a valid cell."""
        number = int(np.searchsorted(self._ends, rng.integers(self._ends[-1]), side="right"))
        valid, cells = self._maps[number], self._cells[number]
        cell_row, cell_col = divmod(int(cells[rng.integers(len(cells))]), valid.cells.shape[1])
        row, col = (int(px) for px in rng.integers(valid.cell_px, size=2))
        window, cell_px = valid.window, valid.cell_px
        return (
            valid,
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
        for row in range(0, cells.shape[0], _PART_CELLS):
            for col in range(0, cells.shape[1], _PART_CELLS):
                place = cells[row : row + _PART_CELLS, col : col + _PART_CELLS]
                top, left = row * cell_px, col * cell_px
                part = Window(
                    col_off=window.col_off + left,
                    row_off=window.row_off + top,
                    width=min(place.shape[1] * cell_px, window.width - left),
                    height=min(place.shape[0] * cell_px, window.height - top),
                )
                place[:] = source.read(part, out_shape=place.shape).valid
    return ValidMap(source=source, window=window, cells=cells, cell_px=cell_px)


def place_chip(bounds: Window, *, row: int, col: int, side_px: int, rng: np.random.Generator) -> Window:
    """Lay a square around a pixel, at random, inside a rectangle, which cuts it where it is too small."""
    left, width = _place(bounds.col_off, bounds.width, col, side_px, rng)
    top, height = _place(bounds.row_off, bounds.height, row, side_px, rng)
    return Window(col_off=left, row_off=top, width=width, height=height)


def plan_validation(source: TrainingSource, *, chip_px: int) -> Iterator[ValidationChip]:
    """Cover the validation ground of a source: every pixel is owned by exactly one chip.

    The last chips of a row or column are shifted inwards.
    """
    for rectangle in source.ground.validation:
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
