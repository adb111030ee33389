"""The tables of a report: what each says, in which words, and what is left out.

A table, or a line of it, is there only where something was measured.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from buildmap.metrics.average_precision import SizeScores
from buildmap.metrics.confusion import PixelScores
from buildmap.metrics.instances import ObjectScores
from buildmap.metrics.layout import Line, Table, count, measure, share, signed, span
from buildmap.metrics.outlines import OutlineScores, Spread
from buildmap.metrics.sizes import EDGES_M2, SizeCounts
from buildmap.metrics.statistics import Interval
from buildmap.metrics.summary import EvaluateSummary, GroupScores, Scores
from buildmap.metrics.table import Cell, metrics, pair_name

MOST_PAIRS = 200
"""Pairs of files listed one by one; the table of `--csv` has them all."""

_SCORE_NAMES = {
    "iou": ("IoU", "of the ground that either side calls building, the share both do"),
    "f1": ("F1, Dice", "harmonic mean of precision and recall"),
    "precision": ("Precision", "share of the mapped ground that is building"),
    "recall": ("Recall", "share of the true ground that is mapped"),
    "accuracy": ("Accuracy", "share of all ground that is right, empty ground included"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the shares found of building and of empty ground"),
    "mean_iou": ("Mean IoU", "mean of the IoU of building and of empty ground"),
}


def pixel_tables(summary: EvaluateSummary) -> tuple[Table, ...]:
    """Tell how the ground was mapped: all pixels together, the counts, and means over the pairs."""
    total, confusion = summary.total, summary.total.confusion
    values = {name: getattr(total.pixels, name) for name in _SCORE_NAMES}
    lines = [(name, *_SCORE_NAMES[name], value) for name, value in values.items()]
    if total.similarity is not None:
        note = "structural similarity of the two masks, 11 px Gaussian window"
        lines.append(("ssim", "SSIM", note, total.similarity.ssim))
    counts = Table(
        title="Pixels, number",
        head=("", "mapped as building", "mapped as empty"),
        lines=(
            Line(name="True building", cells=(count(confusion.tp), count(confusion.fn))),
            Line(name="True empty ground", cells=(count(confusion.fp), count(confusion.tn))),
        ),
    )
    together = "All pixels together" if len(summary.pairs) > 1 else "Scores"
    tables = [_scored(f"{together}, 0 to 1", lines, summary.intervals), counts]
    if len(summary.pairs) > 1 and summary.macro:
        tables.append(_macro_table(summary.macro))
    return tuple(tables)


def threshold_table(summary: EvaluateSummary) -> Table | None:
    """Tell what other thresholds would have given."""
    sweep, pixels = summary.total.sweep, summary.total.pixels
    if sweep is None:
        return None
    best = [("Best IoU", sweep.best_iou), ("Best F1", sweep.best_f1)]
    used = (summary.threshold, pixels.iou, pixels.f1, pixels.precision, pixels.recall)
    lines = [Line(name="In use", cells=tuple(map(share, used)))]
    lines += [
        Line(name=name, cells=tuple(map(share, (at.threshold, at.iou, at.f1, at.precision, at.recall))))
        for name, at in best
    ]
    head = ("", "threshold", "IoU", "F1", "precision", "recall")
    return Table(title="Thresholds, 0 to 1", head=head, lines=tuple(lines))


def calibration_table(scores: Scores) -> Table | None:
    """Tell whether probabilities mean what they say."""
    if scores.calibration is None:
        return None
    found = scores.calibration
    lines = (
        Line(name="ECE", cells=(share(found.ece),), note="mean gap between probability and share, by pixels"),
        Line(name="MCE", cells=(share(found.mce),), note="gap of the worst bin"),
        Line(name="Brier score", cells=(share(found.brier),), note="mean squared error of the probability"),
    )
    return Table(title="Errors, 0 to 1, lower is better", head=("", "value"), lines=lines)


def boundary_table(summary: EvaluateSummary) -> Table | None:
    """Tell how well outlines agree, as pixels."""
    found = summary.total.boundary
    if found is None:
        return None
    lines = [
        ("boundary_iou", "Boundary IoU", "IoU of the rims along the inside of the outlines", found.iou),
        ("boundary_f1", "Boundary F", "harmonic mean of the two below", found.f1),
        ("boundary_precision", "Precision", "share of the mapped outline near the true one", found.precision),
        ("boundary_recall", "Recall", "share of the true outline near the mapped one", found.recall),
    ]
    return _scored("Scores, 0 to 1", lines, summary.intervals)


def object_tables(summary: EvaluateSummary) -> tuple[Table, ...]:
    """Tell which buildings were found."""
    scores = summary.total
    tables: list[Table] = []
    if scores.objects is not None:
        tables.append(_object_scores(summary, scores.objects))
    if scores.instances is not None:
        tables.append(_building_counts(scores, summary.iou_min))
    if scores.objects is not None and scores.objects.by_iou:
        tables.append(_by_iou(scores.objects))
    if scores.average_precision is not None:
        sizes = scores.average_precision
        tables += _by_size("By size on the ground", "m²", sizes.by_size_m2)
        tables += _by_size("By size in pixels, as COCO", "px", sizes.by_size_px)
    return tuple(tables)


def size_table(sizes: SizeCounts) -> Table | None:
    """Tell of each size how many buildings there are, and what became of them."""
    if not sizes.shown:
        return None
    lines = []
    for number in sizes.shown:
        true, found, mapped, right = (
            counts[number] for counts in (sizes.true, sizes.found, sizes.mapped, sizes.right)
        )
        cells = (count(true), count(found), count(true - found), count(mapped), count(mapped - right))
        lines.append(Line(name=_size_name(number), cells=cells))
    return Table(
        title="Buildings by size of the footprint",
        head=("", "true", "found", "missed", "mapped", "invented"),
        lines=tuple(lines),
    )


def _size_name(number: int) -> str:
    if number == 0:
        return f"below {EDGES_M2[0]:,.0f} m²"
    if number == len(EDGES_M2):
        return f"{EDGES_M2[-1]:,.0f} m² and more"
    return f"{EDGES_M2[number - 1]:,.0f} to {EDGES_M2[number]:,.0f} m²"


def cell_table(scores: Scores) -> Table | None:
    """Tell how far counts and areas per cell of ground are from the truth."""
    cells = scores.cells
    if cells is None or not cells.cells:
        return None
    return Table(
        title=f"Errors over {count(cells.cells)} cells of {cells.cell_m:g} m",
        head=("", "buildings", "area, m²"),
        lines=(
            Line(
                name="Mean",
                cells=(signed(cells.count_bias), signed(cells.area_bias_m2)),
                note="above 0: too many",
            ),
            Line(name="Mean absolute", cells=(measure(cells.count_mae), measure(cells.area_mae_m2))),
            Line(name="Root mean square", cells=(measure(cells.count_rmse), measure(cells.area_rmse_m2))),
        ),
    )


def outline_tables(scores: OutlineScores) -> tuple[Table, ...]:
    """Tell how well the outlines of matched buildings agree."""
    spreads = (
        ("PoLiS, m", "mean distance from the corners of each outline to the other", scores.polis_m),
        (
            "PoLiS as published code, m",
            "the same, one corner too many in the divisor",
            scores.polis_published_m,
        ),
        ("Largest tangent angle, degrees", "worst direction of a wall", scores.tangent_angle_deg),
        ("Orientation error, degrees", "between main directions, 0 to 45", scores.orientation_error_deg),
        ("Area error, share", "mapped by true area, less 1; below 0: too small", scores.area_error),
    )
    near = f"within {scores.corner_tolerance_m:g} m of a partner"
    single = (
        ("C-IoU", "IoU, less where the number of corners differs", share(scores.c_iou)),
        ("Vertex ratio", "mapped corners for each true one; 1 is right", share(scores.vertex_ratio)),
        ("Corner precision", f"share of the mapped corners {near}", share(scores.corner_precision)),
        ("Corner recall", f"share of the true corners {near}", share(scores.corner_recall)),
    )
    return (
        Table(
            title=f"Over {count(scores.pairs)} matched buildings",
            head=("", "mean", "median", "9 in 10 below"),
            lines=tuple(Line(name=name, cells=_spread(spread), note=note) for name, note, spread in spreads),
        ),
        Table(
            title="Corners",
            head=("", "value"),
            lines=tuple(Line(name=name, cells=(value,), note=note) for name, note, value in single),
        ),
    )


def topology_table(scores: Scores) -> Table | None:
    """Tell whether the predicted layer is sound."""
    found = scores.topology
    if found is None:
        return None
    lines = (
        Line(name="Polygons", cells=(count(found.polygons),)),
        Line(name="Invalid", cells=(count(found.invalid),), note="by the rules of Simple Features"),
        Line(name="Self-intersecting", cells=(count(found.self_intersections),), note="of the invalid"),
        Line(name="Overlapping neighbours", cells=(count(found.overlaps),), note="pairs, slivers left out"),
        Line(name="Ground they share, m²", cells=(count(found.overlap_m2),)),
    )
    return Table(title="As they are in the file, before any repair", head=("", "number"), lines=lines)


def group_tables(summary: EvaluateSummary) -> tuple[Table, ...]:
    """Score each group, one table for each kind."""
    titles = {"gsd": "By GSD", "size": "By size of the building", "region": "By region"}
    kinds = dict.fromkeys(group.kind for group in summary.groups)
    return tuple(
        _scores_table(
            titles.get(kind, kind),
            [(group.name, group.scores) for group in summary.groups if group.kind == kind],
        )
        for kind in kinds
    )


def pair_table(summary: EvaluateSummary) -> Table | None:
    """Score each pair of files, the worst first; None where there is one."""
    if len(summary.pairs) < 2:
        return None
    pairs = sorted(summary.pairs, key=lambda pair: worst_first(pair.scores.pixels.iou))[:MOST_PAIRS]
    left = len(summary.pairs) - len(pairs)
    title = f"The {len(pairs)} worst; {count(left)} more are in the CSV" if left else "All pairs, worst first"
    return _scores_table(title, [(pair_name(pair), pair.scores) for pair in pairs])


def paired_table(summary: EvaluateSummary) -> Table | None:
    """Tell whether one map is better than the other on the same ground."""
    paired = summary.paired
    if not paired:
        return None
    lines = tuple(
        Line(
            name=_COLUMNS[name][0] if name in _COLUMNS else name,
            cells=(
                count(test.n),
                " / ".join(map(count, (test.wins, test.losses, test.ties))),
                signed(test.mean_difference, ".4f"),
                span(Interval(low=test.low, high=test.high), lambda value: signed(value, ".4f")),
                _p(test.p_value),
                _p(test.p_greater),
                signed(test.effect_size),
            ),
        )
        for name, test in paired.items()
    )
    units = next(iter(paired.values())).units
    head = (
        "",
        units,
        "better / worse / equal",
        "mean difference",
        "95 % interval",
        "p, two-sided",
        "p, better",
        "effect",
    )
    return Table(title="This map less the other", head=head, lines=lines)


def _scored(
    title: str, lines: Iterable[tuple[str, str, str, float]], intervals: dict[str, Interval]
) -> Table:
    """Lay out (column, name, note, value); with intervals where one of them has one."""
    rows = list(lines)
    known = any(column in intervals for column, *_ in rows)
    return Table(
        title=title,
        head=("", "value", "95 % interval") if known else ("", "value"),
        lines=tuple(
            Line(
                name=name,
                note=note,
                cells=(share(value), span(intervals.get(column))) if known else (share(value),),
            )
            for column, name, note, value in rows
        ),
    )


def _macro_table(macro: dict[str, PixelScores]) -> Table:
    return Table(
        title="Mean over the pairs, by rule for empty images",
        head=("rule", *(name for name, _ in _SCORE_NAMES.values())),
        lines=tuple(
            Line(name=rule, cells=tuple(share(getattr(pixels, name)) for name in _SCORE_NAMES))
            for rule, pixels in macro.items()
        ),
    )


def _object_scores(summary: EvaluateSummary, objects: ObjectScores) -> Table:
    at_50, average = objects.at_50, summary.total.average_precision
    lines = [
        (
            "object_precision",
            "Precision",
            "share of the mapped buildings that are right at IoU 0.5",
            at_50.precision,
        ),
        ("object_recall", "Recall", "share of the true buildings that were found at IoU 0.5", at_50.recall),
        ("object_f1", "F1", "harmonic mean of the two, as SpaceNet", at_50.f1),
        ("f1_50_95", "F1 over 0.50:0.95", "mean over ten stricter and stricter IoU", objects.f1_50_95),
    ]
    if average is not None:
        lines += [
            ("ap", "AP", "COCO's average precision over 0.50:0.95", average.ap),
            ("ap50", "AP50", "at IoU 0.50", average.ap50),
            ("ap75", "AP75", "at IoU 0.75", average.ap75),
            ("ar", "AR", "highest recall, mean over 0.50:0.95", average.ar),
        ]
    return _scored("Scores, 0 to 1", lines, summary.intervals)


def _building_counts(scores: Scores, iou_min: float) -> Table:
    found, parts = scores.instances, scores.segmentation
    lines: list[Line] = []
    if found is not None:
        lines += [
            Line(name="Found", cells=(count(found.tp),)),
            Line(name="Missed", cells=(count(found.fn),), note="true, not mapped well enough"),
            Line(name="Invented", cells=(count(found.fp),), note="mapped, not true well enough"),
        ]
    if parts is not None:
        merged, pieces = count(parts.truths_merged), count(parts.predictions_split)
        lines += [
            Line(
                name="Merged",
                cells=(count(parts.merged),),
                note=f"mapped as one what is several: {merged} true",
            ),
            Line(name="Split", cells=(count(parts.split),), note=f"mapped in pieces: {pieces} pieces"),
        ]
    return Table(title=f"Buildings, matched from IoU {iou_min:g}", head=("", "number"), lines=tuple(lines))


def _by_iou(objects: ObjectScores) -> Table:
    lines = tuple(
        Line(
            name=f"{step.iou_min:.2f}",
            cells=(
                *map(count, (step.tp, step.fp, step.fn)),
                *map(share, (step.precision, step.recall, step.f1)),
            ),
        )
        for step in objects.by_iou
    )
    head = ("IoU from", "found", "invented", "missed", "precision", "recall", "F1")
    return Table(title="The stricter the match", head=head, lines=lines)


def _by_size(title: str, unit: str, sizes: Sequence[SizeScores]) -> list[Table]:
    lines = tuple(
        Line(
            name=size.name,
            note=f"{size.low:,.0f} {unit} and more"
            if math.isinf(size.high)
            else f"{size.low:,.0f} to {size.high:,.0f} {unit}",
            cells=(count(size.truths), share(size.ap), share(size.ap50), share(size.ar)),
        )
        for size in sizes
    )
    return [Table(title=title, head=("", "true buildings", "AP", "AP50", "AR"), lines=lines)] if lines else []


_COLUMNS: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "iou": ("IoU", share),
    "f1": ("F1", share),
    "precision": ("precision", share),
    "recall": ("recall", share),
    "boundary_iou": ("boundary IoU", share),
    "object_precision": ("building precision", share),
    "object_recall": ("building recall", share),
    "object_f1": ("building F1", share),
    "object_tp": ("found", count),
    "object_fp": ("invented", count),
    "object_fn": ("missed", count),
    "polis_m": ("PoLiS, m", measure),
}


def _scores_table(title: str, named: Sequence[tuple[str, Scores | GroupScores]]) -> Table:
    """Lay out several scores side by side; a column that nobody has is left out."""
    flat = [(name, metrics(scores)) for name, scores in named]
    shown = [column for column in _COLUMNS if any(row[column] is not None for _, row in flat)]
    return Table(
        title=title,
        head=("", *(_COLUMNS[column][0] for column in shown)),
        lines=tuple(
            Line(name=name, cells=tuple(_COLUMNS[column][1](_float(row[column])) for column in shown))
            for name, row in flat
        ),
    )


def _spread(spread: Spread) -> tuple[str, ...]:
    return tuple(map(measure, (spread.mean, spread.median, spread.p90)))


def _float(value: Cell) -> float | None:
    return None if value is None or isinstance(value, str) else float(value)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else share(value)


def worst_first(iou: float) -> float:
    """Give a key that sorts the lowest score first, and what is undefined last."""
    return math.inf if math.isnan(iou) else iou
