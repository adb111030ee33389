"""Drawing map pictures: the features of a map in the pixels of any window of a grid, anti-aliased.

A pixel is looked at in several places, a square lattice of them; each has the colour of what lies on top
there, and the pixel has their mean. What a place shows follows from the grid and the features alone: all
coordinates are rounded once, on the whole grid, to a fraction that whole-number zooms keep exact. So two
windows agree to the bit where they overlap.
"""

from functools import partial

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.data.annotations import move
from buildmap.data.map_layers import MapFeatures
from buildmap.preset.maps import MapStyle
from buildmap.raster.burn import FootprintIndex
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window

_STEPS_PER_PX = 2.0**16
_MOST_CORNERS = 500
"""Of an area; larger ones are cut, for drawing takes time by corners x rows."""
_MOST_LINE_CORNERS = 32
_PART_PLACES = 2048
"""Looked at along each side of what is drawn at a time."""
_QUADRANT_CORNERS = 8


class MapPicture:
    """The picture of a map on a grid; windows may be drawn in several threads."""

    def __init__(self, features: MapFeatures, style: MapStyle, grid: Grid, *, scale: int = 1) -> None:
        """Index the features.

        Args:
            features: In the CRS of the grid, read for this style.
            style: What they look like.
            grid: What windows refer to.
            scale: Pixels of the picture per pixel of the grid, along one axis: for widths in pixels.

        Raises:
            ValueError: If the grid has no CRS or no transform.
        """
        size = grid.pixel_size_m()
        if size is None:
            raise ValueError("a grid without CRS or transform")
        self._pixel_m, self._samples = size, style.samples
        pixel_m = (size[0] * size[1]) ** 0.5 / scale
        widths = np.array([rule.width(pixel_m) for rule in style.rules])
        pieces, origin = _cut(_to_grid(features.shapes, grid))
        self._tree = shapely.STRtree(pieces)
        self.pieces = len(pieces)
        """Shapes to draw, as often as rules draw them, and in as many parts as they were cut into."""
        self._rules = features.rules[origin].astype(np.int32)
        self._half_widths_m = widths[self._rules] / 2
        self._reach_px = widths.max() / 2 / min(size) + 1
        self._colors = np.array([style.background, *(rule.color for rule in style.rules)], np.uint8)

    def draw(self, window: Window, *, out_shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Draw a window of the grid: (3, rows, cols) red, green, blue of `out_shape` rows and columns."""
        rows, cols = out_shape
        picture = np.empty((3, rows, cols), np.uint8)
        corner = Affine.translation(window.col_off, window.row_off)
        placed = corner @ Affine.scale(window.width / cols, window.height / rows)
        step = max(_PART_PLACES // self._samples, 1)
        for top in range(0, rows, step):
            for left in range(0, cols, step):
                part = picture[:, top : top + step, left : left + step]
                part[:] = self._draw_part(placed @ Affine.translation(left, top), part.shape[1:])
        return picture

    def _draw_part(self, placed: Affine, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Draw pixels whose transform to the grid's pixels is given: (3, rows, cols)."""
        rows, cols = shape
        finer = self._samples
        shapes, rules = self._near(placed, rows, cols)
        shown = FootprintIndex(shapes).burn_numbers(
            rules, transform=placed @ Affine.scale(1 / finer), height=rows * finer, width=cols * finer
        )
        picture = np.empty((3, rows, cols), np.uint8)
        _average(shown, self._colors, finer, picture)
        return picture

    def _near(self, placed: Affine, rows: int, cols: int) -> tuple[NDArray[np.object_], NDArray[np.int32]]:
        """Give what may touch some pixels as polygons, bottom to top, and the rule that draws each."""
        (left, top), (right, bottom) = placed @ (0, 0), placed @ (cols, rows)
        reach = self._reach_px
        box = shapely.box(left - reach, top - reach, right + reach, bottom + reach)
        near = np.sort(self._tree.query(box))
        shapes = self._tree.geometries[near]
        lines = np.flatnonzero(self._half_widths_m[near] > 0)
        shapes[lines] = self._widen(shapes[lines], self._half_widths_m[near[lines]])
        drawable = ~shapely.is_empty(shapes)
        return shapes[drawable], self._rules[near[drawable]]

    def _widen(self, lines: NDArray[np.object_], half_widths_m: NDArray[np.float64]) -> NDArray[np.object_]:
        """Make polygons of lines, all in pixels of the grid, which need not be square on the ground."""
        on_ground = shapely.transform(lines, lambda places: places * self._pixel_m)
        wide = shapely.buffer(on_ground, half_widths_m, quad_segs=_QUADRANT_CORNERS)
        return _rounded(shapely.transform(wide, lambda places: places / self._pixel_m))


def _to_grid(shapes: NDArray[np.object_], grid: Grid) -> NDArray[np.object_]:
    """Give shapes in pixels of the grid."""
    to_pixels = partial(move, ~grid.transform)
    return np.asarray(shapely.transform(shapes, to_pixels, interleaved=False), np.object_)


def _rounded(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    rounded = shapely.transform(shapes, lambda places: np.rint(places * _STEPS_PER_PX) / _STEPS_PER_PX)
    return np.asarray(rounded, np.object_)


def _cut(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Cut long shapes into pieces that show the same together.

    Returns:
        (m,) pieces, and (m,) the index of the shape each comes from, ascending.
    """
    corners = shapely.get_num_coordinates(shapes)
    is_line = shapely.get_dimensions(shapes) == 1
    long = np.flatnonzero(corners > np.where(is_line, _MOST_LINE_CORNERS, _MOST_CORNERS))
    sick = long[~shapely.is_valid(shapes[long])]  # another unit may turn a hair's breadth into a crossing
    shapes[sick] = shapely.make_valid(shapes[sick], method="structure", keep_collapsed=False)
    pieces = [_cut_line(shapes[at]) if is_line[at] else _cut_area(shapes[at]) for at in long]
    kept = np.setdiff1d(np.arange(len(shapes)), long)
    all_pieces = np.array([*shapes[kept], *(piece for some in pieces for piece in some)], np.object_)
    origin = np.concatenate([kept, np.repeat(long, [len(some) for some in pieces])]).astype(np.int64)
    order = np.argsort(origin, kind="stable")
    return _rounded(all_pieces[order]), origin[order]


def _cut_line(line: shapely.LineString) -> list[shapely.LineString]:
    """Cut at corners: drawn with round ends, the pieces together are the line."""
    places = shapely.get_coordinates(line)
    step = _MOST_LINE_CORNERS - 1
    return [shapely.LineString(places[start : start + step + 1]) for start in range(0, len(places) - 1, step)]


def _cut_area(area: shapely.Polygon) -> list[shapely.Polygon]:
    """Halve along lines between pixels, on which nothing is ever looked at."""
    left, top, right, bottom = shapely.bounds(area)
    wide = right - left >= bottom - top
    middle = np.rint((left + right) / 2 if wide else (top + bottom) / 2)
    low, high = (left, right) if wide else (top, bottom)
    if shapely.get_num_coordinates(area) <= _MOST_CORNERS or not low < middle < high:
        return [area]
    halves = (
        [shapely.box(left, top, middle, bottom), shapely.box(middle, top, right, bottom)]
        if wide
        else [shapely.box(left, top, right, middle), shapely.box(left, middle, right, bottom)]
    )
    parts = shapely.get_parts(shapely.intersection(area, halves))
    return [piece for part in parts if shapely.get_dimensions(part) == 2 for piece in _cut_area(part)]


@compiled
def _average(
    shown: NDArray[np.int32], colors: NDArray[np.uint8], finer: int, picture: NDArray[np.uint8]
) -> None:
    """Fill a picture (3, rows, cols) with the mean colours of what is shown in finer x finer places each.

    Args:
        shown: (rows * finer, cols * finer) number of a rule, -1 for the background.
        colors: (rules + 1, 3) of the background, then of the rules.
        finer: Places along each side of a pixel.
        picture: Filled.
    """
    places = finer * finer
    total = np.zeros(3, np.int64)
    for row in range(picture.shape[1]):
        for col in range(picture.shape[2]):
            total[:] = places // 2
            for below in range(finer):
                for beside in range(finer):
                    number = shown[row * finer + below, col * finer + beside] + 1
                    for part in range(3):
                        total[part] += colors[number, part]
            for part in range(3):
                picture[part, row, col] = total[part] // places
