"""Where how much has changed: rows counted in cells of ground, which grow with the country."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_CELLS = 256
"""Along a side; with more, four cells become one."""
_FIRST_CELL = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Rows per cell of a lattice through the origin of the CRS."""

    cell: float
    """Side of a cell in CRS units."""
    left: float
    """Left edge of the first column in CRS units."""
    top: float
    """Upper edge of the first row in CRS units."""
    counts: NDArray[np.int64]
    """(sorts, rows, cols) rows of each sort, from north to south; no cell where there is no row at all."""


class Density:
    """Counts rows while they stream by; what comes out does not depend on how they came."""

    def __init__(self, sorts: int, *, cell: float = _FIRST_CELL) -> None:
        """Count none yet.

        Args:
            sorts: How many sorts of rows are counted apart.
            cell: Side of a cell to begin with, in CRS units.

        Raises:
            ValueError: If a cell has no size.
        """
        if not cell > 0:
            raise ValueError(f"cells of {cell}")
        self._cell = cell
        self._low = np.zeros(2, np.int64)
        self._counts = np.zeros((sorts, 0, 0), np.int64)

    def add(self, xy: NDArray[np.float64], sort: NDArray[np.int64]) -> None:
        """Count rows.

        Args:
            xy: (n, 2) where they are, in CRS units, finite.
            sort: (n,) of which sort.
        """
        if not len(xy):
            return
        lowest, highest = xy.min(axis=0), xy.max(axis=0)
        low, high = self._span(lowest, highest)
        while ((high - low) > MOST_CELLS).any():
            self._coarsen()
            low, high = self._span(lowest, highest)
        self._grow(low, high)
        place = np.floor(xy / self._cell).astype(np.int64) - self._low
        np.add.at(self._counts, (sort, place[:, 1], place[:, 0]), 1)

    @property
    def overview(self) -> Overview:
        """What has been counted so far."""
        rows = self._counts.shape[1]
        return Overview(
            cell=self._cell,
            left=float(self._low[0] * self._cell),
            top=float((self._low[1] + rows) * self._cell),
            counts=self._counts[:, ::-1].copy(),
        )

    def _span(
        self, lowest: NDArray[np.float64], highest: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the first cell, and one past the last, of what is counted and what is to come."""
        low = np.floor(lowest / self._cell).astype(np.int64)
        high = np.floor(highest / self._cell).astype(np.int64) + 1
        if not self._counts.size:
            return low, high
        size = np.array(self._counts.shape[:0:-1])
        return np.minimum(low, self._low), np.maximum(high, self._low + size)

    def _coarsen(self) -> None:
        """Make four cells one."""
        self._cell *= 2
        if not self._counts.size:
            return
        size = np.array(self._counts.shape[:0:-1])
        first, end = self._low // 2, -(-(self._low + size) // 2)
        self._grow(2 * first, 2 * end)
        sorts, rows, cols = self._counts.shape
        self._counts = self._counts.reshape(sorts, rows // 2, 2, cols // 2, 2).sum(axis=(2, 4))
        self._low = first

    def _grow(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> None:
        """Make room from a first cell to one past the last."""
        sorts, rows, cols = self._counts.shape
        grown = np.zeros((sorts, high[1] - low[1], high[0] - low[0]), np.int64)
        if self._counts.size:
            col, row = self._low - low
            grown[:, row : row + rows, col : col + cols] = self._counts
        self._counts, self._low = grown, low
