"""Sharing out ground that several rasters show: every one of them agrees what is kept to judge by.

Cells lie on the pixels of the group's coarsest raster, its leader. Of another raster, the blocks that lie
within cells of one use are for that use; a block across the border of two uses is for neither.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from buildmap.data.leaks import to_other_grid
from buildmap.data.missing import uniform
from buildmap.data.split import Ground, rectangles
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window

_CELL_CHIPS = (4.0, 2.0, 1.0, 0.5, 0.25)
"""Sides of cells to try, in chips of the leader, until there are enough."""
_FEWEST_CELLS = 5
_BLOCKS_PER_CHIP = 4
_MOST_BLOCKS = 2**20
_NEAR = 1e-6
"""Of a cell: what ends so close to its edge ends on it."""
_STRAIGHT = 1e-9
"""Turn of one grid against another that moves no pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cells:
    """A lattice over a group of rasters."""

    leader: Grid
    """Whose pixels the cells are laid on."""
    left: float
    """Column of the leader where cell 0 begins."""
    top: float
    """Row of the leader where cell 0 begins."""
    width_px: float
    """Of a cell, in the leader's columns."""
    height_px: float
    """Of a cell, in the leader's rows."""

    def place(
        self, grid: Grid, cols: NDArray[np.float64], rows: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give places of a grid in cells, along x and along y."""
        x, y = to_other_grid(cols, rows, source=grid, target=self.leader)
        return (x - self.left) / self.width_px, (y - self.top) / self.height_px


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """A raster's window cut into blocks, and the cells that each lies in."""

    edges_x: list[int]
    """First columns of the blocks, and the end of the last."""
    edges_y: list[int]
    """Likewise rows."""
    ends: NDArray[np.int64]
    """(4, rows, cols) first cell along x and y, and one past the last; as many, where it has no place."""
    area: NDArray[np.float64]
    """(rows, cols) in cells."""


def split_together(
    grids: Sequence[Grid],
    windows: Sequence[Window],
    *,
    chip_px: int,
    share: float,
    seed: int,
    name: str,
    valid_shares: Sequence[Callable[[Window], float] | None],
) -> list[Ground]:
    """Share out the ground of rasters that overlap, in cells about four chips of the coarsest wide.

    Cells are smaller where there would be fewer than five with anything valid. Validation gets those whose
    hashes come first, until they make its share of the valid ground; at least one. Strips too narrow for a
    quarter of a chip are for neither use.

    Args:
        grids: Working grids, each with a place on the Earth.
        windows: The annotated part of each.
        chip_px: Side of a chip.
        share: Share of the ground kept for validation, 0..1.
        seed: Says which cells.
        name: Of the group, that others may keep other places.
        valid_shares: For each raster, what tells the share of valid pixels in a window; None: all are. Only
            the coarsest raster is asked.
    """
    if share <= 0:
        return [Ground(train=(window,), validation=()) for window in windows]
    sizes = [grid.pixel_size_m() or (0.0, 0.0) for grid in grids]
    leading = max(range(len(grids)), key=lambda number: sizes[number][0] * sizes[number][1])
    for chips in _CELL_CHIPS:
        cells = _lay(grids[leading], windows[leading], chip_px * chips)
        blocks = [_cut(*placed, cells, chip_px) for placed in zip(grids, windows, strict=True)]
        area, first = _area(blocks, leading, valid_shares[leading])
        if (area > 0).sum() >= _FEWEST_CELLS:
            break
    kept = _choose(area, first, share=share, seed=seed, name=name)
    grounds = [_share_out(cut, kept, first) for cut in blocks]
    return [
        _without_strips(ground, least_px=min(chip_px, window.width, window.height) // _BLOCKS_PER_CHIP)
        for ground, window in zip(grounds, windows, strict=True)
    ]


def _lay(leader: Grid, window: Window, side_px: float) -> _Cells:
    """Lay cells of about a size, in whole pixels, that fill the leader's window."""
    cols, rows = (max(round(length / side_px), 1) for length in (window.width, window.height))
    return _Cells(
        leader=leader,
        left=window.col_off,
        top=window.row_off,
        width_px=-(-window.width // cols),
        height_px=-(-window.height // rows),
    )


def _cut(grid: Grid, window: Window, cells: _Cells, chip_px: int) -> _Blocks:
    """Cut a window along the cells' edges where these run along its pixels, else finely."""
    turned = _turn(grid, cells)
    if turned is None:
        side_px = max(
            chip_px // _BLOCKS_PER_CHIP, int((window.width * window.height / _MOST_BLOCKS) ** 0.5), 1
        )
        edges_x = _even(window.col_off, window.width, side_px)
        edges_y = _even(window.row_off, window.height, side_px)
    else:
        edges_x = _along(turned.a, turned.c, window.col_off, window.width)
        edges_y = _along(turned.e, turned.f, window.row_off, window.height)
    cols, rows = np.meshgrid(np.array(edges_x, np.float64), np.array(edges_y, np.float64))
    x, y = cells.place(grid, cols, rows)
    corners = np.stack(
        [np.stack([axis[:-1, :-1], axis[:-1, 1:], axis[1:, :-1], axis[1:, 1:]]) for axis in (x, y)]
    )
    placed = np.isfinite(corners).all(axis=(0, 1))
    corners[:, :, ~placed] = 0
    low = np.floor(corners.min(axis=1) + _NEAR)
    high = np.ceil(corners.max(axis=1) - _NEAR)
    area = np.prod(corners.max(axis=1) - corners.min(axis=1), axis=0)
    return _Blocks(
        edges_x=edges_x, edges_y=edges_y, ends=np.concatenate([low, high]).astype(np.int64), area=area
    )


def _turn(grid: Grid, cells: _Cells) -> Affine | None:
    """Give the transform of a grid's pixels to cells, or None where cells do not run along its pixels."""
    if grid.crs != cells.leader.crs:
        return None
    to_leader = ~cells.leader.transform @ grid.transform
    shifted = Affine.translation(-cells.left, -cells.top) @ to_leader
    turned = Affine.scale(1 / cells.width_px, 1 / cells.height_px) @ shifted
    straight = abs(turned.b) < _STRAIGHT * abs(turned.a) and abs(turned.d) < _STRAIGHT * abs(turned.e)
    return turned if straight else None


def _along(scale: float, shift: float, start: int, length: int) -> list[int]:
    """Cut an interval of pixels at the cells' edges; a pixel across an edge is a block of its own."""
    ends = sorted([scale * start + shift, scale * (start + length) + shift])
    lines = (np.arange(np.ceil(ends[0]), np.floor(ends[1]) + 1) - shift) / scale
    near = _NEAR / abs(scale)
    cuts = np.concatenate([np.floor(lines + near), np.ceil(lines - near)]).astype(np.int64)
    inside = cuts[(cuts > start) & (cuts < start + length)]
    return [start, *np.unique(inside).tolist(), start + length]


def _even(start: int, length: int, side_px: int) -> list[int]:
    count = max(round(length / side_px), 1)
    return [start + length * number // count for number in range(count + 1)]


def _area(
    blocks: Sequence[_Blocks], leading: int, valid_share: Callable[[Window], float] | None
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Give the valid ground in every cell (ys, xs), by the leader where it has any; and the first cell."""
    first_x, first_y = (min(int(cut.ends[axis].min()) for cut in blocks) for axis in (0, 1))
    end_x, end_y = (max(int(cut.ends[axis].max()) for cut in blocks) for axis in (2, 3))
    area = np.zeros((end_y - first_y, end_x - first_x))
    flat = area.reshape(-1)
    for number, cut in enumerate(blocks):
        if number != leading:
            cells, seen = _sum_by_cell(cut, cut.area, (first_x, first_y), area.shape[1])
            flat[cells] = np.maximum(flat[cells], seen)
    leader = blocks[leading]
    cells, seen = _sum_by_cell(
        leader, leader.area * _valid_shares(leader, valid_share), (first_x, first_y), area.shape[1]
    )
    flat[cells] = seen
    return area, (first_x, first_y)


def _sum_by_cell(
    cut: _Blocks, values: NDArray[np.float64], first: tuple[int, int], width: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sum the values of blocks that lie in one cell: (n,) numbers of cells, row by row, and (n,) sums."""
    low_x, low_y, high_x, high_y = cut.ends
    within = (high_x - low_x == 1) & (high_y - low_y == 1)
    cells = (low_y[within] - first[1]) * width + low_x[within] - first[0]
    numbers, place = np.unique(cells, return_inverse=True)
    sums = np.bincount(place, weights=values[within], minlength=len(numbers)).astype(np.float64)
    return numbers, sums


def _valid_shares(cut: _Blocks, valid_share: Callable[[Window], float] | None) -> NDArray[np.float64]:
    """Give the share of valid pixels in every block, (rows, cols)."""
    shares = np.ones(cut.area.shape)
    if valid_share is None:
        return shares
    for row, (top, bottom) in enumerate(pairwise(cut.edges_y)):
        for col, (left, right) in enumerate(pairwise(cut.edges_x)):
            block = Window(col_off=left, row_off=top, width=right - left, height=bottom - top)
            shares[row, col] = valid_share(block)
    return shares


def _choose(
    area: NDArray[np.float64], first: tuple[int, int], *, share: float, seed: int, name: str
) -> NDArray[np.bool_]:
    """Choose cells for validation, (ys, xs)."""
    kept = np.zeros(area.shape, np.bool_)
    ys, xs = np.nonzero(area)
    if len(ys) < 2:
        return kept
    order = np.argsort(uniform(seed, zlib.crc32(name.encode()), xs + first[0], ys + first[1]), kind="stable")
    grown = np.cumsum(area[ys[order], xs[order]])
    count = int(np.argmin(np.abs(grown - share * grown[-1]))) + 1
    chosen = order[: min(count, len(order) - 1)]
    kept[ys[chosen], xs[chosen]] = True
    return kept


def _share_out(cut: _Blocks, kept: NDArray[np.bool_], first: tuple[int, int]) -> Ground:
    """Give each use the blocks that lie in cells of that use only."""
    sums = np.pad(kept.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    low_x, low_y, high_x, high_y = cut.ends - np.array([*first, *first])[:, None, None]
    inside = sums[high_y, high_x] - sums[low_y, high_x] - sums[high_y, low_x] + sums[low_y, low_x]
    touched = (high_x - low_x) * (high_y - low_y)
    return Ground(
        train=rectangles((inside == 0) & (touched > 0), edges_x=cut.edges_x, edges_y=cut.edges_y),
        validation=rectangles((inside == touched) & (touched > 0), edges_x=cut.edges_x, edges_y=cut.edges_y),
    )


def _without_strips(ground: Ground, *, least_px: int) -> Ground:
    train, validation = (
        tuple(window for window in windows if min(window.width, window.height) >= least_px)
        for windows in (ground.train, ground.validation)
    )
    return Ground(train=train, validation=validation)
