"""What a raster file is, told from its first bytes and before GDAL opens it: GDAL follows what it reads."""

import os
import re
from pathlib import Path
from xml.etree import ElementTree

from buildmap.errors import InputError, MissingInput
from buildmap.raster.beside import files_beside, leading_names, named_in_metadata
from buildmap.raster.remote import connects

_HEAD_BYTES = 1024
_MOST_BYTES = 2**28
"""Of a description: a mosaic of a hundred thousand rasters has less."""
_SERVICES = (
    b"<GDAL_W",
    b"<WMS_",
    b"<WMT_",
    b"<Capabilities",
    b"<WCS_GDAL",
    b'"stac_version"',
)
"""Beginnings of descriptions by which GDAL reads from a network."""
_COPY = "make a copy with gdal_translate"
_SOURCES = {"sourcefilename", "sourcedataset"}
"""GDAL takes them in capitals or not, as elements or as attributes."""
_TEXTS = {"mdi", "metadata", "srs", "pixelfunctioncode", "colorinterp", "histograms"}
"""Elements whose text is never a name, but may look like one."""
_ELSEWHERE = re.compile(
    r"/vsi(?!zip|gzip|tar|7z|rar|mem|subfile|sparse)|\w+://|<(GDAL_W|VRTDataset)|^(DERIVED_\w+|WMS|WMTS|WCS|GTI):",
    re.I,
)
_OVERVIEW_HEADS = (b"II", b"MM", b"EHFA_HEADER_TAG")
_INDEX = re.compile(r"\.gti\.(gpkg|fgb|parquet)$|\.gti$", re.I)
_LOCATIONS = ("location", "assets.image.href")
"""Columns in which a tile index names its rasters, GDAL's defaults."""


def sniff(name: str | Path) -> str | None:
    """Check that a raster is there, and name its driver where trusting its name is dangerous.

    What a user types himself may lead into a network; a file that leads there is refused.

    Args:
        name: A file, or whatever else GDAL opens: `/vsi...`, `GTI:index.gpkg`, `NETCDF:file.nc:band`,
            the text of a VRT.

    Raises:
        MissingInput: If it, or a file that a VRT reads, is not there.
        InputError: If it is no raster file, is empty, or leads into a network.
    """
    text = str(name)
    if text.startswith("<VRTDataset"):
        return "VRT"
    if text.startswith("/vsi"):
        return None
    if text.upper().startswith("GTI:/VSI"):
        return "GTI"
    if text.upper().startswith("GTI:"):
        return _check_index(Path(text[4:]), above=frozenset())
    if re.match(r"\w{2,}:", text) and not Path(text).exists():  # a driver's own way to name a part
        return None
    return _sniff(Path(name), frozenset())


def _sniff(path: Path, above: frozenset[Path]) -> str | None:
    try:
        there = path.exists()
    except OSError as error:
        raise MissingInput(f"{str(path)[:80]} is no name of a file: {error.strerror}") from error
    if not there:
        raise MissingInput(f"{path} does not exist")
    if path.is_dir():
        if path.suffix.lower() == ".zarr":
            return "Zarr"
        raise InputError(f"{path} is a folder, not a raster")
    if not os.access(path, os.R_OK):
        raise MissingInput(f"{path} is not readable")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise InputError(f"{path} is empty (0 bytes)")
    _check_beside(path, head, above)
    if head[:2] in {b"II", b"MM"}:
        return "GTiff"
    if b"<MRF_META" in head and b"cachedsource" in path.read_bytes().lower():
        raise InputError(f"{path} describes a raster that lies elsewhere", hint=_COPY)
    if b"<GDALTileIndex" in head or _INDEX.search(path.name):
        return _check_index(path, above)
    if any(word in head for word in _SERVICES):
        raise InputError(f"{path} describes a raster that lies elsewhere", hint=_COPY)
    if b"<VRTDataset" in head:
        if path.suffix.lower() != ".vrt":
            raise InputError(f"{path} is a VRT under another name", hint="rename it to .vrt if you trust it")
        _check_sources(path, above)
        return "VRT"
    return None


def files_of(name: str | Path) -> list[Path]:
    """List the files that a checked raster is made of, those a VRT or a tile index names included."""
    text = str(name)
    path = Path(text[4:] if text.upper().startswith("GTI:") else text)
    if not path.is_file():
        return []
    files = [path]
    if path.suffix.lower() == ".vrt":
        named = _sources_of(path)
    elif text != str(path) or _INDEX.search(path.name):
        named = _tiles_of(path)
    else:
        return files
    for file in named:
        files += [path] if file == path else files_of(file)
    return list(dict.fromkeys(files))


def _check_beside(path: Path, head: bytes, above: frozenset[Path]) -> None:
    """Check what GDAL reads beside a raster without being asked."""
    for side in files_beside(path):
        with side.open("rb") as file:
            if not file.read(len(_OVERVIEW_HEADS[-1])).startswith(_OVERVIEW_HEADS):
                raise InputError(f"{side} is no TIFF, but GDAL would read it", hint="remove it")
        _sniff(side, above | {path.resolve()})
    try:
        for name in named_in_metadata(path, head):
            if not isinstance(name, Path):
                raise InputError(f"{path} has overviews in a network: {name}", hint=_COPY)
            if name.resolve() != path.resolve() and name.exists():
                _check_named(name, path, above)
    except ElementTree.ParseError as error:
        raise InputError(f"the metadata of {path} are damaged: {error}", hint=_COPY) from error


