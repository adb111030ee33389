"""What a network learns from: batches of chips, each a pure function of the seed and the step."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from buildmap.data.augment import draw_turn, turn, vary_colors
from buildmap.data.chips import ValidationChip, ValidMap, map_valid, pad, plan_validation
from buildmap.data.objects import ChipObjects, lay_objects, objects_of
from buildmap.data.sampling import Drawn, Sampler
from buildmap.data.sources import DEFAULT_MEMORY_BYTES, Sample, TrainingSource, open_sources
from buildmap.data.triplets import PAIRS, Triplets
from buildmap.errors import InputError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.preset import Preset
from buildmap.raster.normalize import normalize
from buildmap.raster.reader import Image
from buildmap.raster.windows import Window
from buildmap.vector.reader import Repairs

D = TypeVar("D", bound=np.generic)

_MOST_READS = 5
_CELLS_PER_CHIP = 16
_WORKERS, _AHEAD = 2, 8
"""Threads that read validation chips, and chips they may be ahead."""
_WHITE = np.float32(255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Chips to learn from or to judge by."""

    image: NDArray[np.float32]
    """(B, bands, rows, cols), normalized; 0 where the raster is not valid."""
    target: NDArray[np.float32]
    """(B, rows, cols), 1 = building; `scale` pixels per pixel of the image along one axis."""
    valid: NDArray[np.bool_]
    """As `target`, True = counts: has data, is annotated, and belongs to this chip."""
    names: tuple[str, ...]
    """(B,) the source of each chip."""
    places: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 5), np.int64))
    """(B, 5) where each training chip lies: number of its map, col_off, row_off, width, height on the
    source's grid; (0, 5) for validation chips."""
    picture: NDArray[np.float32] | None = None
    """(B, 3, rows, cols) map of the ground: red, green, blue, 0..1; 0 where a chip is padded. None where
    there are no maps."""
    objects: tuple[ChipObjects, ...] | None = None
    """(B,) the buildings of each chip, where the preset's network finds them one by one; the image is then 0
    wherever it is not annotated, too, for a building there would be taken for ground."""


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
    test_chips: float = 0.0
    """Valid ground kept for the test, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chip:
    image: NDArray[np.float32]
    target: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    name: str
    place: tuple[int, ...] = ()
    picture: NDArray[np.uint8] | None = None
    objects: ChipObjects | None = None


class Chips:
    """Training and validation chips of a data folder, and chips to test on.

    Batches may be made in several threads. Use it as a context manager.
    """

    def __init__(
        self,
        root: Path,
        preset: Preset,
        *,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        progress: Progress | None = None,
        triplets: Triplets = PAIRS,
    ) -> None:
        """Open all sources.

        Args:
            root: Data folder.
            preset: Says what the network sees and how it learns.
            memory_bytes: Limit of the copies of sources in memory.
            progress: Hears of each source.
            triplets: Says how fine masks are, which maps chips show, and what is kept for the test.

        Raises:
            MissingInput: If there is no data folder, or no file of a map.
            InputError: If sources or maps cannot be used, or there is no valid ground to learn from.
            StorageError: If a file cannot be read.
            ValueError: If buildings are wanted one by one, and masks are finer than images.
        """
        self._preset = preset
        self._scale = triplets.scale
        self._one_by_one = preset.model.instances is not None
        if self._one_by_one and self._scale > 1:
            raise ValueError(f"buildings are not found one by one at a scale of {self._scale}")
        with ExitStack() as stack:
            self.sources = open_sources(
                root, preset, memory_bytes=memory_bytes, progress=progress, triplets=triplets
            )
            for source in self.sources:
                stack.callback(source.close)
            self._maps = [self._map(s, window) for s in self.sources for window in s.ground.train]
            self._sampler = Sampler(self._maps, preset, look_px=self._cell_px)
            if not self._sampler:
                raise InputError(
                    f"{root} has no valid ground to learn from",
                    hint='set use = "train" or "split" on a source, and see that its raster has data',
                )
            self.summaries = tuple(self._summarize(source) for source in self.sources)
            self._opened = stack.pop_all()

    def __enter__(self) -> "Chips":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all sources."""
        self._opened.close()

    def training_batch(self, step: int) -> Batch:
        """Make the batch of a step; the same for the same preset, data, step and `hardness`.

        Neither order nor thread matter. Ground is drawn with replacement.

        Raises:
            StorageError: If a file cannot be read.
        """
        return self.training_part(step, 0, 1)

    def training_part(self, step: int, part: int, parts: int) -> Batch:
        """Make every chip i of a step's batch with i % parts == part, for one device or one backward pass.

        The chips are those of `training_batch`, to the bit, in its order.

        Raises:
            StorageError: If a file cannot be read.
        """
        batch_size = self._preset.training.batch_size
        return _stack([self._training_chip(step, index) for index in range(part, batch_size, parts)])

    def note_losses(self, places: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Take note of what chips cost; nothing changes before `end_epoch`.

        Every device must note all chips of all devices, in the same order: by step, then as in
        `training_batch`. Losses that are not finite are passed over. Without a `hard_share` nothing is kept.

        Args:
            places: (B, 5) `Batch.places`.
            losses: (B,) mean loss of each chip over its valid pixels.
        """
        self._sampler.note(places, losses)

    def end_epoch(self) -> None:
        """Let the noted losses decide where hard chips lie from now on.

        Batches made ahead are stale then: with a `hard_share`, prefetch no further than the epoch's end.
        """
        self._sampler.end_epoch()

    @property
    def hardness(self) -> dict[str, NDArray[np.float32]]:
        """What decides where hard chips lie: (rows, cols) for each map; empty without a `hard_share`.

        It changes at `end_epoch` only. A run that goes on from an epoch's end with `restore_hardness` of it
        sees the same batches.
        """
        return self._sampler.hardness

    def restore_hardness(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Put back what `hardness` gave, and forget losses noted since.

        Raises:
            ValueError: If it is of other data, or of another preset.
        """
        self._sampler.restore(state)

    def validation_batches(self) -> Iterator[Batch]:
        """Cover the validation ground once, at the working GSD; chips without anything valid are left out.

        Batches hold about as many pixels as those of training; the last may be smaller.

        Raises:
            StorageError: If a file cannot be read.
        """
        return self._cover(
            chip
            for source in self.sources
            for chip in plan_validation(source, chip_px=self._validation_chip_px)
        )

    def test_batches(self) -> Iterator[Batch]:
        """Cover the ground kept for the test, as `validation_batches` does its own.

        Raises:
            StorageError: If a file cannot be read.
        """
        return self._cover(
            chip
            for source in self.sources
            for chip in plan_validation(source, chip_px=self._validation_chip_px, ground=source.ground.test)
        )

    def _cover(self, plan: Iterator[ValidationChip]) -> Iterator[Batch]:
        training = self._preset.training
        batch_size = max(round(training.batch_size * (training.chip_px / self._validation_chip_px) ** 2), 1)
        with closing(prefetch(self._validation_chip, plan, workers=_WORKERS, ahead=_AHEAD)) as made:
            counting = (chip for chip in made if chip.valid.any())
            while chips := list(islice(counting, batch_size)):
                yield _stack(chips)

    @property
    def _validation_chip_px(self) -> int:
        training = self._preset.training
        return training.validation_chip_px or training.chip_px

    def _training_chip(self, step: int, index: int) -> _Chip:
        augment, chip_px = self._preset.augment, self._preset.training.chip_px
        finer_px = chip_px * self._scale
        rng = np.random.default_rng([self._preset.training.seed, step, index])
        drawn, sample = self._draw_sample(rng)
        mirror, quarters = draw_turn(augment, rng)
        source = self._maps[drawn.number].source
        objects = self._objects(source, drawn.window, sample)

        def lay(array: NDArray[D], side_px: int) -> NDArray[D]:
            return turn(pad(array, side_px), mirror=mirror, quarters=quarters)

        image = Image(pixels=lay(sample.image.pixels, chip_px), valid=lay(sample.image.valid, chip_px))
        return _Chip(
            image=vary_colors(image, augment, self._preset.data, rng),
            target=lay(sample.building, finer_px),
            valid=lay(sample.valid, finer_px),
            name=source.name,
            place=drawn.place,
            picture=None if sample.picture is None else lay(sample.picture, finer_px),
            objects=None
            if objects is None
            else lay_objects(objects, chip_px, mirror=mirror, quarters=quarters),
        )

    def _draw_sample(self, rng: np.random.Generator) -> tuple[Drawn, Sample]:
        """Draw and read a chip; one that is to show a building, until it does, or as often as is sensible."""
        ground, shows_building = self._sampler.choose(rng)
        for _ in range(_MOST_READS):
            drawn = self._sampler.draw(ground, rng)
            out_shape = _resampled(drawn.window, drawn.side_px, self._preset.training.chip_px)
            sample = self._read(self._maps[drawn.number].source, drawn.window, out_shape)
            if not shows_building or (sample.building & sample.valid).any():
                break
        return drawn, sample

    def _validation_chip(self, planned: ValidationChip) -> _Chip:
        window, chip_px = planned.window, self._validation_chip_px
        sample = self._read(planned.source, window, (window.height, window.width))
        objects = self._objects(planned.source, window, sample)
        sample.valid[: planned.shared_rows * self._scale] = False
        sample.valid[:, : planned.shared_cols * self._scale] = False
        finer_px = chip_px * self._scale
        return _Chip(
            image=pad(normalize(sample.image, self._preset.data), chip_px),
            target=pad(sample.building, finer_px),
            valid=pad(sample.valid, finer_px),
            name=planned.source.name,
            picture=None if sample.picture is None else pad(sample.picture, finer_px),
            objects=None if objects is None else lay_objects(objects, chip_px, mirror=False, quarters=0),
        )

    def _read(self, source: TrainingSource, window: Window, out_shape: tuple[int, int]) -> Sample:
        """Read a window; its image is not shown where buildings, wanted one by one, are not annotated."""
        sample = source.read_triplet(window, out_shape=out_shape)
        if not self._one_by_one:
            return sample
        return replace(sample, image=replace(sample.image, valid=sample.valid.copy()))

    def _objects(self, source: TrainingSource, window: Window, sample: Sample) -> ChipObjects | None:
        """Give the buildings of a window that was read; None if they are not wanted one by one."""
        if not self._one_by_one:
            return None
        return objects_of(source.annotations.outline(window, sample.building), sample.valid)

    def _map(self, source: TrainingSource, window: Window) -> ValidMap:
        return map_valid(source, window, cell_px=self._cell_px)

    @property
    def _cell_px(self) -> int:
        return max(self._preset.training.chip_px // _CELLS_PER_CHIP, 1)

    def _summarize(self, source: TrainingSource) -> SourceSummary:
        chip_px2 = self._preset.training.chip_px**2
        validation, test = (
            sum(self._map(source, window).valid_px for window in windows) / chip_px2
            for windows in (source.ground.validation, source.ground.test)
        )
        return SourceSummary(
            name=source.name,
            training_chips=sum(valid.valid_px for valid in self._maps if valid.source is source) / chip_px2,
            validation_chips=validation,
            footprints=source.footprints,
            repairs=source.repairs,
            test_chips=test,
        )


def _resampled(window: Window, side_px: int, chip_px: int) -> tuple[int, int]:
    """Give rows and columns of a window, part of a square of `side_px`, once that is resampled to a chip."""
    rows, cols = (max(round(length * chip_px / side_px), 1) for length in (window.height, window.width))
    return rows, cols


def _stack(chips: list[_Chip]) -> Batch:
    pictures = [chip.picture for chip in chips if chip.picture is not None]
    objects = [chip.objects for chip in chips if chip.objects is not None]
    return Batch(
        image=np.stack([chip.image for chip in chips]),
        target=np.stack([chip.target for chip in chips]).astype(np.float32),
        valid=np.stack([chip.valid for chip in chips]),
        names=tuple(chip.name for chip in chips),
        places=np.array([chip.place for chip in chips if chip.place], np.int64).reshape(-1, 5),
        picture=np.stack(pictures).astype(np.float32) / _WHITE if pictures else None,
        objects=tuple(objects) if objects else None,
    )
