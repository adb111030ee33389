"""Outlines where the probability crosses the threshold, between the centres of pixels.

Every unit pixel edge of an exact outline becomes one corner, on the line between the centres of the pixels on
its two sides. So two outlines never share a place on such a line unless they share the edge, and what they do
between four centres stays in halves of its own: outlines of neighbours never overlap, and rings never cross.
An edge without a crossing, at the border of the raster, beside no data or between two buildings, stays in the
middle; there, corners are kept.
"""

from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.outlining import STEPS
from buildmap.vector.ragged import Ragged, to_ragged
from buildmap.vector.tracing.trace import NODATA
from buildmap.vector.validity import roll_back

_NEAREST = 1 / 1024
"""Pixels; a corner never falls on the centre of a pixel, where it could meet others."""
_OFF, _LOW, _HIGH = 0, 1, 2
_Pixel = tuple[int, int]


class _Field(NamedTuple):
    """Probability around the outlines."""

    values: NDArray[np.uint8]
    """(rows, cols) times 254, 255 no data."""
    left: int
    """Column of the first pixel in the raster."""
    top: int
    """Row of the first pixel in the raster."""
    level: float
    """Values from this one on are buildings."""


def subpixel(
    polygons: NDArray[np.object_], values: NDArray[np.uint8], *, left: int, top: int, threshold: float
) -> NDArray[np.object_]:
    """Move every unit edge to where linear interpolation crosses the threshold, by half a pixel at most.

    Corners of the outline are cut, as in marching squares. Where one side of a corner cannot move, the
    corner goes along with the other side; where three buildings meet it stays. A valid coverage stays one.

    Args:
        polygons: (n,) exact pixel-edge outlines in pixel corners (column, row), whose pixels reach the
            threshold or are 255, as in holes that were filled.
        values: (rows, cols) probability times 254, 255 no data: the pixels of the polygons and those beside
            them. What lies off this picture is taken for the outside of the raster.
        left: Column of the first of these pixels in the raster.
        top: Row of the first of these pixels in the raster.
        threshold: Probability from which a pixel is a building.

    Returns:
        (n,) valid polygons, with about one corner for each pixel of length; one that would not be valid
        stays as it was.

    Raises:
        ValueError: If a polygon is no pixel-edge outline.
    """
    if not len(polygons):
        return polygons
    edges = to_ragged(np.asarray(shapely.orient_polygons(polygons, exterior_cw=True)))
    fine = move_edges(edges, values, left=left, top=top, threshold=threshold)
    changed = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, fine.corners, (fine.rings, fine.polygons)
    )
    return roll_back(np.asarray(changed), polygons)


def move_edges(
    outlines: Ragged, values: NDArray[np.uint8], *, left: int, top: int, threshold: float
) -> Ragged:
    """Do the work of `subpixel` on flat arrays, for those who call it many times.

    Args:
        outlines: Exact pixel-edge outlines; exteriors run down first from their topmost leftmost corner,
            interiors against them, as the tracer gives them.
        values: As in `subpixel`.
        left: As in `subpixel`.
        top: As in `subpixel`.
        threshold: As in `subpixel`.

    Raises:
        ValueError: If an outline does not follow the edges of pixels.
    """
    room = _count_edges(outlines.corners, outlines.rings)
    if room < 0:
        raise ValueError("the outlines do not follow the edges of pixels")
    field = _Field(values, left, top, round(threshold * STEPS, 6))
    moved, rings = _move_all(outlines.corners.astype(np.int64), outlines.rings, field, room)
    return Ragged(corners=moved, rings=rings, polygons=outlines.polygons)


@compiled
def _count_edges(corners: NDArray[np.float64], rings: NDArray[np.int64]) -> int:
    """Count what moved outlines can have in corners; -1 if some side is not along the edges of pixels."""
    count = len(corners)
    for ring in range(len(rings) - 1):
        for corner in range(rings[ring], rings[ring + 1] - 1):
            dx, dy = corners[corner + 1] - corners[corner]
            is_along = (dx == 0) != (dy == 0)
            if not is_along or corners[corner, 0] % 1 != 0 or corners[corner, 1] % 1 != 0:
                return -1
            count += int(abs(dx) + abs(dy))
    return count


