"""What may be called a CRS, understood."""

from pyproj import CRS
from pyproj.exceptions import CRSError

from buildmap.errors import InputError


def as_crs(crs: object) -> CRS:
    """Understand an EPSG code, WKT, or a CRS object of any library.

    Raises:
        InputError: If it is no CRS.
    """
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise InputError(f"'{crs}' is not a CRS", hint="name one such as EPSG:32633") from error


def needed_crs(crs: object | None) -> CRS:
    """Understand the CRS of a layer to be written.

    Raises:
        InputError: If there is none.
    """
    if crs is None:
        raise InputError(
            "a layer without a CRS is of no use",
            hint="give the raster one: rio edit-info --crs EPSG:CODE RASTER",
        )
    return as_crs(crs)
