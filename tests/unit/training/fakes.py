"""A training without files: bright blocks are buildings."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from buildmap.data.dataset import Batch
from buildmap.preset import Preset, find_preset

LITE = find_preset("lite")
PRESET: Preset = replace(
    LITE,
    model=replace(LITE.model, width=8, depth=2),
    training=replace(
        LITE.training, chip_px=16, batch_size=4, steps_per_epoch=5, epochs=4, learning_rate=0.02
    ),
    predict=replace(LITE.predict, window_px=32, halo_px=8),
)
"""Learns in a second."""


def make_batch(seed: int, *, size: int = 4, names: tuple[str, ...] = ("north", "south")) -> Batch:
    """Make chips of 16 pixels whose bright quarters are buildings; a tenth of the pixels is invalid."""
    rng = np.random.default_rng(seed)
    target = np.kron(rng.integers(0, 2, (size, 2, 2)), np.ones((1, 8, 8))).astype(np.float32)
    image = target[:, None] * 2 - 1 + rng.normal(0, 0.3, (size, 3, 16, 16))
    return Batch(
        image=image.astype(np.float32),
        target=target,
        valid=rng.random((size, 16, 16)) < 0.9,
        names=tuple(names[index % len(names)] for index in range(size)),
    )


def spoil(batch: Batch) -> Batch:
    """Put NaN where the network looks."""
    return replace(batch, image=np.full_like(batch.image, np.nan))


class FakeChips:
    """Batches from nowhere; some steps' can be spoiled. Noted losses decide what later epochs show."""

    def __init__(
        self, *, spoiled: frozenset[int] = frozenset(), validation: int = 2, size: int = 4, hard: bool = False
    ) -> None:
        self.spoiled, self.validation, self.size, self.hard = spoiled, validation, size, hard
        self.asked: list[int] = []
        self.noted: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        self.losses = np.zeros(1, np.float32)

    def training_part(self, step: int, part: int, parts: int) -> Batch:
        if part == 0:
            self.asked.append(step)
        shift = round(float(self.losses[0]) * 100) if self.hard else 0
        batch = make_batch(step + shift, size=self.size)
        batch = spoil(batch) if step in self.spoiled else batch
        places = np.array([[step, chip, 0, 16, 16] for chip in range(self.size)], np.int64)
        return Batch(
            image=batch.image[part::parts],
            target=batch.target[part::parts],
            valid=batch.valid[part::parts],
            names=batch.names[part::parts],
            places=places[part::parts],
        )

    def note_losses(self, places: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        self.noted.append((places, losses))

    def end_epoch(self) -> None:
        if self.hard:
            self.losses = np.array([sum(losses.sum() for _, losses in self.noted)], np.float32)
        self.noted = []

    @property
    def hardness(self) -> dict[str, NDArray[np.float32]]:
        return {"all": self.losses} if self.hard else {}

    def restore_hardness(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        self.losses = state["all"]

    def validation_batches(self) -> Iterator[Batch]:
        return (make_batch(10_000 + index) for index in range(self.validation))
