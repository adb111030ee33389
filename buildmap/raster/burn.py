"""Drawing polygons into pixels: a pixel belongs to the polygon that covers its centre."""

from itertools import pairwise

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from buildmap.raster.quiet import unreferenced_is_fine

_MANY_VERTICES = 1000
_MARGIN_PX = 2
_STEPS_PER_PIXEL = 2**16


def burn(polygons: NDArray[np.object_], *, transform: Affine, height: int, width: int) -> NDArray[np.bool_]:
    """Draw polygons into a window; True where one covers the pixel's centre.

    Args:
        polygons: (n,) valid shapely polygons in the coordinates of `transform`.
        transform: Pixel corner (col, row) of the window to coordinates (x, y).
        height: Rows of the window.
        width: Columns of the window.

    Returns:
        (height, width).
    """
    return FootprintIndex(polygons).burn(transform=transform, height=height, width=width)


class FootprintIndex:
    """The polygons of a layer, ready to be drawn into one window after another."""

    def __init__(self, polygons: NDArray[np.object_]) -> None:
        """Index (n,) valid shapely polygons."""
        self._tree = shapely.STRtree(polygons)

    def burn(self, *, transform: Affine, height: int, width: int) -> NDArray[np.bool_]:
        """Draw into one window, as `burn` does; the cost is that of the polygons that touch it."""
        shapes, _ = self._near(transform, height=height, width=width)
        if len(shapes) == 0:
            return np.zeros((height, width), np.bool_)
        with unreferenced_is_fine():
            drawn = rasterize(_as_geojson(shapes), out_shape=(height, width), dtype="uint8")
        return np.asarray(drawn).astype(np.bool_)

    def burn_numbers(
        self, numbers: NDArray[np.int32], *, transform: Affine, height: int, width: int
    ) -> NDArray[np.int32]:
        """Draw the number of each polygon into one window; where several cover a pixel, that of the last.

        Args:
            numbers: (n,) one for each polygon.
            transform: Pixel corner (col, row) of the window to coordinates (x, y).
            height: Rows of the window.
            width: Columns of the window.

        Returns:
            (height, width), -1 where no polygon covers the pixel's centre.
        """
        shapes, owners = self._near(transform, height=height, width=width)
        if len(shapes) == 0:
            return np.full((height, width), -1, np.int32)
        numbered = zip(_as_geojson(shapes), numbers[owners].tolist(), strict=True)
        with unreferenced_is_fine():
            drawn = rasterize(numbered, out_shape=(height, width), fill=-1, dtype="int32")
        return np.asarray(drawn, np.int32)

    def _near(
        self, transform: Affine, *, height: int, width: int
    ) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """Give the polygons around a window in its pixels, and which ones they are, in their order."""
        corners = [transform @ (col, row) for col in (0, width) for row in (0, height)]
        near = np.sort(self._tree.query(shapely.MultiPoint(corners).envelope))
        polygons = _to_pixels(self._tree.geometries[near], ~transform)
        shapes, owners = _clip(polygons, height=height, width=width)
        return shapes, near[owners]


def _as_geojson(polygons: NDArray[np.object_]) -> list[dict[str, object]]:
    """Give polygons as rasterize reads them; shapely would, one by one, take longer than the drawing."""
    _, corners, (ring_starts, polygon_starts) = shapely.to_ragged_array(polygons)
    points = corners.tolist()
    rings = [points[start:end] for start, end in pairwise(ring_starts.tolist())]
    return [
        {"type": "Polygon", "coordinates": rings[start:end]}
        for start, end in pairwise(polygon_starts.tolist())
    ]


def _to_pixels(polygons: NDArray[np.object_], to_pixel: Affine) -> NDArray[np.object_]:
    """Give polygons in pixels of the window, vertices rounded to 1/65536 pixel.

    Without the rounding, an edge through pixel centres would fall to either side by the last bit of
    the window's offset, and the same pixel could differ between two cuts of one raster.
    """
    a, b, c, d, e, f, *_ = to_pixel

    def move(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        pixels = (a * x + b * y + c, d * x + e * y + f)
        return tuple(np.rint(axis * _STEPS_PER_PIXEL) / _STEPS_PER_PIXEL for axis in pixels)

    return np.asarray(shapely.transform(polygons, move, interleaved=False), dtype=object)


def _clip(
    polygons: NDArray[np.object_], *, height: int, width: int
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Cut long polygons to the window's surroundings: drawing takes time by vertices x rows.

    Returns:
        The parts that are left, and which polygon each is of.
    """
    long = shapely.get_num_coordinates(polygons) > _MANY_VERTICES
    box = (-_MARGIN_PX, -_MARGIN_PX, width + _MARGIN_PX, height + _MARGIN_PX)
    polygons[long] = shapely.clip_by_rect(polygons[long], *box)
    parts, owners = shapely.get_parts(polygons, return_index=True)
    drawable = (shapely.get_dimensions(parts) == 2) & ~shapely.is_empty(parts)
    return parts[drawable], owners[drawable]
