"""Ground that several rasters show: found wherever and at whatever GSD they are, so that none of it leaks."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from buildmap.data.annotations import move
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window

_COMMON_CRS = "EPSG:6933"
"""Equal-area, of all the Earth."""
_POINTS_PER_EDGE = 8
_SLIVER_PX = 0.98
"""Ground narrower than this is a matter of rounding, not of two rasters that show the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedWindow:
    """A rectangle of one raster's working grid."""

    owner: int
    """Number of the raster."""
    window: Window
    """On its grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A raster, and what is slow to ask of it again and again."""

    grid: Grid
    """The working grid."""
    wkt: str
    """Its CRS."""
    pixel_m2: float
    """Area of a pixel in its middle; 0 where it has no place on the Earth."""


def shared_m2(
    grids: Sequence[Grid], some: Sequence[OwnedWindow], others: Sequence[OwnedWindow]
) -> dict[tuple[int, int], float]:
    """Measure the ground that windows of different rasters share.

    Overlaps narrower than a pixel of the coarser raster are none: edges that only touch do not come out
    equal in two CRSs.

    Args:
        grids: Working grids of all rasters; those without a place on the Earth share nothing.
        some: Those of one raster disjoint.
        others: What each of `some` is compared with, likewise.

    Returns:
        Square metres by the owners of one in `some` and of one in `others`, where there are any.
    """
    some = [one for one in some if grids[one.owner].is_placed]
    others = [one for one in others if grids[one.owner].is_placed]
    if not some or not others:
        return {}
    placed = {number: _place(grids[number]) for number in {one.owner for one in (*some, *others)}}
    tree = shapely.STRtree(_boxes(placed, others))
    one, other = tree.query(_boxes(placed, some))
    meetings: defaultdict[tuple[int, int], list[tuple[Window, Window]]] = defaultdict(list)
    for i, j in zip(one.tolist(), other.tolist(), strict=True):
        if some[i].owner != others[j].owner:
            meetings[some[i].owner, others[j].owner].append((some[i].window, others[j].window))
    shared = {}
    for (a, b), windows in sorted(meetings.items()):
        area_m2 = _overlap_m2(placed[a], placed[b], windows)
        if area_m2 > 0:
            shared[a, b] = area_m2
    return shared


def connected_groups(
    grids: Sequence[Grid], windows: Sequence[Window], members: Sequence[int]
) -> list[list[int]]:
    """Gather rasters that share ground, directly or through others.

    Args:
        grids: Working grids of all rasters.
        windows: The annotated part of each.
        members: Numbers of those to gather.

    Returns:
        Every member once, in ascending order within its group.
    """
    owned = [OwnedWindow(owner=number, window=windows[number]) for number in members]
    pairs = np.array(list(shared_m2(grids, owned, owned)), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs), np.bool_), tuple(pairs.T)), shape=(len(grids), len(grids)))
    _, owners = connected_components(graph, directed=False)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for number in sorted(members):
        groups[int(owners[number])].append(number)
    return list(groups.values())


