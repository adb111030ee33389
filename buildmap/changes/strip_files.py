"""Buildings on disk by strips: one file, and the place of each chunk in memory, 24 bytes.

A chunk holds the buildings of one strip that came in one batch:

    building, ring and corner counts       three int64
    of each column: its type, its bytes    eight characters and an int64
    row, bounds, area                      int64 and float64, each building's
    corners                                float64, x and y
    rings of buildings, corners of rings   int32
    columns                                plain values; texts as lengths (int32, -1 = None), then UTF-8

The file is of one run on one machine, which reads what it wrote; so it has no version and no checksum.
"""

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from buildmap.changes.buildings import Buildings, no_buildings
from buildmap.vector.ragged import Ragged
from buildmap.vector.store import PolygonStore

_TYPE_BYTES = 8
_TEXT = "O"
_NONE = -1
"""Length of a text that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """Where in a file the buildings of strips are; sorted by strip, the greatest first, then as written."""

    strip: NDArray[np.int64]
    """(k,) number of the strip."""
    offset: NDArray[np.int64]
    """(k,) bytes from the start of the file."""
    size: NDArray[np.int64]
    """(k,) in bytes."""

    def of(self, strip: int) -> Iterator[tuple[int, int]]:
        """Give offset and size of the chunks of a strip."""
        upwards = self.strip[::-1]
        first = len(upwards) - np.searchsorted(upwards, strip, "right")
        stop = len(upwards) - np.searchsorted(upwards, strip, "left")
        return zip(self.offset[first:stop].tolist(), self.size[first:stop].tolist(), strict=True)


class ChunkWriter:
    """Writes batches of buildings to a file, each strip's behind each other."""

    def __init__(self, file: BinaryIO) -> None:
        """Start at the beginning of an empty file."""
        self._file = file
        self._end = 0
        self._written = [np.empty((0, 3), np.int64)]

    def append(self, strip: NDArray[np.int64], buildings: Buildings) -> None:
        """Write a batch.

        Args:
            strip: (n,) number of the strip of each.
            buildings: n.

        Raises:
            OSError: If the disk refuses it.
        """
        order = np.argsort(strip, kind="stable")
        strips, starts = np.unique(strip[order], return_index=True)
        by_strip = buildings.take(order)
        encoded = {name: _Encoded.of(values) for name, values in by_strip.columns.items()}
        sizes = []
        for start, stop in pairwise([*starts.tolist(), len(order)]):
            parts = _chunk(by_strip, encoded, start, stop)
            sizes.append(sum(map(len, parts)))
            self._file.writelines(parts)
        ends = self._end + np.cumsum([0, *sizes])
        self._written.append(np.column_stack([strips, ends[:-1], np.diff(ends)]))
        self._end = int(ends[-1])

    def chunks(self) -> Chunks:
        """Tell where everything is."""
        strip, offset, size = np.concatenate(self._written).T
        order = np.argsort(-strip, kind="stable")
        return Chunks(strip=strip[order], offset=offset[order], size=size[order])


