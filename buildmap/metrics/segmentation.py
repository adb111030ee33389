"""Buildings run together and buildings torn apart.

A footprint holds another where at least a given share of the other's area lies in it. A prediction
that holds two or more true buildings has merged them, and a true building that holds two or more
predictions was split: the N:1 and 1:M relations of Rutzinger et al. (2009), which the ISPRS benchmark
reports (Rottensteiner et al., 2014). The share and the counting are ours.

A merging prediction counts where any of the true buildings in it does, a split true building where it
lies, each of its pieces where the building does: the rule of `instances` for pairs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.matching import Overlaps

_DIGITS = 9  # beyond lies the noise of areas, which would decide on exactly half a building


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """How many buildings were run together or torn apart."""

    merged: int = 0
    """Predictions that hold two or more true buildings."""
    split: int = 0
    """True buildings that hold two or more predictions."""
    truths_merged: int = 0
    """True buildings held by a prediction that holds another, too."""
    predictions_split: int = 0
    """Predictions that are pieces of a split true building."""

    def __add__(self, other: "Segmentation") -> "Segmentation":
        return Segmentation(
            merged=self.merged + other.merged,
            split=self.split + other.split,
            truths_merged=self.truths_merged + other.truths_merged,
            predictions_split=self.predictions_split + other.predictions_split,
        )


def count_segmentation(
    overlaps: Overlaps, *, truth_counted: NDArray[np.bool_], share: float = 0.5
) -> Segmentation:
    """Count over- and under-segmentation on the ground that counts.

    Args:
        overlaps: Of the whole of both layers, the prediction on the left.
        truth_counted: (m,) True = this true building lies on the ground that counts.
        share: Of the area of a footprint, from which on another one holds it; above 0, at most 1.

    Raises:
        ValueError: If the share is out of its range.
    """
    merging, splitting = _merging(overlaps, share), _splitting(overlaps, share)
    counts = truth_counted[overlaps.right]
    return Segmentation(
        merged=len(np.unique(overlaps.left[merging & counts])),
        split=len(np.unique(overlaps.right[splitting & counts])),
        truths_merged=len(np.unique(overlaps.right[merging & counts])),
        predictions_split=len(np.unique(overlaps.left[splitting & counts])),
    )


def merged_and_split(
    overlaps: Overlaps, *, truth_counted: NDArray[np.bool_], share: float = 0.5
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Name the buildings that `count_segmentation` counts as `merged` and as `split`.

    Args:
        overlaps: Of the whole of both layers, the prediction on the left.
        truth_counted: (m,) True = this true building lies on the ground that counts.
        share: Of the area of a footprint, from which on another one holds it; above 0, at most 1.

    Returns:
        Indices of merging predictions and of split true buildings, either ascending.

    Raises:
        ValueError: If the share is out of its range.
    """
    counts = truth_counted[overlaps.right]
    merging, splitting = _merging(overlaps, share), _splitting(overlaps, share)
    return np.unique(overlaps.left[merging & counts]), np.unique(overlaps.right[splitting & counts])


def _merging(overlaps: Overlaps, share: float) -> NDArray[np.bool_]:
    """Tell which overlaps, (k,), are a true building in a prediction that holds several."""
    held = _held(overlaps.shared, overlaps.right_area[overlaps.right], share)
    return _of_several(held, overlaps.left, len(overlaps.left_area))


def _splitting(overlaps: Overlaps, share: float) -> NDArray[np.bool_]:
    """Tell which overlaps, (k,), are a prediction in a true building that holds several."""
    held = _held(overlaps.shared, overlaps.left_area[overlaps.left], share)
    return _of_several(held, overlaps.right, len(overlaps.right_area))


def _held(shared: NDArray[np.float64], area: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, not above 0 and at most 1")
    return np.asarray(np.round(shared / area, _DIGITS) >= share)


def _of_several(held: NDArray[np.bool_], holder: NDArray[np.int64], holders: int) -> NDArray[np.bool_]:
    """Keep the overlaps in which one is held by a holder that holds others, too."""
    return held & (np.bincount(holder[held], minlength=holders)[holder] >= 2)
