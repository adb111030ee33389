"""A raster through a network: windows in, finished rows of probability out."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.inference.backend import Backend
from buildmap.raster.blend import BlendBuffer
from buildmap.raster.normalize import normalize
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import PlannedWindow, plan_strips
from buildmap.raster.writer import encode_probability


@dataclass(slots=True)
class Tally:
    """Counted while strips flow."""

    windows: int = 0
    """Windows planned and passed."""
    skipped: int = 0
    """Of these, windows without a valid pixel, which the network never saw."""


def probability_strips(
    reader: RasterReader, backend: Backend, *, tally: Tally, progress: Progress, ahead: int = 3
) -> Iterator[NDArray[np.uint8]]:
    """Predict strip by strip, reading `ahead` windows before the network needs them.

    Yields:
        Rows that are final, (rows, width), uint8 as `encode_probability`, top to bottom without gaps.
    """
    card, grid = backend.card, reader.grid
    blend = BlendBuffer(width=grid.width, height=grid.height, ramp_px=card.halo_px)
    strips = list(
        plan_strips(width=grid.width, height=grid.height, core_px=card.core_px, halo_px=card.halo_px)
    )
    progress.start("predict", sum(map(len, strips)))

    def read(planned: PlannedWindow) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        image = reader.read(planned.read)
        return normalize(image, card.data), image.valid

    images = prefetch(read, (window for strip in strips for window in strip), workers=1, ahead=ahead)
    for strip in strips:
        for planned in strip:
            pixels, valid = next(images)
            blend.add(planned, predict_window(backend, pixels, valid))
            tally.windows += 1
            tally.skipped += not valid.any()
            progress.advance()
        yield encode_probability(blend.end_strip())


def predict_window(
    backend: Backend, pixels: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """Run the network on one window.

    Args:
        backend: The network.
        pixels: (bands, rows, cols), normalized.
        valid: (rows, cols).

    Returns:
        Probability, (rows, cols), NaN where invalid; None if nothing is valid.
    """
    if not valid.any():
        return None
    rows, cols = valid.shape
    stride = backend.card.stride
    padded = np.pad(pixels, ((0, 0), (0, -rows % stride), (0, -cols % stride)), mode="edge")
    logits = backend.logits(padded[None])[0, 0, :rows, :cols]
    probability = (1 / (1 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32, copy=False)
    probability[~valid] = np.nan
    return probability


def block_cache_bytes(reader: RasterReader, card: ModelCard) -> int:
    """Give the block cache that lets every block be decoded once: one row of windows, and a block more."""
    native = reader.native_grid
    down = native.height / reader.grid.height
    rows = card.window_px * down + 2 * 512
    return int(rows * native.width * len(reader.bands) * reader.dtype.itemsize * 1.1)
