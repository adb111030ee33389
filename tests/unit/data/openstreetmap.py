"""Tiny extracts of OpenStreetMap, as XML and as PBF, written by the formats' own descriptions."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A line, or an area where it ends where it begins."""

    places: Sequence[tuple[float, float]]
    """Longitude and latitude of each node."""
    tags: dict[str, str]
    """Keys and values."""


def write_xml(path: Path, ways: Sequence[Way]) -> Path:
    """Write OSM XML 0.6."""
    nodes, refs = _nodes(ways)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<osm version="0.6">']
    lines += [f'<node id="{number}" lon="{lon}" lat="{lat}"/>' for (lon, lat), number in nodes.items()]
    for number, (way, ref) in enumerate(zip(ways, refs, strict=True), 1):
        members = "".join(f'<nd ref="{node}"/>' for node in ref)
        tags = "".join(f"<tag k={quoteattr(k)} v={quoteattr(v)}/>" for k, v in way.tags.items())
        lines.append(f'<way id="{number}">{members}{tags}</way>')
    path.write_text("\n".join([*lines, "</osm>"]), encoding="utf-8")
    return path


def write_pbf(path: Path, ways: Sequence[Way]) -> Path:
    """Write OSM PBF: https://wiki.openstreetmap.org/wiki/PBF_Format, uncompressed."""
    nodes, refs = _nodes(ways)
    words = list(dict.fromkeys(["", *(word for way in ways for pair in way.tags.items() for word in pair)]))
    dense = (
        _field(1, _deltas(list(nodes.values())))
        + _field(8, _deltas([round(lat * 1e7) for _, lat in nodes]))
        + _field(9, _deltas([round(lon * 1e7) for lon, _ in nodes]))
    )
    drawn = b"".join(
        _field(
            3,
            _number(1, number)
            + _field(2, b"".join(_varint(words.index(key)) for key in way.tags))
            + _field(3, b"".join(_varint(words.index(value)) for value in way.tags.values()))
            + _field(8, _deltas(ref)),
        )
        for number, (way, ref) in enumerate(zip(ways, refs, strict=True), 1)
    )
    table = b"".join(_field(1, word.encode()) for word in words)
    header = _field(4, b"OsmSchema-V0.6") + _field(4, b"DenseNodes")
    block = _field(1, table) + _field(2, _field(2, dense)) + _field(2, drawn)
    path.write_bytes(_blob(b"OSMHeader", header) + _blob(b"OSMData", block))
    return path


def _nodes(ways: Sequence[Way]) -> tuple[dict[tuple[float, float], int], list[list[int]]]:
    """Number the places, and give the numbers of each way."""
    places = dict.fromkeys(place for way in ways for place in way.places)
    nodes = {place: number for number, place in enumerate(places, 1)}
    return nodes, [[nodes[place] for place in way.places] for way in ways]


def _blob(kind: bytes, content: bytes) -> bytes:
    blob = _field(1, content) + _number(2, len(content))
    header = _field(1, kind) + _number(3, len(blob))
    return struct.pack(">I", len(header)) + header + blob


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _deltas(values: Sequence[int]) -> bytes:
    """Give differences, zigzag-coded."""
    steps = [value - before for value, before in zip(values, [0, *values], strict=False)]
    return b"".join(_varint(2 * step if step >= 0 else -2 * step - 1) for step in steps)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)
