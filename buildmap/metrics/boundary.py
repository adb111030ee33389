"""How well two masks agree along their outlines: boundary IoU and boundary F, counted strip by strip.

Boundary IoU (Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation") compares two rims: the pixels of each mask that `width_px` erosions with a 3x3 square take
away. As in the published code, what lies outside the compared window is no building, so a building cut
by the window's border has a rim there.

Boundary F (Csurka et al. 2013; Perazzi et al. 2016, DAVIS, the contour accuracy F) compares two outlines
one pixel wide, and takes an outline pixel for right if the other outline comes within `width_px` of it,
centre to centre. Here an outline pixel is a building pixel beside one (of its four neighbours) that is no
building. The published code of DAVIS marks the pixel to the left of a change, above it or both, be it
building or not: its outline lies up to one pixel away. As in that code, the window's border makes no
outline.

Not-counted pixels make neither rim nor outline. A pixel is judged only where all pixels of the window
within `width_px + 1` of it, along rows and along columns, are counted: these are the pixels that say what
it is, and where its partner lies. So the counts are those of any masks that agree where both are known.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.metrics.bits import EMPTY, FULL, count_bits, grown, grown_round, pack


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryCounts:
    """How many pixels of the rims and outlines of two masks agree."""

    shared: int = 0
    """In both rims."""
    either: int = 0
    """In at least one of the rims."""
    predicted: int = 0
    """On the predicted outline."""
    predicted_near: int = 0
    """Of these, near the true outline."""
    true: int = 0
    """On the true outline."""
    true_near: int = 0
    """Of these, near the predicted outline."""

    def __add__(self, other: "BoundaryCounts") -> "BoundaryCounts":
        return BoundaryCounts(
            shared=self.shared + other.shared,
            either=self.either + other.either,
            predicted=self.predicted + other.predicted,
            predicted_near=self.predicted_near + other.predicted_near,
            true=self.true + other.true,
            true_near=self.true_near + other.true_near,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryScores:
    """How well two masks agree along their outlines, in shares from 0 to 1."""

    width_m: float
    """Width of the rims, and farthest that outlines may be apart, in metres."""
    width_px: int
    """The same in pixels."""
    iou: float
    """Intersection over union of the rims: boundary IoU."""
    f1: float
    """Harmonic mean of precision and recall: boundary F."""
    precision: float
    """Share of the predicted outline that is near the true one."""
    recall: float
    """Share of the true outline that is near the predicted one."""


def halo_rows(width_px: int) -> int:
    """Give the rows above and below a strip that its counts depend on."""
    return width_px + 1


def boundary_counts(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    *,
    rows: slice,
    width_px: int,
    at_top: bool,
    at_bottom: bool,
) -> BoundaryCounts:
    """Count the pixels of one strip; the strips of a window add up to the same counts, however it is cut.

    Args:
        prediction: (rows + halo, cols), all columns of the compared window.
        truth: The same.
        counted: The same; True = known on both sides and on the ground asked for.
        rows: The strip's own rows; `halo_rows` more are needed above and below, unless the window ends.
        width_px: Of the rims, and the farthest that outlines may be apart; at least 1.
        at_top: The first row of the arrays is the first of the window.
        at_bottom: The last row of the arrays is the last of the window.

    Raises:
        ValueError: If shapes differ, or the halo is too small.
    """
    if not prediction.shape == truth.shape == counted.shape:
        raise ValueError(f"shapes differ: {prediction.shape}, {truth.shape}, {counted.shape}")
    if width_px < 1:
        raise ValueError(f"width_px is {width_px}, at least 1 is needed")
    start, stop, _ = rows.indices(len(prediction))
    halo = halo_rows(width_px)
    if (start < halo and not at_top) or (len(prediction) - stop < halo and not at_bottom):
        raise ValueError(f"rows {start} to {stop} of {len(prediction)} lack the {halo} rows around them")
    first = max(start - halo, 0)
    around, own = slice(first, stop + halo), slice(start - first, stop - first)
    unknown = pack(~counted[around])
    judged = ~grown(unknown, halo, EMPTY)[own] if unknown.any() else np.full_like(unknown[own], FULL)
    predicted, true = pack(prediction[around]), pack(truth[around])
    predicted_rim, true_rim = (
        mask[own] & grown(~mask, width_px, FULL)[own] & judged for mask in (predicted, true)
    )
    inside = pack(np.ones((1, counted.shape[1]), np.bool_))
    predicted_line, true_line = (_outline(mask, ~mask & inside) for mask in (predicted, true))
    near_predicted, near_true = (grown_round(line, width_px)[own] for line in (predicted_line, true_line))
    predicted_line, true_line = predicted_line[own] & judged, true_line[own] & judged
    return BoundaryCounts(
        shared=count_bits(predicted_rim & true_rim),
        either=count_bits(predicted_rim | true_rim),
        predicted=count_bits(predicted_line),
        predicted_near=count_bits(predicted_line & near_true),
        true=count_bits(true_line),
        true_near=count_bits(true_line & near_predicted),
    )


def boundary_scores(counts: BoundaryCounts, *, width_px: int, width_m: float) -> BoundaryScores:
    """Compute the scores of some counts.

    Nothing against nothing scores 1, and F is 0 where only one side has an outline, both as in the code
    of DAVIS; that of boundary IoU divides nothing by nothing and gives NaN.

    Args:
        counts: Of one width.
        width_px: That width.
        width_m: The same in metres.
    """
    precision = _share(counts.predicted_near, counts.predicted)
    recall = _share(counts.true_near, counts.true)
    total = precision + recall
    return BoundaryScores(
        width_m=width_m,
        width_px=width_px,
        iou=_share(counts.shared, counts.either),
        f1=2 * precision * recall / total if total else 0.0,
        precision=precision,
        recall=recall,
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


@compiled
def _outline(mask: NDArray[np.uint64], ground: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mark building pixels beside one that is none: bits, (rows, words)."""
    one, last = np.uint64(1), np.uint64(63)
    made = np.zeros_like(mask)
    count = mask.shape[1]
    wide = np.zeros(count + 2, np.uint64)
    for row in range(len(mask)):
        wide[1:-1] = ground[row]
        left, right = wide[:count], wide[2:]
        above, below = ground[max(row - 1, 0)], ground[min(row + 1, len(mask) - 1)]
        own, middle, target = mask[row], ground[row], made[row]
        for word in range(count):
            beside = (
                (middle[word] << one) | (left[word] >> last) | (middle[word] >> one) | (right[word] << last)
            )
            target[word] = own[word] & (beside | above[word] | below[word])
    return made
