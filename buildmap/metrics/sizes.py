"""How large the buildings of both sides are, and which sizes are found: counts that add up."""

from dataclasses import dataclass
from operator import add

import numpy as np
from numpy.typing import NDArray

from buildmap.metrics.cells import Placed
from buildmap.vector.matching import Matches

EDGES_M2 = tuple(float(step * 10**power) for power in range(5) for step in (1, 2, 5))
"""Limits of the bins, square metres. The lower limit is in the bin, the upper is not; the first bin has all
that is smaller, the last all that is larger."""
_NONE = (0,) * (len(EDGES_M2) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeCounts:
    """Buildings by the area of their footprints, (bins,) each; one of unknown area is in none."""

    true: tuple[int, ...] = _NONE
    """On the ground that counts."""
    found: tuple[int, ...] = _NONE
    """Those of `true` that were matched."""
    mapped: tuple[int, ...] = _NONE
    """Predicted buildings: those matched with a true building that counts, and invented ones."""
    right: tuple[int, ...] = _NONE
    """Those of `mapped` that were matched, by their own area."""

    def __add__(self, other: "SizeCounts") -> "SizeCounts":
        return SizeCounts(
            true=tuple(map(add, self.true, other.true)),
            found=tuple(map(add, self.found, other.found)),
            mapped=tuple(map(add, self.mapped, other.mapped)),
            right=tuple(map(add, self.right, other.right)),
        )

    @property
    def shown(self) -> range:
        """The bins from the first to the last that has a building; none where there is no building."""
        some = [number for number, both in enumerate(zip(self.true, self.mapped, strict=True)) if any(both)]
        return range(some[0], some[-1] + 1) if some else range(0)


NO_BUILDINGS = SizeCounts()
"""Where none were matched."""


def count_sizes(prediction: Placed, truth: Placed, matches: Matches) -> SizeCounts:
    """Count the buildings of both sides by size.

    A pair counts where its true building does, as `instances.count_instances` says.

    Args:
        prediction: Left in `matches`.
        truth: Right in `matches`.
        matches: One to one, of all buildings.
    """
    counts = truth.counted[matches.right]
    found = np.zeros(len(truth.counted), np.bool_)
    found[matches.right[counts]] = True
    right = np.zeros(len(prediction.counted), np.bool_)
    right[matches.left[counts]] = True
    invented = prediction.counted.copy()
    invented[matches.left] = False
    return SizeCounts(
        true=_count(truth.area_m2[truth.counted]),
        found=_count(truth.area_m2[found]),
        mapped=_count(prediction.area_m2[right | invented]),
        right=_count(prediction.area_m2[right]),
    )


def _count(area_m2: NDArray[np.float64]) -> tuple[int, ...]:
    bins = np.searchsorted(EDGES_M2, area_m2[np.isfinite(area_m2)], side="right")
    return tuple(np.bincount(bins, minlength=len(_NONE)).tolist())
