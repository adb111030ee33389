"""True areas and lengths on the ground, whatever the CRS: degrees, feet, Mercator.

Around a building, a CRS is as good as linear: two short steps, one along x and one along y, measured on
the ellipsoid, say how to turn CRS units into metres. Each polygon has its own two steps, at its
centroid, so its measures do not depend on what it is measured together with.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

from buildmap.errors import InputError

_STEP_M = 10.0
_RADIUS_M = 6_371_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMaps:
    """Around each of some places, the linear map from CRS units to metres on the ground."""

    centre: NDArray[np.float64]
    """(n, 2) the places in CRS units."""
    metres: NDArray[np.float64]
    """(n, 4) metres east and north of a unit along x, east and north of a unit along y; NaN outside the
    domain of the CRS."""

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(n,) True = the place lies in the domain of the CRS."""
        return np.asarray(np.isfinite(self.metres).all(axis=1))

    @property
    def m2_per_unit2(self) -> NDArray[np.float64]:
        """(n,) square metres in a square of one CRS unit."""
        east_x, north_x, east_y, north_y = self.metres.T
        return np.asarray(np.abs(east_x * north_y - east_y * north_x))

    def apply(self, corners: NDArray[np.float64], place: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give points, (c, 2) in CRS units, in metres east and north of the place of each.

        Args:
            corners: (c, 2) in CRS units.
            place: (c,) whose map moves each.
        """
        east_x, north_x, east_y, north_y = self.metres.T
        x, y = (corners - self.centre[place]).T
        east_m = x * east_x[place] + y * east_y[place]
        north_m = x * north_x[place] + y * north_y[place]
        return np.column_stack([east_m, north_m])


def local_maps(centre: NDArray[np.float64], crs: CRS | None) -> LocalMaps:
    """Measure one unit along x and one along y at some places.

    Args:
        centre: (n, 2) in `crs`.
        crs: Geographic or projected; None takes CRS units for metres.

    Raises:
        InputError: If the CRS has no relation to the Earth.
    """
    if crs is None:
        return LocalMaps(centre=centre, metres=np.tile([1.0, 0.0, 0.0, 1.0], (len(centre), 1)))
    metres = _metres_per_unit(centre, crs)
    metres[~np.isfinite(metres).all(axis=1)] = np.nan
    return LocalMaps(centre=centre, metres=metres)


def on_ground(
    polygons: NDArray[np.object_], crs: CRS | None, centre: NDArray[np.float64]
) -> NDArray[np.object_]:
    """Move polygons to metres east and north of a place for each.

    Args:
        polygons: (n,) in `crs`.
        crs: Geographic or projected; None takes CRS units for metres.
        centre: (n, 2) in `crs`; what shares a place is moved by the same linear map, so that it can be
            compared.

    Returns:
        (n,) new polygons; None where the place lies outside the domain of the CRS.

    Raises:
        InputError: If the CRS has no relation to the Earth.
    """
    return _moved(polygons, local_maps(centre, crs))


def area_and_perimeter(
    polygons: NDArray[np.object_], crs: CRS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure polygons on the ground.

    Args:
        polygons: (n,) in `crs`.
        crs: Geographic or projected.

    Returns:
        (n,) square metres and (n,) metres along all rings; NaN outside the domain of the CRS.

    Raises:
        InputError: If the CRS has no relation to the Earth.
    """
    maps = local_maps(centroids(polygons), crs)
    area_m2 = shapely.area(polygons) * maps.m2_per_unit2
    return area_m2, shapely.length(_moved(polygons, maps))


def centroids(polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give the centroid of each polygon that is not empty, (n, 2)."""
    return np.asarray(shapely.get_coordinates(shapely.centroid(polygons)))


def _moved(polygons: NDArray[np.object_], maps: LocalMaps) -> NDArray[np.object_]:
    """Give new polygons in metres, None where a map is unknown."""
    moved = polygons.copy()
    moved[~maps.inside] = None
    corners, place = shapely.get_coordinates(moved, return_index=True)
    return np.asarray(shapely.set_coordinates(moved, maps.apply(corners, place)))


def _metres_per_unit(centre: NDArray[np.float64], crs: CRS) -> NDArray[np.float64]:
    """Measure one unit along x and one along y at some points.

    Args:
        centre: (n, 2) in `crs`.
        crs: Geographic or projected.

    Returns:
        (n, 4) metres east and north of a unit along x, east and north of a unit along y.
    """
    try:
        to_geographic = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    except ProjError as error:
        raise InputError(
            f"areas cannot be measured in '{crs.name}'", hint="warp the raster to a map projection"
        ) from error
    unit = crs.axis_info[0].unit_conversion_factor  # metres, or radians
    step = _STEP_M / (unit * _RADIUS_M if crs.is_geographic else unit)
    ellipsoid = Geod(ellps="WGS84")
    columns = []
    for direction in ([step, 0.0], [0.0, step]):
        lon, lat = to_geographic.transform(*(centre - direction).T)
        lon_end, lat_end = to_geographic.transform(*(centre + direction).T)
        azimuth_deg, _, length_m = ellipsoid.inv(lon, lat, lon_end, lat_end)
        azimuth = np.radians(azimuth_deg)
        columns += [np.sin(azimuth) * length_m / (2 * step), np.cos(azimuth) * length_m / (2 * step)]
    return np.column_stack(columns)
