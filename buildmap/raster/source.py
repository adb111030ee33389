"""What to read, as a value that travels to other processes: each opens it for itself."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.io import DatasetReader

from buildmap.provenance import fingerprint_file
from buildmap.raster.grid import Bounds
from buildmap.raster.handles import Handles
from buildmap.raster.mosaic import mosaic
from buildmap.raster.reader import RasterReader
from buildmap.raster.remote import gdal_name, settings
from buildmap.raster.sniff import files_of, sniff

_BLOCKS_LOOKED_AT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rasters to be read as one, and how."""

    rasters: tuple[str, ...]
    """Files, URLs or whatever GDAL opens; where several overlap, the later is on top."""
    bands: tuple[int, ...] | None = None
    """1-based bands to read, in this order; all but alpha when None."""
    gsd_range_m: tuple[float, float] | None = None
    """Finest and coarsest working GSD in metres; None keeps the rasters'."""
    bbox: Bounds | None = None
    """Left, bottom, right, top in the CRS of the (first) raster; all of it when None."""
    align_px: int = 1
    """The box is taken from a multiple of so many working pixels on: the network's stride."""

    def __post_init__(self) -> None:
        if not self.rasters:
            raise ValueError("a source needs a raster")

    @property
    def title(self) -> str:
        """What to call it in messages."""
        first, others = self.rasters[0], len(self.rasters) - 1
        return f"{first} and {others} more" if others else first

    def open(self) -> RasterReader:
        """Open it; close it after use.

        Raises:
            InputError: As `RasterReader`, and `mosaic` where there are several rasters.
        """
        return RasterReader(
            self.rasters[0] if len(self.rasters) == 1 else mosaic(self.rasters),
            bands=self.bands,
            gsd_range_m=self.gsd_range_m,
            bbox=self.bbox,
            align_px=self.align_px,
            title=self.title,
        )

    def fingerprint(self) -> str:
        """Give an identity of all that is read, 16 hex digits: of every file that any raster is made of.

        Raises:
            InputError: If a raster that is no file cannot be opened.
        """
        digest = hashlib.sha256()
        for name in self.rasters:
            gdal = gdal_name(name)
            files = files_of(gdal)
            for file in files:
                digest.update(fingerprint_file(file).encode())
            if not files:
                digest.update(f"{gdal} {_header(gdal)}".encode())
        digest.update(f"{self.bands} {self.gsd_range_m} {self.bbox} {self.align_px}".encode())
        return digest.hexdigest()[:16]


def read_names(lines: Iterable[str]) -> tuple[str, ...]:
    """Read names of rasters, one a line; blank lines and those that begin with `#` are left out."""
    stripped = (line.strip() for line in lines)
    return tuple(line for line in stripped if line and not line.startswith("#"))


def _header(name: str) -> str:
    """Describe a raster that is no file by its header: its grid, and the place and size of some blocks."""
    if Path(name).exists():  # a folder
        files = sorted(file for file in Path(name).rglob("*") if file.is_file())
        return " ".join(
            f"{file.relative_to(name)} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files
        )
    handles = Handles(name, title=name, driver=sniff(name))
    try:
        with settings(remote=handles.remote):
            dataset = handles.get()
            parts = [fingerprint_file(Path(file)) for file in dataset.files if Path(file).is_file()]
            profile = (dataset.shape, dataset.count, dataset.dtypes, dataset.transform, dataset.nodata)
            return f"{profile} {dataset.tags()} {parts} {_some_blocks(dataset)}"
    finally:
        handles.close()


def _some_blocks(dataset: DatasetReader) -> list[str | None]:
    if dataset.count == 0:
        return []
    rows, cols = (
        -(-size // block) for size, block in zip(dataset.shape, dataset.block_shapes[0], strict=True)
    )
    picked = np.unique(np.linspace(0, rows * cols - 1, _BLOCKS_LOOKED_AT, dtype=int))
    return [
        dataset.get_tag_item(f"BLOCK_{what}_{number % cols}_{number // cols}", "TIFF", bidx=1)
        for number in picked
        for what in ("OFFSET", "SIZE")
    ]
