"""Curves drawn by straight edges, which shapely needs; GDAL draws them."""

import io
import re
import warnings

import numpy as np
import pyogrio
from numpy.typing import NDArray

_CURVED = range(8, 15)
_COLLECTION = 7
"""Types of WKB."""
_CURVE_INSIDE = (
    re.compile(rb"\0\0\0[\0\x03\x07\x0b][\x08-\x0e\xf0-\xf6\xd8-\xde\xc0-\xc6]"),
    re.compile(rb"\x01[\x08-\x0e\xf0-\xf6\xd8-\xde\xc0-\xc6][\0\x03\x07\x0b]\0\0"),
)
"""What a curve in a collection begins with, by the order of bytes; other bytes may look alike."""


def straightened(wkb: NDArray[np.object_]) -> NDArray[np.object_]:
    """Have curves drawn by straight edges, also those inside of collections.

    Args:
        wkb: (n,) bytes, or None where there is no geometry.

    Returns:
        (n,) the same where there is no curve, and otherwise geometries without, in two or three dimensions.
    """
    curved = np.array([piece is not None and _is_curved(piece) for piece in wkb], np.bool_)
    if not curved.any():
        return wkb
    drawn = wkb.copy()
    drawn[curved] = _drawn(wkb[curved])
    return drawn


def _is_curved(wkb: bytes) -> bool:
    kind = _type(wkb)
    return kind in _CURVED or (kind == _COLLECTION and bool(_CURVE_INSIDE[wkb[0] & 1].search(wkb, 9)))


def _type(wkb: bytes) -> int:
    """Give the type of a geometry, whatever its dimensions."""
    code = int.from_bytes(wkb[1:5], "little" if wkb[:1] == b"\x01" else "big")
    return (code & 0x0FFF_FFFF) % 1000


def _drawn(wkb: NDArray[np.object_]) -> NDArray[np.object_]:
    """Write geometries in a format that has no curves, with every digit, and read them back."""
    text = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.raw.write(
            text,
            wkb,
            [],
            [],
            layer="curves",
            driver="GeoJSON",
            geometry_type="Unknown",
            layer_options={"COORDINATE_PRECISION": "17"},
        )
    read: NDArray[np.object_] = pyogrio.raw.read(text.getvalue())[2]
    return read
