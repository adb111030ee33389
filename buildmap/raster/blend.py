"""Joining overlapping windows without a seam.

The outer part of a window is spoiled by the network's padding and has weight zero. Across the line
between two cores a cosine ramp hands over from one window to the next; nothing tapers at the
raster's own border. Ramps of neighbours add up to one, so sums need no division. A strip, a row of
windows, is summed on its own; two strips meet by adding their sums where the ramps cross, so the
result does not depend on how strips are shared among workers.
"""

import numpy as np
from numpy.typing import NDArray

from buildmap.raster.windows import PlannedWindow


def handover(core_start: int, core_stop: int, extent: int, ramp_px: int) -> tuple[int, NDArray[np.float32]]:
    """Weigh one axis of a window: one on its core, a ramp across each border it shares.

    Args:
        core_start: First pixel of the core.
        core_stop: One past its last pixel.
        extent: Pixels of the raster along this axis.
        ramp_px: Width of the ramp, half of it on either side of the core's border; even.

    Returns:
        First pixel with a weight, and the weights from there on.
    """
    half = ramp_px // 2
    rise = np.sin((np.arange(ramp_px, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / max(ramp_px, 1))) ** 2
    start = core_start - half if core_start > 0 else 0
    stop = min(core_stop + half if core_stop < extent else extent, extent)
    weights = np.ones(stop - start, np.float32)
    if core_start > 0:
        ahead = min(ramp_px, len(weights))
        weights[:ahead] *= rise[:ahead]
    if core_stop < extent:
        fall = (1 - rise)[: extent - (core_stop - half)]
        weights[core_stop - half - start :] *= fall
    return start, weights


class BlendBuffer:
    """Sums windows strip by strip, and gives rows away as soon as no later strip touches them.

    Invalid pixels travel as NaN: a pixel without data has none in any window.
    """

    def __init__(self, *, width: int, height: int, ramp_px: int) -> None:
        """Start above the raster's first row.

        Args:
            width: Columns of the raster.
            height: Rows of the raster.
            ramp_px: Width of the cosine ramp in pixels; even, at most twice the halo, and no wider than
                any core but the last.
        """
        self.width, self.height, self.ramp_px = width, height, ramp_px
        self._sums = np.zeros((0, width), np.float32)
        self._carried = np.zeros((0, width), np.float32)
        self._row = self._finished = 0

    def add(self, planned: PlannedWindow, probability: NDArray[np.float32] | None) -> None:
        """Add one window of the current strip.

        Args:
            planned: All windows up to the next `end_strip` share the rows of their core.
            probability: (rows, cols) on the pixels the window *read*, NaN where invalid; None where
                nothing it read is valid.
        """
        core, read = planned.core, planned.read
        top, down = handover(core.row_off, core.row_off + core.height, self.height, self.ramp_px)
        left, across = handover(core.col_off, core.col_off + core.width, self.width, self.ramp_px)
        if not len(self._sums):
            self._sums = np.zeros((len(down), self.width), np.float32)
            core_stop = core.row_off + core.height
            self._finished = self.height if core_stop == self.height else core_stop - self.ramp_px // 2
        part = self._sums[:, left : left + len(across)]
        if probability is None:
            part[:] = np.nan
            return
        rows = slice(top - read.row_off, top - read.row_off + len(down))
        cols = slice(left - read.col_off, left - read.col_off + len(across))
        part += probability[rows, cols] * (down[:, None] * across)

    def end_strip(self) -> NDArray[np.float32]:
        """Close the strip; give the finished rows, (rows, width), which continue those given before."""
        sums, self._sums = self._sums, np.zeros((0, self.width), np.float32)
        sums[: len(self._carried)] += self._carried
        count = self._finished - self._row
        self._carried, self._row = sums[count:].copy(), self._finished
        return sums[:count]
