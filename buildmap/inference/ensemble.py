"""Several models, and several views of the same window, averaged into one probability."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import MismatchError
from buildmap.inference.devices import Tta
from buildmap.raster.blend import weigh

if TYPE_CHECKING:
    from buildmap.inference.backend import Backend

SYMMETRIES: dict[Tta, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, True), (2, False)),
    "d4": tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4)),
}
"""Quarter turns, and whether left and right are then swapped. Half a turn and a swap is up for down."""


def transform(images: NDArray[np.generic], turns: int, mirrored: bool) -> NDArray[np.generic]:
    """Turn (..., rows, cols) counter-clockwise, then mirror it; an odd turn swaps rows and columns."""
    turned = np.rot90(images, turns, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if mirrored else turned)


def transform_back(probability: NDArray[np.float32], turns: int, mirrored: bool) -> NDArray[np.float32]:
    """Undo `transform`; gives a view."""
    turned = probability[..., ::-1] if mirrored else probability
    return np.rot90(turned, -turns, axes=(-2, -1))


def join_cards(cards: list[ModelCard]) -> ModelCard:
    """Describe several models as one: the largest window and halo, the GSD range they share.

    What was measured of one alone does not hold for all, so there is no halo table.

    Raises:
        MismatchError: If they differ in bands, dtype, scale or classes, or share no GSD.
    """
    first = cards[0]
    if len(cards) == 1:
        return first
    for card in cards[1:]:
        _check_alike(first, card)
    _check_gsd(cards)
    stride = math.lcm(*(card.stride for card in cards))
    halo = _round_up(max(card.halo_px for card in cards), stride)
    window = _round_up(max(card.window_px for card in cards), stride)
    return replace(
        first,
        title=" + ".join(card.title for card in cards),
        data=replace(
            first.data,
            gsd_min_m=max(card.data.gsd_min_m for card in cards),
            gsd_max_m=min(card.data.gsd_max_m for card in cards),
        ),
        stride=stride,
        window_px=max(window, 2 * halo + stride),
        halo_px=halo,
        threshold=sum(card.threshold for card in cards) / len(cards),
        license=_distinct(card.license for card in cards),
        training_data=_distinct(card.training_data for card in cards),
        fingerprint=hashlib.sha256(" ".join(card.fingerprint for card in cards).encode()).hexdigest()[:16],
        halo_table=(),
    )


def _check_alike(first: ModelCard, other: ModelCard) -> None:
    sides = (
        ("bands", first.data.bands, other.data.bands),
        ("dtype", first.data.dtype, other.data.dtype),
        ("scale", first.scale, other.scale),
        ("classes", first.classes, other.classes),
    )
    for name, ours, theirs in sides:
        if ours != theirs:
            raise MismatchError(
                f"models cannot be averaged: '{first.title}' has {name} {ours}, '{other.title}' has {theirs}",
                hint="run them one by one",
            )


def _check_gsd(cards: list[ModelCard]) -> None:
    finest = max(cards, key=lambda card: card.data.gsd_min_m)
    coarsest = min(cards, key=lambda card: card.data.gsd_max_m)
    if finest.data.gsd_min_m > coarsest.data.gsd_max_m:
        raise MismatchError(
            f"models cannot be averaged: '{finest.title}' works from {finest.data.gsd_min_m} m, "
            f"'{coarsest.title}' up to {coarsest.data.gsd_max_m} m",
            hint="run them one by one",
        )


def _round_up(pixels: int, stride: int) -> int:
    return -(-pixels // stride) * stride


def _distinct(texts: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(texts))


class Ensemble:
    """A backend made of backends: the mean of their probabilities over all symmetries, in a fixed order."""

    def __init__(self, backends: tuple["Backend", ...], *, tta: Tta = "none") -> None:
        """Join backends.

        Raises:
            MismatchError: If they do not take the same images.
        """
        self.card = join_cards([backend.card for backend in backends])
        self.device = " + ".join(dict.fromkeys(backend.device for backend in backends))
        self.lanes = min(backend.lanes for backend in backends)
        self._backends = backends
        self._symmetries = SYMMETRIES[tta]

    @property
    def batch(self) -> int:
        """Windows of equal shape it likes per call."""
        return min(backend.batch for backend in self._backends)

    def probability(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        """Run all networks on all views of (B, C, H, W); gives (B, scale x H, scale x W)."""
        rows, cols = images.shape[2:]
        mean = np.zeros((len(images), self.card.scale * rows, self.card.scale * cols), np.float32)
        for turns, mirrored in self._symmetries:
            view = transform(images, turns, mirrored)
            for backend in self._backends:
                mean += transform_back(backend.probability(view), turns, mirrored)
        mean /= len(self._symmetries) * len(self._backends)
        return mean

    def contributions(
        self, images: NDArray[np.generic], cut: tuple[slice, slice], weights: NDArray[np.float32]
    ) -> NDArray[np.uint16]:
        """Run all networks on all views, cut (rows, cols) out and weigh them; gives (B, rows, cols)."""
        return weigh(self.probability(images)[:, *cut], weights)
