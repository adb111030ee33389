"""Where training chips are laid: anywhere on valid ground, on buildings, or where the loss has been high."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.data.augment import draw_gsd_factor
from buildmap.data.chips import ChipGround, ValidMap, map_buildings, place_chip
from buildmap.data.hardness import Hardness
from buildmap.preset import Preset
from buildmap.raster.windows import Window

_LEAST_VALID = 0.25
_MOST_DRAWS = 20
_HARDNESS_CELLS_PER_CHIP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Where a training chip lies."""

    number: int
    """Of the map in whose rectangle it lies."""
    window: Window
    """On the source's grid."""
    side_px: int
    """Side of the whole chip; `window` is what the rectangle has of it."""

    @property
    def place(self) -> tuple[int, int, int, int, int]:
        """Number, col_off, row_off, width, height."""
        window = self.window
        return self.number, window.col_off, window.row_off, window.width, window.height


class Sampler:
    """Draws training chips by a preset's shares; with replacement, so evenly in the long run only."""

    def __init__(self, maps: Sequence[ValidMap], preset: Preset, *, look_px: int) -> None:
        """List the ground of each class that the preset asks for.

        Args:
            maps: Rectangles to lay chips in.
            preset: Says how.
            look_px: Pixels of a mask that are looked at together, to say whether they are building.

        Raises:
            StorageError: If a file cannot be read.
        """
        self._maps, self._preset = maps, preset
        self._anywhere, self._on_buildings, self._on_hard = self._lay(), ChipGround([]), ChipGround([])
        if preset.sampling.building_share:
            found = [map_buildings(valid, look_px=look_px) for valid in maps]
            self._on_buildings = self._lay(found, at_middle=True)
        cell_px = preset.training.chip_px // _HARDNESS_CELLS_PER_CHIP
        self._hardness = Hardness(maps, cell_px=cell_px) if preset.sampling.hard_share else None

    def __bool__(self) -> bool:
        """Tell whether there is any ground at all."""
        return bool(self._anywhere)

    def note(self, places: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Take note of losses, as `Hardness.note`; nothing changes before `end_epoch`."""
        if self._hardness:
            self._hardness.note(places, losses)

    def end_epoch(self) -> None:
        """Let the noted losses decide where the loss is high."""
        if self._hardness:
            self._hardness.end_epoch()
            self._on_hard = self._lay(self._hardness.hardest())

    @property
    def hardness(self) -> dict[str, NDArray[np.float32]]:
        """As `Hardness.state`; empty without a `hard_share`."""
        return self._hardness.state if self._hardness else {}

    def restore(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Put back a `hardness`.

        Raises:
            ValueError: If it is of other maps, or there is none to be had.
        """
        if self._hardness:
            self._hardness.restore(state)
            self._on_hard = self._lay(self._hardness.hardest())
        elif state:
            raise ValueError("a state of hardness without a hard_share")

    def choose(self, rng: np.random.Generator) -> tuple[ChipGround, bool]:
        """Draw a class of ground, anywhere if there is none of it; and say whether to show a building."""
        sampling, drawn = self._preset.sampling, rng.random()
        if drawn < sampling.building_share and self._on_buildings:
            return self._on_buildings, True
        hard = sampling.building_share <= drawn < sampling.building_share + sampling.hard_share
        return self._on_hard if hard and self._on_hard else self._anywhere, False

    def draw(self, ground: ChipGround, rng: np.random.Generator) -> Drawn:
        """Lay a chip; draw until a quarter of it is valid, or give the best of many."""
        best_share, best = -1.0, None
        for _ in range(_MOST_DRAWS):
            number, row, col = ground.draw(rng)
            valid = self._maps[number]
            side_px = self._draw_side(valid, rng)
            window = place_chip(valid.window, row=row, col=col, side_px=side_px, rng=rng)
            share = valid.share(window, side_px)
            if best is None or share > best_share:
                best_share, best = share, Drawn(number=number, window=window, side_px=side_px)
            if share >= _LEAST_VALID:
                break
        if best is None:
            raise ValueError("no chip was drawn")
        return best

    def _lay(
        self, chosen: Sequence[NDArray[np.bool_]] | None = None, *, at_middle: bool = False
    ) -> ChipGround:
        balance = self._preset.sampling.source_balance
        return ChipGround(self._maps, chosen, at_middle=at_middle, source_balance=balance)

    def _draw_side(self, valid: ValidMap, rng: np.random.Generator) -> int:
        """Draw how many working pixels a chip spans: its GSD, smaller where the rectangle is too small."""
        training, augment, gsd_m = self._preset.training, self._preset.augment, valid.source.gsd_m
        widen, coarsest = 1 + augment.gsd_jitter, 1.0
        if augment.gsd == "random" and gsd_m is not None:
            coarsest = max(self._preset.data.gsd_max_m / gsd_m, 1.0)
        drawn = round(training.chip_px * draw_gsd_factor(1 / widen, coarsest * widen, rng))
        least = round(training.chip_px / widen)
        return max(min(drawn, valid.window.width, valid.window.height), least)