def _check_sources(path: Path, above: frozenset[Path]) -> None:
    """Follow a VRT to the files it reads."""
    if path.resolve() in above:
        raise InputError(f"{path} reads itself")
    root = _parsed(path, "VRT")
    _check_texts(root, path)
    _check_code(root, path)
    for source in _sources_in(root, path):
        _check_named(source, path, above)


def _check_texts(root: ElementTree.Element, path: Path) -> None:
    """Refuse a name that leads into a network wherever in a description GDAL may look for one."""
    found = list(leading_names(root))
    for element in root.iter():
        tag = element.tag.lower()
        found += [*element.attrib.values(), element.tail or ""]
        found += [] if tag in _TEXTS else [element.text or ""]
    for text in found:
        if _ELSEWHERE.search(text.strip()):
            raise InputError(f"{path} reads from a network: {text.strip()}", hint=_COPY)


def _check_code(root: ElementTree.Element, path: Path) -> None:
    """Refuse a VRT that holds a program, or that takes the bytes of any file for pixels."""
    for element in root.iter():
        values = {key.lower(): value for key, value in element.attrib.items()}
        values |= {child.tag.lower(): (child.text or "").strip() for child in element}
        if values.get("pixelfunctionlanguage", "").lower() == "python":
            raise InputError(f"{path} holds a program in Python", hint="only if you trust it: " + _COPY)
        if values.get("subclass", "").lower() == "vrtrawrasterband":
            for name in _sources_in(element, path):
                if not (isinstance(name, Path) and name.resolve().is_relative_to(path.parent.resolve())):
                    raise InputError(f"{path} takes {name} for pixels, which is not beside it", hint=_COPY)


def _sources_of(path: Path) -> list[Path | str]:
    """Give the files that a VRT reads; other names as text."""
    return _sources_in(_parsed(path, "VRT"), path)


def _parsed(path: Path, what: str) -> ElementTree.Element:
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path} is {path.stat().st_size} bytes long, too long for a {what}")
    try:
        return ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not a valid {what}: {error}") from error


def _sources_in(root: ElementTree.Element, path: Path) -> list[Path | str]:
    """Give the files that a VRT reads; other names as text."""
    sources = [_name(element) for element in root.iter() if element.tag.lower() in _SOURCES]
    sources += [
        (value, False)
        for element in root.iter()
        for key, value in element.attrib.items()
        if key.lower() in _SOURCES
    ]
    named = dict.fromkeys(sources)  # a mosaic names a file once for every band
    return [_file(name, path.parent if relative else Path()) for name, relative in named]


def _check_index(path: Path, above: frozenset[Path]) -> str:
    """Follow a tile index to its rasters."""
    if path.resolve() in above:
        raise InputError(f"{path} reads itself")
    if not path.is_file():
        raise MissingInput(f"{path} does not exist")
    for tile in _tiles_of(path):
        if not isinstance(tile, Path) and connects(tile):
            raise InputError(f"{path} reads from a network: {tile}", hint=_COPY)
        if isinstance(tile, Path) and tile != path and tile.exists():
            _check_named(tile, path, above)
    return "GTI"


def _tiles_of(path: Path) -> list[Path | str]:
    """Give the rasters that a tile index names; its own file of polygons is the first."""
    import pyogrio  # noqa: PLC0415 (loads a second GDAL: only for tile indices)

    index: Path | str = path
    column = None
    if path.suffix.lower() == ".gti":
        root = _parsed(path, "tile index")
        _check_texts(root, path)
        index = _file((root.findtext("IndexDataset") or "").strip(), Path())
        column = root.findtext("LocationField")
        if not isinstance(index, Path):
            return [index]
    try:
        info = pyogrio.read_info(index)
        fields = info["fields"]
        for value in (info["layer_metadata"] or {}).values():  # GDAL takes overviews from there
            if _ELSEWHERE.search(value):
                raise InputError(f"{index} reads from a network: {value}", hint=_COPY)
        column = column or next((name for name in _LOCATIONS if name in fields), None)
        if column is None:
            raise InputError(f"{index} has no column named {_LOCATIONS[0]}", hint="make it with gdaltindex")
        names = pyogrio.raw.read(index, columns=[column], read_geometry=False)[3][0]
    except pyogrio.errors.DataSourceError as error:
        raise InputError(f"{index} is not a tile index: {error}") from error
    return [index, *(_file(name, Path()) for name in names)]


def _check_named(source: Path | str, path: Path, above: frozenset[Path]) -> None:
    if not isinstance(source, Path):
        if connects(source) or _ELSEWHERE.search(source):
            raise InputError(f"{path} reads from a network: {source}", hint=_COPY)
        return
    try:
        _sniff(source, above | {path.resolve()})
    except InputError as error:
        raise type(error)(f"{path}: {error}", hint=error.hint) from error


def _file(name: str, folder: Path) -> Path | str:
    """Tell a file from what lies in a network, inside an archive, or is a driver's own name."""
    if connects(name) or name.startswith("/vsi") or re.match(r"\w{2,}:", name):
        return name
    return folder / name


def _name(source: ElementTree.Element) -> tuple[str, bool]:
    """Give the file that an element names, and whether that is relative to the VRT."""
    relative = source.get("relativeToVRT", source.get("relativetoVRT", "0")) == "1"
    return (source.text or "").strip(), relative
