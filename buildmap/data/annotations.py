"""What people have drawn, as a target for any window at any GSD: from footprints or from a mask raster."""

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform, transform_bounds

from buildmap.data.outlines import Buildings, Footprints, trace_buildings
from buildmap.errors import InputError
from buildmap.raster.burn import FootprintIndex
from buildmap.raster.grid import Grid, show_bounds
from buildmap.raster.quiet import unreferenced_is_fine
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window

_MOST_SUBPIXELS = 8
_UNKNOWN, _GROUND, _BUILDING = 0, 1, 2
_ANY_CRS = CRS.from_epsg(3857)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is known about a window."""

    building: NDArray[np.bool_]
    """(rows, cols), True = building."""
    known: NDArray[np.bool_]
    """(rows, cols), True = annotated."""


class Annotations(Protocol):
    """Draws the truth of windows of one grid."""

    def draw(self, window: Window, *, out_shape: tuple[int, int]) -> Truth:
        """Draw a window of the grid at `out_shape` rows and columns."""

    def outline(self, window: Window, building: NDArray[np.bool_]) -> Buildings:
        """Give the buildings of a window one by one, of which `draw` has given `building`."""

    def close(self) -> None:
        """Let go of files."""


def chip_transform(grid: Grid, window: Window, out_shape: tuple[int, int]) -> Affine:
    """Give the transform of a window that is resampled to `out_shape` rows and columns."""
    rows, cols = out_shape
    corner = Affine.translation(window.col_off, window.row_off)
    return grid.transform @ corner @ Affine.scale(window.width / cols, window.height / rows)


def move(
    along: Affine, xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Send places, arrays of x and of y of one shape, through a transform."""
    a, b, c, d, e, f, *_ = along
    return a * xs + b * ys + c, d * xs + e * ys + f


