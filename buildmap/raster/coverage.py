"""Where a raster is known to be empty, without reading a pixel of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Interleaving, MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window as FloatWindow

from buildmap.errors import InputError

_LARGEST_BLOCK_BYTES = 2**30
_PROBES = 64
_RECTANGLES = {
    "SimpleSource",
    "ComplexSource",
    "AveragedSource",
    "KernelFilteredSource",
    "NoDataFromMaskSource",
}
"""Sources of a VRT that fill a rectangle and nothing else."""


class Coverage(Protocol):
    """Knows which part of a raster may hold data."""

    def touches(self, top: int, left: int, bottom: int, right: int) -> bool:
        """Tell whether a box of pixels may hold a valid one; the box may reach beyond the raster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The blocks of a TIFF that are in the file."""

    stored: NDArray[np.bool_]
    """(block rows, block cols)."""
    height: int
    """Rows of a block."""
    width: int
    """Columns of a block."""

    def touches(self, top: int, left: int, bottom: int, right: int) -> bool:
        rows = slice(max(top, 0) // self.height, max(-(-bottom // self.height), 0))
        cols = slice(max(left, 0) // self.width, max(-(-right // self.width), 0))
        return bool(self.stored[rows, cols].any())

    def missing_pixel(self) -> tuple[int, int] | None:
        """Give row and column of a pixel that is not stored; None where all are."""
        missing = np.argwhere(~self.stored)
        return (int(missing[0, 0]) * self.height, int(missing[0, 1]) * self.width) if len(missing) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """The boxes that the sources of a mosaic fill."""

    boxes: NDArray[np.float64]
    """(n, 4): top, left, bottom, right in pixels."""

    def touches(self, top: int, left: int, bottom: int, right: int) -> bool:
        tops, lefts, bottoms, rights = self.boxes.T
        return bool(((tops < bottom) & (bottoms > top) & (lefts < right) & (rights > left)).any())


def survey(dataset: DatasetReader, title: str) -> Coverage | None:
    """Find absurd blocks and a truncated TIFF now, not hours later; and what the raster has no data for.

    Args:
        dataset: Just opened.
        title: The raster's name in messages.

    Returns:
        None where nothing is known without reading.

    Raises:
        InputError: If the raster has no bands, absurd blocks, or is truncated.
    """
    check_has_bands(dataset, title)
    _check_block_size(dataset, title)
    coverage: Blocks | Boxes | None = None
    empty: tuple[int, int] | None = None
    if dataset.driver == "VRT":
        coverage = _sources(dataset)
        empty = None if coverage is None else _uncovered_pixel(dataset, coverage)
    elif dataset.driver == "GTiff" and Path(dataset.name).is_file():
        coverage = _stored_blocks(dataset, title)
        empty = coverage.missing_pixel()
    return coverage if empty is not None and _is_invalid(dataset, *empty) else None


def check_has_bands(dataset: DatasetReader, title: str) -> None:
    """Refuse a file that only holds other rasters.

    Raises:
        InputError: If there is no band.
    """
    if dataset.count == 0:
        names = dataset.subdatasets
        hint = f"name one of its parts: {names[0]}" if names else None
        raise InputError(f"{title} has no raster bands", hint=hint)


def _check_block_size(dataset: DatasetReader, title: str) -> None:
    rows, cols = dataset.block_shapes[0]
    block_bytes = rows * cols * np.dtype(dataset.dtypes[0]).itemsize * dataset.count
    if block_bytes > _LARGEST_BLOCK_BYTES:
        raise InputError(
            f"{title} has blocks of {cols} x {rows} x {dataset.count}: {block_bytes / 2**30:.1f} GiB each",
            hint=f"gdal_translate -of COG '{title}' tiled.tif",
        )


def _stored_blocks(dataset: DatasetReader, title: str) -> Blocks:
    """Look up every block's place in the file; one that has none is not stored."""
    size = Path(dataset.name).stat().st_size
    height, width = dataset.block_shapes[0]
    stored = np.zeros((-(-dataset.height // height), -(-dataset.width // width)), np.bool_)
    for band in dataset.indexes if dataset.interleaving == Interleaving.band else [1]:
        for row, col in np.ndindex(stored.shape):
            offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
            if offset is None:
                continue
            stored[row, col] = True
            count = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
            if count and int(offset) + int(count) > size:
                raise InputError(f"{title} is truncated: block ({row}, {col}) ends beyond its {size} bytes")
    return Blocks(stored=stored, height=height, width=width)


def _sources(dataset: DatasetReader) -> Boxes | None:
    """Give the boxes of a VRT's sources, its mask's too; None where one may lie anywhere."""
    root = ElementTree.fromstring(dataset.tags(ns="xml:VRT")["xml:VRT"])
    flags = dataset.mask_flag_enums[0]
    foreign_mask = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
    if "subClass" in root.attrib or (foreign_mask and root.find("MaskBand") is None):
        return None
    boxes: list[tuple[float, ...]] = []
    for band in root.iter("VRTRasterBand"):
        if "subClass" in band.attrib:
            return None
        for source in band:
            if not source.tag.endswith("Source"):
                continue
            place = source.find("DstRect")
            if source.tag not in _RECTANGLES or place is None:
                return None
            left, top, width, height = (float(place.attrib[k]) for k in ("xOff", "yOff", "xSize", "ySize"))
            boxes.append((top - 1, left - 1, top + height + 1, left + width + 1))
    return Boxes(boxes=np.unique(np.array(boxes).reshape(-1, 4), axis=0))


def _uncovered_pixel(dataset: DatasetReader, coverage: Coverage) -> tuple[int, int] | None:
    for row, col in _lattice(dataset.height, dataset.width):
        if not coverage.touches(row, col, row + 1, col + 1):
            return row, col
    return None


def _lattice(height: int, width: int) -> Iterator[tuple[int, int]]:
    for row in np.unique(np.linspace(0, height - 1, _PROBES, dtype=int)):
        for col in np.unique(np.linspace(0, width - 1, _PROBES, dtype=int)):
            yield int(row), int(col)


def _is_invalid(dataset: DatasetReader, row: int, col: int) -> bool:
    """Tell from one empty place what all empty places read as: they are filled alike.

    Not with the mask of a TIFF, which has blocks of its own: they may be stored where the pixels are not.
    """
    flags = dataset.mask_flag_enums
    if dataset.driver == "GTiff" and any(
        MaskFlags.per_dataset in band and MaskFlags.alpha not in band for band in flags
    ):
        return False
    return not dataset.dataset_mask(window=FloatWindow(col, row, 1, 1)).any()
