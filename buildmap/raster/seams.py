"""Seams told as numbers: how far two windows disagree on the line where one hands over to the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True, kw_only=True)
class SeamAudit:
    """Counted along the borders of cores, and for comparison inside cores."""

    pixels: int = 0
    """Pixels on seams that two windows predicted."""
    disagreement: float = 0.0
    """Sum over them of the difference of the two probabilities."""
    flips: int = 0
    """Those that one window calls building and the other not."""
    inner_pixels: int = 0
    """Pairs of neighbouring pixels inside cores, one line of them in each window."""
    inner_difference: float = 0.0
    """Sum over the pairs of the difference of their probabilities."""

    def compare(self, one: NDArray[np.floating], other: NDArray[np.floating], threshold: float) -> None:
        """Count pixels that two windows predicted, (n,) probability each, NaN where invalid."""
        known = ~(np.isnan(one) | np.isnan(other))
        one, other = one[known], other[known]
        self.pixels += len(one)
        self.disagreement += float(np.abs(one - other).sum(dtype=np.float64))
        self.flips += int(((one >= threshold) != (other >= threshold)).sum())

    def sample_inside(self, one: NDArray[np.floating], next_to_it: NDArray[np.floating]) -> None:
        """Count neighbouring pixels of one window, (n,) probability each, NaN where invalid."""
        difference = np.abs(one - next_to_it)
        difference = difference[~np.isnan(difference)]
        self.inner_pixels += len(difference)
        self.inner_difference += float(difference.sum(dtype=np.float64))

    def add(self, other: "SeamAudit") -> None:
        """Count in what was counted elsewhere."""
        self.pixels += other.pixels
        self.disagreement += other.disagreement
        self.flips += other.flips
        self.inner_pixels += other.inner_pixels
        self.inner_difference += other.inner_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """What an audit found."""

    disagreement: float
    """Mean difference of the two probabilities on a seam, 0..1."""
    flips_per_million: float
    """Of a million pixels on seams, those that one window calls building and the other not."""
    inside: float
    """Mean difference of neighbouring pixels inside windows, 0..1: a smaller disagreement is invisible."""


def summarize(audit: SeamAudit) -> Seams | None:
    """Give the means; None where there was no seam."""
    if not audit.pixels:
        return None
    return Seams(
        disagreement=round(audit.disagreement / audit.pixels, 6),
        flips_per_million=round(1e6 * audit.flips / audit.pixels, 1),
        inside=round(audit.inner_difference / max(audit.inner_pixels, 1), 6),
    )
