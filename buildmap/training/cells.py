"""How much each square of a map costs the network that learned from it."""

import numpy as np
from numpy.typing import NDArray

from buildmap.raster.area import outlines_of
from buildmap.raster.windows import plan_windows
from buildmap.training.survey import Band, Surveyed
from buildmap.training.suspects import cross_entropy
from buildmap.vector.writing.layers import Layer


class CellLosses:
    """Sums the loss over squares of surveyed ground while it streams by."""

    def __init__(self, ground: Surveyed, *, cell_px: int) -> None:
        """Begin above the first row.

        Args:
            ground: What will come.
            cell_px: Side of a square; the last of a row or column may be cut.
        """
        self._ground = ground
        self._cell_px = cell_px
        rows, cols = (-(-side // cell_px) for side in (ground.window.height, ground.window.width))
        self._loss, self._known = np.zeros((2, rows, cols))

    def push(self, band: Band) -> None:
        """Count the next rows in."""
        loss = np.where(band.known, cross_entropy(band.probability, band.building), np.float32(0))
        first, last = band.first_row, band.first_row + len(loss) - 1
        touched = slice(first // self._cell_px, last // self._cell_px + 1)
        self._loss[touched] += self._sums(loss, first)
        self._known[touched] += self._sums(band.known, first)

    def layer(self) -> Layer:
        """Give the squares that have known ground: mean loss in nats, and their share that is known."""
        window, cell_px = self._ground.window, self._cell_px
        cells = plan_windows(width=window.width, height=window.height, core_px=cell_px, halo_px=0)
        pixels = self._known.ravel()
        seen = np.flatnonzero(pixels)
        outlines = outlines_of((planned.core for planned in cells), self._ground.grid.part(window))
        return Layer(
            polygons=outlines[seen],
            columns={
                "loss": self._loss.ravel()[seen] / pixels[seen],
                "known_share": pixels[seen] / cell_px**2,
                "source": np.full(len(seen), self._ground.name, np.object_),
            },
        )

    def _sums(self, values: NDArray[np.generic], first_row: int) -> NDArray[np.float64]:
        """Sum rows from `first_row` on over each square that they touch, (rows, cols) of squares."""
        rows, cols = values.shape
        tops = np.arange(-(first_row % self._cell_px), rows, self._cell_px).clip(min=0)
        lefts = np.arange(0, cols, self._cell_px)
        across = np.add.reduceat(values, lefts, axis=1, dtype=np.float64)
        return np.asarray(np.add.reduceat(across, tops, axis=0))
