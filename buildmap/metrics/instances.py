"""Footprint scores from counts of buildings found, invented and missed.

One true building and one predicted building make a pair, each in one pair at most. Everywhere a pair
counts where its true building does, so that a building on the rim of the ground asked for is not held
against a prediction whose own middle lies beyond: the pair is then neither right nor wrong twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.metrics.confusion import EmptyRule, ratio
from buildmap.vector.matching import Matches, Overlaps, match

IOU_STEPS = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95)
"""Intersection over union from which two footprints are one building: SpaceNet's, then ever stricter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """How many buildings were found."""

    tp: int = 0
    """True buildings with a match among the predicted."""
    fp: int = 0
    """Predicted buildings without a match."""
    fn: int = 0
    """True buildings without a match."""

    def __add__(self, other: "Instances") -> "Instances":
        return Instances(tp=self.tp + other.tp, fp=self.fp + other.fp, fn=self.fn + other.fn)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceScores:
    """What the counts say, in shares from 0 to 1."""

    precision: float
    """Share of the predicted buildings that are right; NaN where the rule leaves it undefined."""
    recall: float
    """Share of the true buildings that were found; likewise."""
    f1: float
    """Harmonic mean of precision and recall; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IouScores:
    """Counts and scores where two footprints must agree this well."""

    iou_min: float
    """Lowest intersection over union of a pair."""
    tp: int
    """True buildings with a match among the predicted."""
    fp: int
    """Predicted buildings without a match."""
    fn: int
    """True buildings without a match."""
    precision: float
    """Share of the predicted buildings that are right; NaN where the rule leaves it undefined."""
    recall: float
    """Share of the true buildings that were found; likewise."""
    f1: float
    """Harmonic mean of precision and recall; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScores:
    """How well buildings were found as objects."""

    at_50: InstanceScores
    """At an intersection over union of 0.5, as SpaceNet asks."""
    f1_50_95: float
    """Mean of F1 over `IOU_STEPS`; NaN where the rule leaves it undefined."""
    by_iou: tuple[IouScores, ...]
    """One for each of `IOU_STEPS`."""


def count_instances(
    matches: Matches, *, prediction_counted: NDArray[np.bool_], truth_counted: NDArray[np.bool_]
) -> Instances:
    """Count matches of predicted (left) and true (right) buildings on the ground that counts.

    Args:
        matches: From the whole of both layers.
        prediction_counted: (n,) True = this predicted building lies on the ground that counts.
        truth_counted: (m,) True = this true building does.
    """
    invented, missed = prediction_counted.copy(), truth_counted.copy()
    invented[matches.left] = False
    missed[matches.right] = False
    return Instances(tp=int(truth_counted[matches.right].sum()), fp=int(invented.sum()), fn=int(missed.sum()))


def count_over_iou(
    overlaps: Overlaps, *, prediction_counted: NDArray[np.bool_], truth_counted: NDArray[np.bool_]
) -> tuple[Instances, ...]:
    """Match and count once for each of `IOU_STEPS`.

    Pairs are made from the best down, so that a stricter matching is the beginning of a laxer one:
    one run serves all steps. SpaceNet's rule goes by predictions instead, in their order: each takes
    the best true building still free. The counts differ only where footprints of both layers overlap
    their own neighbours, and are then ours whatever the order of the rows.

    Args:
        overlaps: Of the whole of both layers, the prediction on the left.
        prediction_counted: (n,) True = this predicted building lies on the ground that counts.
        truth_counted: (m,) True = this true building does.
    """
    matches = match(overlaps, iou_min=IOU_STEPS[0])
    counts = []
    for step in IOU_STEPS:
        near = matches.iou >= step
        kept = Matches(left=matches.left[near], right=matches.right[near], iou=matches.iou[near])
        counts.append(
            count_instances(kept, prediction_counted=prediction_counted, truth_counted=truth_counted)
        )
    return tuple(counts)


def instance_scores(instances: Instances, rule: EmptyRule = "epsilon") -> InstanceScores:
    """Compute every score of some counts.

    Args:
        instances: Of one pair of files, or summed over several.
        rule: For fractions of nothing in nothing. SpaceNet's F1 is "one", except that SpaceNet's code
            gives 0 where there are no true buildings, even if none are predicted.
    """
    tp, fp, fn = instances.tp, instances.fp, instances.fn
    return InstanceScores(
        precision=ratio(tp, tp + fp, rule),
        recall=ratio(tp, tp + fn, rule),
        f1=ratio(2 * tp, 2 * tp + fp + fn, rule),
    )


def object_scores(counts: Sequence[Instances], rule: EmptyRule = "epsilon") -> ObjectScores:
    """Compute every score of the counts over IoU, of one pair of files or summed over several.

    Args:
        counts: One for each of `IOU_STEPS`, as `count_over_iou` gives them.
        rule: For fractions of nothing in nothing.

    Raises:
        ValueError: If there are more or fewer counts than steps.
    """
    by_iou = tuple(_scores_at(step, found, rule) for step, found in zip(IOU_STEPS, counts, strict=True))
    return ObjectScores(
        at_50=instance_scores(counts[0], rule),
        f1_50_95=float(np.mean([scores.f1 for scores in by_iou])),
        by_iou=by_iou,
    )


def _scores_at(iou_min: float, counts: Instances, rule: EmptyRule) -> IouScores:
    scores = instance_scores(counts, rule)
    return IouScores(
        iou_min=iou_min,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        precision=scores.precision,
        recall=scores.recall,
        f1=scores.f1,
    )
