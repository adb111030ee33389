"""Pixel scores from counts, as Sci-Net (equations 5 and 6) defines them."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-4
"""Added above and below every fraction: an empty image predicted empty scores 1."""


def ratio(part: float, whole: float) -> float:
    """Give the share of `part` in `whole`; of nothing in nothing, 1."""
    return (part + EPSILON) / (whole + EPSILON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How many pixels were taken for what."""

    tp: int = 0
    """Building, predicted as building."""
    fp: int = 0
    """No building, predicted as building."""
    fn: int = 0
    """Building, missed."""
    tn: int = 0
    """No building, and none predicted."""

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(
            tp=self.tp + other.tp, fp=self.fp + other.fp, fn=self.fn + other.fn, tn=self.tn + other.tn
        )

    @property
    def iou(self) -> float:
        """Intersection over union."""
        return ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the predicted pixels that are right."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true pixels that were found."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, the Dice coefficient."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def accuracy(self) -> float:
        """Share of all pixels that are right."""
        return ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelScores:
    """What a confusion says, in shares from 0 to 1."""

    iou: float
    """Intersection over union."""
    precision: float
    """Share of the predicted pixels that are right."""
    recall: float
    """Share of the true pixels that were found."""
    f1: float
    """Harmonic mean of precision and recall."""
    accuracy: float
    """Share of all pixels that are right."""


def count(prediction: NDArray[np.bool_], truth: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Confusion:
    """Compare two masks of one shape where `counted` is True."""
    total = int(np.count_nonzero(counted))
    predicted = prediction & counted
    tp = int(np.count_nonzero(predicted & truth))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(truth & counted)) - tp
    return Confusion(tp=tp, fp=fp, fn=fn, tn=total - tp - fp - fn)


def scores(confusion: Confusion) -> PixelScores:
    """Compute every score of one confusion: micro scores, when it is a sum over images."""
    return PixelScores(
        iou=confusion.iou,
        precision=confusion.precision,
        recall=confusion.recall,
        f1=confusion.f1,
        accuracy=confusion.accuracy,
    )


def macro_scores(confusions: Sequence[Confusion]) -> PixelScores:
    """Average the scores of at least one image, each counting the same."""
    table = np.array([astuple(scores(confusion)) for confusion in confusions])
    iou, precision, recall, f1, accuracy = table.mean(axis=0).tolist()
    return PixelScores(iou=iou, precision=precision, recall=recall, f1=f1, accuracy=accuracy)
