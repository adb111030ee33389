"""From what a network finds in one window to the objects that belong to it.

The outline of an object is that of its mask (see `paste`), or its box where the network has no masks. Its
keypoints (see `peaks`) become its polygon, or the outline stays (see `vector.keypoints.polygons`).

Pixels may belong to several objects, but no building may be there twice, and the network has compared
boxes only. So within a window the same rule holds as between windows (`vector.instance_rules`, 1. and 2.):
in its order, an object that matches one that stays, by IoU or because most of the smaller lies in the other,
goes. It is of no account, then, which windows see a pair of objects.
"""

from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.inference.finding import Finding
from buildmap.inference.instance_backend import Found
from buildmap.inference.paste import outline_masks
from buildmap.inference.peaks import find_keypoints
from buildmap.raster.windows import PlannedWindow, Window
from buildmap.vector.instance_rules import NOWHERE, Candidates, Merging, find_matches, suppress
from buildmap.vector.instances import Box, candidates_in
from buildmap.vector.keypoints.polygons import Grouping, KeypointPolygons, outlines_alone, polygons_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One window, and the raster around it."""

    planned: PlannedWindow
    """What it reads, and what it owns of it."""
    valid: NDArray[np.bool_]
    """(H, W) of what it reads; True = has data."""
    raster_px: tuple[int, int]
    """Columns and rows of the raster."""


def merging(finding: Finding) -> Merging:
    """Give the rule by which objects are one."""
    return Merging(margin_px=finding.margin_px)


def objects_in(found: Found, seen: Seen, finding: Finding) -> Candidates:
    """Draw what was found in a window, and choose what belongs to it.

    The method of those whose keypoints were not fine is why: the verdict of `vector.keypoints.polygons`.

    Args:
        found: In pixel corners of the window.
        seen: The window.
        finding: How to read it.

    Returns:
        In pixel corners of the raster, each within the window.
    """
    box = found.boxes
    probable = (found.scores >= finding.min_score) & (box[:, 2:] > box[:, :2]).all(axis=1)
    found = found.take(np.flatnonzero(probable))
    outlines = _outlines(found, seen, finding)
    visible = np.flatnonzero(~shapely.is_missing(outlines))
    found, outlines = found.take(visible), outlines[visible]
    drawn = _moved(_drawn(found, outlines, seen, finding), seen.planned.read)
    rules, window = merging(finding), _box(seen.planned.read)
    candidates = candidates_in(
        drawn,
        found.scores,
        np.zeros(len(drawn), np.int64),
        window=window,
        core=_box(seen.planned.core),
        raster_px=seen.raster_px,
        rules=rules,
    )
    return _settled(candidates, rules)


def _outlines(found: Found, seen: Seen, finding: Finding) -> NDArray[np.object_]:
    """Give the outlines of masks or boxes, (n,), in pixel corners of the window; None where nothing is."""
    if found.masks is not None:
        return outline_masks(found.masks, found.boxes, seen.valid, finding.threshold)
    height, width = seen.valid.shape
    left, top, right, bottom = np.clip(found.boxes, 0, [width, height, width, height]).T
    row, col = (top + bottom) // 2, (left + right) // 2
    row, col = np.minimum(row, height - 1).astype(np.int64), np.minimum(col, width - 1).astype(np.int64)
    visible = (right > left) & (bottom > top) & seen.valid[row, col]
    outlines = np.full(len(found.boxes), None, np.object_)
    outlines[visible] = shapely.box(left, top, right, bottom)[visible]
    return outlines


def _drawn(found: Found, outlines: NDArray[np.object_], seen: Seen, finding: Finding) -> KeypointPolygons:
    if found.heatmaps is None:
        return outlines_alone(outlines)
    keypoints = find_keypoints(found.heatmaps, found.boxes, peak_min=finding.peak_min)
    # a building that goes on in the padding has corners there, which the raster has not
    inside = replace(keypoints, points=np.clip(keypoints.points, 0, seen.valid.shape[::-1]))
    # a box says nothing of the order of corners, nor of what a polygon should be like
    is_box = found.masks is None
    grouping = Grouping(way="walk", iou_min=0.0) if is_box else Grouping(way=finding.grouping)
    return polygons_of(inside, outlines, grouping)


def _moved(drawn: KeypointPolygons, window: Window) -> KeypointPolygons:
    """Give polygons in pixel corners of the raster, from those of a window; the verdict as the method."""
    corner = np.array([window.col_off, window.row_off], np.float64)
    return replace(
        drawn,
        polygons=np.asarray(shapely.transform(drawn.polygons, lambda points: points + corner)),
        method=np.where(drawn.verdict == "kept", drawn.method, drawn.verdict).astype(np.object_),
    )


def _settled(candidates: Candidates, rules: Merging) -> Candidates:
    """Keep, of objects of one window that match, the first."""
    anywhere = replace(candidates, window=np.full_like(candidates.window, NOWHERE))
    kept = suppress(anywhere, find_matches(anywhere, len(anywhere), rules))
    return replace(kept, window=candidates.window[: len(kept)])


def _box(window: Window) -> Box:
    left, top = window.col_off, window.row_off
    return left, top, left + window.width, top + window.height
