"""Figures of a report on change, as SVG that takes its colours from the page it stands in.

Only numbers get into them, and addresses of pictures; no text of a user.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from buildmap.changes.density import Overview
from buildmap.changes.imagery import NO_DATA
from buildmap.changes.shifts import ShiftBlocks
from buildmap.raster.grid import Bounds

SIDE_PX = 220
"""Of the picture of an example."""
BEFORE_COLOR, AFTER_COLOR = "#56b4e9", "#e69f00"
"""Sky blue and orange: seen on roofs and lawns, and told apart also by who does not see red or green."""
GROUND_COLOR = "#{:02x}{:02x}{:02x}".format(*NO_DATA)
_HALO = "#000000"
_DASHES = "5 3"
_MOST_DOTS = 36
"""Cells along a side of an overview map."""
_MOST_ARROWS = 20
"""Arrows along a side of a map of shifts."""
_WIDTH, _HEIGHT = 400.0, 440.0
"""Largest map, in units of its own."""
_FOOT = 26.0
"""Room for the scale bar."""
_TINY_PX = 0.3
"""What stands out less is no detail of an outline."""


class _Map(NamedTuple):
    """A lattice on paper."""

    rows: int
    """Of cells."""
    cols: int
    """Of cells."""
    cell: float
    """Side of one on paper."""

    @property
    def left(self) -> float:
        return (_WIDTH - self.cols * self.cell) / 2

    def centre(self, row: float, col: float) -> tuple[float, float]:
        return self.left + (col + 0.5) * self.cell, (row + 0.5) * self.cell


def frame_of(shapes: Iterable[BaseGeometry | None], *, times: float, least: float) -> Bounds:
    """Give a square of ground around some shapes.

    Args:
        shapes: At least one is not empty.
        times: How many times as long as they are, at least, in CRS units.
        least: Shortest side in CRS units.
    """
    left, bottom, right, top = shapely.total_bounds([shape for shape in shapes if shape is not None])
    half = max(times * max(right - left, top - bottom), least) / 2
    x, y = (left + right) / 2, (bottom + top) / 2
    return float(x - half), float(y - half), float(x + half), float(y + half)


def outlines(
    box: Bounds, before: BaseGeometry | None, after: BaseGeometry | None, *, picture: str | None
) -> str:
    """Draw the outlines of both dates on a square of ground, BEFORE dashed, AFTER solid beneath it.

    Args:
        box: The ground, in the CRS of both.
        before: Polygons, or nothing.
        after: Polygons, or nothing.
        picture: Address of an image of the ground; without one it is gray.
    """
    ground = f'<rect width="{SIDE_PX}" height="{SIDE_PX}" fill="{GROUND_COLOR}"/>'
    if picture is not None:
        ground = f'<image width="{SIDE_PX}" height="{SIDE_PX}" preserveAspectRatio="none" href="{picture}"/>'
    paths = [_outline(box, shape) for shape in (after, before)]
    halo = "".join(_stroke(path, _HALO, 4, ' stroke-opacity="0.45"') for path in paths)
    lines = _stroke(paths[0], AFTER_COLOR, 2) + _stroke(
        paths[1], BEFORE_COLOR, 2, f' stroke-dasharray="{_DASHES}"'
    )
    return _svg(SIDE_PX, SIDE_PX, f'{ground}<g fill="none" stroke-linejoin="round">{halo}{lines}</g>')


def density_map(overview: Overview, sort: int, *, unit_m: float, color: str) -> str:
    """Draw how many rows of one sort are where: a disc per cell, its area by their number.

    Cells with a row of any sort have a faint ground.

    Args:
        overview: At least one row.
        sort: Which one.
        unit_m: Metres per CRS unit.
        color: A CSS value.
    """
    counts, side = _merge(overview.counts, _MOST_DOTS)
    paper = _fit(*counts.shape[1:])
    known = "".join(
        f"M{paper.left + col * paper.cell:.1f} {row * paper.cell:.1f}h{paper.cell:.1f}v{paper.cell:.1f}"
        f"h-{paper.cell:.1f}z"
        for row, col in np.argwhere(counts.sum(axis=0))
    )
    most = counts[sort].max()
    discs = "".join(
        '<circle cx="{:.1f}" cy="{:.1f}" r="{:.2f}"/>'.format(
            *paper.centre(row, col), _radius(counts[sort, row, col] / most) * paper.cell
        )
        for row, col in np.argwhere(counts[sort])
    )
    bar = _scale_bar(paper, cell_m=overview.cell * side * unit_m)
    ground = f'<path d="{known}" fill="var(--faint)" shape-rendering="crispEdges"/>'
    body = f'{ground}<g fill="{color}" fill-opacity="0.85">{discs}</g>{bar}'
    return _svg(_WIDTH, paper.rows * paper.cell + _FOOT, body)


def densest_cell(overview: Overview, sort: int, *, unit_m: float) -> tuple[int, float]:
    """Give how many rows the largest disc of `density_map` stands for, and the side of its cell in metres."""
    counts, side = _merge(overview.counts, _MOST_DOTS)
    return int(counts[sort].max()), overview.cell * side * unit_m


def shift_map(blocks: ShiftBlocks, *, unit_m: float) -> str:
    """Draw the shifts as arrows, the longest as long as there is room; north up.

    Where there are too many blocks, one arrow stands for several: their mean, weighted by their pairs.
    What is not estimated from a block's own pairs is pale.

    Args:
        blocks: At least one.
        unit_m: Metres per CRS unit.
    """
    block = float(blocks.box[0, 2] - blocks.box[0, 0])
    cols, rows = np.rint(blocks.box[:, [0, 3]].T / block).astype(np.int64)
    cols, rows = cols - cols.min(), rows.max() - rows
    side = max(-(-(int(max(cols.max(), rows.max())) + 1) // _MOST_ARROWS), 1)
    paper = _fit(int(rows.max()) // side + 1, int(cols.max()) // side + 1)
    place, member = np.unique(rows // side * paper.cols + cols // side, return_inverse=True)
    weight = np.maximum(blocks.pairs, 1)
    total = np.bincount(member, weight)
    way = np.stack([np.bincount(member, weight * part) / total for part in (blocks.dx, blocks.dy)], axis=1)
    is_own = np.bincount(member, blocks.source == "own") > 0
    longest = float(np.hypot(*way.T).max())
    zoom = 0.92 * paper.cell / longest if longest else 0.0
    arrows = ["", ""]
    for cell, (dx, dy), own in zip(place, way * zoom, is_own, strict=True):
        arrows[int(own)] += _arrow(*paper.centre(*divmod(int(cell), paper.cols)), float(dx), float(-dy))
    body = "".join(
        f'<path d="{path}" stroke="var({color})" fill="none" stroke-width="1.6" stroke-linecap="round"/>'
        for path, color in zip(arrows, ("--quiet", "--two"), strict=True)
        if path
    )
    bar = _scale_bar(paper, cell_m=block * side * unit_m)
    return _svg(_WIDTH, paper.rows * paper.cell + _FOOT, body + bar)


def _svg(width: float, height: float, body: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}">{body}</svg>'


def _stroke(path: str, color: str, width: float, more: str = "") -> str:
    return f'<path d="{path}" stroke="{color}" stroke-width="{width:g}"{more}/>' if path else ""


def _outline(box: Bounds, shape: BaseGeometry | None) -> str:
    """Write the rings of a shape as a path on the picture of a box, as far as they are seen there."""
    if shape is None:
        return ""
    left, bottom, right, top = box
    scale = SIDE_PX / (right - left)
    beyond = (right - left) / 20  # a cut along the border must not look like a wall
    near = shapely.clip_by_rect(shape, left - beyond, bottom - beyond, right + beyond, top + beyond)
    plain = shapely.simplify(near, _TINY_PX / scale)
    path = ""
    for part in shapely.get_parts(plain):
        for ring in shapely.get_rings(part):
            xy = (shapely.get_coordinates(ring)[:-1] - (left, top)) * (scale, -scale)
            path += "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in xy) + "Z"
    return path


def _merge(counts: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], int]:
    """Sum squares of cells so that no side has more than `most`; give their side in cells, too."""
    sorts, rows, cols = counts.shape
    side = max(-(-max(rows, cols) // most), 1)
    padded = np.pad(counts, [(0, 0), (0, -rows % side), (0, -cols % side)])
    squares = padded.reshape(sorts, -(-rows // side), side, -(-cols // side), side)
    return squares.sum(axis=(2, 4)), side


def _fit(rows: int, cols: int) -> _Map:
    return _Map(rows, cols, min(_WIDTH / cols, _HEIGHT / rows, _WIDTH / 6))


def _radius(share: float) -> float:
    """Give the radius of a disc, 0.5 = as wide as its cell, that is never too small to be seen."""
    return max(0.48 * math.sqrt(share), 0.1)


def _arrow(x: float, y: float, dx: float, dy: float) -> str:
    """Write an arrow around its middle; one without a length is a point."""
    head = 0.3 * np.array([dx, dy])
    tip = np.array([x + dx / 2, y + dy / 2])
    ends = [tip - (head[0] * 0.87 + turn * head[1], head[1] * 0.87 - turn * head[0]) for turn in (0.5, -0.5)]
    return "M{:.1f} {:.1f}L{:.1f} {:.1f}M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}".format(
        x - dx / 2, y - dy / 2, *tip, *ends[0], *tip, *ends[1]
    )


def _scale_bar(paper: _Map, *, cell_m: float) -> str:
    """Draw a line of a round length, at most a third of the width."""
    per_m = paper.cell / cell_m
    longest_m = _WIDTH / 3 / per_m
    power = 10.0 ** math.floor(math.log10(longest_m))
    length_m = max(step * power for step in (1, 2, 5) if step * power <= longest_m)
    text = f"{length_m / 1000:,g} km" if length_m >= 1000 else f"{length_m:g} m"
    y, end = paper.rows * paper.cell + 12, length_m * per_m
    return (
        f'<path d="M1 {y - 4:.1f}v4h{end:.1f}v-4" fill="none" stroke="var(--ink)"/>'
        f'<text x="{end + 8:.1f}" y="{y + 3:.1f}" font-size="12" fill="var(--ink)">{text}</text>'
    )
