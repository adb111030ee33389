"""Pixel scores from four counts, with three rules for the fractions that are nothing in nothing.

The rules differ only where a fraction has little or nothing below its line: an image without buildings,
or a prediction without any.

- `epsilon`: 1e-4 is added above and below every fraction, as Sci-Net does (equations 5 and 6). Nothing
  in nothing is 1; one false pixel in an image without buildings gives an IoU of 1e-4.
- `one`: nothing in nothing is 1, and every other fraction is exact: the convention of the Dice score in
  Kaggle's Carvana challenge, and scikit-learn's `zero_division=1`.
- `skip`: nothing in nothing is undefined, NaN, and a mean over images leaves it out, score by score:
  scikit-learn's `zero_division=nan`.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

EmptyRule = Literal["epsilon", "one", "skip"]
"""What a share of nothing in nothing is worth."""
EMPTY_RULES: tuple[EmptyRule, ...] = ("epsilon", "one", "skip")
"""All of them."""
EPSILON = 1e-4
"""Added above and below every fraction by the rule of that name."""


def ratio(part: float, whole: float, rule: EmptyRule = "epsilon") -> float:
    """Give the share of `part` in `whole`, 0..1; of nothing in nothing, what the rule says."""
    if rule == "epsilon":
        return (part + EPSILON) / (whole + EPSILON)
    if whole == 0:
        return 1.0 if rule == "one" else math.nan
    return part / whole


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
        """Intersection over union by Sci-Net's rule."""
        return ratio(self.tp, self.tp + self.fp + self.fn)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelScores:
    """What a confusion says, in shares from 0 to 1; NaN where the rule leaves a score undefined."""

    iou: float
    """Intersection over union."""
    f1: float
    """Harmonic mean of precision and recall."""
    dice: float
    """Dice coefficient: for masks, the same number as F1 under another name."""
    precision: float
    """Share of the predicted pixels that are right."""
    recall: float
    """Share of the true pixels that were found."""
    accuracy: float
    """Share of all pixels that are right."""
    balanced_accuracy: float
    """Mean of the share found of buildings and of background, as map-guided cross-training has it."""
    mean_iou: float
    """Mean of the IoU of buildings and of background, as map-guided cross-training has it."""


def count(prediction: NDArray[np.bool_], truth: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Confusion:
    """Compare two masks of one shape where `counted` is True."""
    total = int(np.count_nonzero(counted))
    predicted = prediction & counted
    tp = int(np.count_nonzero(predicted & truth))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(truth & counted)) - tp
    return Confusion(tp=tp, fp=fp, fn=fn, tn=total - tp - fp - fn)


def scores(confusion: Confusion, rule: EmptyRule = "epsilon") -> PixelScores:
    """Compute every score of one confusion: micro scores, when it is a sum over images.

    Balanced accuracy and mean IoU are undefined where one of their two halves is.

    Args:
        confusion: Pixels.
        rule: For fractions of nothing in nothing.
    """
    tp, fp, fn, tn = confusion.tp, confusion.fp, confusion.fn, confusion.tn
    wrong = fp + fn
    iou, background_iou = ratio(tp, tp + wrong, rule), ratio(tn, tn + wrong, rule)
    recall, specificity = ratio(tp, tp + fn, rule), ratio(tn, tn + fp, rule)
    f1 = ratio(2 * tp, 2 * tp + wrong, rule)
    return PixelScores(
        iou=iou,
        f1=f1,
        dice=f1,
        precision=ratio(tp, tp + fp, rule),
        recall=recall,
        accuracy=ratio(tp + tn, tp + tn + wrong, rule),
        balanced_accuracy=(recall + specificity) / 2,
        mean_iou=(iou + background_iou) / 2,
    )


def macro_scores(confusions: Sequence[Confusion], rule: EmptyRule = "epsilon") -> PixelScores:
    """Average the scores of images, each counting the same; by `skip`, over those that define a score.

    Args:
        confusions: At least one, of an image each.
        rule: For fractions of nothing in nothing.

    Raises:
        ValueError: If there is no image.
    """
    if not confusions:
        raise ValueError("no images to average over")
    table = np.array([astuple(scores(confusion, rule)) for confusion in confusions])
    names = [field.name for field in fields(PixelScores)]
    return PixelScores(**dict(zip(names, map(_mean, table.T), strict=True)))


def _mean(values: NDArray[np.float64]) -> float:
    """Average what is defined; NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
