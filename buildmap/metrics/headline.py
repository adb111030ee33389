"""The words of a report around its tables: the numbers to begin with, what was compared, how it was done."""

from collections.abc import Callable
from dataclasses import dataclass

from buildmap.metrics.layout import UNDEFINED, count, measure, share, signed, span
from buildmap.metrics.statistics import Interval
from buildmap.metrics.summary import Alignment, EvaluateSummary, PairSummary, Scores

_EMPTY_RULES = {
    "epsilon": "0.0001 is added above and below every fraction, so nothing in nothing scores 1 (Sci-Net)",
    "one": "nothing in nothing scores 1",
    "skip": "nothing in nothing is undefined, and left out of means",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One number that sums up much."""

    name: str
    """Of the score."""
    value: str
    """With its unit."""
    interval: str
    """95 % interval; empty where there is none."""
    meaning: str
    """In one sentence."""


def headlines(summary: EvaluateSummary) -> list[Headline]:
    """Choose the numbers to begin with."""
    intervals = summary.intervals
    lines = [
        Headline(
            name=name,
            value=share(value),
            interval=_interval(intervals.get(column)),
            meaning=meaning,
        )
        for column, name, value, meaning in _shares(summary.total)
    ]
    outlines = summary.total.outlines
    if outlines is not None and outlines.pairs:
        interval = _interval(intervals.get("polis_m"), measure, " m")
        meaning = "Mean distance between the outlines of matched buildings (PoLiS)."
        value = f"{measure(outlines.polis_m.mean)} m"
        lines.append(Headline(name="Outline error", value=value, interval=interval, meaning=meaning))
    return lines


def facts(summary: EvaluateSummary, *, command: str, version: str) -> list[tuple[str, str]]:
    """Say what was compared, and by which rules.

    Args:
        summary: The numbers.
        command: What was typed.
        version: Of this program.
    """
    several = len(summary.pairs) > 1
    found = [("Pairs", count(len(summary.pairs)))] if several else _pair_facts(summary.pairs)
    resampled = sum(pair.alignment is not None and not pair.alignment.same_grid for pair in summary.pairs)
    if several and resampled:
        found.append(("Resampled", f"{count(resampled)} predictions, to the grid of their truth"))
    if summary.other is not None:
        found.append(("Other map", summary.other))
    return [
        *found,
        ("True buildings", count(summary.buildings)),
        ("Threshold", f"probability {summary.threshold:g} and more is building"),
        ("Match", f"two footprints are the same building from IoU {summary.iou_min:g}"),
        ("Empty images", f"{summary.empty_rule}: {_EMPTY_RULES[summary.empty_rule]}"),
        ("Command", command),
        ("Made by", f"buildmap {version}, in {summary.seconds:,.1f} s"),
    ]


def methods(summary: EvaluateSummary) -> list[str]:
    """Say how what is shown was measured, a paragraph each."""
    total = summary.total
    notes = [
        "A pixel counts where both sides have data and it lies on the ground asked for; a building counts "
        "where a point inside it does. All pixel scores are computed from whole-number sums over the "
        "compared ground, so they do not depend on how it was read."
    ]
    if summary.intervals:
        notes.append(
            "95 % intervals are percentiles of a block bootstrap: whole cells of ground, or whole images, "
            "are drawn again and again, because neighbouring pixels and buildings err together."
        )
    if total.boundary is not None:
        notes.append(
            "Boundary IoU (Cheng et al. 2021) compares rims along the inside of the outlines; boundary F "
            "(Csurka et al. 2013) counts outline pixels that have a partner within the same distance."
        )
    if total.calibration is not None:
        notes.append(
            "Calibration (Guo et al. 2017) compares, in bins of the probability of building, the mean of "
            "what was predicted with the share of true buildings."
        )
    if total.objects is not None:
        notes.append(
            "Buildings are matched one to one, from the highest IoU down. AP and AR are COCO's, over IoU "
            "0.50:0.95 and 101 recall points, without its limit on the number of detections."
        )
    if total.outlines is not None:
        notes.append(
            "Outlines are compared in metres on the ground, over matched buildings only: PoLiS (Avbelj et "
            "al. 2015), largest tangent angle (Girard et al. 2021), C-IoU (Zorzi et al. 2022) for each "
            "pair. Published code for PoLiS divides by one corner too many; its value is given beside the "
            "true one, to compare with literature."
        )
    if summary.paired:
        notes.append(
            "The paired test is Wilcoxon's signed-rank test; the effect is the matched-pairs rank-biserial "
            "correlation, from -1 (worse everywhere) to 1 (better everywhere)."
        )
    return notes


def _interval(interval: Interval | None, show: Callable[[float | None], str] = share, unit: str = "") -> str:
    """Format an interval, or nothing where there is none."""
    shown = span(interval, show)
    return "" if shown == UNDEFINED else f"{shown}{unit}"


def _shares(scores: Scores) -> list[tuple[str, str, float, str]]:
    """Give column of the interval, name, value, and meaning."""
    both = "Of all ground that the map or the truth calls building, the share that both do."
    chosen = [
        ("iou", "Pixel IoU", scores.pixels.iou, both),
        ("f1", "Pixel F1", scores.pixels.f1, "Balance of wrongly mapped and overlooked ground."),
    ]
    if scores.objects is not None:
        found = scores.objects.at_50
        right = "Share of the mapped buildings that are right, at IoU 0.5."
        there = "Share of the true buildings that were found, at IoU 0.5."
        chosen += [
            ("object_precision", "Building precision", found.precision, right),
            ("object_recall", "Building recall", found.recall, there),
            ("object_f1", "Building F1", found.f1, "Balance of invented and missed buildings."),
        ]
    if scores.boundary is not None:
        width = f"within {scores.boundary.width_m:g} m ({scores.boundary.width_px} px)"
        meaning = f"The same as pixel IoU, but only {width} of the outlines."
        chosen.append(("boundary_iou", "Boundary IoU", scores.boundary.iou, meaning))
    return chosen


def _pair_facts(pairs: tuple[PairSummary, ...]) -> list[tuple[str, str]]:
    facts = []
    for pair in pairs:
        facts += [("Prediction", pair.prediction), ("Truth", pair.truth)]
        if pair.crs is not None:
            facts.append(("CRS", pair.crs))
        if pair.gsd_m is not None:
            facts.append(("GSD", f"{pair.gsd_m:.3g} m"))
        if pair.alignment is not None:
            facts.append(("Grids", _alignment(pair.alignment)))
    return facts


def _alignment(alignment: Alignment) -> str:
    if alignment.same_grid:
        return "the same"
    words = ["the prediction was resampled"]
    if alignment.offset_px is not None:
        x, y = alignment.offset_px
        words.append(f"offset {signed(x)} px in x, {signed(y)} px in y")
    if alignment.gsd_ratio is not None:
        words.append(f"its pixels are {alignment.gsd_ratio:.3g} times as large")
    return "; ".join(words)
