"""Random changes to a chip: where it lies does not matter to a building, nor does the light."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from buildmap.preset import Augment, Data
from buildmap.raster.reader import Image

D = TypeVar("D", bound=np.generic)


def draw_turn(augment: Augment, rng: np.random.Generator) -> tuple[bool, int]:
    """Draw whether to mirror a chip left-right, and how many quarter turns follow.

    An up-down mirror is a left-right one and two quarter turns, so this covers both.
    """
    left_right, up_down = (bool(drawn < augment.flip) for drawn in rng.random(2))
    half_turn = bool(rng.random() < augment.half_turn)
    quarters = int(rng.integers(4)) if augment.quarter_turns else 0
    return left_right != up_down, (quarters + 2 * (up_down + half_turn)) % 4


def turn(array: NDArray[D], *, mirror: bool, quarters: int) -> NDArray[D]:
    """Mirror left-right, then turn counter-clockwise, the last two axes of (…, rows, cols)."""
    mirrored = array[..., ::-1] if mirror else array
    return np.rot90(mirrored, quarters, axes=(-2, -1))


def draw_gsd_factor(finest: float, coarsest: float, rng: np.random.Generator) -> float:
    """Draw a GSD between two, log-uniformly: halving and doubling are equal steps."""
    return float(np.exp(rng.uniform(np.log(finest), np.log(coarsest))))


def vary_colors(image: Image, augment: Augment, data: Data, rng: np.random.Generator) -> NDArray[np.float32]:
    """Change brightness, contrast and the gain of each band, and normalize, all in one pass.

    Contrast is changed about the chip's own mean, for dark 16-bit rasters lie far from the middle of
    their range. Integer types stay in their range, as a camera's values would.

    Returns:
        (bands, rows, cols), as `normalize` gives it; 0 where the image is not valid.
    """
    integers = image.pixels.dtype.kind in "iu"
    lowest, full_range = _range(image.pixels) if integers else (0, 1)
    shift = rng.uniform(-augment.brightness, augment.brightness)
    contrast = 1 + rng.uniform(-augment.contrast, augment.contrast)
    color = 1 + rng.uniform(-augment.color, augment.color, len(image.pixels))
    fixed = _means(image) / full_range * (1 - contrast)
    mean, std = np.asarray(data.mean), np.asarray(data.std)
    pixels: NDArray[np.float32] = np.multiply(
        image.pixels, _per_band(contrast * color / full_range / std), dtype=np.float32
    )
    pixels += _per_band((fixed * color + shift - mean) / std)
    if integers:
        limits = _per_band((lowest / full_range - mean) / std), _per_band((1 - mean) / std)
        np.clip(pixels, *limits, out=pixels)
    if not image.valid.all():
        np.copyto(pixels, 0, where=~image.valid)
    return pixels


def _per_band(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    return numbers.astype(np.float32)[:, None, None]


def _range(pixels: NDArray[Any]) -> tuple[int, int]:
    limits = np.iinfo(pixels.dtype)
    return int(limits.min), int(limits.max)


def _means(image: Image) -> NDArray[np.float64]:
    """Give each band's mean over a sixteenth of the valid pixels, which is plenty."""
    pixels, valid = image.pixels[:, ::4, ::4], image.valid[::4, ::4]
    known = pixels.reshape(len(pixels), -1) if valid.all() else pixels[:, valid]
    return known.mean(axis=1, dtype=np.float64) if known.size else np.zeros(len(known))
