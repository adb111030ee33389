"""Putting finished strips together into one Cloud Optimized GeoTIFF that is known to be whole."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.shutil import copy
from rasterio.windows import Window

from buildmap.errors import StorageError
from buildmap.publish import write_failure
from buildmap.raster.blend import NODATA, join
from buildmap.raster.grid import Grid
from buildmap.raster.parts import DamagedPart, OnJoin, PartRecord, count_values, crc, read_ends
from buildmap.raster.quiet import unreferenced_is_fine

BLOCK_PX = 512
"""Side of an internal tile."""
COG_SHARE = 5 / 3
"""Bytes of a COG for each of its parts: its overviews take a third, and once more while it is written."""
PROBABILITY_STEPS = 254
"""uint8 value that stands for probability one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Some rows of the raster in a file."""

    path: Path
    """The file."""
    row: int
    """Its first row in the file."""
    rows: int
    """How many."""
    crc: int
    """CRC-32 of them, row by row."""


def write_cog(
    path: Path,
    grid: Grid,
    parts: Sequence[tuple[Path, PartRecord]],
    *,
    tags: dict[str, str],
    on_join: OnJoin,
) -> None:
    """Assemble parts into a COG of uint8 probability with overviews and statistics, and read it back.

    Args:
        path: The file to be; what is needed on the way lies beside it.
        grid: Of the whole raster.
        parts: Of all strips, top to bottom.
        tags: Stored in the file's metadata.
        on_join: Sees the sums of two strips where they meet.

    Raises:
        StorageError: If a part is damaged, or the COG cannot be written or does not read back as the parts.
    """
    try:
        pieces, histogram = _pieces(path.with_name("seams.tif"), grid.width, parts, on_join)
        mosaic = path.with_name("mosaic.vrt")
        Xml.ElementTree(_mosaic(grid, pieces, tags, histogram)).write(mosaic, encoding="utf-8")
        with unreferenced_is_fine():
            copy(
                mosaic,
                path,
                driver="COG",
                compress="zstd",
                level=1,
                blocksize=BLOCK_PX,
                overview_resampling="average",
                bigtiff="if_safer",
                num_threads=os.cpu_count() or 1,
            )
        _verify(path, pieces)
    except (RasterioError, CPLE_BaseError) as error:
        raise write_failure(path, str(error.__cause__ or error)) from error


def _pieces(
    seams: Path, width: int, parts: Sequence[tuple[Path, PartRecord]], on_join: OnJoin
) -> tuple[list[_Piece], NDArray[np.int64]]:
    """List the rows in order, and count values; rows that strips share are joined in a file of their own."""
    histogram = np.zeros(256, np.int64)
    pieces: list[_Piece] = []
    row, above = 0, None
    with _seams_file(seams, width, [record for _, record in parts]) as dataset:
        for part, record in parts:
            top, bottom = read_ends(part, record)
            if above is not None and record.top:
                on_join(above, top)
                rows = join(above, top)
                dataset.write(rows, 1, window=Window(0, row, width, len(rows)))
                pieces.append(_Piece(path=seams, row=row, rows=len(rows), crc=crc(rows)))
                histogram += np.array(count_values(rows))
                row += len(rows)
            if record.rows:
                pieces.append(_Piece(path=part, row=2 * record.top, rows=record.rows, crc=record.rows_crc))
                histogram += np.array(record.histogram)
            above = bottom
    return pieces, histogram


def _seams_file(path: Path, width: int, records: Sequence[PartRecord]) -> DatasetWriter:
    with unreferenced_is_fine():
        return rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=width,
            height=max(sum(record.top for record in records), 1),
            count=1,
            dtype="uint8",
            blockysize=max(records[0].bottom, 1),
            compress="zstd",
            zstd_level=1,
            bigtiff="if_safer",
        )


def _mosaic(
    grid: Grid, pieces: Sequence[_Piece], tags: dict[str, str], histogram: NDArray[np.int64]
) -> Xml.Element:
    """Describe the raster as a VRT over the pieces."""
    root = Xml.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs is not None:
        Xml.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2").text = grid.crs.to_wkt()
    if not grid.transform.is_identity:
        Xml.SubElement(root, "GeoTransform").text = ", ".join(map(repr, grid.transform.to_gdal()))
    _metadata(root, tags)
    band = Xml.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    _metadata(band, _statistics(histogram))
    Xml.SubElement(band, "Description").text = "building probability"
    Xml.SubElement(band, "NoDataValue").text = str(NODATA)
    Xml.SubElement(band, "ColorInterp").text = "Gray"
    Xml.SubElement(band, "Scale").text = repr(1 / PROBABILITY_STEPS)
    row = 0
    for piece in pieces:
        source = Xml.SubElement(band, "SimpleSource")
        Xml.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(piece.path.resolve())
        Xml.SubElement(source, "SourceBand").text = "1"
        size = {"xOff": "0", "xSize": str(grid.width), "ySize": str(piece.rows)}
        Xml.SubElement(source, "SrcRect", size, yOff=str(piece.row))
        Xml.SubElement(source, "DstRect", size, yOff=str(row))
        row += piece.rows
    return root


def _metadata(parent: Xml.Element, items: dict[str, str]) -> None:
    metadata = Xml.SubElement(parent, "Metadata")
    for key, value in items.items():
        Xml.SubElement(metadata, "MDI", key=key).text = value


def _statistics(histogram: NDArray[np.int64]) -> dict[str, str]:
    """Give GDAL's statistics of a band; none where nothing is valid."""
    counts = histogram[:NODATA]
    valid = counts.sum()
    if not valid:
        return {}
    values = np.arange(NODATA)
    mean = float((counts * values).sum() / valid)
    present = np.flatnonzero(counts)
    return {
        "STATISTICS_MINIMUM": str(present[0]),
        "STATISTICS_MAXIMUM": str(present[-1]),
        "STATISTICS_MEAN": repr(mean),
        "STATISTICS_STDDEV": repr(float(((counts * (values - mean) ** 2).sum() / valid) ** 0.5)),
        "STATISTICS_VALID_PERCENT": f"{100 * valid / histogram.sum():.4g}",
    }


def _verify(path: Path, pieces: Sequence[_Piece]) -> None:
    """Compare every row of the COG with what it was made from: GDAL can lose blocks without saying so."""
    with unreferenced_is_fine():
        dataset = rasterio.open(path, num_threads=os.cpu_count() or 1)
    with dataset:
        row = 0
        for piece in pieces:
            if _checksum(dataset, row, piece.rows) != piece.crc:
                raise _difference(path, piece)
            row += piece.rows


def _difference(path: Path, piece: _Piece) -> StorageError:
    """Tell whether a piece or its copy is damaged."""
    with unreferenced_is_fine():
        dataset = rasterio.open(piece.path)
    with dataset:
        if _checksum(dataset, piece.row, piece.rows) != piece.crc:
            return DamagedPart(piece.path)
    return StorageError(f"{path} does not read back as written", hint="is the disk full?")


def _checksum(dataset: DatasetReader, first: int, rows: int) -> int:
    """Give the CRC-32 of some rows."""
    value = 0
    for row in range(first, first + rows, BLOCK_PX):
        window = Window(0, row, dataset.width, min(BLOCK_PX, first + rows - row))
        value = crc(dataset.read(1, window=window), value)
    return value
