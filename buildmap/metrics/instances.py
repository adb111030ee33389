"""Footprint scores from counts of buildings found, invented and missed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.metrics.confusion import ratio
from buildmap.vector.matching import Matches


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
    """Share of the predicted buildings that are right."""
    recall: float
    """Share of the true buildings that were found."""
    f1: float
    """Harmonic mean of precision and recall."""


def count_instances(
    matches: Matches, *, prediction_counted: NDArray[np.bool_], truth_counted: NDArray[np.bool_]
) -> Instances:
    """Count matches of predicted (left) and true (right) buildings on the ground that counts.

    A pair counts where its true building does, so that a building on the rim of the ground is not
    held against a prediction whose own middle lies beyond.

    Args:
        matches: From the whole of both layers.
        prediction_counted: (n,) True = this predicted building lies on the ground that counts.
        truth_counted: (m,) True = this true building does.
    """
    invented, missed = prediction_counted.copy(), truth_counted.copy()
    invented[matches.left] = False
    missed[matches.right] = False
    return Instances(tp=int(truth_counted[matches.right].sum()), fp=int(invented.sum()), fn=int(missed.sum()))


def instance_scores(instances: Instances) -> InstanceScores:
    """Compute every score of some counts; nothing predicted where nothing is scores 1."""
    tp, fp, fn = instances.tp, instances.fp, instances.fn
    return InstanceScores(
        precision=ratio(tp, tp + fp), recall=ratio(tp, tp + fn), f1=ratio(2 * tp, 2 * tp + fp + fn)
    )
