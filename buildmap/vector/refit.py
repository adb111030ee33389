"""Fitting polygons that people drew, or that another program left ragged."""

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.vector.drawn import ALONE, Drawn
from buildmap.vector.holes import fill_holes
from buildmap.vector.measures import LocalMaps, centroids, local_maps
from buildmap.vector.methods import fit
from buildmap.vector.outlining import Outlining
from buildmap.vector.walls.touching import touching_groups


def refit(polygons: NDArray[np.object_], *, crs: CRS, gsd_m: float, settings: Outlining) -> Drawn:
    """Fit the polygons of a layer; those that share walls go on sharing them.

    Args:
        polygons: (n,) valid, in `crs`.
        crs: Geographic or projected.
        gsd_m: Metres that count as one pixel: details of some pixels are noise.
        settings: Method, tolerance and smallest hole.

    Returns:
        In `crs`, in the order of the layer; what lies outside the domain of the CRS is left out. The layer
        has no probability, so confidence and certainty are NaN.
    """
    group = touching_groups(polygons)
    alone = np.bincount(group, minlength=len(group))[group] == 1
    maps = local_maps(centroids(polygons)[_first_of(group)], crs)
    kept = maps.inside
    polygons, group = polygons[kept], np.where(alone, ALONE, group)[kept]
    maps = LocalMaps(centre=maps.centre[kept], metres=maps.metres[kept])
    pixels = fill_holes(
        _moved(polygons, maps, gsd_m), np.full(len(polygons), settings.min_hole_m2 / gsd_m**2)
    )
    fitted = fit(pixels, group, np.full((len(polygons), 2), gsd_m), settings)
    number = np.flatnonzero(kept)
    return Drawn(
        polygons=_moved_back(fitted.polygons, maps, gsd_m),
        raw=_moved_back(pixels, maps, gsd_m),
        order=np.column_stack([np.where(group == ALONE, -1 - number, group), *[number] * 4]),
        confidence=np.full(len(polygons), np.nan),
        edge_certainty=np.full(len(polygons), np.nan),
        pixel_m=np.sqrt(maps.m2_per_unit2),
        method=fitted.method.astype(np.str_),
        iou_raw=fitted.iou_raw,
        max_shift_m=fitted.max_shift * gsd_m,
    )


def _first_of(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the first member of the group of each, (n,)."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return np.asarray(first[inverse])


def _moved(polygons: NDArray[np.object_], maps: LocalMaps, gsd_m: float) -> NDArray[np.object_]:
    """Give polygons in pixels, columns to the east and rows to the south of the place of each."""
    corners, owner = shapely.get_coordinates(polygons, return_index=True)
    pixels = maps.apply(corners, owner) * (1, -1) / gsd_m
    return np.asarray(shapely.set_coordinates(polygons.copy(), pixels))


def _moved_back(polygons: NDArray[np.object_], maps: LocalMaps, gsd_m: float) -> NDArray[np.object_]:
    """Give polygons in pixels in their CRS again, exteriors counter-clockwise."""
    pixels, owner = shapely.get_coordinates(polygons, return_index=True)
    east_m, north_m = (pixels * (1, -1) * gsd_m).T
    east_x, north_x, east_y, north_y = maps.metres.T[:, owner]
    area = east_x * north_y - east_y * north_x
    x = (east_m * north_y - north_m * east_y) / area
    y = (north_m * east_x - east_m * north_x) / area
    corners = np.column_stack([x, y]) + maps.centre[owner]
    return np.asarray(shapely.orient_polygons(shapely.set_coordinates(polygons.copy(), corners)))
