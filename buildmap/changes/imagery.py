"""Small pictures of a raster's ground, upright in another CRS."""

import base64
import io
from pathlib import Path
from typing import Self

import numpy as np
import rasterio.crs
from affine import Affine
from numpy.typing import NDArray
from PIL import Image as Picture
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.enums import Resampling
from rasterio.warp import reproject

from buildmap.errors import InputError
from buildmap.metrics.places import stretch
from buildmap.raster.grid import Bounds
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window

NO_DATA = (64, 64, 64)
"""Colour of ground that nothing is known of."""
_QUALITY = 80
_FINER = 1.5
"""Pixels read per pixel shown, along a side, where the raster has more of them."""


class Imagery:
    """A raster as a source of small square pictures; use it as a context manager."""

    def __init__(self, path: Path, crs: CRS) -> None:
        """Open a raster; what cannot be shown is refused here, before any work is done.

        Args:
            path: Its first three bands are shown; other than uint8 are stretched, each picture by itself.
            crs: That pictures are upright in.

        Raises:
            MissingInput: If there is no such file.
            InputError: If it is no raster, or nobody knows where it lies.
        """
        self._reader = RasterReader(path)
        grid = self._reader.grid
        if grid.crs is None or grid.transform.is_identity:
            self._reader.close()
            raise InputError(
                f"{path} does not say where it lies: no picture can be cut from it",
                hint="rio edit-info --crs EPSG:CODE --transform [A,B,C,D,E,F] RASTER",
            )
        self._crs = rasterio.crs.CRS.from_user_input(crs)
        try:
            self._to_raster = Transformer.from_crs(crs, CRS.from_user_input(grid.crs), always_xy=True)
        except ProjError as error:
            self._reader.close()
            raise InputError(f"{path} in {grid.crs} has no place in {crs.name}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the raster."""
        self._reader.close()

    def picture(self, box: Bounds, *, side_px: int) -> NDArray[np.uint8] | None:
        """Show a square of ground, (side_px, side_px, 3); gray where there is no data.

        Args:
            box: In the CRS that pictures are upright in.
            side_px: Pixels along a side.

        Returns:
            None where the raster has no data at all.

        Raises:
            StorageError: If the file cannot be read there.
        """
        window = self._window(box)
        if window is None:
            return None
        shape = _read_shape(window, side_px)
        read = self._reader.read(window, out_shape=shape)
        if not read.valid.any():
            return None
        grid = self._reader.grid.part(window)
        transform = grid.transform @ Affine.scale(window.width / shape[1], window.height / shape[0])
        colors = stretch(read.pixels, read.valid)
        layers = np.moveaxis(np.dstack([colors, read.valid * np.uint8(255)]), -1, 0)
        left, bottom, right, top = box
        shown = np.zeros((4, side_px, side_px), np.uint8)
        reproject(
            layers,
            shown,
            src_transform=transform,
            src_crs=grid.crs,
            dst_transform=Affine((right - left) / side_px, 0, left, 0, (bottom - top) / side_px, top),
            dst_crs=self._crs,
            resampling=Resampling.bilinear,
        )
        share = shown[3][..., None] / 255  # of data in a pixel; what is beside it was black, and darkens it
        mended = np.minimum(np.moveaxis(shown[:3], 0, -1) / np.maximum(share, 0.5), 255)
        return np.where(share >= 0.5, np.rint(mended), NO_DATA).astype(np.uint8)

    def _window(self, box: Bounds) -> Window | None:
        """Find the pixels that a box needs, or None where the raster has none."""
        try:
            bounds = self._to_raster.transform_bounds(*box, densify_pts=5)
        except ProjError:
            return None
        return self._reader.grid.window_over(bounds)


def to_url(picture: NDArray[np.uint8]) -> str:
    """Put a picture, (rows, cols, 3), into an address that holds all of it."""
    buffer = io.BytesIO()
    Picture.fromarray(picture).save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _read_shape(window: Window, side_px: int) -> tuple[int, int]:
    """Give rows and columns to read a window in: not many more than are shown."""
    shrink = max(max(window.width, window.height) / (_FINER * side_px), 1.0)
    return max(round(window.height / shrink), 1), max(round(window.width / shrink), 1)
