"""Average precision and recall of detections ranked by their score, as COCO computes them.

Each prediction, the one of the highest score first, takes the best true building still free, at each of ten
intersections over union from 0.50 to 0.95. A true building outside a size class is ignored: it is not
missed when nobody takes it, and who takes it is neither right nor wrong; predictions prefer one that
is not ignored. A prediction outside the size class that took nothing is ignored, too. True buildings
off the ground that counts are ignored in every class, and so are predictions off it that took nothing.

The published code (pycocotools 2.0) is followed except where it makes no sense on a map:

- It cuts each image off after 100 detections; here all take part.
- Its size classes share their limits, so a building of exactly 32 x 32 pixels is small and medium at once;
  here the upper limit is not in the class.
- Its largest building has 1e10 pixels; here there is no such limit.
- It takes the annotation of number 0 for no match at all; here buildings have no numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.metrics.instances import IOU_STEPS
from buildmap.vector.matching import Overlaps


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeClass:
    """Buildings of some size."""

    name: str
    """As in the output."""
    low: float
    """Smallest area in the class."""
    high: float
    """Smallest area above the class; infinite in the last."""


SIZES_PX = (
    SizeClass(name="small", low=0, high=32**2),
    SizeClass(name="medium", low=32**2, high=96**2),
    SizeClass(name="large", low=96**2, high=math.inf),
)
"""COCO's, in pixels of the compared grid."""
SIZES_M2 = (
    SizeClass(name="shed", low=0, high=50),
    SizeClass(name="house", low=50, high=200),
    SizeClass(name="block", low=200, high=1000),
    SizeClass(name="hall", low=1000, high=math.inf),
)
"""In square metres: sheds and garages, family houses, blocks of flats, halls. The names say size, not use."""

_STEPS = np.array(IOU_STEPS)
_AT_50, _AT_75 = IOU_STEPS.index(0.50), IOU_STEPS.index(0.75)
_EVERY_STEP = np.uint16((1 << len(IOU_STEPS)) - 1)
_RECALL = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedSide:
    """What the ranking must know of the buildings of one side."""

    counted: NDArray[np.bool_]
    """(n,) True = lies on the ground that counts."""
    area_px: NDArray[np.float64]
    """(n,) pixels of the compared grid."""
    area_m2: NDArray[np.float64]
    """(n,) true square metres; NaN where unknown: in no class."""

    def classes(self) -> NDArray[np.bool_]:
        """Tell who counts in which class, (1 + px classes + m2 classes, n); in the first, any size does."""
        sizes = [(self.area_px, size) for size in SIZES_PX] + [(self.area_m2, size) for size in SIZES_M2]
        within = [(size.low <= area) & (area < size.high) for area, size in sizes]
        return np.stack([self.counted] + [self.counted & inside for inside in within])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranked:
    """What became of every prediction of some pairs of files; 40 bytes for each."""

    scores: NDArray[np.float64]
    """(n,) the higher, the earlier."""
    right: NDArray[np.uint16]
    """(classes, n) bit i: took a true building of the class at `IOU_STEPS[i]`."""
    wrong: NDArray[np.uint16]
    """(classes, n) bit i: took none there, and is not ignored."""
    truths: NDArray[np.int64]
    """(classes,) true buildings to be found."""

    def __add__(self, other: "Ranked") -> "Ranked":
        return concatenate([self, other])


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeScores:
    """Scores of the buildings of one size; NaN where there are no true ones."""

    name: str
    """Of the class."""
    low: float
    """Smallest area in the class, pixels or square metres."""
    high: float
    """Smallest area above the class, in the same unit; infinite in the last."""
    truths: int
    """True buildings to be found."""
    ap: float
    """Average precision, mean over `IOU_STEPS`."""
    ap50: float
    """Average precision at an intersection over union of 0.5."""
    ar: float
    """Highest recall, mean over `IOU_STEPS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePrecision:
    """COCO's scores; NaN where there are no true buildings."""

    ap: float
    """Average precision, mean over `IOU_STEPS`."""
    ap50: float
    """Average precision at an intersection over union of 0.5."""
    ap75: float
    """Average precision at an intersection over union of 0.75."""
    ar: float
    """Highest recall, mean over `IOU_STEPS`."""
    by_size_px: tuple[SizeScores, ...]
    """One for each of `SIZES_PX`."""
    by_size_m2: tuple[SizeScores, ...]
    """One for each of `SIZES_M2`."""


def rank(
    overlaps: Overlaps, scores: NDArray[np.floating] | None, *, predictions: RankedSide, truths: RankedSide
) -> Ranked:
    """Let the predictions of one pair of files take true buildings, in the order of their scores.

    Of equal scores, the earlier row goes first. Of true buildings that suit a prediction equally well
    it takes the last, as in COCO.

    Args:
        overlaps: Of the whole of both layers, the prediction on the left.
        scores: (n,) confidence in each prediction, NaN last; None where there is none: all are equal,
            and the average precision says little more than precision times recall.
        predictions: Of the left side.
        truths: Of the right side.

    Raises:
        ValueError: If the lengths do not agree.
    """
    count = len(overlaps.left_area)
    ranks = np.ones(count) if scores is None else np.asarray(scores, np.float64)
    described = (len(predictions.counted), len(truths.counted), len(ranks))
    if described != (count, len(overlaps.right_area), count):
        raise ValueError(
            f"{count} predictions and {len(overlaps.right_area)} true buildings, but (predictions, truths, "
            f"scores) are {described}"
        )
    iou = overlaps.iou
    near = iou >= IOU_STEPS[0]
    starts = np.searchsorted(overlaps.left[near], np.arange(count + 1))
    order = np.argsort(-ranks, kind="stable")
    wanted = truths.classes()
    right, ignored = _take(
        order, starts, overlaps.right[near], iou[near], np.ascontiguousarray(wanted.T), _STEPS
    )
    wrong = np.where(predictions.classes(), _EVERY_STEP & ~(right.T | ignored.T), np.uint16(0))
    return Ranked(scores=ranks, right=right.T, wrong=wrong, truths=np.count_nonzero(wanted, axis=1))


