"""Drawing footprints of a raster that streams by, in bands of rows: the same for any bands."""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.vector.drawing import draw
from buildmap.vector.drawn import Drawn, join
from buildmap.vector.outlining import Outlining, lowest_value
from buildmap.vector.tracing.bands import Seam, crop_band, trace_band

_BAND_PX = 2**25


def draw_strips(
    strips: Iterable[NDArray[np.uint8]], *, transform: Affine, crs: CRS, settings: Outlining
) -> Iterator[Drawn]:
    """Draw footprints, each whole, in the order of `Drawn.order`.

    Args:
        strips: (rows, width) from top to bottom: 0..254 is probability times 254, 255 no data.
        transform: Pixel corners (col, row) to coordinates (x, y).
        crs: Of these coordinates.
        settings: How footprints are drawn.
    """
    seam = None
    lowest = lowest_value(settings.threshold)
    drawing = partial(draw, transform=transform, crs=crs, settings=settings)
    for first_row, band, is_last in _bands(strips):
        if seam is None:
            seam = Seam(band.shape[1])
        traced = trace_band(band, first_row, above=first_row > 0, below=not is_last, lowest=lowest)
        drawn = [drawing(traced.finished, partial(_crop, band, first_row))]
        drawn.append(drawing(seam.push(traced.cut, first_row, len(band)), seam.crop))
        if is_last:
            drawn.append(drawing(seam.finish(), seam.crop))
        yield join(drawn).in_order()


def _crop(
    band: NDArray[np.uint8], first_row: int, left: int, top: int, right: int, bottom: int
) -> NDArray[np.uint8]:
    return crop_band(band, first_row, (left, top, right, bottom))


def _bands(strips: Iterable[NDArray[np.uint8]]) -> Iterator[tuple[int, NDArray[np.uint8], bool]]:
    """Join low strips; give the first row of each band, its values, and whether it is the last."""
    held: list[NDArray[np.uint8]] = []
    first_row = 0
    for strip in strips:
        if sum(part.size for part in held) >= _BAND_PX:
            band = np.concatenate(held)
            yield first_row, band, False
            first_row, held = first_row + len(band), []
        held.append(strip)
    if held:
        yield first_row, np.concatenate(held), True
