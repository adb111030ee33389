"""Whether a predicted probability means what it says: calibration, from the histogram of values."""

import math
from dataclasses import dataclass

import numpy as np

from buildmap.metrics.histogram import STEPS, Histogram

BINS = 15
"""As in Guo et al."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Pixels of like probability: what was promised, and what is true."""

    low: float
    """Probability above which it starts; the first bin starts with 0 itself."""
    high: float
    """Probability with which it ends."""
    pixels: int
    """Counted."""
    probability: float
    """Mean of what was predicted; NaN without pixels."""
    observed: float
    """Share of true buildings; NaN without pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far probabilities are from shares of true buildings; NaN without pixels."""

    ece: float
    """Expected calibration error: mean distance over the bins, by pixels, 0..1."""
    mce: float
    """Maximum calibration error: the distance of the worst bin, 0..1."""
    brier: float
    """Mean squared distance of probability from truth, over pixels and not over bins, 0..1."""
    bins: tuple[ReliabilityBin, ...]
    """From probability 0 to 1."""


def calibrate(histogram: Histogram, bins: int = BINS) -> Calibration:
    """Compare the probability of *building* with the share of true buildings, in bins of equal width.

    This is the reliability of the positive class of a binary problem: the bins cover 0 to 1 and a value
    below one half is the probability of a building, not the confidence that there is none. Guo et al.
    (2017, "On Calibration of Modern Neural Networks", equations 3 and 5) define the errors over the
    confidence of the predicted class, at least one half here, with the same formula and the same bins,
    open below and closed above.

    Everything is taken from whole numbers and divided last. Bins without pixels are left out of the errors.

    Args:
        histogram: Pixels by value.
        bins: How many.

    Raises:
        ValueError: If there are no bins.
    """
    if bins < 1:
        raise ValueError(f"{bins} bins")
    values = np.arange(STEPS + 1)
    place = np.maximum(-(-values * bins // STEPS) - 1, 0)  # whole numbers: no value slips past a border
    pixels, promised, true = (np.zeros(bins, np.int64) for _ in range(3))
    by_value = histogram.counts.sum(axis=0)
    np.add.at(pixels, place, by_value)
    np.add.at(promised, place, by_value * values)
    np.add.at(true, place, histogram.counts[1])
    gaps = np.abs(STEPS * true - promised).tolist()
    most = (STEPS * pixels).tolist()
    squares = histogram.counts.astype(object) * np.stack([values, STEPS - values]) ** 2  # may outgrow int64
    return Calibration(
        ece=_share(sum(gaps), sum(most)),
        mce=max((gap / widest for gap, widest in zip(gaps, most, strict=True) if widest), default=math.nan),
        brier=_share(squares.sum(), STEPS * sum(most)),
        bins=tuple(
            ReliabilityBin(
                low=index / bins,
                high=(index + 1) / bins,
                pixels=n,
                probability=_share(sum_of_values, STEPS * n),
                observed=_share(buildings, n),
            )
            for index, (n, sum_of_values, buildings) in enumerate(
                zip(pixels.tolist(), promised.tolist(), true.tolist(), strict=True)
            )
        ),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
