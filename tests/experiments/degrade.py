"""A raster as a sensor with larger pixels would have seen it, for want of one that has.

The point spread is a Gaussian, a detector averages over its pixel, and noise is added: the usual model of
an imager by its modulation transfer function (MTF), the share of contrast it keeps. Every pixel follows from
its place in the raster alone, tap by tap in a fixed order, noise included; so windows agree to the bit.

    python -m tests.experiments.degrade joplin/pre.tif joplin.tif --scale 4
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window as FloatWindow
from scipy.optimize import brentq
from scipy.special import ndtri

from buildmap.data.copies import Copyable
from buildmap.data.missing import uniform
from buildmap.errors import InputError
from buildmap.publish import staged
from buildmap.raster.grid import Grid
from buildmap.raster.reader import Image, RasterReader
from buildmap.raster.resample import Axis, plan_axis, resample_parts
from buildmap.raster.windows import Window, plan_windows

_REACH_SIGMAS = 4.0
_WIDEST_SIGMAS = 8
_NO_BLUR_PX = 1e-6
_PART_PX = 1024
_HALF_STEP = 2.0**-54
"""What keeps a uniform number from 0, whose normal one is infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """An imager of larger pixels."""

    scale: int
    """Pixels of the source along one side of a pixel."""
    mtf_nyquist: float = 0.25
    """Contrast kept of stripes one pixel wide, along an axis, by point spread and averaging together.

    Sentinel-2 is specified to keep 0.15 to 0.30 at 10 m. Averaging alone keeps about 0.64.
    """
    noise: float = 0.0
    """Standard deviation of the noise of a pixel, as a share of the type's full range; of 1 for floats."""
    seed: int = 0
    """Of the noise."""

    def __post_init__(self) -> None:
        if self.scale < 2:
            raise ValueError(f"scale {self.scale} makes pixels no larger")
        if not 0 < self.mtf_nyquist <= self.averaging_mtf:
            raise ValueError(
                f"mtf_nyquist {self.mtf_nyquist} is not within 0..{self.averaging_mtf:.3f}, "
                f"what averaging {self.scale} pixels leaves"
            )
        if self.noise < 0:
            raise ValueError(f"noise {self.noise} is negative")

    @property
    def averaging_mtf(self) -> float:
        """What averaging alone keeps of stripes one pixel wide: the mean of a sampled half wave."""
        return 1 / (self.scale * math.sin(math.pi / (2 * self.scale)))

    @property
    def sigma_px(self) -> float:
        """Standard deviation of the point spread along one axis, in pixels of the source.

        A Gaussian keeps exp(-2 pi^2 sigma^2 f^2), and f is 1 / (2 scale) at Nyquist. One that is sampled
        keeps more where it is narrow, so from there the sigma is sought whose samples keep what they should.
        """
        blur_mtf = self.mtf_nyquist / self.averaging_mtf
        about_px = self.scale / math.pi * math.sqrt(max(-2 * math.log(blur_mtf), 0))
        places = np.arange(-_WIDEST_SIGMAS * self.scale, _WIDEST_SIGMAS * self.scale + 1)
        stripes = np.cos(math.pi * places / self.scale)

        def excess(sigma_px: float) -> float:
            return float((_gaussian(places, sigma_px) * stripes).sum()) - blur_mtf

        return float(brentq(excess, 0, 2 * about_px + 1)) if about_px > _NO_BLUR_PX else 0.0


