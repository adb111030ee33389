"""Maps that lack buildings, on purpose: how complete must annotations be to learn from them?

Whole buildings are dropped from the truth of the training ground and become background there; validation
keeps them all (Kang et al. 2022, Section IV). Whether a building is dropped follows from the seed and from
where the building is, not from how it is read; a larger share drops all that a smaller one does, and more.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.windows import Window as FloatWindow
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from buildmap.data.annotations import Annotations, FootprintTruth, Truth
from buildmap.data.outlines import Buildings
from buildmap.raster.quiet import unreferenced_is_fine
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.crs import as_crs

_STEPS_PER_DEGREE = 1e6
"""Buildings whose centroids differ by less than about a tenth of a metre are one."""
_STEPS_PER_PX = 100.0
_BLOCK_ROWS, _BLOCK_COLS = 64, 256
_STRIP_PX = 2**23


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """How many buildings the truth of the training ground lacks."""

    buildings: int
    """Dropped; their places count as background."""
    of: int
    """Buildings annotated there."""

    def __add__(self, other: "Dropped") -> "Dropped":
        return Dropped(buildings=self.buildings + other.buildings, of=self.of + other.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """Where buildings are, and which of them are dropped."""

    cols: NDArray[np.float64]
    """(n,) place of each building on the working grid, in pixels."""
    rows: NDArray[np.float64]
    """(n,) likewise."""
    dropped: NDArray[np.bool_]
    """(n,) True = not in the truth to learn from."""

    def count(self, ground: Sequence[Window]) -> Dropped:
        """Count the buildings that are placed in disjoint rectangles."""
        inside = np.zeros(len(self.dropped), np.bool_)
        for window in ground:
            inside |= (
                (self.cols >= window.col_off)
                & (self.cols < window.col_off + window.width)
                & (self.rows >= window.row_off)
                & (self.rows < window.row_off + window.height)
            )
        return Dropped(buildings=int((self.dropped & inside).sum()), of=int(inside.sum()))


class DroppedPixels:
    """The pixels of a mask's dropped buildings: a compressed bit each, in memory."""

    def __init__(self, file: MemoryFile) -> None:
        """Open a written file; it is closed with this."""
        self._file = file
        self._reader = RasterReader(file.name, bands=(1,))

    def read(self, window: Window) -> NDArray[np.bool_]:
        """Give (rows, cols) of the mask's own pixels, True = dropped; from any thread."""
        dropped: NDArray[np.bool_] = self._reader.read(window).pixels[0] > 0
        return dropped

    def close(self) -> None:
        """Free the memory."""
        self._reader.close()
        self._file.close()


class LearningTruth:
    """The truth with buildings missing, but for the validation ground, where none is."""

    def __init__(self, thinned: Annotations, whole: Annotations, validation: Sequence[Window]) -> None:
        """Take both truths of a grid, and the rectangles that are kept to judge by."""
        self._thinned, self._whole = thinned, whole
        edges = [(w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height) for w in validation]
        self._edges = np.array(edges, np.int64).reshape(-1, 4)

    def draw(self, window: Window, *, out_shape: tuple[int, int]) -> Truth:
        touched = self._touched(window)
        if len(touched) == 0:
            return self._thinned.draw(window, out_shape=out_shape)
        whole = self._whole.draw(window, out_shape=out_shape)
        rows = window.row_off + (np.arange(out_shape[0]) + 0.5) * window.height / out_shape[0]
        cols = window.col_off + (np.arange(out_shape[1]) + 0.5) * window.width / out_shape[1]
        kept = np.zeros(out_shape, np.bool_)
        for first_col, first_row, end_col, end_row in touched:
            across = (cols > first_col) & (cols < end_col)
            kept |= ((rows > first_row) & (rows < end_row))[:, None] & across
        if kept.all():
            return whole
        thinned = self._thinned.draw(window, out_shape=out_shape)
        return Truth(building=np.where(kept, whole.building, thinned.building), known=whole.known)

    def outline(self, window: Window, building: NDArray[np.bool_]) -> Buildings:
        """Give the buildings of a window one by one; one that touches a rectangle to judge by shows all."""
        truth = self._whole if len(self._touched(window)) else self._thinned
        return truth.outline(window, building)

    def _touched(self, window: Window) -> NDArray[np.int64]:
        """Give the rectangles to judge by that a window touches, (n, 4)."""
        left, top, right, bottom = self._edges.T
        return np.asarray(
            self._edges[
                (left < window.col_off + window.width)
                & (right > window.col_off)
                & (top < window.row_off + window.height)
                & (bottom > window.row_off)
            ]
        )

    @property
    def polygons(self) -> NDArray[np.object_]:
        """(n,) all footprints, also those left out; masks have none."""
        if isinstance(self._whole, FootprintTruth):
            return self._whole.polygons
        raise AttributeError("polygons")

    def close(self) -> None:
        """Close both."""
        self._thinned.close()
        self._whole.close()


