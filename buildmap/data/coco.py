"""COCO JSON: polygons and run-length masks in pixels of the images they name, one file for many images."""

import json
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import shape

from buildmap.errors import InputError, MissingInput
from buildmap.raster.quiet import unreferenced_is_fine
from buildmap.vector.reader import Repairs, repair

_CHUNK_CHARACTERS = 2**20
_LONGEST_WORD = 24
_NUMBER_TAIL = 3
"""Characters that a number may be cut off before: `e-1`."""
_COCO_KEYS = frozenset({"images", "annotations", "categories"})
_OTHER_KEYS = frozenset({"features", "coordinates", "geometry", "geometries", "objects"})
_COCO_TYPES = frozenset({"instances", "captions"})
_BUILDING = frozenset({"building", "buildings"})
_FEWEST_NUMBERS = 6
"""Of a ring: x and y of three corners."""
_MOST_GROUPS = 12
"""Of five bits, in one number of a run-length text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFootprints:
    """What a COCO file says of one image."""

    polygons: NDArray[np.object_]
    """(n,) valid shapely polygons in the image's pixel corners (col, row)."""
    repairs: Repairs
    """What was repaired or dropped; a mere box and what is no segmentation count as without a geometry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    identity: Hashable
    size: tuple[object, object]
    """Width and height, or None where the file does not say."""


class CocoFile:
    """A COCO file, read once."""

    def __init__(self, path: Path) -> None:
        """Read a file, one annotation at a time.

        Raises:
            MissingInput: If it is not there.
            InputError: If it is no COCO JSON, or has several categories and none called building.
        """
        self.path = path
        self._images: dict[str, _Listed] = {}
        self._named: defaultdict[str, list[str]] = defaultdict(list)
        self._categories: dict[Hashable, str] = {}
        self._drawn: defaultdict[Hashable, list[tuple[Hashable, Any]]] = defaultdict(list)
        listeners = {
            "images": self._add_image,
            "annotations": self._add_annotation,
            "categories": self._add_category,
        }
        with _open(path) as file:
            for key, stream in _members(file):
                if key not in listeners:
                    stream.value()
                    continue
                for item in stream.items():
                    listeners[key](item)
        self._wanted = self._building_categories()

    def footprints(self, image: Path, *, width: int, height: int) -> PixelFootprints:
        """Give what is drawn on one image.

        Args:
            image: Path of the raster; the file's own name for it may be the end of it, or the reverse.
            width: Columns of the raster.
            height: Rows of it.

        Raises:
            InputError: If the file does not know the image, knows several such, or one of another size.
        """
        listed = self._images[self._name_of(image)]
        if None not in listed.size and listed.size != (width, height):
            raise InputError(
                f"{self.path} has {image.name} with {listed.size[0]} x {listed.size[1]} pixels, "
                f"it has {width} x {height}"
            )
        found: list[object] = []
        with np.errstate(invalid="ignore"):  # NaN coordinates are expected, and counted
            for category, segmentation in self._drawn.get(listed.identity, ()):
                if self._wanted is None or (isinstance(category, Hashable) and category in self._wanted):
                    found.extend(_shapes_of(segmentation, (height, width)))
            geometries = np.empty(len(found), np.object_)
            geometries[:] = found
            polygons, _, repairs = repair(geometries)
        return PixelFootprints(polygons=polygons, repairs=repairs)

    def _name_of(self, image: Path) -> str:
        """Find an image by as much of its path as both sides know."""
        names = self._named.get(image.name, [])
        precise = [name for name in names if _same_end(PurePosixPath(name).parts, image.parts)]
        found = precise or names
        if len(found) > 1:
            listed = ", ".join(found[:3])
            raise InputError(f"{self.path} has {len(found)} images that may be {image}: {listed}")
        if not found:
            known = ", ".join(list(self._images)[:3]) or "none"
            raise InputError(f"{self.path} says nothing of {image.name}", hint=f"its images: {known}")
        return found[0]

    def _add_image(self, item: Any) -> None:
        try:
            name, identity = str(item["file_name"]).replace("\\", "/"), item["id"]
            size = item.get("width"), item.get("height")
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.path} has an image without id or file_name: {_short(item)}") from error
        if name in self._images:
            raise InputError(f"{self.path} has {name} several times")
        if not isinstance(identity, Hashable):
            raise InputError(f"{self.path} has an image whose id is no value: {_short(item)}")
        self._images[name] = _Listed(identity=identity, size=size)
        self._named[PurePosixPath(name).name].append(name)

    def _add_annotation(self, item: Any) -> None:
        try:
            drawn = self._drawn[item["image_id"]]
            drawn.append((item.get("category_id"), _compact(item.get("segmentation"))))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.path} has an annotation without image_id: {_short(item)}") from error

    def _add_category(self, item: Any) -> None:
        try:
            self._categories[item["id"]] = str(item["name"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.path} has a category without id or name: {_short(item)}") from error

    def _building_categories(self) -> frozenset[Hashable] | None:
        """Choose the categories to draw; None means all."""
        if len(self._categories) < 2:
            return None
        wanted = frozenset(key for key, name in self._categories.items() if name.lower() in _BUILDING)
        if not wanted:
            names = ", ".join(self._categories.values())
            raise InputError(
                f"{self.path} has {len(self._categories)} categories, none called building: {names}"
            )
        return wanted


class CocoFiles:
    """COCO files that many rasters share, each read once."""

    def __init__(self) -> None:
        self._files: dict[Path, CocoFile | None] = {}

    def find(self, path: Path) -> CocoFile | None:
        """Give a file, or None where it is none of COCO's, but a layer for GDAL.

        Raises:
            MissingInput: If it is not there.
            InputError: As `CocoFile`.
        """
        if path.suffix.lower() != ".json":
            return None
        if path not in self._files:
            self._files[path] = CocoFile(path) if is_coco(path) else None
        return self._files[path]


def is_coco(path: Path) -> bool:
    """Tell COCO from GeoJSON by the first key that only one of them has; the rest is not read.

    Raises:
        MissingInput: If the file is not there.
    """
    with _open(path) as file:
        try:
            for key, stream in _members(file):
                if key in _COCO_KEYS | _OTHER_KEYS:
                    return key in _COCO_KEYS
                if key == "type" and str(stream.value()) not in _COCO_TYPES:
                    return False
                if key != "type":
                    stream.value()
        except InputError:
            return False
    return False


def run_lengths(counts: str | list[int]) -> NDArray[np.int64]:
    """Give the lengths of runs along the columns, first of background, of a run-length mask.

    A text holds them in little-endian groups of five bits, a sixth saying whether another follows and the
    last one's top bit giving the sign; from the fourth number on as differences to the last but one.

    Raises:
        ValueError: If the text is none of that kind.
    """
    if not isinstance(counts, str):
        return np.asarray(counts, np.int64)
    codes = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - ord("0")
    last = (codes & 32) == 0
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 63 or not last[-1]:
        raise ValueError("not a run-length text")
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    if place.max() >= _MOST_GROUPS:
        raise ValueError("a run-length text with a number of more than 60 bits")
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    negative = (codes[last] & 16) > 0
    values[negative] -= 1 << (5 * (place[last][negative] + 1))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _shapes_of(segmentation: Any, size: tuple[int, int]) -> list[object]:
    """Give the geometries of one annotation, a polygon for each ring, or for each part of a mask, or None."""
    if isinstance(segmentation, dict):
        try:
            return _mask_polygons(segmentation, size)
        except (ValueError, TypeError, KeyError, OverflowError):
            return [None]
    if not segmentation:
        return [None]
    return [None if ring is None else _polygon(ring.reshape(-1, 2)) for ring in segmentation]


def _polygon(corners: NDArray[np.float64]) -> object:
    """Close a ring; one with numbers that are not finite stays open, for `repair` to drop."""
    if not np.isfinite(corners).all():
        return shapely.linestrings(corners, handle_nan="allow")
    return shapely.Polygon(corners)


def _mask_polygons(mask: dict[str, Any], size: tuple[int, int]) -> list[object]:
    """Outline a run-length mask, no more of it decoded than the columns it spans."""
    rows, cols = size
    if list(mask["size"]) != [rows, cols]:
        raise ValueError(f"a mask of {mask['size']} on an image of {[rows, cols]}")
    runs = run_lengths(mask["counts"])
    if ((runs < 0) | (runs > rows * cols)).any() or runs.astype(np.float64).sum() != rows * cols:
        raise ValueError("runs do not fill the image")
    ends = np.cumsum(runs)
    first, end = ends[0::2][: len(runs) // 2], ends[1::2]
    some = end > first
    if not some.any():
        return [shapely.Polygon()]
    left, right = int(first[some][0] // rows), int(-(-end[some][-1] // rows))
    steps = np.zeros((right - left) * rows + 1, np.int8)
    steps[first[some] - left * rows] = 1
    np.add.at(steps, end[some] - left * rows, np.int8(-1))
    pixels = np.ascontiguousarray(np.cumsum(steps[:-1], dtype=np.int8).reshape(-1, rows).T.astype(np.uint8))
    inside = np.flatnonzero(pixels.any(axis=1))
    top = int(inside[0])
    pixels = pixels[top : int(inside[-1]) + 1]
    with unreferenced_is_fine():
        outlined = shapes(pixels, mask=pixels > 0, connectivity=4, transform=Affine.translation(left, top))
        return [shape(outline) for outline, _ in outlined]


def _compact(segmentation: Any) -> Any:
    """Keep a segmentation in little memory: rings as arrays, a mask as it is; None where it is neither."""
    if isinstance(segmentation, dict):
        return segmentation
    if not isinstance(segmentation, list):
        return None
    if segmentation and not isinstance(segmentation[0], list):
        segmentation = [segmentation]
    return [_ring(numbers) for numbers in segmentation]


def _ring(numbers: Any) -> NDArray[np.float64] | None:
    """Give x and y in turn, or None where they are no ring."""
    try:
        ring = np.asarray(numbers, np.float64)
    except (ValueError, TypeError):
        return None
    return ring if ring.ndim == 1 and len(ring) >= _FEWEST_NUMBERS and len(ring) % 2 == 0 else None


def _same_end(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether one path is the end of the other, folders included."""
    shared = min(len(one), len(other))
    return shared > 1 and one[-shared:] == other[-shared:]


