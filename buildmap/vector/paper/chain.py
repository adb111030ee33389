"""HR-Mamba's adaptive chain from raw to regular outlines (section 2.6), every step kept to be looked at."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.overlap_area import common_area
from buildmap.vector.paper.choice import Choice, choose, simplify_contours
from buildmap.vector.paper.directions import Directions, is_organic, principal_directions
from buildmap.vector.paper.kinds import Thresholds, kinds
from buildmap.vector.paper.measures import ContourMeasures, measure_contours
from buildmap.vector.paper.options import PaperOptions
from buildmap.vector.paper.points import Contours, contours
from buildmap.vector.paper.projection import project_edges

SMALLER = 2
"""Smaller tolerances tried when an outline fails the checks: a half, then a quarter."""
UNREGULARIZED, RAW = SMALLER + 1, SMALLER + 2
"""The steps back after those: no regularization, then the raw outline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSteps:
    """What every step made of n polygons; outlines of steps in between may be invalid, or empty."""

    measures: ContourMeasures
    """Of the raw exteriors."""
    kind: NDArray[np.object_]
    """(n,) "regular", "complex" or "noisy"."""
    simplified: NDArray[np.object_]
    """(n,) the candidate with the highest score."""
    tolerance_px: NDArray[np.float64]
    """(n,) of that candidate; 0 where all collapsed."""
    score: NDArray[np.float64]
    """(n,) 0..1."""
    directions: NDArray[np.object_]
    """(n,) of (k,) principal directions in degrees, 0 up to 180; none for round and organic outlines."""
    regularized: NDArray[np.object_]
    """(n,) edges along the directions; as simplified where there are none."""
    final: NDArray[np.object_]
    """(n,) valid polygons."""
    iou_raw: NDArray[np.float64]
    """(n,) intersection over union of the final and the raw polygon."""
    rolled_back: NDArray[np.int8]
    """(n,) steps back until the checks passed: 0 none, 1 and 2 smaller tolerances, 3 no regularization,
    4 the raw outline."""


def paper_outlines(
    polygons: NDArray[np.object_], limits: Thresholds, options: PaperOptions | None = None
) -> PaperSteps:
    """Take polygons through the whole chain.

    Interiors go the way of their exterior and are dropped where they collapse. Each polygon is worked on
    from the floor of its box, so its outlines do not depend on a whole number of pixels added to its
    place, nor on the other polygons.

    Args:
        polygons: (n,) valid, in pixels; made for pixel-edge rings.
        limits: From all contours of the image.
        options: What the paper leaves open.

    Raises:
        ValueError: If something else than a polygon is among them, or one is empty.
    """
    settings = options or PaperOptions()
    outlines = contours(polygons)
    measures = measure_contours(outlines)
    kind = kinds(measures, limits)
    choice = choose(outlines, kind, settings)
    directions = _without_organic(principal_directions(outlines, settings), settings)
    simplified, regularized = _shape(outlines, choice, directions, choice.tolerance_px)
    raw = _polygons(outlines.corners, outlines.corner_rings, outlines)
    final, rolled_back = _roll_back(polygons, (raw, regularized), (choice, directions), settings)
    return PaperSteps(
        measures=measures,
        kind=kind,
        simplified=_placed(simplified, outlines.origin),
        tolerance_px=choice.tolerance_px,
        score=choice.score,
        directions=_in_degrees(directions),
        regularized=_placed(regularized, outlines.origin),
        final=_placed(final, outlines.origin),
        iou_raw=_iou(final, raw),
        rolled_back=rolled_back,
    )


def passes_checks(
    shaped: NDArray[np.object_], raw: NDArray[np.object_], options: PaperOptions
) -> NDArray[np.bool_]:
    """Check self-intersection, area and closure (HR-Mamba, section 2.6, last step), (n,).

    Closure holds by the way polygons are built. The paper refuses areas of zero; here an area that has
    changed too much fails too.
    """
    area, raw_area = shapely.area(shaped), shapely.area(raw)
    sound = shapely.is_valid(shaped) & (area > 0)
    return np.asarray(sound & (np.abs(area - raw_area) <= options.area_change_max * raw_area))