def uniform(seed: int, *keys: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Give numbers in 0..1 that look random, but follow from seed and keys (splitmix64).

    Args:
        seed: Any whole number.
        *keys: (n,) each, or one for all.

    Returns:
        (n,).
    """
    state = _mix(np.array([seed % 2**64], np.uint64))
    for key in keys:
        state = _mix(state ^ np.asarray(key, np.int64).reshape(-1).view(np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) / 2**53


def choose_polygons(
    polygons: NDArray[np.object_], crs: CRS | None, *, share: float, seed: int, name: str
) -> NDArray[np.bool_]:
    """Choose what to drop of (n,) polygons: (n,) True = dropped.

    A building is known by its centroid, in degrees: it has the same fate on every raster that shows it.

    Args:
        polygons: Non-empty.
        crs: Of the polygons; None for pixels of a picture.
        share: About how many of them, 0..1.
        seed: Says which.
        name: Tells buildings apart where coordinates do not: of the picture without CRS.
    """
    x, y = shapely.get_coordinates(shapely.centroid(polygons)).T
    if crs is None:
        return (
            uniform(seed, zlib.crc32(name.encode()), _steps(x * _STEPS_PER_PX), _steps(y * _STEPS_PER_PX))
            < share
        )
    to_degrees = Transformer.from_crs(as_crs(crs), "OGC:CRS84", always_xy=True)
    lon, lat = to_degrees.transform(x, y)
    return uniform(seed, _steps(lon * _STEPS_PER_DEGREE), _steps(lat * _STEPS_PER_DEGREE)) < share


def drop_components(
    is_building: Callable[[Window], NDArray[np.bool_]],
    *,
    shape: tuple[int, int],
    share: float,
    seed: int,
    name: str,
) -> tuple[DroppedPixels, NDArray[np.int64], NDArray[np.bool_]]:
    """Choose what to drop of a mask's buildings, its 4-connected components, as `vectorize` sees them.

    The mask is read twice, strip by strip; a component is known by the first of its pixels in reading order.

    Args:
        is_building: Reads (rows, cols) of the mask's own pixels.
        shape: Rows and columns of the mask.
        share: About how many components, 0..1.
        seed: Says which.
        name: Of the mask, that others may drop other places.

    Returns:
        The dropped pixels; (n, 2) row and column of each component's first pixel; (n,) True = dropped.
    """
    owners, firsts = _find_components(is_building, shape)
    rows, cols = np.divmod(firsts, shape[1])
    dropped = uniform(seed, zlib.crc32(name.encode()), rows, cols) < share
    goes = np.concatenate([[False], dropped[owners]])
    file, before = MemoryFile(ext=".tif"), 0
    profile = {
        "driver": "GTiff",
        "height": shape[0],
        "width": shape[1],
        "count": 1,
        "dtype": "uint8",
        "nbits": 1,
        "tiled": True,
        "blockxsize": _BLOCK_COLS,
        "blockysize": _BLOCK_ROWS,
        "compress": "deflate",
        "zlevel": 1,
        "BIGTIFF": "IF_SAFER",
    }
    try:
        with unreferenced_is_fine():
            dataset = file.open(**profile)
        with dataset:
            for strip in _strips(shape):
                labels, count = ndimage.label(is_building(strip))
                labels[labels > 0] += before
                before += count
                place = FloatWindow(0, strip.row_off, strip.width, strip.height)
                dataset.write(goes[labels].astype(np.uint8), 1, window=place)
        return DroppedPixels(file), np.stack([rows, cols], axis=1), dropped
    except rasterio.errors.RasterioError:
        file.close()
        raise


def _find_components(
    is_building: Callable[[Window], NDArray[np.bool_]], shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Label strips, and join what meets at their seams.

    Returns:
        (m,) the component of every label of every strip, in their order; (n,) the first pixel of every
        component, counted along the rows of the whole mask.
    """
    firsts: list[NDArray[np.int64]] = []
    seams: list[NDArray[np.int64]] = []
    above = np.zeros(shape[1], np.int64)
    before = 0
    for strip in _strips(shape):
        labels, count = ndimage.label(is_building(strip))
        places = np.flatnonzero(labels)
        first = np.zeros(count + 1, np.int64)
        first[labels.ravel()[places[::-1]]] = places[::-1] + strip.row_off * shape[1]
        firsts.append(first[1:])
        top = np.where(labels[0] > 0, labels[0].astype(np.int64) + before, 0)
        meet = (above > 0) & (top > 0)
        seams.append(np.stack([above[meet], top[meet]]) - 1)
        above = np.where(labels[-1] > 0, labels[-1].astype(np.int64) + before, 0)
        before += count
    one, other = np.concatenate(seams, axis=1)
    graph = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(before, before))
    count, owners = connected_components(graph, directed=False)
    found = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(found, owners, np.concatenate(firsts))
    return owners.astype(np.int64), found


def _strips(shape: tuple[int, int]) -> Iterator[Window]:
    """Cut a mask into full-width strips of whole blocks."""
    height, width = shape
    rows = max(_STRIP_PX // width // _BLOCK_ROWS, 1) * _BLOCK_ROWS
    for top in range(0, height, rows):
        yield Window(col_off=0, row_off=top, width=width, height=min(rows, height - top))


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def _steps(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round; what has no place on the Earth is at 0."""
    return np.rint(np.nan_to_num(values, posinf=0, neginf=0)).astype(np.int64)