def to_other_grid(
    cols: NDArray[np.float64], rows: NDArray[np.float64], *, source: Grid, target: Grid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the columns and rows on one grid of places on another; infinite where it has none."""
    return _between(cols, rows, (source, _wkt(source)), (target, _wkt(target)))


def _between(
    cols: NDArray[np.float64], rows: NDArray[np.float64], source: tuple[Grid, str], target: tuple[Grid, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Do as `to_other_grid`, with the CRS of both at hand."""
    xs, ys = move(source[0].transform, cols, rows)
    if source[1] != target[1]:
        xs, ys = _transformer(source[1], target[1]).transform(xs, ys)
    return move(~target[0].transform, np.asarray(xs), np.asarray(ys))


def _place(grid: Grid) -> _Placed:
    """Measure a pixel in the common CRS, which keeps areas."""
    wkt = _wkt(grid)
    cols, rows = np.array([0.0, 1.0, 0.0]) + grid.width / 2, np.array([0.0, 0.0, 1.0]) + grid.height / 2
    xs, ys = _transformer(wkt, _COMMON_CRS).transform(*move(grid.transform, cols, rows))
    area = abs((xs[1] - xs[0]) * (ys[2] - ys[0]) - (xs[2] - xs[0]) * (ys[1] - ys[0]))
    return _Placed(grid=grid, wkt=wkt, pixel_m2=float(area) if np.isfinite(area) else 0.0)


def _boxes(placed: Mapping[int, _Placed], owned: Sequence[OwnedWindow]) -> NDArray[np.object_]:
    """Give a box around every window in the common CRS, (n,); one with no place there is of all the Earth."""
    boxes = np.empty(len(owned), np.object_)
    by_owner: defaultdict[int, list[int]] = defaultdict(list)
    for number, one in enumerate(owned):
        by_owner[one.owner].append(number)
    for owner, numbers in by_owner.items():
        outlines = _outlines([owned[number].window for number in numbers])
        xs, ys = move(placed[owner].grid.transform, *outlines)
        xs, ys = _transformer(placed[owner].wkt, _COMMON_CRS).transform(xs, ys)
        finite = np.isfinite(xs).all(axis=1) & np.isfinite(ys).all(axis=1)
        ends = [axis(part, axis=1) for axis in (np.min, np.max) for part in (xs, ys)]
        boxes[numbers] = shapely.box(
            *(np.where(finite, end, limit) for end, limit in zip(ends, (-4e7, -4e7, 4e7, 4e7), strict=True))
        )
    return boxes


def _overlap_m2(one: _Placed, other: _Placed, windows: Sequence[tuple[Window, Window]]) -> float:
    """Measure the overlap of windows of two grids, on the pixels of the coarser."""
    if one.pixel_m2 < other.pixel_m2:
        return _overlap_m2(other, one, [(second, first) for first, second in windows])
    corners = np.array(
        [(w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height) for w, _ in windows]
    )
    outlines = _outlines([second for _, second in windows])
    cols, rows = _between(*outlines, (other.grid, other.wkt), (one.grid, one.wkt))
    with np.errstate(invalid="ignore"):  # what has no place here is infinite
        wide = np.minimum(cols.max(axis=1), corners[:, 2]) - np.maximum(cols.min(axis=1), corners[:, 0])
        high = np.minimum(rows.max(axis=1), corners[:, 3]) - np.maximum(rows.min(axis=1), corners[:, 1])
    near = np.isfinite(cols).all(axis=1) & np.isfinite(rows).all(axis=1)
    near &= (wide > _SLIVER_PX) & (high > _SLIVER_PX)
    if not near.any():
        return 0.0
    shapes = shapely.make_valid(shapely.polygons(np.stack([cols, rows], axis=-1)[near]))
    common = shapely.intersection(shapes, shapely.box(*corners[near].T))
    thick = ~shapely.is_empty(shapely.buffer(common, -_SLIVER_PX / 2))
    return float(shapely.area(common[thick]).sum()) * one.pixel_m2


def _outlines(windows: Sequence[Window]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give columns and rows around each window, (n, points) each, dense enough to bend with a CRS."""
    along = np.arange(_POINTS_PER_EDGE) / _POINTS_PER_EDGE
    zero, one = np.zeros_like(along), np.ones_like(along)
    across = np.concatenate([along, one, 1 - along, zero])
    down = np.concatenate([zero, along, one, 1 - along])
    sides = np.array([(w.col_off, w.row_off, w.width, w.height) for w in windows], np.float64)
    return sides[:, :1] + across * sides[:, 2:3], sides[:, 1:2] + down * sides[:, 3:4]


def _wkt(grid: Grid) -> str:
    return "" if grid.crs is None else str(grid.crs.to_wkt())


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
