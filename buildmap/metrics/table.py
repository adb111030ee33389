"""A summary as one flat table: a line for each pair and group, the total and the mean over pairs."""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import PurePath

from buildmap.metrics.confusion import PixelScores
from buildmap.metrics.summary import EvaluateSummary, GroupScores, PairSummary, Scores

Cell = str | float | int | None
"""None where nothing was measured, or the measure is undefined."""
Row = dict[str, Cell]
"""Values by column."""

_PLACE = ("scope", "name", "pairs", "prediction", "truth", "gsd_m", "crs")
_METRICS = {
    "tp_px": "confusion.tp",
    "fp_px": "confusion.fp",
    "fn_px": "confusion.fn",
    "tn_px": "confusion.tn",
    **{field.name: f"pixels.{field.name}" for field in fields(PixelScores)},
    "best_iou": "sweep.best_iou.iou",
    "best_iou_threshold": "sweep.best_iou.threshold",
    "best_f1": "sweep.best_f1.f1",
    "best_f1_threshold": "sweep.best_f1.threshold",
    "ece": "calibration.ece",
    "mce": "calibration.mce",
    "brier": "calibration.brier",
    "boundary_width_m": "boundary.width_m",
    "boundary_width_px": "boundary.width_px",
    "boundary_iou": "boundary.iou",
    "boundary_f1": "boundary.f1",
    "boundary_precision": "boundary.precision",
    "boundary_recall": "boundary.recall",
    "ssim": "similarity.ssim",
    "object_tp": "instances.tp",
    "object_fp": "instances.fp",
    "object_fn": "instances.fn",
    "object_precision": "objects.at_50.precision",
    "object_recall": "objects.at_50.recall",
    "object_f1": "objects.at_50.f1",
    "f1_50_95": "objects.f1_50_95",
    "ap": "average_precision.ap",
    "ap50": "average_precision.ap50",
    "ap75": "average_precision.ap75",
    "ar": "average_precision.ar",
    "merged": "segmentation.merged",
    "split": "segmentation.split",
    "truths_merged": "segmentation.truths_merged",
    "predictions_split": "segmentation.predictions_split",
    "cell_m": "cells.cell_m",
    "cells": "cells.cells",
    "count_mae": "cells.count_mae",
    "count_bias": "cells.count_bias",
    "count_rmse": "cells.count_rmse",
    "area_mae_m2": "cells.area_mae_m2",
    "area_bias_m2": "cells.area_bias_m2",
    "area_rmse_m2": "cells.area_rmse_m2",
    "outline_pairs": "outlines.pairs",
    "polis_m": "outlines.polis_m.mean",
    "polis_median_m": "outlines.polis_m.median",
    "polis_p90_m": "outlines.polis_m.p90",
    "polis_published_m": "outlines.polis_published_m.mean",
    "tangent_angle_deg": "outlines.tangent_angle_deg.mean",
    "c_iou": "outlines.c_iou",
    "vertex_ratio": "outlines.vertex_ratio",
    "corner_precision": "outlines.corner_precision",
    "corner_recall": "outlines.corner_recall",
    "corner_tolerance_m": "outlines.corner_tolerance_m",
    "area_error": "outlines.area_error.mean",
    "orientation_error_deg": "outlines.orientation_error_deg.mean",
    "polygons": "topology.polygons",
    "invalid": "topology.invalid",
    "self_intersections": "topology.self_intersections",
    "overlaps": "topology.overlaps",
    "overlap_m2": "topology.overlap_m2",
}
"""Columns, and where in `Scores` their values are."""


def rows(summary: EvaluateSummary) -> list[Row]:
    """Give all lines, each with the same columns in the same order.

    `scope` tells what a line is of: `pair`, a group's kind, `total` (with the intervals, `iou_low` to
    `iou_high` and so on) or `macro`, whose name is the rule for empty images; that has pixel scores only.
    """
    ends = {
        f"{column}_{end}": getattr(interval, end)
        for column, interval in summary.intervals.items()
        for end in ("low", "high")
    }
    columns = [*_PLACE, *_METRICS, *ends]
    return [{column: _defined(line.get(column)) for column in columns} for line in _lines(summary, ends)]


def to_csv(summary: EvaluateSummary) -> str:
    """Write the table with full precision and a header; what is None or NaN is an empty cell."""
    lines = rows(summary)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def metrics(scores: Scores | GroupScores) -> Row:
    """Flatten all scores; the columns are the same whatever was measured."""
    return {column: _value(scores, path) for column, path in _METRICS.items()}


def pair_name(pair: PairSummary) -> str:
    """Name a pair by the last part of its prediction's path."""
    return PurePath(pair.prediction).name


def _lines(summary: EvaluateSummary, ends: Row) -> Iterator[Row]:
    for pair in summary.pairs:
        place: Row = {column: getattr(pair, column, None) for column in _PLACE}
        yield {**place, "scope": "pair", "name": pair_name(pair), "pairs": 1} | metrics(pair.scores)
    for group in summary.groups:
        place = {"scope": group.kind, "name": group.name, "pairs": group.pairs}
        yield place | metrics(group.scores)
    total: Row = {"scope": "total", "name": "total", "pairs": len(summary.pairs)}
    yield total | metrics(summary.total) | ends
    if summary.empty_rule in summary.macro:
        macro = summary.macro[summary.empty_rule]
        means: Row = {field.name: getattr(macro, field.name) for field in fields(macro)}
        yield total | {"scope": "macro", "name": summary.empty_rule} | means


def _value(scores: Scores | GroupScores, path: str) -> Cell:
    value: object = scores
    for name in path.split("."):
        if value is None:
            return None
        value = getattr(value, name, None)  # a group has some of the scores
    if value is None or isinstance(value, str | float | int):
        return value
    raise ValueError(f"{path} is no single value")


def _defined(value: Cell) -> Cell:
    return None if isinstance(value, float) and math.isnan(value) else value
