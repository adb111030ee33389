"""A picture for people: a raster with outlines drawn on it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from buildmap.raster.reader import RasterReader

Outlines = tuple[NDArray[np.object_], tuple[int, int, int]]
"""Shapely polygons in the raster's CRS, and the colour to draw them in."""


def draw_outlines(raster: Path, outlines: list[Outlines], output: Path, *, longest_px: int = 1600) -> None:
    """Write a PNG of a raster with polygons over it, later ones on top.

    Args:
        raster: Its first three bands are shown; other than uint8 are stretched from least to greatest.
        outlines: Layers of polygons.
        output: The PNG, written in place.
        longest_px: The picture is no longer than this on either side.
    """
    with RasterReader(raster) as reader:
        grid = reader.grid
        scale = min(1.0, longest_px / max(grid.width, grid.height))
        shape = (max(round(grid.height * scale), 1), max(round(grid.width * scale), 1))
        pixels = reader.read(grid.window, out_shape=shape).pixels
    picture = Picture.fromarray(_to_rgb(pixels))
    pen = ImageDraw.Draw(picture)
    to_pixel = ~grid.transform
    for polygons, color in outlines:
        for polygon in polygons:
            for ring in (polygon.exterior, *polygon.interiors):
                xs, ys = to_pixel @ tuple(np.asarray(ring.coords)[:, :2].T)
                pen.line(list(zip(xs * scale, ys * scale, strict=True)), fill=color, width=2)
    picture.save(output, format="PNG", optimize=True)


def _to_rgb(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Make (rows, cols, 3) of uint8 from (bands, rows, cols) of anything."""
    shown = np.repeat(pixels[:1], 3, axis=0) if len(pixels) < 3 else pixels[:3]
    if shown.dtype != np.uint8:
        values = shown.astype(np.float64)  # differences may leave the range of their type
        low, high = np.nanmin(values), np.nanmax(values)
        shown = np.nan_to_num((values - low) / max(high - low, 1e-9) * 255)
    return np.ascontiguousarray(np.moveaxis(shown, 0, -1)).astype(np.uint8)
