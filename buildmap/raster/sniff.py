"""What a raster file is, told from its first bytes and before GDAL opens it: GDAL follows what it reads."""

import os
import re
from pathlib import Path
from xml.etree import ElementTree

from buildmap.errors import InputError, MissingInput

_HEAD_BYTES = 1024
_SERVICES = (
    b"<GDAL_W",
    b"<WMS_",
    b"<WMT_",
    b"<Capabilities",
    b"<WCS_GDAL",
    b"<GDALTileIndex",
    b'"stac_version"',
)
"""Beginnings of descriptions by which GDAL reads from a network, or from a list of files."""
_CONNECTS = re.compile(
    r"/vsi(?!zip|gzip|tar|7z|rar|mem|subfile|sparse)|\w+://|<|(WMS|WMTS|WCS|STAC\w+|HTTP|GTI):", re.I
)
_SOURCES = ("SourceFilename", "SourceDataset")


def sniff(path: Path) -> str | None:
    """Check that a raster file is there, and name its driver where trusting its name is dangerous.

    Raises:
        MissingInput: If it, or a file that a VRT reads, is not there.
        InputError: If it is no file, is empty, or leads into a network.
    """
    return None if str(path).startswith("/vsi") else _sniff(path, frozenset())


def _sniff(path: Path, above: frozenset[Path]) -> str | None:
    if not path.exists():
        raise MissingInput(f"{path} does not exist")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a raster")
    if not os.access(path, os.R_OK):
        raise MissingInput(f"{path} is not readable")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise InputError(f"{path} is empty (0 bytes)")
    if head[:2] in {b"II", b"MM"}:
        return "GTiff"
    if any(word in head for word in _SERVICES):
        raise InputError(
            f"{path} describes a raster that lies elsewhere", hint="make a copy with gdal_translate"
        )
    if b"<VRTDataset" in head:
        if path.suffix.lower() != ".vrt":
            raise InputError(f"{path} is a VRT under another name", hint="rename it to .vrt if you trust it")
        _check_sources(path, above)
        return "VRT"
    return None


def _check_sources(path: Path, above: frozenset[Path]) -> None:
    """Follow a VRT to the files it reads."""
    if path.resolve() in above:
        raise InputError(f"{path} reads itself")
    try:
        tree = ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not a valid VRT: {error}") from error
    sources = (element for tag in _SOURCES for element in tree.iter(tag))
    for name, relative in dict.fromkeys(map(_name, sources)):  # a mosaic names a file once for every band
        if _CONNECTS.search(name):
            raise InputError(f"{path} reads from a network: {name}", hint="make a copy with gdal_translate")
        if name.startswith("/vsi") or re.match(r"\w{2,}:", name):  # inside an archive, or a subdataset
            continue
        file = path.parent / name if relative else Path(name)
        try:
            _sniff(file, above | {path.resolve()})
        except InputError as error:
            raise type(error)(f"{path}: {error}", hint=error.hint) from error


def _name(source: ElementTree.Element) -> tuple[str, bool]:
    """Give the file that an element names, and whether that is relative to the VRT."""
    relative = source.get("relativeToVRT", source.get("relativetoVRT", "0")) == "1"
    return (source.text or "").strip(), relative
