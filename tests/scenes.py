"""Small rasters and layers with known truth, for every test that needs a file."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

UTM = "EPSG:32633"
ORIGIN = Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)
"""Half-metre pixels, north up, in `UTM`."""


def write_raster(
    path: Path,
    pixels: NDArray[np.generic],
    *,
    transform: Affine = ORIGIN,
    crs: str | None = UTM,
    nodata: float | None = None,
    **options: object,
) -> Path:
    """Write (bands, rows, cols) or (rows, cols) as a GeoTIFF."""
    bands = pixels[None] if pixels.ndim == 2 else pixels
    profile = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=bands.dtype,
        transform=transform,
        crs=crs,
        nodata=nodata,
        **profile,
        **options,
    ) as dataset:
        dataset.write(bands)
    return path


def write_layer(path: Path, footprints: list[BaseGeometry], *, crs: str | None = UTM) -> Path:
    """Write polygons in CRS coordinates as a vector file."""
    gpd.GeoDataFrame(geometry=footprints, crs=crs).to_file(path)
    return path


def blocks_mask(rng: np.random.Generator, height: int, width: int, count: int = 12) -> NDArray[np.uint8]:
    """Draw a 0/1 mask of random rectangles, some touching, some across the border."""
    mask = np.zeros((height, width), np.uint8)
    for _ in range(count):
        row, col = rng.integers(-4, height), rng.integers(-4, width)
        mask[max(row, 0) : row + rng.integers(2, 14), max(col, 0) : col + rng.integers(2, 14)] = 1
    return mask


def houses_image(mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint a 3-band picture in which roofs are bright and ground is dark: learnable in seconds."""
    noise = rng.normal(0, 8, (3, *mask.shape))
    return np.clip(60 + 120 * mask[None] + noise, 0, 255).astype(np.uint8)


def write_training_data(folder: Path) -> Path:
    """Write a data folder: one raster of bright blocks, and their mask."""
    rng = np.random.default_rng(0)
    mask = blocks_mask(rng, 128, 128, 40)
    for name, pixels in (("images", houses_image(mask, rng)), ("labels", mask)):
        (folder / name).mkdir(parents=True)
        write_raster(folder / name / "a.tif", pixels)
    return folder
