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
