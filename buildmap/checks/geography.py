"""Whether maps can be read and written: two GDALs, three PROJs with their data, and files of each kind."""

import math
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from buildmap.checks.fact import Fact, failed, ok, warning

LONGITUDE, LATITUDE = 85.5, 27.6
"""A place in Nepal, degrees in EPSG:4326."""
EASTING_M, NORTHING_M = 351965.4868, 3053791.5002
"""The same place in EPSG:32645, UTM zone 45 north."""
_TOLERANCE_M = 0.001
_RASTER_DRIVERS = ("COG", "GTiff", "VRT")
_LAYER_DRIVERS = ("FlatGeobuf", "GPKG", "GeoJSONSeq", "PMTiles")
_GDAL_FILE = "gdalvrt.xsd"
_PLACE = (
    '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":'
    f'{{"type":"Point","coordinates":[{LONGITUDE},{LATITUDE}]}}}}]}}'
)
_WARPED = f"""<OGRVRTDataSource><OGRVRTWarpedLayer><OGRVRTLayer name="place">
<SrcDataSource>{_PLACE}</SrcDataSource><SrcLayer>OGRGeoJSON</SrcLayer>
</OGRVRTLayer><TargetSRS>EPSG:32645</TargetSRS></OGRVRTWarpedLayer></OGRVRTDataSource>"""
"""A layer that GDAL transforms while it is read: pyogrio offers no other way to its PROJ."""


def gdal_of_rasterio() -> Fact:
    """Tell the GDAL that reads and writes rasters, and whether its data is there."""
    import rasterio

    with rasterio.Env() as environment:
        missing = [name for name in _RASTER_DRIVERS if name not in environment.drivers()]
    name, detail = "GDAL of rasterio", f"{rasterio.__gdal_version__}, rasterio {rasterio.__version__}"
    if missing:
        return failed(name, f"{detail}, has no driver for {', '.join(missing)}", _reinstall("rasterio"))
    folder = os.environ.get("GDAL_DATA")
    if folder is not None and not (Path(folder) / _GDAL_FILE).is_file():
        return warning(name, f"{detail}; GDAL_DATA={folder} has no data of GDAL's", "unset GDAL_DATA")
    return ok(name, detail if folder is None else f"{detail}, data from GDAL_DATA={folder}")


def gdal_of_pyogrio() -> Fact:
    """Tell the GDAL that reads and writes layers."""
    import pyogrio

    name, detail = "GDAL of pyogrio", f"{pyogrio.__gdal_version_string__}, pyogrio {pyogrio.__version__}"
    drivers = pyogrio.list_drivers(write=True)
    missing = [driver for driver in _LAYER_DRIVERS if driver not in drivers]
    if "GPKG" in missing:
        return failed(name, f"{detail}, has no driver for GPKG", _reinstall("pyogrio"))
    if missing:
        return warning(name, f"{detail}, cannot write {', '.join(missing)}", _reinstall("pyogrio"))
    if pyogrio.get_gdal_data_path() is None:
        return warning(name, f"{detail}, finds no data of GDAL's", "unset GDAL_DATA")
    return ok(name, detail)


def proj_of_rasterio() -> Fact:
    """Transform a place with rasterio's PROJ."""
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import CRSError, RasterioError
    from rasterio.warp import transform

    name = "PROJ of rasterio"
    stated = next((key for key in ("PROJ_DATA", "PROJ_LIB") if key in os.environ), None)
    folder = Path(rasterio.__file__).with_name("proj_data") if stated is None else Path(os.environ[stated])
    detail = f"{rasterio.__proj_version__}{_data(folder)}"
    hint = _reinstall("rasterio")
    if stated is not None:
        detail = f"{detail} from {stated}={folder}"
        hint = f"unset {stated}: it leads rasterio to the data of another PROJ, or to none"
    try:
        with rasterio.Env():
            (easting,), (northing,) = transform("EPSG:4326", "EPSG:32645", [LONGITUDE], [LATITUDE])
    except (RasterioError, CPLE_BaseError, CRSError) as error:
        return failed(name, f"{detail}: {error}", hint)
    return _compared(name, detail, easting, northing, hint=hint)


