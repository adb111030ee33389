"""From exact outlines to footprints in pixels: chosen, split, and fitted by the method asked for."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.vector.drawn import ALONE, Drawn, members
from buildmap.vector.holes import fill_holes
from buildmap.vector.measures import local_maps
from buildmap.vector.methods import fit
from buildmap.vector.outlining import STEPS, Outlining, lowest_value
from buildmap.vector.ragged import to_ragged
from buildmap.vector.tracing.bands import KNOWN_PX
from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.tracing.outlines import Outlines
from buildmap.vector.tracing.pixels import covered, mean_steps
from buildmap.vector.tracing.seeds import count_seeds
from buildmap.vector.tracing.split import split
from buildmap.vector.tracing.subpixel import subpixel
from buildmap.vector.tracing.trace import NODATA

Crop = Callable[[int, int, int, int], NDArray[np.uint8]]
"""Gives the values from columns and rows (left, top) up to (right, bottom), 255 where unknown."""

_SURELY_SMALL = 0.5
"""Fitting changes the area of a footprint by a smaller share than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """Exact outlines of what becomes a footprint each."""

    polygons: NDArray[np.object_]
    """(n,) in pixel corners."""
    source: NDArray[np.int64]
    """(n,) number of the component."""
    group: NDArray[np.int64]
    """(n,) the same where the component was split, else ALONE."""
    confidence: NDArray[np.float64]
    """(n,) mean probability."""


def draw(outlines: Outlines, crop: Crop, *, transform: Affine, crs: CRS, settings: Outlining) -> Drawn:
    """Draw the footprints of some components.

    The result for a component does not depend on what it is drawn together with, nor on its place in
    whole pixels.

    Args:
        outlines: In pixel corners of the raster.
        crop: Gives the values around a component.
        transform: Pixel corners (col, row) to coordinates (x, y).
        crs: Of these coordinates.
        settings: How footprints are drawn.

    Returns:
        Footprints in the order of `Drawn.order`; what lies outside the domain of the CRS is left out, and
        so is what is certain to be smaller than asked for.
    """
    side_m = pixel_sides_m(outlines.polygons, transform, crs)
    pixel_m2 = side_m.prod(axis=1)
    kept = outlines.pixels * pixel_m2 >= _SURELY_SMALL * settings.min_area_m2  # False also outside the domain
    if settings.hysteresis is not None:
        kept &= outlines.peak >= lowest_value(settings.hysteresis)
    whole = fill_holes(outlines.polygons[kept], settings.min_hole_m2 / pixel_m2[kept])
    parts = _parts(whole, outlines, np.flatnonzero(kept), crop, settings)
    certainty, raw = _along_edges(parts, outlines.polygons, crop, settings)
    sides_m = side_m[parts.source]
    pixel_m = np.sqrt(sides_m.prod(axis=1))
    fitted = fit(raw, parts.group, sides_m, settings)
    drawn = Drawn(
        polygons=fitted.polygons,
        raw=raw,
        order=_order(outlines.polygons[parts.source], parts.polygons),
        confidence=parts.confidence,
        edge_certainty=certainty,
        pixel_m=pixel_m,
        method=fitted.method.astype(np.str_),
        iou_raw=fitted.iou_raw,
        max_shift_m=fitted.max_shift * pixel_m,
    )
    return drawn.in_order()


def pixel_sides_m(polygons: NDArray[np.object_], transform: Affine, crs: CRS) -> NDArray[np.float64]:
    """Measure a pixel at the first corner of each polygon.

    Args:
        polygons: (n,) in pixel corners.
        transform: Pixel corners to coordinates.
        crs: Of these coordinates.

    Returns:
        (n, 2) metres along a row and along a column; NaN outside the domain of the CRS.
    """
    a, b, c, d, e, f, *_ = transform
    corner = first_corners(polygons)
    centre = corner @ np.array([[a, d], [b, e]]) + (c, f)
    maps = local_maps(centre, crs)
    place = np.arange(len(centre))
    along = [np.hypot(*maps.apply(centre + step, place).T) for step in ((a, d), (b, e))]
    return np.column_stack(along)


