"""Which ground is learned from, and which is kept to judge by; the two never overlap."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window

_BLOCK_CHIPS = 4
_FEWEST_BLOCKS = 5
_TRAIN, _VALIDATION, _TEST = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Rectangles of one raster's working grid."""

    train: tuple[Window, ...]
    """Disjoint rectangles that training chips lie in."""
    validation: tuple[Window, ...]
    """Disjoint rectangles that validation chips cover; none touches `train`."""
    test: tuple[Window, ...] = ()
    """Disjoint rectangles for the last judgement; none touches the others."""

    @property
    def kept(self) -> tuple[Window, ...]:
        """All that is not learned from."""
        return self.validation + self.test


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


def split_ground(
    window: Window, *, chip_px: int, share: float, rng: np.random.Generator, test_share: float = 0.0
) -> Ground:
    """Share out blocks of ground, about four chips wide, between training, validation and test.

    Ground too small for five such blocks is cut once, across its longer side, so that what is left
    to learn from stays in one piece.

    Args:
        window: The annotated part of the working grid.
        chip_px: Side of a chip.
        share: Share of the ground kept for validation, 0..1; of blocks, at least one unless it is 0.
        rng: Says which blocks.
        test_share: Share of the ground kept for the test, likewise; which blocks are for validation does
            not depend on it.
    """
    if share + test_share <= 0:
        return Ground(train=(window,), validation=())
    rows = max(round(window.height / (_BLOCK_CHIPS * chip_px)), 1)
    cols = max(round(window.width / (_BLOCK_CHIPS * chip_px)), 1)
    count = rows * cols
    if count < _FEWEST_BLOCKS:
        return _cut_once(window, share, rng, test_share)
    uses = np.full(count, _TRAIN)
    for use, asked in ((_VALIDATION, share), (_TEST, test_share)):
        free = np.flatnonzero(uses == _TRAIN)
        if asked > 0:
            kept = min(max(round(asked * count), 1), len(free) - 1)
            uses[free[rng.choice(len(free), kept, replace=False)]] = use
    blocks = uses.reshape(rows, cols)
    edges_x = [window.col_off + window.width * i // cols for i in range(cols + 1)]
    edges_y = [window.row_off + window.height * i // rows for i in range(rows + 1)]
    train, validation, test = (
        rectangles(blocks == use, edges_x=edges_x, edges_y=edges_y) for use in (_TRAIN, _VALIDATION, _TEST)
    )
    return Ground(train=train, validation=validation, test=test)


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


def _cut_once(window: Window, share: float, rng: np.random.Generator, test_share: float) -> Ground:
    """Keep one end of the longer side for validation, and the other for the test."""
    length = max(window.width, window.height)
    kept, tested = (
        min(max(round(asked * length), 1), length - 1) if asked > 0 else 0 for asked in (share, test_share)
    )
    tested = min(tested, length - 1 - kept)
    if kept + tested < 1:
        return Ground(train=(window,), validation=())
    at_start = bool(rng.integers(2))
    first, last = (kept, tested) if at_start else (tested, kept)
    start, middle, end = (
        _slice(window, *ends) for ends in ((0, first), (first, length - last), (length - last, length))
    )
    validation, test = (start, end) if at_start else (end, start)
    return Ground(train=middle, validation=validation, test=test)


def _slice(window: Window, first: int, end: int) -> tuple[Window, ...]:
    """Give part of a window along its longer side; nothing where that is empty."""
    if end <= first:
        return ()
    if window.width >= window.height:
        return (replace(window, col_off=window.col_off + first, width=end - first),)
    return (replace(window, row_off=window.row_off + first, height=end - first),)


def common(some: Sequence[Window], others: Sequence[Window]) -> tuple[Window, ...]:
    """Give what two sets of rectangles of a grid both cover, as rectangles."""
    both = [*some, *others]
    edges_x = sorted({edge for w in both for edge in (w.col_off, w.col_off + w.width)})
    edges_y = sorted({edge for w in both for edge in (w.row_off, w.row_off + w.height)})
    covered = np.zeros((2, max(len(edges_y) - 1, 0), max(len(edges_x) - 1, 0)), np.bool_)
    for painted, windows in zip(covered, (some, others), strict=True):
        for w in windows:
            rows = slice(edges_y.index(w.row_off), edges_y.index(w.row_off + w.height))
            cols = slice(edges_x.index(w.col_off), edges_x.index(w.col_off + w.width))
            painted[rows, cols] = True
    return rectangles(covered[0] & covered[1], edges_x=edges_x, edges_y=edges_y)


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
