"""Pictures of the ground where a map is most wrong: an image with the outlines of both sides over it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

BOTH = (255, 255, 255)
"""White: the outlines agree."""
PREDICTED = (230, 159, 0)
"""Orange: predicted only. With the two others told apart also by who does not see red or green."""
TRUE = (86, 180, 233)
"""Sky blue: true only."""
_GROUND = 64
"""Gray where there is no image."""
_HALF = 128


def densest(wrong: NDArray[np.bool_], side_px: int) -> tuple[int, int]:
    """Find the square with the most wrong pixels; of equal ones the upper, then the one further left.

    Args:
        wrong: (rows, cols), True = false or missed.
        side_px: Side of the square, cut to the array where that is smaller.

    Returns:
        Row and column of its upper left pixel.
    """
    height, width = (min(side_px, size) for size in wrong.shape)
    sums = np.zeros((wrong.shape[0] + 1, wrong.shape[1] + 1), np.int64)
    sums[1:, 1:] = wrong.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    row, col = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(row), int(col)


def stretch(pixels: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Make a picture of an image, (rows, cols, 3).

    The first three bands are shown, or the first alone as gray. Other than uint8, each band is stretched
    between the 2nd and the 98th percentile of its valid pixels here; pixels without data are black.

    Args:
        pixels: (bands, rows, cols) of any type.
        valid: (rows, cols).
    """
    shown = np.repeat(pixels[:1], 3, axis=0) if len(pixels) < 3 else pixels[:3]
    bands = [band if band.dtype == np.uint8 else _stretch_band(band, valid) for band in shown]
    return np.where(valid[..., None], np.stack(bands, axis=-1), 0).astype(np.uint8)


def draw_place(
    image: NDArray[np.uint8] | None,
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    longest_px: int = 360,
) -> NDArray[np.uint8]:
    """Draw the outlines of both sides, (rows, cols, 3), one pixel wide along the inside of each building.

    An outline that only the prediction has is `PREDICTED`, only the truth `TRUE`, where they agree `BOTH`.
    The pixels beside an outline are half as bright, so that it is seen on bright roofs, too. The border of
    the crop makes no outline: nobody knows what is beyond.

    Args:
        image: (rows, cols, 3) of the same ground; without one, gray.
        prediction: (rows, cols), True = building.
        truth: (rows, cols), True = building.
        longest_px: The picture is no longer on either side; what is larger is shrunk before it is drawn on.

    Raises:
        ValueError: If the shapes differ.
    """
    shape = prediction.shape
    if truth.shape != shape or (image is not None and image.shape != (*shape, 3)):
        raise ValueError(f"masks {shape} and {truth.shape}, image {None if image is None else image.shape}")
    scale = min(1.0, longest_px / max(shape))
    size = (max(round(shape[1] * scale), 1), max(round(shape[0] * scale), 1))
    ground = np.full((*shape, 3), _GROUND, np.uint8) if image is None else image
    picture = np.array(Picture.fromarray(ground).resize(size, Picture.Resampling.BOX))
    predicted, true = (_edge(_shrink(mask, size)) for mask in (prediction, truth))
    picture[_beside(predicted | true)] //= 2
    picture[predicted & ~true] = PREDICTED
    picture[true & ~predicted] = TRUE
    picture[true & predicted] = BOTH
    return picture


def _stretch_band(band: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    values = band.astype(np.float64)
    known = values[valid & np.isfinite(values)]
    if not len(known):
        return np.zeros(band.shape)
    low, high = np.percentile(known, (2, 98))
    shares = (np.nan_to_num(values, nan=low) - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.asarray(np.rint(np.clip(shares, 0, 1) * 255))


def _shrink(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Bring a mask to (width, height): a building is where at least half of the ground is one."""
    resized = Picture.fromarray(mask.view(np.uint8) * 255).resize(size, Picture.Resampling.BOX)
    return np.asarray(resized) >= _HALF


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give the pixels of a mask that have a neighbour outside it, above, below or beside."""
    return mask & _beside(~mask)


def _beside(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give the pixels above, below and beside those of a mask, and some of the mask itself."""
    padded = np.pad(mask, 1)
    return np.asarray(padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:])