def _touching(numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Say which pixels (rows, cols) have another number beside, above or below them; -1 is none."""
    touching = np.zeros(numbers.shape, np.bool_)
    for ours, theirs in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        meet = (numbers[ours] != numbers[theirs]) & (numbers[ours] >= 0) & (numbers[theirs] >= 0)
        touching[ours] |= meet
        touching[theirs] |= meet
    return touching


class RemovedPixels(Protocol):
    """Says which pixels of a mask are not to count as building."""

    def read(self, window: Window) -> NDArray[np.bool_]:
        """Give (rows, cols) of the mask's own pixels, True = removed; from any thread."""

    def close(self) -> None:
        """Let go of memory."""


class FootprintTruth:
    """Annotations drawn as polygons: a pixel is building where its centre is inside one."""

    def __init__(self, polygons: NDArray[np.object_], grid: Grid, *, part_attached: bool = False) -> None:
        """Index polygons.

        Args:
            polygons: (n,) in the grid's CRS.
            grid: Windows refer to it.
            part_attached: Draw ground, one pixel on either side, where two touch.
        """
        self.polygons = polygons
        self._index = FootprintIndex(polygons)
        self._grid = grid
        self._part_attached = part_attached

    def draw(self, window: Window, *, out_shape: tuple[int, int]) -> Truth:
        rows, cols = out_shape
        placed = chip_transform(self._grid, window, out_shape)
        if self._part_attached:
            numbers = np.arange(len(self.polygons), dtype=np.int32)
            drawn = self._index.burn_numbers(numbers, transform=placed, height=rows, width=cols)
            building = (drawn >= 0) & ~_touching(drawn)
        else:
            building = self._index.burn(transform=placed, height=rows, width=cols)
        return Truth(building=building, known=np.ones(out_shape, np.bool_))

    def outline(self, window: Window, building: NDArray[np.bool_]) -> Buildings:
        """Give the polygons of a window, one for each building."""
        rows, cols = building.shape
        return self._footprints.near(chip_transform(self._grid, window, (rows, cols)), (rows, cols))

    @cached_property
    def _footprints(self) -> Footprints:
        return Footprints(self.polygons)

    def close(self) -> None:
        """Do nothing: polygons are held in memory."""


class MaskTruth:
    """Annotations in a mask raster on the same ground, in any CRS: non-zero in any band is building.

    A pixel is building where at least half of what the mask knows of it is. Outside the mask, and where
    it has no data, nothing is known; nodata of 0 is taken for ground all the same, since masks are often
    so declared.
    """

    def __init__(self, path: Path, *, native: Grid, grid: Grid) -> None:
        """Open a mask.

        Args:
            path: A raster; without georeferencing it has the size of the image.
            native: The image's own grid.
            grid: The working grid of the image, that windows refer to.

        Raises:
            MissingInput: If there is no such file.
            InputError: If it is no raster, or not on the ground of the image.
        """
        self._reader = RasterReader(path)
        self._removed: RemovedPixels | None = None
        self._grid = grid
        mask = self._reader.native_grid
        if mask.crs is None or grid.crs is None:
            if (mask.width, mask.height) != (native.width, native.height):
                self._reader.close()
                raise InputError(
                    f"{path} is {mask.width} x {mask.height} pixels, "
                    f"its image {native.width} x {native.height}",
                    hint="without georeferencing both must have the same size",
                )
            mask = native
        self._mask = mask
        self._mask_crs = mask.crs or _ANY_CRS
        self._crs = grid.crs or _ANY_CRS
        covered = self._window_of(chip_transform(grid, grid.window, (1, 1)), (1, 1))
        if covered is None:
            self._reader.close()
            raise InputError(
                f"{path} does not touch its image: "
                f"extents {show_bounds(mask.bounds)} and {show_bounds(native.bounds)}",
                hint=f"see that both CRSs are right: {mask.crs} and {native.crs}",
            )

    def close(self) -> None:
        """Close the mask."""
        self._reader.close()
        if self._removed is not None:
            self._removed.close()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the mask's own pixels."""
        return self._mask.height, self._mask.width

    def without(self, removed: "RemovedPixels") -> "MaskTruth":
        """Give the same mask with some of its buildings turned into ground; both share their files."""
        thinned = copy(self)
        thinned._removed = removed
        return thinned

    def read_building(self, window: Window) -> NDArray[np.bool_]:
        """Read a window of the mask's own pixels: (rows, cols), True = building.

        Raises:
            StorageError: If the mask cannot be read.
        """
        building: NDArray[np.bool_] = self._codes(window) == _BUILDING
        return building

    def to_grid(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give (n,) columns and (n,) rows on the working grid of (n, 2) rows and columns of the mask."""
        rows, cols = (places + 0.5).astype(np.float64).T
        xs, ys = move(self._mask.transform, cols, rows)
        if self._crs != self._mask_crs and len(places):
            xs, ys = (np.asarray(axis) for axis in transform(self._mask_crs, self._crs, xs, ys))
        return move(~self._grid.transform, xs, ys)

    def draw(self, window: Window, *, out_shape: tuple[int, int]) -> Truth:
        share, known = self.cover(window, out_shape=out_shape)
        return Truth(building=share >= 0.5, known=known)

    def outline(self, window: Window, building: NDArray[np.bool_]) -> Buildings:  # noqa: ARG002
        """Give the pieces of what was drawn."""
        return trace_buildings(building)

    def cover(
        self, window: Window, *, out_shape: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Give each pixel's share of building, 0..1 (rows, cols), and where at least half of it is known."""
        rows, cols = out_shape
        placed = chip_transform(self._grid, window, out_shape)
        source = self._window_of(placed, out_shape)
        if source is None:
            return np.zeros(out_shape, np.float32), np.zeros(out_shape, np.bool_)
        finer = self._subpixels(placed)
        codes = np.full((rows * finer, cols * finer), _UNKNOWN, np.uint8)
        known_codes = self._codes(source)
        with unreferenced_is_fine():
            reproject(
                known_codes,
                codes,
                src_transform=self._mask.transform @ Affine.translation(source.col_off, source.row_off),
                src_crs=self._mask_crs,
                src_nodata=_UNKNOWN,
                dst_transform=placed @ Affine.scale(1 / finer),
                dst_crs=self._crs,
                dst_nodata=_UNKNOWN,
                resampling=Resampling.nearest,
            )
        parts = codes.reshape(rows, finer, cols, finer)
        known = (parts != _UNKNOWN).sum(axis=(1, 3), dtype=np.float32)
        building = (parts == _BUILDING).sum(axis=(1, 3), dtype=np.float32)
        return building / np.maximum(known, 1), known >= finer**2 / 2

    def _codes(self, source: Window) -> NDArray[np.uint8]:
        image = self._reader.read(source)
        building = (image.pixels != 0).any(axis=0)
        if self._removed is not None:
            building &= ~self._removed.read(source)
        codes = np.where(building, _BUILDING, _GROUND).astype(np.uint8)
        if self._reader.nodata != 0:
            codes[~image.valid] = _UNKNOWN
        return codes

    def _window_of(self, placed: Affine, out_shape: tuple[int, int]) -> Window | None:
        """Find the mask's pixels around a chip, and a few more, or None where it has none."""
        rows, cols = out_shape
        chip = Grid(width=cols, height=rows, transform=placed, crs=self._crs)
        left, bottom, right, top = transform_bounds(self._crs, self._mask_crs, *chip.bounds)
        corners = [~self._mask.transform @ (x, y) for x in (left, right) for y in (bottom, top)]
        xs, ys = zip(*corners, strict=True)
        if not np.isfinite([xs, ys]).all():
            return None
        first_col, end_col = max(int(min(xs)) - 2, 0), min(int(max(xs)) + 3, self._mask.width)
        first_row, end_row = max(int(min(ys)) - 2, 0), min(int(max(ys)) + 3, self._mask.height)
        if end_col <= first_col or end_row <= first_row:
            return None
        return Window(
            col_off=first_col, row_off=first_row, width=end_col - first_col, height=end_row - first_row
        )

    def _subpixels(self, placed: Affine) -> int:
        """Choose how finely to look at the mask: about its own pixels, along one axis of a chip's pixel."""
        unit = Grid(width=1, height=1, transform=placed, crs=self._crs)
        left, bottom, right, top = transform_bounds(self._crs, self._mask_crs, *unit.bounds)
        pixel_area = abs(self._mask.transform.determinant)
        ratio = (abs((right - left) * (top - bottom)) / pixel_area) ** 0.5
        return int(np.clip(np.ceil(ratio - 0.01), 1, _MOST_SUBPIXELS))
