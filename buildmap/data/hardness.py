"""Where the loss has been high so far, coarsely, so that more chips can be laid there."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from buildmap.data.chips import ValidMap
from buildmap.raster.windows import Window

_PULL = 0.25
"""Share by which one chip moves the running loss of its cells."""
_HARDEST_SHARE = 0.25
"""Of all valid ground, at most."""


class Hardness:
    """The running loss of every part of the training ground, in multiples of the mean of its epoch.

    A loss as such would not do: it falls while the network learns, and ground that no chip has seen for
    long would seem the hardest.
    """

    def __init__(self, maps: Sequence[ValidMap], *, cell_px: int) -> None:
        """Begin with all ground alike.

        Args:
            maps: Rectangles that chips are laid in.
            cell_px: Side of a cell, rounded to that of the maps' own.
        """
        self._maps = maps
        self._steps = [max(round(cell_px / valid.cell_px), 1) for valid in maps]
        self._running = [
            np.ones([-(-length // step) for length in valid.cells.shape], np.float32)
            for valid, step in zip(maps, self._steps, strict=True)
        ]
        self._noted: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []

    @property
    def state(self) -> dict[str, NDArray[np.float32]]:
        """(rows, cols) of each map, by its number: 1 where the loss is the mean, or nothing is known."""
        return {str(number): running.copy() for number, running in enumerate(self._running)}

    def restore(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Put back a `state`, and forget what was noted since.

        Raises:
            ValueError: If it is of other maps.
        """
        shapes = {name: running.shape for name, running in state.items()}
        if shapes != {name: running.shape for name, running in self.state.items()}:
            raise ValueError(f"hardness of other ground: {shapes}")
        self._running = [state[str(number)].astype(np.float32) for number in range(len(self._maps))]
        self._noted.clear()

    def note(self, places: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Take note of the losses (B,) of chips at (B, 5): number of the map, then a window's fields."""
        self._noted.append((places.copy(), losses.copy()))

    def end_epoch(self) -> None:
        """Move the running losses by what was noted, in that order; only finite losses count."""
        if not self._noted:
            return
        places, losses = (np.concatenate(parts) for parts in zip(*self._noted, strict=True))
        self._noted.clear()
        finite = np.isfinite(losses)
        mean = losses[finite].mean(dtype=np.float64) if finite.any() else 0.0
        if mean <= 0:
            return
        for place, loss in zip(places[finite].tolist(), losses[finite].tolist(), strict=True):
            number, col_off, row_off, width, height = place
            window = Window(col_off=col_off, row_off=row_off, width=width, height=height)
            cells = self._cells(number, window)
            cells += np.float32(_PULL) * (np.float32(loss / mean) - cells)

    def hardest(self) -> list[NDArray[np.bool_]]:
        """Choose the quarter of the valid ground whose running loss is highest, and above the mean.

        Returns:
            For each map, which of its valid cells these are: as `ValidMap.cells`.
        """
        running = np.concatenate([cells.ravel() for cells in self._running])
        valid_px = np.concatenate([self._valid_px(number).ravel() for number in range(len(self._maps))])
        order = np.argsort(-running, kind="stable")
        before = np.cumsum(valid_px[order]) - valid_px[order]
        chosen = np.zeros(len(running), np.bool_)
        chosen[order] = before < _HARDEST_SHARE * valid_px.sum()
        chosen &= running > 1
        ends = np.cumsum([cells.size for cells in self._running])
        parts = zip(self._maps, self._steps, self._running, np.split(chosen, ends[:-1]), strict=True)
        return [
            _enlarge(part.reshape(cells.shape), step, valid.cells.shape) & valid.cells
            for valid, step, cells, part in parts
        ]

    def _cells(self, number: int, window: Window) -> NDArray[np.float32]:
        """Give the cells that lie in a window by more than half; the nearest where none does."""
        bounds, running = self._maps[number].window, self._running[number]
        side_px = self._maps[number].cell_px * self._steps[number]
        rows = _interval(window.row_off - bounds.row_off, window.height, side_px, running.shape[0])
        cols = _interval(window.col_off - bounds.col_off, window.width, side_px, running.shape[1])
        return running[rows, cols]

    def _valid_px(self, number: int) -> NDArray[np.float64]:
        """Count the valid pixels of each cell, about."""
        valid, step = self._maps[number], self._steps[number]
        rows = np.add.reduceat(
            valid.cells, np.arange(0, valid.cells.shape[0], step), axis=0, dtype=np.float64
        )
        both = np.add.reduceat(rows, np.arange(0, valid.cells.shape[1], step), axis=1)
        return np.asarray(both * valid.cell_px**2)


def _interval(first: int, length: int, side_px: int, count: int) -> slice:
    start = min(round(first / side_px), count - 1)
    return slice(start, max(round((first + length) / side_px), start + 1))


def _enlarge(cells: NDArray[np.bool_], step: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Repeat cells (rows, cols) to finer ones of `shape`."""
    return np.repeat(np.repeat(cells, step, axis=0), step, axis=1)[: shape[0], : shape[1]]