def first_corners(polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give the column and row of the first corner of each exterior, (n, 2)."""
    ends = np.cumsum(shapely.get_num_coordinates(polygons))
    return np.asarray(shapely.get_coordinates(polygons)[np.append(0, ends)[:-1]])


def _parts(
    whole: NDArray[np.object_],
    outlines: Outlines,
    source: NDArray[np.int64],
    crop: Crop,
    settings: Outlining,
) -> _Parts:
    """Split what has several seeds; `whole` are the outlines numbered in `source`, small holes filled."""
    confidence = outlines.total[source] / (STEPS * outlines.pixels[source])
    group = np.full(len(whole), ALONE, np.int64)
    alone = _Parts(polygons=whole, source=source, group=group, confidence=confidence)
    if not settings.split:
        return alone
    may_split = outlines.peak[source] >= lowest_value(settings.seed)
    may_split &= outlines.pixels[source] >= 2 * settings.min_seed_px
    bounds = shapely.bounds(whole).reshape(-1, 4).astype(np.int64)
    split_up = {}
    for number in np.flatnonzero(may_split):
        box = _box(bounds[number : number + 1])
        if box is None:
            continue
        exact = outlines.polygons[source[number]]
        found = _split_one((whole[number], exact), source[number], box, crop(*box), settings)
        if found is not None:
            split_up[int(number)] = found
    if not split_up:
        return alone
    stay = np.setdiff1d(np.arange(len(whole)), list(split_up))
    pieces = list(split_up.values())
    return _Parts(
        polygons=np.concatenate([whole[stay], *(piece.polygons for piece in pieces)]),
        source=np.concatenate([source[stay], *(piece.source for piece in pieces)]),
        group=np.concatenate([group[stay], *(piece.group for piece in pieces)]),
        confidence=np.concatenate([confidence[stay], *(piece.confidence for piece in pieces)]),
    )


def _split_one(
    outlines: tuple[object, object],
    number: np.int64,
    box: tuple[int, int, int, int],
    around: NDArray[np.uint8],
    settings: Outlining,
) -> _Parts | None:
    """Split one component between its seeds; None where it has one, or none.

    Args:
        outlines: With small holes filled, whose pixels are given to the parts last, whatever their values,
            and exact.
        number: Of the component.
        box: Around it: left, top, right, bottom.
        around: (rows, cols) values in the box; off the component, they may be another's.
        settings: Threshold and seeds.
    """
    whole, exact = outlines
    col, row = shapely.get_coordinates(exact)[0].astype(int) - box[:2]
    seed_value = lowest_value(settings.seed)
    lowest = lowest_value(settings.threshold)
    if count_seeds(around, around, (row, col), lowest, seed_value, settings.min_seed_px) < 2:
        return None
    known = _covered(exact, box)
    values = np.where(known, around, np.uint8(0))
    labels = split(
        values,
        _covered(whole, box),
        seed_value=seed_value,
        min_seed_px=settings.min_seed_px,
    )
    count = int(labels.max())
    polygons, label = label_outlines(labels, left=box[0], top=box[1])
    pixels = np.bincount(labels[known], minlength=count + 1)[label]
    total = np.bincount(labels[known], values[known], count + 1)[label]
    return _Parts(
        polygons=polygons,
        source=np.full(len(polygons), number),
        group=np.full(len(polygons), number),
        confidence=total / (STEPS * pixels),
    )


def _along_edges(
    parts: _Parts, exact: NDArray[np.object_], crop: Crop, settings: Outlining
) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Measure how certain each edge is, and move outlines below the pixel where that is asked for.

    Nothing is asked of the values in holes that were filled.
    """
    certainty, raw = np.full(len(parts.polygons), np.nan), parts.polygons.copy()
    bounds = shapely.bounds(parts.polygons).reshape(-1, 4).astype(np.int64)
    alone = _in_reach(bounds, np.flatnonzero(parts.group == ALONE))
    for unit in [*alone, *members(parts.group)]:
        box = _box(bounds[unit], margin=1)
        if box is None:
            continue
        polygons, values = parts.polygons[unit], crop(*box)
        if parts.group[unit[0]] != ALONE:
            inside = np.logical_or.reduce([_covered(part, box) for part in polygons])
            filled = inside & ~_covered(exact[parts.source[unit[0]]], box)
            values = np.where(filled, np.uint8(NODATA), values)
        left, top = box[:2]
        certainty[unit] = mean_steps(to_ragged(polygons), values, left, top) / STEPS
        if settings.outline == "subpixel":
            raw[unit] = subpixel(polygons, values, left=left, top=top, threshold=settings.threshold)
    return certainty, raw


def _in_reach(bounds: NDArray[np.int64], some: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Part the numbers of some bounds until those of each part, if more than one, lie in a box together."""
    if not len(some):
        return []
    if len(some) == 1 or _box(bounds[some]) is not None:
        return [some]
    half = len(some) // 2
    return _in_reach(bounds, some[:half]) + _in_reach(bounds, some[half:])


def _covered(polygon: object, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    left, top, right, bottom = box
    return covered(to_ragged(np.array([polygon], np.object_)), left, top, (bottom - top, right - left))


def _box(bounds: NDArray[np.int64], *, margin: int = 0) -> tuple[int, int, int, int] | None:
    """Give the pixels around (n, 4) bounds as left, top, right, bottom; None where they are too many."""
    (left, top), (right, bottom) = bounds[:, :2].min(axis=0).tolist(), bounds[:, 2:].max(axis=0).tolist()
    if (right - left) * (bottom - top) > KNOWN_PX:
        return None
    return left - margin, top - margin, right + margin, bottom + margin


def _order(components: NDArray[np.object_], parts: NDArray[np.object_]) -> NDArray[np.int64]:
    last_row = shapely.bounds(components).reshape(-1, 4)[:, 3] - 1
    first, own = first_corners(components)[:, ::-1], first_corners(parts)[:, ::-1]
    return np.column_stack([last_row, first, own]).astype(np.int64)
