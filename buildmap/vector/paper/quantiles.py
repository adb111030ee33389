"""Quantiles of more values than fit in memory, the same bits in whatever order parts are added up."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

RELATIVE_ERROR = 0.002
"""Of a quantile between the smallest and the largest value that a sketch tells apart."""

_SMALLEST = 1e-9
_LARGEST = 1e9
_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_BUCKETS = math.ceil(math.log(_LARGEST / _SMALLEST) / math.log(_GROWTH))


def _nothing() -> NDArray[np.int64]:
    return np.zeros(_BUCKETS + 1, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantileSketch:
    """Values counted in buckets that grow by 0.4 %.

    A quantile is at most 0.2 % off the exact one (`numpy.quantile`, method "inverted_cdf") between 1e-9
    and 1e9; what is smaller counts as 0, what is larger as 1e9. The sketch holds 10,363 counts, 83 kB,
    whatever it has seen, and sums of counts do not depend on the order of their parts.
    """

    counts: NDArray[np.int64] = field(default_factory=_nothing)
    """(buckets + 1,) the first counts what is smaller than 1e-9."""

    def __post_init__(self) -> None:
        if self.counts.shape != (_BUCKETS + 1,) or self.counts.dtype != np.int64:
            raise ValueError(
                f"counts are int64 ({_BUCKETS + 1},), not {self.counts.dtype} {self.counts.shape}"
            )

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "QuantileSketch":
        """Count some values.

        Args:
            values: (n,) 0 or larger; infinity counts as 1e9.

        Raises:
            ValueError: If one is negative or NaN.
        """
        if not (values >= 0).all():
            raise ValueError("a quantile sketch holds values from 0 up, none negative and none NaN")
        bucket = np.searchsorted(_edges(), values, side="right")
        return cls(counts=np.bincount(np.minimum(bucket, _BUCKETS), minlength=_BUCKETS + 1))

    @property
    def values(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    def __add__(self, other: "QuantileSketch") -> "QuantileSketch":
        return QuantileSketch(counts=self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QuantileSketch):
            return NotImplemented
        return bool(np.array_equal(self.counts, other.counts))

    __hash__ = None  # type: ignore[assignment]  # equal by what an array holds

    def quantile(self, share: float) -> float:
        """Give the smallest value that at least a share of the values do not exceed.

        Args:
            share: 0..1.

        Returns:
            The value; NaN when nothing was counted.

        Raises:
            ValueError: If the share is not within 0..1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share {share} is not within 0..1")
        total = self.counts.cumsum()
        if not total[-1]:
            return math.nan
        bucket = int(np.searchsorted(total, max(1, math.ceil(share * total[-1]))))
        if bucket == 0:
            return 0.0
        lower = _edges()[bucket - 1]
        return float(lower * 2 * _GROWTH / (1 + _GROWTH))


def _edges() -> NDArray[np.float64]:
    """Give the lower edges of the buckets but the first."""
    return np.asarray(_SMALLEST * _GROWTH ** np.arange(_BUCKETS, dtype=np.float64))
