"""Choosing the overview to read a coarser picture from."""

from dataclasses import dataclass

from buildmap.raster.handles import Handles


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The raster itself or one of its overviews."""

    overview: int | None
    """Its number, counted from 0 as GDAL does; None for the raster itself."""
    width: int
    """Columns."""
    height: int
    """Rows."""


class Overviews:
    """The overviews of a raster, looked at when they are first wanted."""

    def __init__(self, handles: Handles) -> None:
        """Take an opened raster."""
        dataset = handles.get()
        self._handles = handles
        self._flags = dataset.mask_flag_enums
        self._native = Level(overview=None, width=dataset.width, height=dataset.height)
        self._factors: dict[int, int] | None = None
        self._known: dict[int, Level] = {}

    def choose(self, *, width: float, height: float) -> Level:
        """Give the coarsest level that is no coarser than a raster of this size; a pixel less is allowed.

        A pixel, because the sizes of overviews are rounded: of 1001 x 1000 pixels, neither 500 x 500 nor
        501 x 500 is exactly half.
        """
        if width >= self._native.width and height >= self._native.height:
            return self._native
        if self._factors is None:  # not before: asking a VRT fixes the size of GDAL's block cache
            self._factors = dict(enumerate(self._handles.get().overviews(1)))
        largest = max(self._native.width / width, self._native.height / height) + 1
        for number, factor in sorted(self._factors.items(), key=lambda item: -item[1]):
            if factor > largest:  # a rounded number: only the size tells
                continue
            level = self._level(number)
            if self._native.width > level.width >= width - 1 and level.height >= height - 1:
                return level
        return self._native

    def _level(self, number: int) -> Level:
        if number not in self._known:
            dataset = self._handles.get(number)
            masked_alike = dataset.mask_flag_enums == self._flags  # or nodata would be lost
            width, height = (dataset.width, dataset.height) if masked_alike else (0, 0)
            self._known[number] = Level(overview=number, width=width, height=height)
        return self._known[number]