def proj_of_pyproj() -> Fact:
    """Transform a place with pyproj."""
    import pyproj
    from pyproj.exceptions import ProjError

    name, folder = "PROJ of pyproj", Path(pyproj.datadir.get_data_dir())
    detail = f"{pyproj.proj_version_str}{_data(folder)}, pyproj {pyproj.__version__}"
    try:
        steps = pyproj.Transformer.from_crs(4326, 32645, always_xy=True)
        easting, northing = steps.transform(LONGITUDE, LATITUDE)
    except ProjError as error:
        return failed(name, f"{detail}: {error}", _reinstall("pyproj"))
    return _compared(name, detail, easting, northing, hint=_reinstall("pyproj"))


def proj_of_pyogrio() -> Fact:
    """Transform a place with the PROJ inside pyogrio's GDAL."""
    import pyogrio
    import shapely
    from pyogrio.raw import read

    name, detail = "PROJ of pyogrio", _data(Path(pyogrio.__file__).with_name("proj_data")).removeprefix(", ")
    _, _, shapes, _ = read(_WARPED.encode())
    point = shapely.from_wkb(shapes[0])
    return _compared(name, detail or "data of the system", point.x, point.y, hint=_reinstall("pyogrio"))


def geotiff() -> Fact:
    """Write a small GeoTIFF among the temporary files and read it back."""
    import numpy as np
    import rasterio
    from affine import Affine
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import CRSError, RasterioError

    pixels = np.arange(256 * 256, dtype=np.uint8).reshape(1, 256, 256)
    hint = "see the temporary folder and PROJ of rasterio above"
    try:
        with tempfile.TemporaryDirectory(prefix="buildmap-") as folder:
            path = Path(folder) / "pixels.tif"
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                width=256,
                height=256,
                count=1,
                dtype="uint8",
                crs="EPSG:32645",
                transform=Affine(0.5, 0, EASTING_M, 0, -0.5, NORTHING_M),
                compress="zstd",
                tiled=True,
            ) as file:
                file.write(pixels)
            with rasterio.open(path) as file:
                same = np.array_equal(file.read(), pixels) and file.crs.to_epsg() == 32645
    except (RasterioError, CPLE_BaseError, CRSError) as error:
        return failed("GeoTIFF", f"cannot be written and read: {error}", hint)
    return ok("GeoTIFF", "written and read back") if same else failed("GeoTIFF", "reads back other", hint)


def geopackage() -> Fact:
    """Write a small GeoPackage among the temporary files and read it back."""
    import numpy as np
    import shapely
    from pyogrio.raw import read, write

    house = shapely.box(EASTING_M, NORTHING_M, EASTING_M + 10, NORTHING_M + 8)
    with tempfile.TemporaryDirectory(prefix="buildmap-") as folder:
        path = Path(folder) / "houses.gpkg"
        write(
            path,
            np.array([shapely.to_wkb(house)], dtype=object),
            [np.array([80.0])],
            ["area_m2"],
            layer="houses",
            driver="GPKG",
            geometry_type="Polygon",
            crs="EPSG:32645",
        )
        meta, _, shapes, columns = read(path, layer="houses")
    found = shapely.from_wkb(shapes[0])
    if meta["crs"] != "EPSG:32645" or columns[0][0] != 80.0 or not found.equals(house):
        return failed("GeoPackage", "reads back other", _reinstall("pyogrio"))
    return ok("GeoPackage", "written and read back")


def _compared(name: str, detail: str, easting: float, northing: float, *, hint: str) -> Fact:
    """Judge a place that was transformed."""
    off_m = math.hypot(easting - EASTING_M, northing - NORTHING_M)
    if not off_m <= _TOLERANCE_M:
        return failed(name, f"{detail}: EPSG:4326 to EPSG:32645 is {off_m:.4g} m off", hint)
    return ok(name, f"{detail}; EPSG:4326 to EPSG:32645 right within a millimetre")


def _data(folder: Path) -> str:
    """Tell of which PROJ and EPSG a folder's data is; '' if there is none."""
    path = folder / "proj.db"
    if not path.is_file():
        return ""
    # Without locks: closing a file that a library has open in this process would drop that one's, too.
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as database:
            told = dict(database.execute("SELECT key, value FROM metadata"))
    except sqlite3.Error as error:
        return f", data that cannot be read ({error})"
    return f", data of PROJ {told.get('PROJ.VERSION', '?')} and EPSG {told.get('EPSG.VERSION', '?')}"


def _reinstall(package: str) -> str:
    return f"pip install --force-reinstall --no-deps {package}"