def _shape(
    outlines: Contours, choice: Choice, directions: Directions, tolerance_px: NDArray[np.float64]
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Simplify and regularize in the contours' own places."""
    simple = simplify_contours(outlines, choice.simplifier, tolerance_px)
    corners, rings = project_edges(outlines, simple, directions, tolerance_px)
    return _polygons(simple.corners, simple.rings, outlines), _polygons(corners, rings, outlines)


def _roll_back(
    polygons: NDArray[np.object_],
    shapes: tuple[NDArray[np.object_], NDArray[np.object_]],
    how: tuple[Choice, Directions],
    options: PaperOptions,
) -> tuple[NDArray[np.object_], NDArray[np.int8]]:
    """Go back step by step where the checks fail; give the outlines that pass, and the steps."""
    raw, regularized = shapes
    choice, directions = how
    final, steps = regularized.copy(), np.zeros(len(polygons), np.int8)
    failed = np.flatnonzero(~passes_checks(final, raw, options))
    for step in range(1, RAW + 1):
        if not len(failed):
            break
        steps[failed] = step
        if step == RAW:
            final[failed] = raw[failed]
            break
        some = contours(polygons[failed])
        part = Choice(choice.simplifier[failed], choice.tolerance_px[failed], choice.score[failed])
        smaller = part.tolerance_px / 2 ** min(step, SMALLER)
        simplified, shaped = _shape(some, part, _take(directions, failed), smaller)
        final[failed] = simplified if step == UNREGULARIZED else shaped
        failed = failed[~passes_checks(final[failed], raw[failed], options)]
    return final, steps


def _without_organic(directions: Directions, options: PaperOptions) -> Directions:
    """Forget the directions of round and organic outlines."""
    count = np.diff(directions.polygons)
    organic = is_organic(directions, options)
    return directions._replace(
        angle=directions.angle[~np.repeat(organic, count)],
        polygons=np.append(0, np.cumsum(np.where(organic, 0, count))),
    )


def _take(directions: Directions, chosen: NDArray[np.int64]) -> Directions:
    """Give the directions of some polygons."""
    own = [directions.angle[directions.polygons[i] : directions.polygons[i + 1]] for i in chosen]
    return Directions(
        angle=np.concatenate(own),
        polygons=np.append(0, np.cumsum([len(one) for one in own])),
        consensus=directions.consensus[chosen],
        roundness=directions.roundness[chosen],
    )


def _in_degrees(directions: Directions) -> NDArray[np.object_]:
    """Give the directions of each polygon as an array of its own."""
    each = np.empty(len(directions.polygons) - 1, np.object_)
    degrees = np.degrees(directions.angle)
    for number in range(len(each)):
        each[number] = degrees[directions.polygons[number] : directions.polygons[number + 1]]
    return each


def _polygons(
    corners: NDArray[np.float64], rings: NDArray[np.int64], outlines: Contours
) -> NDArray[np.object_]:
    """Build polygons from rings; empty rings are left out, and a polygon without its exterior is empty."""
    lengths = np.diff(rings)
    whole = lengths > 0
    owner = np.repeat(np.arange(len(outlines.origin)), np.diff(outlines.polygons))
    whole &= whole[outlines.polygons[owner]]
    lengths = np.where(whole, lengths + 1, 0)
    offsets = np.append(0, np.cumsum(lengths))
    owners = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(offsets[-1]) - offsets[owners]
    place[offsets[1:][whole] - 1] = 0
    rings_before = np.append(0, np.cumsum(whole))
    return np.asarray(
        shapely.from_ragged_array(
            shapely.GeometryType.POLYGON,
            corners[rings[owners] + place],
            (np.append(0, offsets[1:][whole]), rings_before[outlines.polygons]),
        )
    )


def _placed(polygons: NDArray[np.object_], origin: NDArray[np.float64]) -> NDArray[np.object_]:
    """Move polygons from their own places to where they were."""
    corners, whose = shapely.get_coordinates(polygons, return_index=True)
    return np.asarray(shapely.set_coordinates(polygons.copy(), corners + origin[whose]))


def _iou(polygons: NDArray[np.object_], others: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give the intersection over union of valid polygons, 0..1."""
    common = common_area(polygons, others)
    return np.asarray(common / (shapely.area(polygons) + shapely.area(others) - common))
