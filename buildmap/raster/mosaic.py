"""Several rasters as one: a VRT, kept as text and never written.

Where rasters overlap the later one is on top, as with gdalbuildvrt, but where it is invalid the one below
shows. Rasters are placed on whole pixels, at most half a pixel off, so nothing is resampled.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioIOError

from buildmap.errors import InputError, MissingInput
from buildmap.raster.coverage import survey
from buildmap.raster.quiet import unreferenced_is_fine
from buildmap.raster.remote import gdal_name, is_remote, settings
from buildmap.raster.sniff import sniff

_OPENERS = 8
_GDAL_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
}
_SHOWN = 20
_DRIFT_PX = 0.25
"""A raster may be this much out of step with the first at its far end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One raster of a mosaic, as its header tells it."""

    name: str
    """As GDAL knows it."""
    width: int
    """Columns."""
    height: int
    """Rows."""
    transform: Affine
    """Pixel corner (col, row) to coordinates (x, y)."""
    crs: CRS | None
    """None where the raster does not say."""
    dtypes: tuple[str, ...]
    """Type of each band."""
    colors: tuple[ColorInterp, ...]
    """Meaning of each band."""
    block_shape: tuple[int, int]
    """Rows and columns of a block."""
    all_valid: bool
    """It has neither nodata nor alpha nor a mask."""
    mask_bands: tuple[int, ...]
    """Bands whose masks together say what is valid: a nodata value is looked for in each."""

    @property
    def kind(self) -> str:
        """Say what all rasters of a mosaic must agree in."""
        return f"{len(self.dtypes)} x {', '.join(dict.fromkeys(self.dtypes))} in {self.crs}"


def mosaic(names: tuple[str, ...]) -> str:
    """Give the VRT that lays rasters over each other, later ones on top.

    Opening 5,000 local rasters takes seconds; none stays open.

    Raises:
        InputError: If rasters cannot be opened or do not fit the first; all of them are listed.
    """
    with unreferenced_is_fine():
        looked = list(_look_all(names))
    faults: list[InputError] = [tile for tile in looked if isinstance(tile, InputError)]
    tiles = [tile for tile in looked if isinstance(tile, Tile)]
    faults += [
        InputError(fault, hint="warp it first: gdalwarp -t_srs ... -tr ...")
        for tile in tiles[1:]
        if (fault := _misfit(tile, tiles[0]))
    ]
    if len(tiles) > 1 and tiles[0].transform.is_identity:
        faults.append(
            InputError(
                f"{tiles[0].name} has no georeference, which a mosaic needs",
                hint="gdal_translate -a_srs EPSG:CODE -a_ullr LEFT TOP RIGHT BOTTOM RASTER placed.tif",
            )
        )
    if faults:
        raise _listed(faults)
    return _to_vrt(tiles)


def _look_all(names: tuple[str, ...]) -> Iterator[Tile | InputError]:
    """Look at every raster: several at a time where a network answers, else one by one, which is faster."""
    if any(is_remote(gdal_name(name)) for name in names):
        with ThreadPoolExecutor(_OPENERS) as pool:
            yield from pool.map(_look, names)
        return
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):  # asks for side files, without listing folders
        yield from map(_look, names)


def _look(name: str) -> Tile | InputError:
    gdal = gdal_name(name)
    try:
        driver = sniff(gdal)
        with settings(remote=is_remote(gdal)), rasterio.open(gdal, driver=driver) as dataset:
            survey(dataset, name)
            if strange := set(dataset.dtypes) - set(_GDAL_TYPES):
                return InputError(f"{name} has bands of type {strange.pop()}, a mosaic needs real numbers")
            if not abs(dataset.transform.determinant) > 0:
                return InputError(f"{name} has pixels without area: {tuple(dataset.transform)[:6]}")
            flags = dataset.mask_flag_enums
            by_nodata = any(MaskFlags.nodata in band for band in flags)
            return Tile(
                name=str(Path(gdal).absolute()) if Path(gdal).exists() else gdal,
                width=dataset.width,
                height=dataset.height,
                transform=dataset.transform,
                crs=dataset.crs,
                dtypes=dataset.dtypes,
                colors=dataset.colorinterp,
                block_shape=dataset.block_shapes[0],
                all_valid=all(band == [MaskFlags.all_valid] for band in flags),
                mask_bands=dataset.indexes if by_nodata else (1,),
            )
    except RasterioIOError as error:
        return InputError(f"{name} cannot be read as a raster: {error}")
    except InputError as error:
        return error


def _misfit(tile: Tile, first: Tile) -> str | None:
    """Say why a raster does not fit the first one, or None."""
    if tile.kind != first.kind:
        return f"{tile.name} is {tile.kind}, {first.name} is {first.kind}"
    drift = np.array(~first.transform @ tile.transform).reshape(3, 3)[:2, :2] - np.eye(2)
    if np.abs(drift @ [tile.width, tile.height]).max() > _DRIFT_PX:
        one, other = (tuple(round(value, 9) for value in t.transform[:6]) for t in (tile, first))
        return f"{tile.name} has pixels of another size or direction than {first.name}: {one}, {other}"
    return None


def _listed(faults: list[InputError]) -> InputError:
    kind = MissingInput if all(isinstance(fault, MissingInput) for fault in faults) else InputError
    if len(faults) == 1:
        return kind(str(faults[0]), hint=faults[0].hint)
    lines = [f"- {fault}" for fault in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        lines.append(f"- and {len(faults) - _SHOWN} more")
    return kind(
        "\n".join([f"{len(faults)} rasters cannot be used together:", *lines]),
        hint="leave them out, warp them first, or make an index with gdaltindex and name it: GTI:index.gpkg",
    )


def _to_vrt(tiles: list[Tile]) -> str:
    first = tiles[0]
    corners = [~first.transform @ (tile.transform @ (0, 0)) for tile in tiles]
    places = np.rint(np.array(corners)).astype(int)
    left, top = places.min(axis=0)
    places -= (left, top)
    sizes = np.array([(tile.width, tile.height) for tile in tiles])
    width, height = (places + sizes).max(axis=0)
    root = ElementTree.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if first.crs is not None:
        ElementTree.SubElement(root, "SRS").text = first.crs.to_wkt()
    transform = first.transform @ Affine.translation(int(left), int(top))
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(f"{v!r}" for v in transform.to_gdal())
    for band, (dtype, color) in enumerate(zip(first.dtypes, first.colors, strict=True), start=1):
        element = _band(root, dtype, band=str(band))
        ElementTree.SubElement(element, "ColorInterp").text = color.name.capitalize()
        for tile, place in zip(tiles, places, strict=True):
            source = _add_source(element, tile, place, str(band))
            if not tile.all_valid:
                ElementTree.SubElement(source, "UseMaskBand").text = "true"
    mask = _band(ElementTree.SubElement(root, "MaskBand"), "uint8")
    for tile, place in zip(tiles, places, strict=True):
        for number in tile.mask_bands:
            source = _add_source(mask, tile, place, f"mask,{number}")
            if not tile.all_valid:  # what is invalid here may be valid below
                ElementTree.SubElement(source, "NODATA").text = "0"
    return ElementTree.tostring(root, encoding="unicode")


def _band(parent: ElementTree.Element, dtype: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, "VRTRasterBand", {"dataType": _GDAL_TYPES[dtype], **attributes})


def _add_source(
    band: ElementTree.Element, tile: Tile, place: NDArray[np.int64], number: str
) -> ElementTree.Element:
    source = ElementTree.SubElement(band, "SimpleSource" if tile.all_valid else "ComplexSource")
    for tag, text in (("SourceFilename", tile.name), ("SourceBand", number)):
        ElementTree.SubElement(source, tag).text = text
    size = {"xSize": str(tile.width), "ySize": str(tile.height)}
    ElementTree.SubElement(source, "SourceProperties", dict(_properties(tile)))
    ElementTree.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    ElementTree.SubElement(source, "DstRect", {"xOff": str(place[0]), "yOff": str(place[1]), **size})
    return source


def _properties(tile: Tile) -> Iterator[tuple[str, str]]:
    """Give what GDAL would else open the raster for."""
    yield "RasterXSize", str(tile.width)
    yield "RasterYSize", str(tile.height)
    yield "DataType", _GDAL_TYPES[tile.dtypes[0]]
    yield "BlockXSize", str(tile.block_shape[1])
    yield "BlockYSize", str(tile.block_shape[0])
