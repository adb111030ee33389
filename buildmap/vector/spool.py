"""What a band gave, on disk: finished footprints, and pieces for the seam.

A file is the CRC-32 of all that follows, in four bytes, and a NumPy archive of plain arrays. Polygons are
three of them: corners, and where rings and polygons begin.
"""

import io
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.errors import StorageError
from buildmap.publish import sync
from buildmap.vector.drawn import Drawn
from buildmap.vector.ragged import to_ragged
from buildmap.vector.tracing.bands import Pieces
from buildmap.vector.tracing.spans import Spans
from buildmap.vector.tracing.trace import Runs

_CRC_BYTES = 4
_RAGGED = ("corners", "rings", "polygons")
_KEPT_SMALL = np.int32
"""Corners of pixels are whole numbers: half the bytes."""

Arrays = dict[str, NDArray[Any]]


class DamagedSpool(StorageError):
    """A file is not what was written; the band has to be drawn again."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is damaged: it does not read back as written",
            hint="is the disk full? the same command makes it again",
        )
        self.path = path


def pack(drawn: Drawn, pieces: Pieces) -> bytes:
    """Give what `save` writes: the same bytes for the same content."""
    arrays: Arrays = {}
    for field in fields(Drawn):
        arrays |= _flattened(f"drawn.{field.name}", getattr(drawn, field.name))
    for part, values in (("runs", pieces.runs), ("spans", pieces.spans)):
        arrays |= {f"{part}.{name}": array for name, array in values._asdict().items()}
    body = io.BytesIO()
    np.savez(body, **arrays)  # type: ignore[arg-type]  # none is called `allow_pickle`
    return _crc(body.getvalue()) + body.getvalue()


def save(path: Path, packed: bytes) -> None:
    """Write what a band gave beside, sync it and rename it.

    Args:
        path: Of the new file.
        packed: By `pack`.

    Raises:
        OSError: If the disk refuses it.
    """
    aside = path.with_suffix(".tmp")
    aside.write_bytes(packed)
    sync(aside)
    aside.replace(path)


def load(path: Path) -> tuple[Drawn, Pieces]:
    """Read what a band gave.

    Raises:
        DamagedSpool: If it is not what was written.
    """
    try:
        packed = path.read_bytes()
        if packed[:_CRC_BYTES] != _crc(packed[_CRC_BYTES:]):
            raise DamagedSpool(path)
        with np.load(io.BytesIO(packed[_CRC_BYTES:]), allow_pickle=False) as archive:
            arrays = dict(archive)
        return (
            Drawn(**{field.name: _restored(f"drawn.{field.name}", arrays) for field in fields(Drawn)}),
            Pieces(
                runs=Runs(*(arrays[f"runs.{name}"] for name in Runs._fields)),
                spans=Spans(*(arrays[f"spans.{name}"] for name in Spans._fields)),
            ),
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DamagedSpool(path) from error


def _crc(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(_CRC_BYTES, "little")


def _flattened(name: str, array: NDArray[Any]) -> Arrays:
    if array.dtype != np.object_:
        return {name: array}
    ragged = to_ragged(array)
    small = ragged.corners.astype(_KEPT_SMALL)
    corners = small if np.array_equal(small, ragged.corners) else ragged.corners
    return dict(zip((f"{name}.{part}" for part in _RAGGED), (corners, *ragged[1:]), strict=True))


def _restored(name: str, arrays: Arrays) -> NDArray[Any]:
    if name in arrays:
        return arrays[name]
    corners, rings, polygons = (arrays[f"{name}.{part}"] for part in _RAGGED)
    whole = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, corners.astype(np.float64), (rings, polygons)
    )
    return np.asarray(whole, np.object_)