class DegradedReader:
    """A raster read through another sensor, on a grid of whole pixels of it.

    Read from any thread. Use it as a context manager.
    """

    def __init__(self, source: Copyable, sensor: Sensor) -> None:
        """Take a raster, which is closed with this.

        Raises:
            InputError: If it is smaller than one pixel of the sensor.
        """
        self._source, self._sensor, self._kernel = source, sensor, _kernel(sensor)
        fine = source.grid
        width, height = fine.width // sensor.scale, fine.height // sensor.scale
        if not width or not height:
            source.close()
            raise InputError(
                f"a raster of {fine.width} x {fine.height} pixels is smaller than one pixel, "
                f"{sensor.scale} times as large"
            )
        self.grid = Grid(
            width=width,
            height=height,
            transform=fine.transform @ Affine.scale(sensor.scale),
            crs=fine.crs,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bands(self) -> tuple[int, ...]:
        """1-based bands that are read, in this order."""
        return self._source.bands

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the pixels, that of the source."""
        return self._source.dtype

    @property
    def all_valid(self) -> bool:
        """True where the raster cannot have gaps."""
        return self._source.all_valid

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read one window of `grid`, resampled to `out_shape` rows and columns after it was degraded.

        Raises:
            StorageError: As `RasterReader.read`.
        """
        rows, cols = out_shape or (window.height, window.width)
        axes = (
            plan_axis(np.linspace(first, first + length, count + 1), extent=extent)
            for first, length, count, extent in (
                (window.row_off, window.height, rows, self.grid.height),
                (window.col_off, window.width, cols, self.grid.width),
            )
        )
        pixels, valid = resample_parts(self._degrade, *axes)
        return Image(pixels=pixels, valid=np.ones((rows, cols), np.bool_) if valid is None else valid)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _degrade(self, rows: Axis, cols: Axis) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
        """Give the sensor's pixels that two axes need."""
        fine = self._source.grid
        seen_rows, seen_cols = (
            _seen(axis, self._kernel, self._sensor.scale, extent=extent)
            for axis, extent in ((rows, fine.height), (cols, fine.width))
        )
        values, valid = resample_parts(self._fetch, seen_rows, seen_cols)
        full_range = float(np.iinfo(self.dtype.name).max) if self.dtype.kind in "iu" else 1.0
        if self._sensor.noise:
            drawn = [_normal(self._sensor.seed, band, rows, cols) for band in range(len(values))]
            values = values + (self._sensor.noise * full_range * np.stack(drawn)).astype(values.dtype)
        return _to_type(values, self.dtype), valid

    def _fetch(self, rows: Axis, cols: Axis) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
        """Read the source's pixels that two axes need, as numbers that need no rounding."""
        window = Window(
            col_off=cols.start,
            row_off=rows.start,
            width=cols.stop - cols.start,
            height=rows.stop - rows.start,
        )
        image = self._source.read(window)
        values = image.pixels.astype(np.result_type(self.dtype, np.float32))
        return values, None if self.all_valid else image.valid


def write_degraded(source: Copyable, sensor: Sensor, path: Path) -> None:
    """Write what a sensor sees of a raster as a GeoTIFF, window by window.

    Args:
        source: What to look at; it stays open.
        sensor: What looks.
        path: Replaced if it exists.

    Raises:
        InputError: If the raster is smaller than one pixel of the sensor.
        OutputError: If it cannot be created.
        StorageError: If a file cannot be read.
    """
    degraded = DegradedReader(source, sensor)
    grid = degraded.grid
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(degraded.bands),
        "dtype": degraded.dtype,
        "crs": grid.crs,
        "transform": grid.transform,
        "tiled": True,
        "compress": "deflate",
        "photometric": "MINISBLACK",
        "BIGTIFF": "IF_SAFER",
    }
    plan = plan_windows(width=grid.width, height=grid.height, core_px=_PART_PX, halo_px=0)
    with (
        staged(path, overwrite=True) as folder,
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(folder / path.name, "w", **profile) as dataset,
    ):
        for planned in plan:
            image = degraded.read(planned.core)
            dataset.write(image.pixels, window=_to_float(planned.core))
            if not degraded.all_valid:
                dataset.write_mask(image.valid, window=_to_float(planned.core))


def _to_float(window: Window) -> FloatWindow:
    return FloatWindow(window.col_off, window.row_off, window.width, window.height)


def _seen(needed: Axis, kernel: NDArray[np.float64], scale: int, *, extent: int) -> Axis:
    """Plan the sensor's pixels that an axis needs: what each sees of the source, whose border goes on."""
    reach = (len(kernel) - scale) // 2
    starts = np.arange(needed.start, needed.stop) * scale - reach
    taps = np.clip(starts[:, None] + np.arange(len(kernel)), 0, extent - 1)
    start, stop = int(taps.min()), int(taps.max()) + 1
    return Axis(
        start=start,
        stop=stop,
        taps=(taps - start).astype(np.intp),
        weights=np.broadcast_to(kernel.astype(np.float32), taps.shape),
        exact=False,
    )


def _kernel(sensor: Sensor) -> NDArray[np.float64]:
    """Give the weights of the source pixels in one of the sensor's, along an axis: (2 * reach + scale,)."""
    sigma_px = sensor.sigma_px
    reach = math.ceil(_REACH_SIGMAS * sigma_px)
    spread = _gaussian(np.arange(-reach, reach + 1), sigma_px)
    return np.asarray(np.convolve(spread, np.full(sensor.scale, 1 / sensor.scale)))


def _gaussian(places: NDArray[np.int64], sigma_px: float) -> NDArray[np.float64]:
    """Give the samples of a Gaussian at whole places, their sum 1."""
    samples = np.exp(-0.5 * (places / max(sigma_px, _NO_BLUR_PX)) ** 2)
    return np.asarray(samples / samples.sum())


def _normal(seed: int, band: int, rows: Axis, cols: Axis) -> NDArray[np.float64]:
    """Give a standard normal number for every pixel, (rows, cols), that follows from its place."""
    row, col = np.meshgrid(np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop), indexing="ij")
    drawn = uniform(seed, band, row.ravel(), col.ravel())
    return np.asarray(ndtri(drawn + _HALF_STEP)).reshape(row.shape)


def _to_type(values: NDArray[np.generic], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    if dtype.kind not in "iu":
        return values.astype(dtype)
    limits = np.iinfo(dtype.name)
    return np.asarray(np.clip(np.rint(values), limits.min, limits.max).astype(dtype))


def _main() -> None:
    parser = argparse.ArgumentParser(description="Write a raster as a sensor with larger pixels sees it.")
    parser.add_argument("raster", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--bands", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--scale", type=int, default=4, help="pixels of the raster along a side of one")
    parser.add_argument("--mtf-nyquist", type=float, default=0.25, help="contrast kept of fine stripes")
    parser.add_argument("--noise", type=float, default=0.004, help="standard deviation, of the range")
    given = parser.parse_args()
    sensor = Sensor(scale=given.scale, mtf_nyquist=given.mtf_nyquist, noise=given.noise)
    with RasterReader(given.raster, bands=tuple(given.bands)) as reader:
        write_degraded(reader, sensor, given.output)


if __name__ == "__main__":
    _main()
