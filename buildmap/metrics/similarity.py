"""Structural similarity (SSIM) of two masks, summed strip by strip.

Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", equation
13, with the window of the paper: 11 x 11 pixels, Gaussian, 1.5 pixels wide, and statistics of the
population. Masks hold 0 and 1, so the mean of a square is the mean itself, and three filtered fields
suffice. A pixel is compared only where its whole window is counted and lies in the compared window of
the raster; scikit-image leaves out the same five pixels along the border.

Where the two masks agree all over a window, its similarity is exactly 1: numerator and denominator are
built from the same numbers by the same steps. Only the surroundings of differences are filtered.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.metrics.bits import EMPTY, FULL, count_bits, grown, pack

HALO_ROWS = 5
"""Rows above and below a strip that its sum depends on."""

_SIGMA_PX = 1.5
_STEADY_MEAN, _STEADY_SPREAD = 0.01**2, 0.03**2  # K1 and K2 of the paper; the data range is 1
_FRACTION_BITS = 40
_ONE = 2**_FRACTION_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilaritySum:
    """The similarity of some pixels, as whole numbers: any order of adding gives the same."""

    total: int = 0
    """Sum over the pixels, each rounded to 2**-40, in these units."""
    pixels: int = 0
    """Pixels whose whole window is known."""

    def __add__(self, other: "SimilaritySum") -> "SimilaritySum":
        return SimilaritySum(total=self.total + other.total, pixels=self.pixels + other.pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """How alike two masks are to the eye."""

    ssim: float
    """Mean structural similarity, from -1 to 1; NaN where no pixel could be compared."""
    pixels: int
    """Pixels it is the mean of."""


def similarity_sum(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], counted: NDArray[np.bool_], *, rows: slice
) -> SimilaritySum:
    """Sum the similarity over one strip; the strips of a window add up to the same sum, however it is cut.

    Args:
        prediction: (rows + halo, cols), all columns of the compared window.
        truth: The same.
        counted: The same; True = known on both sides and on the ground asked for.
        rows: The strip's own rows. `HALO_ROWS` more above and below belong to it; where the window
            ends there are fewer, and its outermost rows are not compared.

    Raises:
        ValueError: If shapes differ.
    """
    if not prediction.shape == truth.shape == counted.shape:
        raise ValueError(f"shapes differ: {prediction.shape}, {truth.shape}, {counted.shape}")
    start, stop, _ = rows.indices(len(prediction))
    first = max(start - HALO_ROWS, 0)
    around, own = slice(first, stop + HALO_ROWS), slice(start - first, stop - first)
    predicted, true = _as_bytes(prediction[around]), _as_bytes(truth[around])
    judged = ~grown(~pack(counted[around]), HALO_ROWS, FULL)[own]
    near = grown(pack(predicted != true), HALO_ROWS, EMPTY)[own] & judged
    pixels = count_bits(judged)
    filtered = sum(_sum_rows(predicted, true, near, start - first, _taps()).tolist())
    return SimilaritySum(total=(pixels - count_bits(near)) * _ONE + filtered, pixels=pixels)


def similarity(sums: SimilaritySum) -> Similarity:
    """Give the mean similarity of some pixels."""
    mean = sums.total / (sums.pixels * _ONE) if sums.pixels else math.nan
    return Similarity(ssim=mean, pixels=sums.pixels)


def _as_bytes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(mask).view(np.uint8)


def _taps() -> NDArray[np.float64]:
    """Give the weights of the window from its middle outwards, (6,); those of all 11 pixels add up to 1."""
    bell = [math.exp(-0.5 * (away / _SIGMA_PX) ** 2) for away in range(HALO_ROWS + 1)]
    return np.array(bell) / (2 * sum(bell) - bell[0])


@compiled
def _sum_rows(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    chosen: NDArray[np.uint64],
    first: int,
    taps: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Sum the similarity of some pixels, row by row, in 2**-40: up to eight million columns fit.

    Args:
        prediction: (rows + halo, cols) of 0 and 1.
        truth: The same.
        chosen: (rows, words) bits of the pixels to sum, whose windows lie inside.
        first: Row of `prediction` that the first of `chosen` is.
        taps: (6,) weights of the window.

    Returns:
        (rows,).
    """
    totals = np.zeros(len(chosen), np.int64)
    for row in range(len(chosen)):
        line, word = chosen[row], 0
        while word < len(line):
            if line[word] == EMPTY:
                word += 1
                continue
            left = _first_bit(line[word]) + 64 * word
            while word < len(line) and line[word] != EMPTY:
                right = _last_bit(line[word]) + 64 * word + 1
                word += 1
            totals[row] += _sum_run(prediction, truth, line, (first + row, left, right), taps)
    return totals


