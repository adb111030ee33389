"""What a network learns from: batches of chips, each a pure function of the seed and the step."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from buildmap.data.augment import draw_gsd_factor, draw_turn, turn, vary_colors
from buildmap.data.chips import (
    ValidationChip,
    ValidGround,
    ValidMap,
    map_valid,
    pad,
    place_chip,
    plan_validation,
)
from buildmap.data.sources import DEFAULT_MEMORY_BYTES, Sample, TrainingSource, open_sources
from buildmap.errors import InputError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.preset import Preset
from buildmap.raster.normalize import normalize
from buildmap.raster.windows import Window
from buildmap.vector.reader import Repairs

_LEAST_VALID = 0.25
_MOST_DRAWS = 20
_CELLS_PER_CHIP = 16
_AHEAD_PER_WORKER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Chips to learn from or to judge by."""

    image: NDArray[np.float32]
    """(B, bands, rows, cols), normalized; 0 where the raster is not valid."""
    target: NDArray[np.float32]
    """(B, rows, cols), 1 = building."""
    valid: NDArray[np.bool_]
    """(B, rows, cols), True = counts: has data, is annotated, and belongs to this chip."""
    names: tuple[str, ...]
    """(B,) the source of each chip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """What one source gives, for the user to see."""

    name: str
    """The raster's path in the data folder, without suffix."""
    training_chips: float
    """Valid training ground in chips' areas, at the working GSD."""
    validation_chips: float
    """Valid validation ground, likewise."""
    footprints: int | None
    """Polygons on the annotated ground; None for a mask raster."""
    repairs: Repairs | None
    """What was repaired or dropped of them; None for a mask raster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chip:
    image: NDArray[np.float32]
    target: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    name: str


class Chips:
    """Training and validation chips of a data folder.

    Batches may be made in several threads. Use it as a context manager.
    """

    def __init__(
        self,
        root: Path,
        preset: Preset,
        *,
        workers: int = 2,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        progress: Progress | None = None,
    ) -> None:
        """Open all sources.

        Args:
            root: Data folder.
            preset: Says what the network sees and how it learns.
            workers: Threads that read validation chips.
            memory_bytes: Limit of the copies of sources in memory.
            progress: Hears of each source.

        Raises:
            MissingInput: If there is no data folder.
            InputError: If sources cannot be used, or there is no valid ground to learn from.
            StorageError: If a file cannot be read.
        """
        self._preset = preset
        self._workers = workers
        with ExitStack() as stack:
            self.sources = open_sources(root, preset, memory_bytes=memory_bytes, progress=progress)
            for source in self.sources:
                stack.callback(source.close)
            training = [self._map(s, window) for s in self.sources for window in s.ground.train]
            self._ground = ValidGround(training)
            self.summaries = tuple(self._summarize(source, training) for source in self.sources)
            if not self._ground:
                raise InputError(
                    f"{root} has no valid ground to learn from",
                    hint='set use = "train" or "split" on a source, and see that its raster has data',
                )
            self._opened = stack.pop_all()

    def __enter__(self) -> "Chips":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all sources."""
        self._opened.close()

    def training_batch(self, step: int) -> Batch:
        """Make the batch of a step; the same for the same preset, data and step, in any order and thread.

        Raises:
            StorageError: If a file cannot be read.
        """
        training = self._preset.training
        rng = np.random.default_rng([training.seed, step])
        return _stack([self._training_chip(rng) for _ in range(training.batch_size)])

    def validation_batches(self) -> Iterator[Batch]:
        """Cover the validation ground once, at the working GSD; chips without anything valid are left out.

        The last batch may be smaller.

        Raises:
            StorageError: If a file cannot be read.
        """
        plan = (
            chip
            for source in self.sources
            for chip in plan_validation(source, chip_px=self._preset.training.chip_px)
        )
        ahead = _AHEAD_PER_WORKER * self._workers
        with closing(prefetch(self._validation_chip, plan, workers=self._workers, ahead=ahead)) as made:
            counting = (chip for chip in made if chip.valid.any())
            while chips := list(islice(counting, self._preset.training.batch_size)):
                yield _stack(chips)

    def _training_chip(self, rng: np.random.Generator) -> _Chip:
        augment, chip_px = self._preset.augment, self._preset.training.chip_px
        valid, window, side_px = self._draw_window(rng)
        out_shape = _resampled(window, side_px, chip_px)
        sample = valid.source.read(window, out_shape=out_shape)
        image = normalize(vary_colors(sample.image, augment, rng), self._preset.data)
        mirror, quarters = draw_turn(augment, rng)
        chip = _to_chip(image, sample, valid.source.name, chip_px)
        return _Chip(
            image=turn(chip.image, mirror=mirror, quarters=quarters),
            target=turn(chip.target, mirror=mirror, quarters=quarters),
            valid=turn(chip.valid, mirror=mirror, quarters=quarters),
            name=chip.name,
        )

    def _draw_window(self, rng: np.random.Generator) -> tuple[ValidMap, Window, int]:
        """Draw until a quarter of the chip is valid, or give the best of many; with the chip's full side."""
        best: tuple[float, ValidMap, Window, int] | None = None
        for _ in range(_MOST_DRAWS):
            valid, row, col = self._ground.draw(rng)
            side_px = self._draw_side(valid, rng)
            window = place_chip(valid.window, row=row, col=col, side_px=side_px, rng=rng)
            share = valid.share(window, side_px)
            if best is None or share > best[0]:
                best = share, valid, window, side_px
            if share >= _LEAST_VALID:
                break
        if best is None:
            raise ValueError("no window was drawn")
        return best[1:]

    def _draw_side(self, valid: ValidMap, rng: np.random.Generator) -> int:
        """Draw how many working pixels a chip spans: its GSD, smaller where the rectangle is too small."""
        chip_px, widen = self._preset.training.chip_px, 1 + self._preset.augment.gsd_jitter
        gsd_m = valid.source.gsd_m
        coarsest = 1.0 if gsd_m is None else max(self._preset.data.gsd_max_m / gsd_m, 1.0)
        drawn = round(chip_px * draw_gsd_factor(1 / widen, coarsest * widen, rng))
        least = round(chip_px / widen)
        return max(min(drawn, valid.window.width, valid.window.height), least)

    def _validation_chip(self, planned: ValidationChip) -> _Chip:
        window = planned.window
        sample = planned.source.read(window, out_shape=(window.height, window.width))
        sample.valid[: planned.shared_rows] = False
        sample.valid[:, : planned.shared_cols] = False
        image = normalize(sample.image, self._preset.data)
        return _to_chip(image, sample, planned.source.name, self._preset.training.chip_px)

    def _map(self, source: TrainingSource, window: Window) -> ValidMap:
        cell_px = max(self._preset.training.chip_px // _CELLS_PER_CHIP, 1)
        return map_valid(source, window, cell_px=cell_px)

    def _summarize(self, source: TrainingSource, training: list[ValidMap]) -> SourceSummary:
        chip_px2 = self._preset.training.chip_px**2
        validation = [self._map(source, window) for window in source.ground.validation]
        return SourceSummary(
            name=source.name,
            training_chips=sum(valid.valid_px for valid in training if valid.source is source) / chip_px2,
            validation_chips=sum(valid.valid_px for valid in validation) / chip_px2,
            footprints=source.footprints,
            repairs=source.repairs,
        )


def _resampled(window: Window, side_px: int, chip_px: int) -> tuple[int, int]:
    """Give rows and columns of a window, part of a square of `side_px`, once that is resampled to a chip."""
    rows, cols = (max(round(length * chip_px / side_px), 1) for length in (window.height, window.width))
    return rows, cols


def _to_chip(image: NDArray[np.float32], sample: Sample, name: str, chip_px: int) -> _Chip:
    return _Chip(
        image=pad(image, chip_px),
        target=pad(sample.building, chip_px),
        valid=pad(sample.valid, chip_px),
        name=name,
    )


def _stack(chips: list[_Chip]) -> Batch:
    return Batch(
        image=np.stack([chip.image for chip in chips]),
        target=np.stack([chip.target for chip in chips]).astype(np.float32),
        valid=np.stack([chip.valid for chip in chips]),
        names=tuple(chip.name for chip in chips),
    )
