"""How well the outlines of matched buildings agree: distance, angles, corners, area."""

from dataclasses import dataclass, fields

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.vector.corners import count_near
from buildmap.vector.measures import LocalMaps, centroids, local_maps
from buildmap.vector.nearest import max_tangent_angles, sum_distances
from buildmap.vector.orientation import main_direction_deg, turn_deg
from buildmap.vector.ragged import Ragged, count_corners, owners, to_ragged

SAMPLING_M = 0.6
"""Steps along an outline: the 2 pixels of the published code, on images of 0.3 m."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineErrors:
    """How far each predicted building is from the true one it is matched with.

    Where a pair lies outside the domain of the CRS, what is in metres or degrees is NaN.
    """

    polis_m: NDArray[np.float64]
    """(n,) PoLiS distance in metres."""
    polis_published_m: NDArray[np.float64]
    """(n,) PoLiS distance in metres, as the code in use computes it."""
    tangent_angle_deg: NDArray[np.float64]
    """(n,) largest angle between the outlines, 0..90; NaN where they are nowhere alike."""
    iou: NDArray[np.float64]
    """(n,) intersection over union."""
    corners_predicted: NDArray[np.int64]
    """(n,) corners of the predicted building, interiors included."""
    corners_true: NDArray[np.int64]
    """(n,) corners of the true building."""
    corners_near_predicted: NDArray[np.int64]
    """(n,) predicted corners with a true partner."""
    corners_near_true: NDArray[np.int64]
    """(n,) true corners with a predicted partner: as many, for corners are paired one to one."""
    area_error: NDArray[np.float64]
    """(n,) predicted area over true area, less 1."""
    orientation_error_deg: NDArray[np.float64]
    """(n,) angle between the main directions, 0..45; NaN where one of the two is round."""

    def __add__(self, other: "OutlineErrors") -> "OutlineErrors":
        names = [field.name for field in fields(self)]
        return OutlineErrors(
            **{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What is usual among the pairs that have a value; NaN where none has."""

    mean: float
    """In the unit of the values, like the others."""
    median: float
    """Half of the values are lower."""
    p90: float
    """Nine in ten are lower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineScores:
    """How well the outlines of all matched buildings agree; NaN where there are none."""

    pairs: int
    """Matched buildings."""
    polis_m: Spread
    """PoLiS distance in metres."""
    polis_published_m: Spread
    """PoLiS distance in metres, as the code in use computes it: lower by about one corner's share."""
    tangent_angle_deg: Spread
    """Largest angle between the outlines of a pair, degrees."""
    c_iou: float
    """Mean of the C-IoU of each pair, 0..1."""
    vertex_ratio: float
    """Predicted corners for each true one."""
    corner_precision: float
    """Share of the predicted corners that are near a true one, 0..1."""
    corner_recall: float
    """Share of the true corners that are near a predicted one, 0..1."""
    corner_tolerance_m: float
    """How near that is, in metres."""
    area_error: Spread
    """Predicted area over true area, less 1: signed, so that a mean below 0 is buildings drawn too small."""
    orientation_error_deg: Spread
    """Angle between main directions, degrees; round buildings left out."""


def compare_outlines(
    predicted: NDArray[np.object_],
    true: NDArray[np.object_],
    crs: CRS | None,
    *,
    iou: NDArray[np.float64] | None = None,
    corner_tolerance_m: float = 1.0,
    sampling_m: float = SAMPLING_M,
) -> OutlineErrors:
    """Compare predicted buildings with the true ones they are matched with, in metres on the ground.

    PoLiS (Avbelj, Mueller and Bamler, IEEE GRSL 2015) is, of two outlines, the mean
    distance of the corners of each to the other, averaged over the two. Only exteriors count, as in the
    paper. The code in use (spgriffin/polis, and its copies in later evaluations) leaves out the
    corner that closes a ring from the sum, but not from its divisor: squares get 4/5 of their distance.

    The largest tangent angle is that of Girard et al. (CVPR 2021): steps along the predicted
    outline are projected to the true one; steps that are stretched or squeezed to more than twice or
    less than half their length do not count, so no angle above 60 degrees is seen on a straight wall.
    The published code differs in four points. It takes the chord between two projections for the
    tangent, which across a true corner is neither of the walls: an aligned outline may get tens of
    degrees. It projects to the nearest of all buildings, not to the matched one. It merges buildings
    that touch before it compares. The arccosine of a product that rounds to above 1 is NaN.

    Args:
        predicted: (n,) valid polygons in `crs`.
        true: (n,) valid polygons in `crs`: the true building of each.
        crs: Geographic or projected; None takes CRS units for metres.
        iou: (n,) from the matching, as most of the time would go into it; None computes it.
        corner_tolerance_m: Partners among the corners are at most so far apart.
        sampling_m: Length of a step along the predicted outline.

    Raises:
        ValueError: If the two are not as many, or a length is not above 0.
        InputError: If the CRS has no relation to the Earth.
    """
    if len(predicted) != len(true) or (iou is not None and len(iou) != len(true)):
        known = "" if iou is None else f", of which {len(iou)} have an IoU,"
        raise ValueError(f"{len(predicted)} predicted and {len(true)} true polygons{known} make no pairs")
    if not (corner_tolerance_m > 0 and sampling_m > 0):
        raise ValueError(f"tolerance {corner_tolerance_m} m and step {sampling_m} m must be above 0")
    maps = local_maps(centroids(true), crs)
    ours, theirs = _on_ground(predicted, maps), _on_ground(true, maps)
    polis_m, polis_published_m = _polis(ours, theirs)
    near = count_near(ours, theirs, corner_tolerance_m)
    return OutlineErrors(
        polis_m=polis_m,
        polis_published_m=polis_published_m,
        tangent_angle_deg=max_tangent_angles(ours, theirs, sampling_m),
        iou=_iou(predicted, true) if iou is None else iou,
        corners_predicted=count_corners(ours),
        corners_true=count_corners(theirs),
        corners_near_predicted=near,
        corners_near_true=near,
        area_error=shapely.area(predicted) / shapely.area(true) - 1,
        orientation_error_deg=turn_deg(main_direction_deg(ours), main_direction_deg(theirs)),
    )


