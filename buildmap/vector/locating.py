"""How GDAL is told of a vector file, and what it may do with it: no file makes it connect."""

import os
from pathlib import Path

import pyogrio

from buildmap.errors import InputError, MissingInput

_HEAD_BYTES = 65_536
_OTHERS = {
    b"<OGRVRTDataSource": "an OGR VRT, which names other layers",
    b"<OGRWFSDataSource": "the description of a web service",
    b"WFS_Capabilities": "the description of a web service",
}
_NOWHERE = "127.0.0.1:9"
"""A proxy that is not there: the CRS of a GeoJSON may be a URL, which GDAL would fetch."""


def locate(path: Path) -> str:
    """Name a file for GDAL, also where pyogrio would read a part of the name as something else.

    Only what begins with `/vsi` may make GDAL connect from now on.

    Raises:
        MissingInput: If it does not exist, or is not readable.
        InputError: If it is empty, a folder, or names other layers.
    """
    text = str(path)
    pyogrio.set_gdal_config_options({"GDAL_HTTP_PROXY": None if text.startswith("/vsi") else _NOWHERE})
    if text.startswith("/vsi"):
        return text
    if not path.exists():
        raise MissingInput(f"{path} does not exist")
    if path.is_dir() and path.suffix.lower() != ".gdb":
        raise InputError(f"{path} is a folder, not a vector file")
    if not os.access(path, os.R_OK):
        raise MissingInput(f"{path} is not readable")
    if path.is_file():
        _check_head(path)
    absolute = str(path.resolve())
    return f"/vsisubfile/0,{absolute}" if set(absolute) & set("!?;\n\r\t") else absolute


def _check_head(path: Path) -> None:
    """Refuse what holds nothing, and what GDAL would look for elsewhere."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise InputError(f"{path} is empty (0 bytes)")
    for mark, what in _OTHERS.items():
        if mark in head:
            raise InputError(f"{path} is {what}", hint=f"ogr2ogr layer.gpkg '{path}', if you trust it")
