"""True areas and lengths on the ground, whatever the CRS: degrees, feet, Mercator.

Around a building, a CRS is as good as linear: two short steps, one along x and one along y, measured on
the ellipsoid, say how to turn CRS units into metres. Each polygon has its own two steps, at its
centroid, so its measures do not depend on what it is measured together with.
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

from buildmap.errors import InputError

_STEP_M = 10.0
_RADIUS_M = 6_371_000.0


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
    centre = shapely.get_coordinates(shapely.centroid(polygons))
    metres = _metres_per_unit(centre, crs)
    outside = ~np.isfinite(metres).all(axis=1)
    metres[outside] = 0  # a ring of NaN is none
    east_x, north_x, east_y, north_y = metres.T
    area_m2 = shapely.area(polygons) * np.abs(east_x * north_y - east_y * north_x)
    corners, owner = shapely.get_coordinates(polygons, return_index=True)
    x, y = (corners - centre[owner]).T
    east_m = x * east_x[owner] + y * east_y[owner]
    north_m = x * north_x[owner] + y * north_y[owner]
    on_ground = shapely.set_coordinates(polygons.copy(), np.column_stack([east_m, north_m]))
    perimeter_m = shapely.length(on_ground)
    area_m2[outside] = perimeter_m[outside] = np.nan
    return area_m2, perimeter_m


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
