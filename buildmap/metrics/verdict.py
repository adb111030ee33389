"""The answer of a report in sentences, for who has no use for the name of a score."""

import math

from buildmap.metrics.confusion import Confusion
from buildmap.metrics.instances import Instances
from buildmap.metrics.layout import count, percent, share, signed
from buildmap.metrics.statistics import PairedTest
from buildmap.metrics.summary import EvaluateSummary

_GAIN = 0.01
"""IoU for which another threshold is worth a word."""


def verdict(summary: EvaluateSummary) -> list[str]:
    """Say how good the map is: its buildings, its ground, a better threshold, the other map."""
    total = summary.total
    found = [
        "" if total.instances is None else _buildings(total.instances, summary.iou_min),
        _ground(total.confusion),
        _threshold(summary),
        "" if summary.paired is None else _other(summary.paired.get("iou")),
    ]
    return [sentence for sentence in found if sentence]


def _buildings(found: Instances, iou_min: float) -> str:
    true, mapped = found.tp + found.fn, found.tp + found.fp
    if not true or not mapped:
        return _one_side(true, mapped)
    rule = f"A footprint is right if both share {100 * iou_min:g} % of the ground they cover together."
    return (
        f"Of {_things(true, 'true building')} {count(found.tp)} {_are(found.tp)} found "
        f"({percent(found.tp, true)}), and of {_things(mapped, 'mapped building')} {count(found.tp)} "
        f"{_are(found.tp)} right ({percent(found.tp, mapped)}). {rule}"
    )


def _one_side(true: int, mapped: int) -> str:
    if mapped:
        return f"There is no true building on the compared ground: all {count(mapped)} mapped are invented."
    if true:
        return f"No building is mapped: all {count(true)} true ones are missed."
    return "Neither side has a building on the compared ground."


def _ground(confusion: Confusion) -> str:
    true, mapped = confusion.tp + confusion.fn, confusion.tp + confusion.fp
    parts = []
    if true:
        parts.append(f"{percent(confusion.tp, true)} of the ground of true buildings is mapped")
    if mapped:
        parts.append(f"{percent(confusion.tp, mapped)} of the mapped ground is building")
    sentence = ", and ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _threshold(summary: EvaluateSummary) -> str:
    sweep, used = summary.total.sweep, summary.total.pixels.iou
    if sweep is None or not sweep.best_iou.iou - used >= _GAIN:
        return ""
    best = sweep.best_iou
    return (
        f"A threshold of {best.threshold:.2f} instead of {summary.threshold:g} would raise the IoU of the "
        f"pixels from {share(used)} to {share(best.iou)} on this ground."
    )


def _other(test: PairedTest | None) -> str:
    if test is None or math.isnan(test.low) or math.isnan(test.high):
        return ""
    if test.low <= 0 <= test.high:
        return "Whether it is better or worse than the other map is not certain."
    word = "better" if test.low > 0 else "worse"
    return (
        f"It is {word} than the other map: {signed(test.mean_difference, '.3f')} IoU on average over "
        f"{count(test.n)} {test.units}."
    )


def _things(number: int, name: str) -> str:
    return f"{count(number)} {name}{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
