"""Batches that fit the device: as large as they may be, and smaller when memory turns out short."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import ResourceError

_LARGEST_BATCH_PX = 2**24
"""Beyond some predicted megapixels a GPU gains nothing from larger batches, and host memory pays for them."""

Number = TypeVar("Number", bound=np.generic)

logger = logging.getLogger(__name__)


class OutOfMemory(ResourceError):
    """A device has no room for the activations of a batch."""


def out_of_memory(device: str, told: object) -> OutOfMemory:
    """Make the error for a network that does not fit a device."""
    reason = " ".join(str(told).split())[:200]
    flag = "a smaller --max-memory" if device == "cpu" else "--device cpu"
    return OutOfMemory(
        f"out of memory on {device}: {reason}",
        hint=f"close other programs, give {flag}, or cut smaller windows: --window-px",
    )


def largest_batch(run: Callable[[int], object], card: ModelCard, *, lanes: int) -> tuple[int, int]:
    """Double the batch until that many windows in every lane are too much.

    Args:
        run: Runs the network on so many windows at once; may raise `OutOfMemory`.
        card: Says how large a window is.
        lanes: Batches on the device at the same time.

    Returns:
        Lanes, fewer if not even one window each fits, and windows per batch.

    Raises:
        OutOfMemory: If not even one window fits.
    """
    most = max(1, _LARGEST_BATCH_PX // (card.scale * card.window_px) ** 2)
    if lanes > 1 and not _fits(run, lanes):
        lanes = 1
    if lanes == 1:
        run(1)
    batch = 1
    while 2 * batch <= most and _fits(run, 2 * batch * lanes):
        batch *= 2
    return lanes, batch


def _fits(run: Callable[[int], object], windows: int) -> bool:
    try:
        run(windows)
    except OutOfMemory:
        return False
    return True


class Batches:
    """Cuts what it is given into batches that fit, and halves them when one no longer does."""

    def __init__(self, size: int) -> None:
        """Start with batches of `size` windows."""
        self.size = size
        self._lock = threading.Lock()

    def run(
        self, call: Callable[[NDArray[np.generic]], NDArray[Number]], images: NDArray[np.generic]
    ) -> NDArray[Number]:
        """Call the network on all images, in order.

        Args:
            call: Gives one result per image; may raise `OutOfMemory`.
            images: (B, C, H, W).

        Raises:
            OutOfMemory: If a single image is too much.
        """
        results: list[NDArray[Number]] = []
        done = 0
        while done < len(images):
            size = min(self.size, len(images) - done)
            try:
                results.append(call(images[done : done + size]))
            except OutOfMemory as error:
                if size == 1:
                    raise
                self._halve(size, error)
            else:
                done += size
        return results[0] if len(results) == 1 else np.concatenate(results)

    def _halve(self, size: int, error: OutOfMemory) -> None:
        with self._lock:
            if size // 2 < self.size:  # another lane may have been here before
                self.size = size // 2
                logger.warning("%s; going on with batches of %d", error, self.size)
