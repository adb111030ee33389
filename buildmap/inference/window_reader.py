"""From a planned window to what a network is shown of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import StorageError
from buildmap.inference.cutting import Cutting
from buildmap.raster.area import Area
from buildmap.raster.blend import Share
from buildmap.raster.normalize import fill_invalid
from buildmap.raster.reader import Reader
from buildmap.raster.windows import PlannedWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenWindow:
    """A window, read."""

    image: NDArray[np.generic]
    """(bands, rows, cols) in the raster's own numbers, padded to whole strides."""
    valid: NDArray[np.bool_]
    """(H, W) of what was read; True = has data."""


class WindowReader:
    """Reads windows of one raster for one network; from any thread."""

    def __init__(self, reader: Reader, card: ModelCard, cutting: Cutting, area: Area | None) -> None:
        """Set up; nothing is read.

        Args:
            reader: The raster, at the GSD the network works at.
            card: The network's.
            cutting: Of the reader's grid.
            area: Where something is wanted, on the predicted grid; everywhere when None.
        """
        self._reader, self._card, self._cutting, self._area = reader, card, cutting, area

    def needs(self, placed: Share) -> bool:
        """Tell, without reading, whether anything in a share can be valid and is wanted."""
        if self._area is not None and not self._area.touches(placed.window):
            return False
        return self._reader.has_data(self._cutting.seen(placed)[0])

    def read(self, planned: PlannedWindow, placed: Share) -> SeenWindow | None:
        """Read a window, once more if that fails; None where nothing in its share is valid.

        Raises:
            StorageError: If the raster cannot be read.
        """
        try:
            image = self._reader.read(planned.read)
        except StorageError:
            image = self._reader.read(planned.read)
        if not image.valid[self._cutting.seen(placed)[1]].any():
            return None
        down, across = (-extent % self._card.stride for extent in image.valid.shape)
        pixels = fill_invalid(image, self._card.data)
        if down or across:
            pixels = np.pad(pixels, ((0, 0), (0, down), (0, across)), mode="edge")
        return SeenWindow(image=pixels, valid=image.valid)
