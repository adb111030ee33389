"""The objects of a strip as a file: the CRC-32 of all that follows, in four bytes, and a NumPy archive."""

import io
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.raster.parts import DamagedPart
from buildmap.vector.instance_rules import Candidates
from buildmap.vector.ragged import Ragged, to_ragged

_CRC_BYTES = 4
Arrays = dict[str, NDArray[Any]]
_PLAIN = tuple(field.name for field in fields(Candidates) if field.name not in {"polygons", "method"})


def pack(candidates: Candidates) -> bytes:
    """Give the content of a file: the same bytes for the same objects."""
    arrays: Arrays = {name: getattr(candidates, name) for name in _PLAIN}
    arrays |= to_ragged(candidates.polygons)._asdict()
    arrays["method"] = candidates.method.astype(np.str_)  # objects would be pickled
    body = io.BytesIO()
    np.savez(body, **arrays)  # type: ignore[arg-type]  # none is called `allow_pickle`
    return _crc(body.getvalue()) + body.getvalue()


def load(path: Path) -> Candidates:
    """Read the objects of a strip.

    Raises:
        DamagedPart: If the file is not what was written.
    """
    try:
        packed = path.read_bytes()
        if packed[:_CRC_BYTES] != _crc(packed[_CRC_BYTES:]):
            raise DamagedPart(path)
        with np.load(io.BytesIO(packed[_CRC_BYTES:]), allow_pickle=False) as archive:
            arrays = dict(archive)
        corners, rings, polygons = (arrays[name] for name in Ragged._fields)
        drawn = shapely.from_ragged_array(shapely.GeometryType.POLYGON, corners, (rings, polygons))
        return Candidates(
            polygons=np.asarray(drawn, np.object_),
            method=arrays["method"].astype(np.object_),
            **{name: arrays[name] for name in _PLAIN},
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DamagedPart(path) from error


def _crc(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(_CRC_BYTES, "little")
