"""The buildings of a chip one by one, to learn from: boxes, masks and vertices.

Buildings may touch and overlap: each has a mask of its own. What counts of a building is its pixels that the
chip shows, where the raster has data and is annotated; a building that the chip's border cuts into pieces is
still one. Of its corners those count that lie inside, and so no place where the border, or the end of what is
known, cuts a wall.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from buildmap.data.augment import turn
from buildmap.data.outlines import Buildings
from buildmap.raster.burn import burn

N = TypeVar("N", np.float32, np.int64)

LEAST_PX = 4
"""Pixels of a building below which what a chip shows of it is left out."""
LEAST_SIDE_PX = 2
"""Rows, and columns, likewise: a line of pixels is what a border leaves, and no box is found around it."""
_NEAR_PX = 0.5
_MARGIN_PX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipObjects:
    """The buildings of one chip; coordinates are x, y in pixel corners of it."""

    shape: tuple[int, int]
    """Rows and columns of the chip."""
    boxes: NDArray[np.float32]
    """(n, 4) left, top, right, bottom: of the polygon, but no more than half a pixel beyond the mask."""
    places: NDArray[np.int64]
    """(n, 4) left, top, right, bottom of the pixels in `masks`."""
    masks: tuple[NDArray[np.bool_], ...]
    """n of (rows, cols) around each building, True = building: at least `LEAST_PX`, and in `LEAST_SIDE_PX`
    rows and columns."""
    vertices: tuple[NDArray[np.float32], ...]
    """n of (k, 2) x and y: the corners inside the chip, also those of holes."""

    def __len__(self) -> int:
        return len(self.boxes)

    def draw_masks(self) -> NDArray[np.bool_]:
        """Give the masks on the whole chip, (n, rows, cols)."""
        drawn = np.zeros((len(self), *self.shape), np.bool_)
        for whole, mask, (left, top, right, bottom) in zip(
            drawn, self.masks, self.places.tolist(), strict=True
        ):
            whole[top:bottom, left:right] = mask
        return drawn


def objects_of(buildings: Buildings, valid: NDArray[np.bool_]) -> ChipObjects:
    """Cut buildings to a chip.

    Args:
        buildings: In pixels of the chip.
        valid: (rows, cols), True = has data and is annotated.

    Returns:
        In the order of the buildings; what is too small is left out.
    """
    found = list(_cut(buildings, valid))
    vertices: dict[int, list[NDArray[np.float64]]] = {piece.building: [] for piece in found}
    for point, building in zip(*_inner_corners(buildings, valid), strict=True):
        if building in vertices:
            vertices[building].append(point)
    return ChipObjects(
        shape=(valid.shape[0], valid.shape[1]),
        boxes=np.array([piece.box for piece in found], np.float32).reshape(-1, 4),
        places=np.array([piece.place for piece in found], np.int64).reshape(-1, 4),
        masks=tuple(piece.mask for piece in found),
        vertices=tuple(np.array(some, np.float32).reshape(-1, 2) for some in vertices.values()),
    )


def lay_objects(objects: ChipObjects, side_px: int, *, mirror: bool, quarters: int) -> ChipObjects:
    """Pad a chip to a square, mirror it left-right and turn it, as `pad` and `turn` do with its image."""

    def move(points: NDArray[N]) -> NDArray[N]:
        x, y = (side_px - points[:, 0] if mirror else points[:, 0]), points[:, 1]
        for _ in range(quarters % 4):
            x, y = y, side_px - x
        return np.stack([x, y], axis=1)

    def move_boxes(boxes: NDArray[N]) -> NDArray[N]:
        corners = move(boxes[:, :2]), move(boxes[:, 2:])
        return np.concatenate([np.minimum(*corners), np.maximum(*corners)], axis=1)

    return ChipObjects(
        shape=(side_px, side_px),
        boxes=move_boxes(objects.boxes),
        places=move_boxes(objects.places),
        masks=tuple(turn(mask, mirror=mirror, quarters=quarters) for mask in objects.masks),
        vertices=tuple(move(points) for points in objects.vertices),
    )


class _Piece(NamedTuple):
    """What a chip shows of a building."""

    building: int
    """Its number."""
    box: NDArray[np.float64]
    """(4,) left, top, right, bottom."""
    place: tuple[int, int, int, int]
    """The same of the pixels in `mask`."""
    mask: NDArray[np.bool_]
    """(rows, cols), True = building."""


def _cut(buildings: Buildings, valid: NDArray[np.bool_]) -> Iterator[_Piece]:
    """Cut out the buildings that are not too small."""
    height, width = valid.shape
    limits = [width, height, width, height]
    bounds = shapely.bounds(buildings.polygons).reshape(-1, 4)
    for number, sheet, drawn in _draw(buildings.polygons, (height, width)):
        left, top, right, bottom = sheet.clip(0, limits).tolist()
        if right - left < LEAST_SIDE_PX or bottom - top < LEAST_SIDE_PX:
            continue
        inside = drawn[top - sheet[1] : bottom - sheet[1], left - sheet[0] : right - sheet[0]]
        mask = inside & valid[top:bottom, left:right]
        cols, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if mask.sum() < LEAST_PX or min(len(cols), len(rows)) < LEAST_SIDE_PX:
            continue
        seen = np.array([left + cols[0], top + rows[0], left + cols[-1] + 1, top + rows[-1] + 1])
        box = bounds[number].clip(seen - _NEAR_PX, seen + _NEAR_PX).clip(0, limits)
        yield _Piece(building=number, box=box, place=(left, top, right, bottom), mask=mask)


def _draw(
    polygons: NDArray[np.object_], shape: tuple[int, int]
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.bool_]]]:
    """Draw each polygon on a sheet of its own: its number, the sheet's (4,) sides, and its pixels.

    All sheets lie below each other on one canvas: to draw each by itself takes twenty times as long.
    """
    rows, cols = shape
    frame = np.array([-_MARGIN_PX, -_MARGIN_PX, cols + _MARGIN_PX, rows + _MARGIN_PX])
    bounds = shapely.bounds(polygons).reshape(-1, 4)
    beyond = (bounds[:, :2] < frame[:2]).any(axis=1) | (bounds[:, 2:] > frame[2:]).any(axis=1)
    shapes = polygons.copy()
    shapes[beyond] = shapely.clip_by_rect(shapes[beyond], *frame)
    numbers = np.flatnonzero(~shapely.is_empty(shapes))
    if not len(numbers):
        return
    shapes, bounds = shapes[numbers], shapely.bounds(shapes[numbers])
    sheets = np.concatenate([np.floor(bounds[:, :2]), np.ceil(bounds[:, 2:])], axis=1).astype(np.int64)
    ends = (sheets[:, 3] - sheets[:, 1]).cumsum()
    starts = np.append(0, ends[:-1])
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    moved = points + np.stack([-sheets[:, 0], starts - sheets[:, 1]], axis=1)[owner]
    canvas = burn(
        shapely.set_coordinates(shapes, moved),
        transform=Affine.identity(),
        height=int(ends[-1]),
        width=int((sheets[:, 2] - sheets[:, 0]).max()),
    )
    for number, sheet, start, end in zip(numbers.tolist(), sheets, starts, ends, strict=True):
        yield number, sheet, canvas[start:end, : sheet[2] - sheet[0]]


def _inner_corners(
    buildings: Buildings, valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give (m, 2) corners all of whose pixels are in the chip and valid, and (m,) the building of each."""
    parts, building = shapely.get_parts(buildings.corners, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    ends = np.append(ring[1:] != ring[:-1], True)[: len(points)]  # a ring's last point is its first
    points, owner = points[~ends], building[part[ring[~ends]]]
    # a point on the line between two pixels touches both
    before, after = np.ceil(points).astype(np.int64) - 1, np.floor(points).astype(np.int64)
    height, width = valid.shape
    inside = (before >= 0).all(axis=1) & (after < [width, height]).all(axis=1)
    points, owner, before, after = points[inside], owner[inside], before[inside], after[inside]
    known = np.ones(len(points), np.bool_)
    for cols in (before[:, 0], after[:, 0]):
        for rows in (before[:, 1], after[:, 1]):
            known &= valid[rows, cols]
    return points[known], owner[known]