@compiled
def _move_all(
    corners: NDArray[np.int64], rings: NDArray[np.int64], field: _Field, room: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Move closed rings; give all corners and where each ring starts."""
    moved = np.empty((room, 2))
    starts = np.zeros_like(rings)
    count = 0
    for ring in range(len(rings) - 1):
        begin, last = rings[ring], rings[ring + 1] - 1
        for corner in range(begin, last):
            count = _move_side(corners[corner], corners[corner + 1], field, moved, count)
            following = corners[corner + 2] if corner + 1 < last else corners[begin + 1]
            count = _move_corner(corners[corner : corner + 2], following, field, moved, count)
        moved[count] = moved[starts[ring]]
        count += 1
        starts[ring + 1] = count
    return moved[:count].copy(), starts


@compiled
def _move_side(
    start: NDArray[np.int64], end: NDArray[np.int64], field: _Field, moved: NDArray[np.float64], count: int
) -> int:
    """Write the moved middles of the unit edges of one side; give the new number of corners."""
    dx, dy = np.sign(end[0] - start[0]), np.sign(end[1] - start[1])
    x, y = start[0], start[1]
    while x != end[0] or y != end[1]:
        inside, outside = _beside(x, y, dx, dy)
        shift = _shift(field, inside, outside)
        moved[count, 0] = x + dx / 2 - dy * shift
        moved[count, 1] = y + dy / 2 + dx * shift
        count += 1
        x += dx
        y += dy
    return count


@compiled
def _move_corner(
    side: NDArray[np.int64],
    following: NDArray[np.int64],
    field: _Field,
    moved: NDArray[np.float64],
    count: int,
) -> int:
    """Write the corner at the end of a side, if one is kept; give the new number of corners."""
    x, y = side[1]
    dx, dy = np.sign(x - side[0, 0]), np.sign(y - side[0, 1])
    next_dx, next_dy = np.sign(following[0] - x), np.sign(following[1] - y)
    inside, outside = _beside(x - dx, y - dy, dx, dy)
    next_inside, next_outside = _beside(x, y, next_dx, next_dy)
    is_free, is_next_free = _is_free(field, inside, outside), _is_free(field, next_inside, next_outside)
    if is_free and is_next_free:
        return count
    moved[count, 0], moved[count, 1] = x, y
    if inside == next_inside and is_free:  # one pixel inside: the outline turns left
        shift = _shift_corner(field, inside, outside, next_outside)
        moved[count, 0] -= dy * shift
        moved[count, 1] += dx * shift
    elif inside == next_inside and is_next_free:
        shift = _shift_corner(field, inside, next_outside, outside)
        moved[count, 0] -= next_dy * shift
        moved[count, 1] += next_dx * shift
    return count + 1


@compiled
def _shift_corner(field: _Field, inside: _Pixel, outside: _Pixel, beyond: _Pixel) -> float:
    """Tell how far a corner goes outwards with the side before `outside`, along the one that `beyond` holds.

    Where the raster or its data end, it goes as far as that side does; where a wall comes out, as far
    as the sides of both buildings on average; anywhere else, not at all.
    """
    diagonal = (outside[0] + beyond[0] - inside[0], outside[1] + beyond[1] - inside[1])
    kind, kind_diagonal = _kind(field, beyond), _kind(field, diagonal)
    if kind == _OFF and kind_diagonal == _OFF:
        return _shift(field, inside, outside)
    if kind == _HIGH and kind_diagonal == _LOW:
        return (_shift(field, inside, outside) + _shift(field, beyond, diagonal)) / 2
    return 0.0


@compiled
def _beside(x: int, y: int, dx: int, dy: int) -> tuple[_Pixel, _Pixel]:
    """Give the pixels (row, col) on the inner and the outer side of the unit edge from a corner."""
    across, along = (dx + dy - 1) // 2, (dy - dx - 1) // 2
    return (y + along, x + across), (y + along + dx, x + across - dy)


@inlined
def _value(field: _Field, pixel: _Pixel) -> int:
    """Give the value of a pixel of the raster, `NODATA` off the picture."""
    row, col = pixel[0] - field.top, pixel[1] - field.left
    if 0 <= row < field.values.shape[0] and 0 <= col < field.values.shape[1]:
        return int(field.values[row, col])
    return NODATA


@compiled
def _kind(field: _Field, pixel: _Pixel) -> int:
    """Tell a pixel off the raster or without data from one below the level and one that reaches it."""
    value = _value(field, pixel)
    if value == NODATA:
        return _OFF
    return _HIGH if value >= field.level else _LOW


@compiled
def _is_free(field: _Field, inside: _Pixel, outside: _Pixel) -> bool:
    """Tell whether the probability crosses the level between two pixels."""
    return bool(_kind(field, inside) == _HIGH and _kind(field, outside) == _LOW)


@compiled
def _shift(field: _Field, inside: _Pixel, outside: _Pixel) -> float:
    """Give the pixels from the edge between two pixels outwards to the crossing, -0.5..0.5."""
    high, low = _value(field, inside), _value(field, outside)
    if high == NODATA or not low < field.level <= high:  # no data is not below any level
        return 0.0
    return min(max((high - field.level) / (high - low), _NEAREST), 1 - _NEAREST) - 0.5
