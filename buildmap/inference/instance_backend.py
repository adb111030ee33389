"""What runs a network that finds buildings one by one, and which program does it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import InputError, MismatchError
from buildmap.inference.devices import BackendOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The buildings of one image; coordinates are x, y in pixel corners of it."""

    boxes: NDArray[np.float64]
    """(n, 4) left, top, right, bottom."""
    scores: NDArray[np.float64]
    """(n,) confidence, 0..1."""
    masks: NDArray[np.float32] | None
    """(n, rows, cols) probability of building over the box, stretched to it; None without."""
    heatmaps: NDArray[np.float32] | None
    """(n, rows, cols) probability of a vertex over the box, likewise; None without."""

    def take(self, chosen: NDArray[np.int64]) -> "Found":
        """Give some of them, by number, in that order."""
        return Found(
            boxes=self.boxes[chosen],
            scores=self.scores[chosen],
            masks=None if self.masks is None else self.masks[chosen],
            heatmaps=None if self.heatmaps is None else self.heatmaps[chosen],
        )


@runtime_checkable
class InstanceBackend(Protocol):
    """A loaded model; what it finds in an image does not depend on threads, nor on the lane that asks."""

    card: ModelCard
    device: str
    """What runs it: 'cpu', 'cuda:0'."""
    lanes: int
    """Threads that may call it at the same time with profit."""
    batch: int
    """Windows per call: always one, so that none depends on what it goes with."""

    def detect(self, image: NDArray[np.generic]) -> Found:
        """Run the network.

        Args:
            image: (C, H, W) in the raster's own numbers, invalid pixels filled; H and W multiples of the
                card's stride.

        Raises:
            ResourceError: If the image does not fit the device's memory.
        """


def check_model(card: ModelCard) -> None:
    """Refuse a card that no prediction of objects can follow.

    Raises:
        MismatchError: If it does.
    """
    if card.scale != 1:
        raise MismatchError(
            f"model '{card.title}' finds objects at scale {card.scale}; there is but scale 1",
            hint="export the model again",
        )


def check_options(models: tuple[Path, ...], options: BackendOptions) -> None:
    """Refuse what can be asked of probability only.

    Raises:
        MismatchError: If there are several models.
        InputError: If several views of an image are to be averaged.
    """
    if len(models) > 1:
        raise MismatchError(
            f"{models[0].name} finds buildings one by one, which cannot be averaged with other models",
            hint="run them one by one",
        )
    if options.tta != "none":
        raise InputError(
            f"--tta {options.tta} averages probability, but {models[0].name} finds buildings one by one",
            hint="leave out --tta",
        )