@compiled
def _first_bit(word: np.uint64) -> int:
    bit = 0
    while not (word >> np.uint64(bit)) & np.uint64(1):
        bit += 1
    return bit


@compiled
def _last_bit(word: np.uint64) -> int:
    bit = 63
    while not (word >> np.uint64(bit)) & np.uint64(1):
        bit -= 1
    return bit


@compiled
def _sum_run(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    chosen: NDArray[np.uint64],
    run: tuple[int, int, int],
    taps: NDArray[np.float64],
) -> int:
    """Sum the chosen pixels, (words,) bits, of a run, (row, left, right), in 2**-40."""
    row, left, right = run
    lines = np.empty((3, right - left + 2 * HALO_ROWS))
    means = np.empty((3, right - left))
    _filter_down(prediction, truth, row, left - HALO_ROWS, taps, lines)
    for field in range(3):
        _filter_across(lines[field], taps, means[field])
    similar = _compare(means[0], means[1], means[2])
    total = 0
    for col in range(left, right):
        if (chosen[col // 64] >> np.uint64(col % 64)) & np.uint64(1):
            total += similar[col - left]
    return total


@compiled
def _filter_down(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    row: int,
    left: int,
    taps: NDArray[np.float64],
    lines: NDArray[np.float64],
) -> None:
    """Filter prediction, truth and their product along columns, around `row` and from `left` on."""
    first, second, both = lines[0], lines[1], lines[2]
    lines[:] = 0
    for away in range(HALO_ROWS, -1, -1):
        weight = taps[away] if away else taps[0] / 2
        predicted, true = prediction[row - away, left:], truth[row - away, left:]
        predicted_below, true_below = prediction[row + away, left:], truth[row + away, left:]
        for col in range(len(first)):
            first[col] += weight * (predicted[col] + predicted_below[col])
            second[col] += weight * (true[col] + true_below[col])
            both[col] += weight * ((predicted[col] & true[col]) + (predicted_below[col] & true_below[col]))


@compiled
def _filter_across(line: NDArray[np.float64], taps: NDArray[np.float64], made: NDArray[np.float64]) -> None:
    """Filter (cols + 10,) along the row to (cols,)."""
    made[:] = 0
    for away in range(HALO_ROWS, 0, -1):
        weight, left, right = taps[away], line[HALO_ROWS - away :], line[HALO_ROWS + away :]
        for col in range(len(made)):
            made[col] += weight * (left[col] + right[col])
    middle = line[HALO_ROWS:]
    for col in range(len(made)):
        made[col] += taps[0] * middle[col]


@compiled
def _compare(
    predicted: NDArray[np.float64], true: NDArray[np.float64], both: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Compute the similarity of pixels from their filtered fields, (cols,), in 2**-40."""
    made = np.empty(len(both), np.int64)
    for col in range(len(both)):
        x, y = predicted[col], true[col]
        spread = (x - x * x) + (y - y * y)
        shared = both[col] - x * y
        above = (2 * x * y + _STEADY_MEAN) * (2 * shared + _STEADY_SPREAD)
        below = (x * x + y * y + _STEADY_MEAN) * (spread + _STEADY_SPREAD)
        made[col] = int(np.rint(above / below * _ONE))
    return made
