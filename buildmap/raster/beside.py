"""What GDAL reads of its own accord with a raster: files beside it, and names in its own metadata."""

import struct
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from buildmap.raster.remote import connects

_FILES = (".ovr", ".OVR", ".msk", ".MSK")
_METADATA_TAG = 42112
"""Of TIFF: where GDAL keeps metadata of its own, as XML."""
_MOST_BYTES = 2**24
"""Metadata that are longer are left to GDAL, which takes no more of a name than fits a path."""
_LEADING_KEYS = {"overview_file", "x_dataset", "y_dataset"}
_BASE = ":::BASE:::"
"""By which GDAL means the folder of the raster."""


def files_beside(path: Path) -> list[Path]:
    """List the overviews and the mask that lie beside a raster: GDAL opens them whatever they are."""
    return [side for suffix in _FILES if (side := Path(f"{path}{suffix}")).is_file()]


def named_in_metadata(path: Path, head: bytes) -> Iterator[str | Path]:
    """Give the rasters that the metadata in and beside a raster name as its overviews; text is no file.

    Raises:
        ElementTree.ParseError: If these metadata are not XML.
    """
    side = Path(f"{path}.aux.xml")
    for text in (_of_tiff(path) if head[:2] in {b"II", b"MM"} else b"", _start(side)):
        if not text:
            continue
        for name in leading_names(ElementTree.fromstring(text.rstrip(b"\0"))):
            if connects(name):
                yield name
            else:
                based = name.startswith(_BASE)
                yield path.parent / name.removeprefix(_BASE) if based else Path(name)


def leading_names(root: ElementTree.Element) -> Iterator[str]:
    """Give the values of metadata under keys by which GDAL finds other rasters."""
    for item in root.iter():
        key = (item.get("key") or item.get("name") or "").lower()
        if key in _LEADING_KEYS:
            yield (item.text or "").strip()


def _start(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _of_tiff(path: Path) -> bytes:
    """Read GDAL's metadata from the first directory of a TIFF, classic or big; b"" where there are none."""
    with path.open("rb") as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        try:
            big = struct.unpack(f"{order}H", head[2:4])[0] == 43
            (start,) = struct.unpack(f"{order}{'Q' if big else 'I'}", head[8:16] if big else head[4:8])
            file.seek(start)
            (entries,) = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(8 if big else 2))
            for _ in range(min(entries, 65_535)):
                tag, _, count, value = struct.unpack(
                    f"{order}{'HHQQ' if big else 'HHII'}", file.read(20 if big else 12)
                )
                if tag == _METADATA_TAG and count <= _MOST_BYTES:
                    file.seek(value)
                    return file.read(count)
        except (struct.error, OverflowError, ValueError):
            return b""  # GDAL says what is wrong with it
    return b""