def concatenate(parts: Sequence[Ranked]) -> Ranked:
    """Join the predictions of at least one pair of files; of equal scores, the earlier pair's go first."""
    return Ranked(
        scores=np.concatenate([part.scores for part in parts]),
        right=np.concatenate([part.right for part in parts], axis=1),
        wrong=np.concatenate([part.wrong for part in parts], axis=1),
        truths=np.sum([part.truths for part in parts], axis=0),
    )


def average_precision(ranked: Ranked) -> AveragePrecision:
    """Compute COCO's scores: precision at 101 recalls, each the best at that recall or a higher one."""
    order = np.argsort(-ranked.scores, kind="stable")
    curves = [
        _curves(right[order], wrong[order], int(truths))
        for right, wrong, truths in zip(ranked.right, ranked.wrong, ranked.truths, strict=True)
    ]
    precision, recall = curves[0]
    by_size = [
        _size_scores(size, int(truths), *curve)
        for size, truths, curve in zip(SIZES_PX + SIZES_M2, ranked.truths[1:], curves[1:], strict=True)
    ]
    return AveragePrecision(
        ap=float(precision.mean()),
        ap50=float(precision[_AT_50].mean()),
        ap75=float(precision[_AT_75].mean()),
        ar=float(recall.mean()),
        by_size_px=tuple(by_size[: len(SIZES_PX)]),
        by_size_m2=tuple(by_size[len(SIZES_PX) :]),
    )


def _size_scores(
    size: SizeClass, truths: int, precision: NDArray[np.float64], recall: NDArray[np.float64]
) -> SizeScores:
    return SizeScores(
        name=size.name,
        low=size.low,
        high=size.high,
        truths=truths,
        ap=float(precision.mean()),
        ap50=float(precision[_AT_50].mean()),
        ar=float(recall.mean()),
    )


def _curves(
    right: NDArray[np.uint16], wrong: NDArray[np.uint16], truths: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give precision over recall, (steps, 101), and the highest recall, (steps,), of one class.

    Args:
        right: (n,) bits of `Ranked`, the highest score first.
        wrong: (n,) likewise.
        truths: True buildings to be found; without any, all is NaN.
    """
    precision = np.full((len(IOU_STEPS), len(_RECALL)), np.nan)
    highest = np.full(len(IOU_STEPS), np.nan)
    if truths == 0:
        return precision, highest
    judged = right | wrong
    right, judged = right[judged > 0], judged[judged > 0]
    for step in range(len(IOU_STEPS)):
        hits = np.flatnonzero(right >> step & 1)
        found = np.arange(1, len(hits) + 1)
        seen = np.cumsum(judged >> step & 1, dtype=np.int64)[hits]
        best = np.maximum.accumulate((found / seen)[::-1])[::-1]
        at = np.searchsorted(found / truths, _RECALL)
        precision[step] = np.append(best, 0)[at]  # nothing where that recall is not reached
        highest[step] = len(hits) / truths
    return precision, highest


@compiled
def _take(
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    right: NDArray[np.int64],
    iou: NDArray[np.float64],
    wanted: NDArray[np.bool_],
    steps: NDArray[np.float64],
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Let each prediction take the best free true building, in each class and at each step.

    Args:
        order: (n,) predictions, the highest score first.
        starts: (n + 1,) where the pairs of each prediction start.
        right: (k,) true building of each pair.
        iou: (k,) intersection over union of each pair.
        wanted: (m, classes) False = this true building is ignored there.
        steps: (steps,) lowest intersection over union of a pair.

    Returns:
        (n, classes) bit i: took a wanted building at step i; and (n, classes) an ignored one.
    """
    classes = wanted.shape[1]
    found = np.zeros((len(order), classes), np.uint16)
    ignored = np.zeros((len(order), classes), np.uint16)
    taken = np.zeros(wanted.shape, np.uint16)
    for prediction in order:
        for group in range(classes):
            for step in range(len(steps)):
                best, best_wanted, best_iou = -1, False, steps[step]
                for pair in range(starts[prediction], starts[prediction + 1]):
                    truth = right[pair]
                    if iou[pair] < steps[step] or taken[truth, group] >> step & 1:
                        continue
                    if (wanted[truth, group], iou[pair]) >= (best_wanted, best_iou):
                        best, best_wanted, best_iou = truth, wanted[truth, group], iou[pair]
                if best >= 0:
                    taken[best, group] |= 1 << step
                    if best_wanted:
                        found[prediction, group] |= 1 << step
                    else:
                        ignored[prediction, group] |= 1 << step
    return found, ignored
