"""Which ground is learned from, and which is kept to judge by; the two never overlap."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window

_BLOCK_CHIPS = 4
_FEWEST_BLOCKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Rectangles of one raster's working grid."""

    train: tuple[Window, ...]
    """Disjoint rectangles that training chips lie in."""
    validation: tuple[Window, ...]
    """Disjoint rectangles that validation chips cover; none touches `train`."""


def scale_window(window_px: tuple[int, ...] | None, native: Grid, working: Grid) -> Window:
    """Give the working pixels that lie wholly inside a window of the native grid.

    Neighbouring native windows so never share a working pixel.

    Args:
        window_px: col_off, row_off, width, height on `native`; None means all.
        native: The raster's own grid.
        working: A grid of the same ground.

    Raises:
        ValueError: If the window is empty, or reaches beyond the raster.
    """
    if window_px is None:
        return working.window
    col, row, width, height = window_px
    inside = min(col, row) >= 0 and col + width <= native.width and row + height <= native.height
    if not inside or min(width, height) < 1:
        size = f"{native.width} x {native.height} pixels"
        raise ValueError(f"window_px {list(window_px)} is not inside its {size}")
    left, right = _scale(col, col + width, native.width, working.width)
    top, bottom = _scale(row, row + height, native.height, working.height)
    if right <= left or bottom <= top:
        raise ValueError(f"window_px {list(window_px)} is smaller than one pixel at the working GSD")
    return Window(col_off=left, row_off=top, width=right - left, height=bottom - top)


def split_ground(window: Window, *, chip_px: int, share: float, rng: np.random.Generator) -> Ground:
    """Share out blocks of ground, about four chips wide, between training and validation.

    Ground too small for five such blocks is cut once, across its longer side, so that what is left
    to learn from stays in one piece.

    Args:
        window: The annotated part of the working grid.
        chip_px: Side of a chip.
        share: Share of the ground kept for validation, 0..1; of blocks, at least one unless it is 0.
        rng: Says which blocks.
    """
    if share <= 0:
        return Ground(train=(window,), validation=())
    rows = max(round(window.height / (_BLOCK_CHIPS * chip_px)), 1)
    cols = max(round(window.width / (_BLOCK_CHIPS * chip_px)), 1)
    count = rows * cols
    if count < _FEWEST_BLOCKS:
        return _cut_once(window, share, rng)
    kept = min(max(round(share * count), 1), count - 1)
    for_validation = np.zeros(count, np.bool_)
    for_validation[rng.choice(count, kept, replace=False)] = True
    blocks = for_validation.reshape(rows, cols)
    edges_x = [window.col_off + window.width * i // cols for i in range(cols + 1)]
    edges_y = [window.row_off + window.height * i // rows for i in range(rows + 1)]
    return Ground(
        train=rectangles(~blocks, edges_x=edges_x, edges_y=edges_y),
        validation=rectangles(blocks, edges_x=edges_x, edges_y=edges_y),
    )


def split_generator(seed: int, name: str) -> np.random.Generator:
    """Give a generator for one source, so that adding another source moves no one's blocks."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def overlap(one: Window, other: Window) -> bool:
    """Tell whether two windows of a grid share a pixel."""
    return (
        one.col_off < other.col_off + other.width
        and other.col_off < one.col_off + one.width
        and one.row_off < other.row_off + other.height
        and other.row_off < one.row_off + one.height
    )


def _scale(first: int, last: int, native: int, working: int) -> tuple[int, int]:
    """Scale the ends of an interval, rounded inwards, in whole numbers: floats would lose a pixel."""
    return -(-first * working // native), last * working // native


def _cut_once(window: Window, share: float, rng: np.random.Generator) -> Ground:
    """Keep one end of the longer side."""
    wide = window.width >= window.height
    length = window.width if wide else window.height
    kept = min(max(round(share * length), 1), length - 1)
    if kept < 1:
        return Ground(train=(window,), validation=())
    at_start = bool(rng.integers(2))
    cut = kept if at_start else length - kept
    if wide:
        first = Window(col_off=window.col_off, row_off=window.row_off, width=cut, height=window.height)
        second = Window(
            col_off=window.col_off + cut, row_off=window.row_off, width=length - cut, height=window.height
        )
    else:
        first = Window(col_off=window.col_off, row_off=window.row_off, width=window.width, height=cut)
        second = Window(
            col_off=window.col_off, row_off=window.row_off + cut, width=window.width, height=length - cut
        )
    train, validation = (second, first) if at_start else (first, second)
    return Ground(train=(train,), validation=(validation,))


def rectangles(
    chosen: NDArray[np.bool_], *, edges_x: Sequence[int], edges_y: Sequence[int]
) -> tuple[Window, ...]:
    """Join chosen blocks into runs along rows, and equal runs of adjacent rows into one.

    Args:
        chosen: (rows, cols) blocks.
        edges_x: cols + 1 first pixels of blocks, and the end of the last.
        edges_y: Likewise rows + 1.
    """
    rows = len(chosen)
    open_runs: dict[tuple[int, int], int] = {}
    found = []
    for row in range(rows + 1):
        runs = _runs(chosen[row]) if row < rows else set()
        for run in [run for run in open_runs if run not in runs]:
            found.append((run, open_runs.pop(run), row))
        for run in runs:
            open_runs.setdefault(run, row)
    return tuple(
        Window(
            col_off=edges_x[left],
            row_off=edges_y[top],
            width=edges_x[right] - edges_x[left],
            height=edges_y[bottom] - edges_y[top],
        )
        for (left, right), top, bottom in sorted(found, key=lambda piece: (piece[1], piece[0]))
    )


def _runs(chosen: NDArray[np.bool_]) -> set[tuple[int, int]]:
    """Give first and end column of every run of True."""
    steps = np.diff(np.concatenate([[0], chosen.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return {(int(start), int(end)) for start, end in zip(starts, ends, strict=True)}
