"""From buildings in pixels to buildings on the map, with their attributes; no file in sight."""

from collections.abc import Iterable, Iterator

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from buildmap.raster.grid import Grid
from buildmap.vector.crs import needed_crs
from buildmap.vector.instance_rules import UNITED, Candidates
from buildmap.vector.keypoints.polygons import WAYS
from buildmap.vector.measures import centroids, on_ground
from buildmap.vector.orientation import main_direction_deg
from buildmap.vector.polygons import to_map
from buildmap.vector.ragged import to_ragged
from buildmap.vector.writing.objects import ObjectBatch


def place_objects(
    merged: Iterable[Candidates],
    *,
    grid: Grid,
    classes: tuple[str, ...],
    min_area_m2: float,
    wanted: bytes | None = None,
    source_date: str | None = None,
) -> Iterator[ObjectBatch]:
    """Place buildings on the map and measure them.

    Args:
        merged: In order; valid polygons in pixel corners.
        grid: Whose pixels these are.
        classes: Names, by the class of an object.
        min_area_m2: Smaller ones are left out, and those outside the domain of the CRS.
        wanted: WKB of ground in the CRS: a building counts where its centre, the middle of its box in pixels,
            lies inside; all when None.
        source_date: When the imagery was taken.

    Yields:
        Batches that are not empty.

    Raises:
        InputError: If there is no CRS, or none in which areas can be measured.
    """
    crs, transform, count = needed_crs(grid.crs), grid.transform, 0
    ground = None if wanted is None else shapely.STRtree(shapely.get_parts(shapely.from_wkb(wanted)))
    for candidates in merged:
        inside = candidates if ground is None else candidates.take(_is_inside(candidates, transform, ground))
        polygons = to_map(inside.polygons, transform)
        moved = on_ground(polygons, crs, centroids(polygons))
        chosen = shapely.area(moved) >= min_area_m2  # False outside the domain, where it is NaN
        batch = _measured(inside.take(chosen), polygons[chosen], moved[chosen], classes, count, source_date)
        count += len(batch)
        if len(batch):
            yield batch


def _is_inside(candidates: Candidates, transform: Affine, ground: shapely.STRtree) -> NDArray[np.bool_]:
    left, top, right, bottom = shapely.bounds(candidates.polygons).reshape(-1, 4).T
    x, y = transform @ ((left + right) / 2, (top + bottom) / 2)
    inside = np.zeros(len(candidates), np.bool_)
    inside[ground.query(shapely.points(x, y), predicate="intersects")[0]] = True
    return inside


def _measured(
    objects: Candidates,
    polygons: NDArray[np.object_],
    moved: NDArray[np.object_],
    classes: tuple[str, ...],
    before: int,
    source_date: str | None,
) -> ObjectBatch:
    """Describe buildings by `moved`, their polygons in metres on the ground."""
    is_grouped = np.isin(objects.method.astype(np.str_), WAYS)
    is_whole = objects.method != UNITED
    return ObjectBatch(
        polygons=polygons,
        footprint_id=np.arange(len(objects), dtype=np.int64) + before + 1,
        area_m2=shapely.area(moved),
        perimeter_m=shapely.length(moved),
        orientation_deg=main_direction_deg(to_ragged(moved)),
        score=objects.score,
        class_=np.array(classes, np.object_)[objects.class_id],
        method=np.where(is_whole & ~is_grouped, "raw", objects.method).astype(np.object_),
        verdict=np.where(is_grouped, "kept", objects.method).astype(np.object_),
        iou_raw=objects.iou_raw,
        source_date=np.full(len(objects), source_date, np.object_),
    )