def read_chunks(
    path: Path, places: Iterator[tuple[int, int]], types: Mapping[str, np.dtype[Any]]
) -> Buildings:
    """Read chunks back, behind each other.

    Args:
        path: Of the file.
        places: Offset and size of each.
        types: Of the columns, in the order in which they were written.

    Raises:
        OSError: If the disk fails, or the file ends too early.
    """
    parts = []
    with path.open("rb") as file:
        for offset, size in places:
            file.seek(offset)
            chunk = file.read(size)
            if len(chunk) != size:
                raise OSError(errno.EIO, "ends too early", str(path))
            parts.append(_parsed(chunk, len(types)))
    if not parts:
        return no_buildings({name: np.empty(0, kind) for name, kind in types.items()})
    sections = [np.concatenate(same) for same in zip(*(sections for sections, _ in parts), strict=True)]
    row, bounds, area, corners, ring_counts, corner_counts = sections
    return Buildings(
        store=PolygonStore(
            flat=Ragged(corners.reshape(-1, 2), _offsets(corner_counts), _offsets(ring_counts)),
            bounds=bounds.reshape(-1, 4),
            area=area,
        ),
        row=row,
        columns={
            name: np.concatenate([columns[number] for _, columns in parts]).astype(kind)
            for number, (name, kind) in enumerate(types.items())
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """A column as bytes."""

    kind: bytes
    """Type of its values."""
    fixed: NDArray[Any]
    """(n,) values, or lengths of texts in bytes."""
    text: bytes
    """Of all values, empty where they are no texts."""
    ends: NDArray[np.int64]
    """(n + 1,) where each value begins in `text`."""

    @classmethod
    def of(cls, values: NDArray[Any]) -> "_Encoded":
        if values.dtype != np.object_:
            kind = values.dtype.str.encode().ljust(_TYPE_BYTES, b"\0")
            return cls(kind=kind, fixed=values, text=b"", ends=np.zeros(len(values) + 1, np.int64))
        texts = [b"" if value is None else str(value).encode() for value in values]
        lengths = np.array([len(text) for text in texts], np.int32)
        ends = _offsets(lengths)
        missing = np.array([value is None for value in values], np.bool_)
        lengths[missing] = _NONE
        return cls(
            kind=_TEXT.encode().ljust(_TYPE_BYTES, b"\0"), fixed=lengths, text=b"".join(texts), ends=ends
        )

    def part(self, start: int, stop: int) -> bytes:
        return self.fixed[start:stop].tobytes() + self.text[self.ends[start] : self.ends[stop]]


def _chunk(buildings: Buildings, encoded: Mapping[str, _Encoded], start: int, stop: int) -> list[bytes]:
    store = buildings.store
    first_ring, last_ring = store.flat.polygons[[start, stop]]
    first_corner, last_corner = store.flat.rings[[first_ring, last_ring]]
    columns = [(column.kind, column.part(start, stop)) for column in encoded.values()]
    head = [np.array([stop - start, last_ring - first_ring, last_corner - first_corner]).tobytes()]
    for kind, values in columns:
        head += [kind, np.int64(len(values)).tobytes()]
    sections = (
        buildings.row[start:stop],
        store.bounds[start:stop],
        store.area[start:stop],
        store.flat.corners[first_corner:last_corner],
        np.diff(store.flat.polygons[start : stop + 1]).astype(np.int32),
        np.diff(store.flat.rings[first_ring : last_ring + 1]).astype(np.int32),
    )
    return [*head, *(section.tobytes() for section in sections), *(values for _, values in columns)]


def _parsed(chunk: bytes, column_count: int) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Take the sections of a chunk apart, and its columns; what is flat stays flat."""
    take = _Taker(chunk)
    buildings, rings, corners = take.some(np.int64, 3).tolist()
    heads = [(take.some("S8", 1)[0].decode(), int(take.some(np.int64, 1)[0])) for _ in range(column_count)]
    sections = [
        take.some(np.int64, buildings),
        take.some(np.float64, 4 * buildings),
        take.some(np.float64, buildings),
        take.some(np.float64, 2 * corners),
        take.some(np.int32, buildings),
        take.some(np.int32, rings),
    ]
    columns = []
    for kind, size in heads:
        if kind == _TEXT:
            lengths = take.some(np.int32, buildings)
            columns.append(_texts(lengths, take.some("u1", size - lengths.nbytes).tobytes()))
        else:
            columns.append(take.some(kind, buildings))
    return sections, columns


class _Taker:
    """Takes values from the front of bytes."""

    def __init__(self, chunk: bytes) -> None:
        self._chunk, self._at = chunk, 0

    def some(self, kind: Any, count: int) -> NDArray[Any]:
        values = np.frombuffer(self._chunk, kind, count, self._at)
        self._at += values.nbytes
        return values


def _texts(lengths: NDArray[np.int32], text: bytes) -> NDArray[np.object_]:
    ends = _offsets(np.maximum(lengths, 0)).tolist()
    values = np.empty(len(lengths), np.object_)
    values[:] = [text[start:stop].decode() for start, stop in pairwise(ends)]
    values[lengths == _NONE] = None
    return values


def _offsets(sizes: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.append(0, np.cumsum(sizes, dtype=np.int64))