def outline_scores(errors: OutlineErrors, corner_tolerance_m: float) -> OutlineScores:
    """Summarise the errors of all pairs.

    Args:
        errors: Of all pairs.
        corner_tolerance_m: With which they were computed.
    """
    corners, true_corners = errors.corners_predicted, errors.corners_true
    return OutlineScores(
        pairs=len(errors.iou),
        polis_m=_spread(errors.polis_m),
        polis_published_m=_spread(errors.polis_published_m),
        tangent_angle_deg=_spread(errors.tangent_angle_deg),
        c_iou=_spread(c_iou(errors.iou, corners, true_corners)).mean,
        vertex_ratio=_share(corners, true_corners),
        corner_precision=_share(errors.corners_near_predicted, corners),
        corner_recall=_share(errors.corners_near_true, true_corners),
        corner_tolerance_m=corner_tolerance_m,
        area_error=_spread(errors.area_error),
        orientation_error_deg=_spread(errors.orientation_error_deg),
    )


def c_iou(
    iou: NDArray[np.float64], corners_predicted: NDArray[np.int64], corners_true: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Lower an intersection over union by how much the numbers of corners differ.

    This is the complexity-aware IoU of PolyWorld (Zorzi et al., CVPR 2022). There, n are
    images: the IoU is that of all their building pixels, the corners are those of all their buildings,
    of first rings only, and a polygon that is stored closed has one corner too many. Here n may be
    images or single pairs of buildings.

    Args:
        iou: (n,) 0..1.
        corners_predicted: (n,).
        corners_true: (n,).

    Returns:
        (n,) 0..1; where there are no corners at all, the IoU.
    """
    difference = np.abs(corners_predicted - corners_true)
    total = np.maximum(corners_predicted + corners_true, 1)
    return np.asarray(iou * (1 - difference / total))


def _on_ground(polygons: NDArray[np.object_], maps: LocalMaps) -> Ragged:
    outlines = to_ragged(polygons)
    return outlines._replace(corners=maps.apply(outlines.corners, owners(outlines)))


def _iou(predicted: NDArray[np.object_], true: NDArray[np.object_]) -> NDArray[np.float64]:
    shared = shapely.area(shapely.intersection(predicted, true))
    return np.asarray(shared / (shapely.area(predicted) + shapely.area(true) - shared))


def _polis(ours: Ragged, theirs: Ragged) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the PoLiS distance of each pair, by its definition and as the code in use computes it."""
    there, back = sum_distances(ours, theirs), sum_distances(theirs, ours)
    corners, corners_back = _exterior_corners(ours), _exterior_corners(theirs)
    polis = there / (2 * corners) + back / (2 * corners_back)
    return polis, there / (2 * (corners + 1)) + back / (2 * (corners_back + 1))


def _exterior_corners(outlines: Ragged) -> NDArray[np.int64]:
    exterior = outlines.polygons[:-1]
    return np.asarray(outlines.rings[exterior + 1] - outlines.rings[exterior] - 1)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> float:
    """Give the share of one sum in another, NaN of nothing."""
    total = int(whole.sum())
    return int(part.sum()) / total if total else np.nan


def _spread(values: NDArray[np.float64]) -> Spread:
    known = values[~np.isnan(values)]
    if not len(known):
        return Spread(mean=np.nan, median=np.nan, p90=np.nan)
    median, p90 = np.percentile(known, [50, 90])
    return Spread(mean=float(known.mean()), median=float(median), p90=float(p90))