def _short(item: object) -> str:
    text = json.dumps(item)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _open(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise MissingInput(f"{path} does not exist") from error
    except OSError as error:
        raise MissingInput(f"{path} cannot be read: {error.strerror}") from error


class _Stream:
    """JSON read value by value, so that a file larger than memory can be gone through."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text, self._at, self._ended = "", 0, False

    def peek(self) -> str:
        """Give the next character that is no space, or nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def take(self, wanted: str) -> None:
        """Pass over one character.

        Raises:
            InputError: If another is there.
        """
        if self.peek() != wanted:
            raise self._not_json()
        self._at += 1

    def value(self) -> Any:
        """Read the next value.

        Raises:
            InputError: If it is not JSON.
        """
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self._not_json() from error
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._text) - _LONGEST_WORD or error.msg.startswith("Unterminated")
                if not (cut and self._read_on()):
                    raise self._not_json() from error
                continue
            except ValueError as error:  # a number of more digits than Python takes
                raise self._not_json() from error
            if end > len(self._text) - _NUMBER_TAIL and self._read_on():  # a number may go on
                continue
            self._at = end
            return value

    def items(self) -> Iterator[Any]:
        """Read the values of a list, one by one."""
        self.take("[")
        if self.peek() == "]":
            return self.take("]")
        while True:
            yield self.value()
            if self.peek() != ",":
                return self.take("]")
            self.take(",")

    def _read_on(self) -> bool:
        if self._ended:
            return False
        rest = self._text[self._at :]
        try:
            more = self._file.read(max(_CHUNK_CHARACTERS, len(rest)))
        except UnicodeDecodeError as error:
            raise self._not_json() from error
        self._ended = not more
        if more:
            self._text, self._at = rest + more, 0
        return not self._ended

    def _not_json(self) -> InputError:
        return InputError(f"{self._file.name} is not JSON", hint=f"python -m json.tool '{self._file.name}'")


def _members(file: TextIO) -> Iterator[tuple[str, _Stream]]:
    """Give the keys of an object; the value of each is to be read from the stream before the next."""
    stream = _Stream(file)
    stream.take("{")
    while stream.peek() != "}":
        key = stream.value()
        stream.take(":")
        yield str(key), stream
        if stream.peek() == ",":
            stream.take(",")
        elif stream.peek() != "}":
            stream.take("}")
