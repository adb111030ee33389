"""`buildmap evaluate --change` and `--scot`, and how tables of scores are laid out."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from buildmap.cli.options import given

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildmap.evaluate_change import Table
    from buildmap.metrics.change import LabelScores
    from buildmap.metrics.change_summary import ChangeSummary, Row, ScotSummary
    from buildmap.metrics.confusion import EmptyRule
    from buildmap.metrics.ground import Box
    from buildmap.metrics.tracks import Found

Line = tuple[str, ...]
Files = tuple[Path | None, Path | None, Path | None]
"""Prediction and truth, or a table of pairs."""
STDOUT = Path("-")
_SHARED = {"prediction", "truth", "pairs", "csv", "overwrite", "json", "quiet", "verbose", "iou_min"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What both ask for."""

    csv: Path | None
    """Table to write."""
    overwrite: bool
    """Replace an old table."""
    json: bool
    """Print one object."""
    quiet: bool
    """Show no progress."""
    iou_min: float | None
    """Intersection over union of a pair; None leaves it to the measure."""


def score_change(
    ctx: typer.Context,
    asked: Asked,
    files: Files,
    *,
    ground: "tuple[Path | None, Box | None]",
    empty: "EmptyRule",
) -> None:
    """Score layers of changes, and print that."""
    _refuse_others(ctx, _SHARED | {"change", "aoi", "bbox", "empty"}, "--change")
    table = _table(asked, files)
    from buildmap.cli.console import progress
    from buildmap.data.comparisons import find_comparisons, read_comparisons
    from buildmap.evaluate_change import evaluate_change
    from buildmap.metrics.change_summary import change_rows
    from buildmap.metrics.evaluation import IOU_MIN

    prediction, truth, pairs = _checked(files)
    summary = evaluate_change(
        find_comparisons(prediction, truth) if pairs is None else read_comparisons(pairs),
        iou_min=asked.iou_min or IOU_MIN,
        ground=ground,
        empty=empty,
        table=table,
        progress=progress(quiet=asked.quiet),
    )
    _print(asked, summary, change_rows(summary), _change_lines(summary))


def score_tracks(ctx: typer.Context, asked: Asked, files: Files, *, id_column: str) -> None:
    """Score series of layers, and print that."""
    _refuse_others(ctx, _SHARED | {"scot", "id_column"}, "--scot")
    table = _table(asked, files)
    from buildmap.cli.console import progress
    from buildmap.data.comparisons import read_comparisons
    from buildmap.evaluate_change import Series, evaluate_tracks, find_series
    from buildmap.metrics.change_summary import scot_rows
    from buildmap.metrics.tracks import IOU_MIN

    prediction, truth, pairs = _checked(files)
    columns = [name.strip() for name in id_column.split(",")]
    if not all(columns) or len(columns) > 2:
        raise typer.BadParameter(f"--id-column '{id_column}' is not NAME, or NAME,NAME")
    summary = evaluate_tracks(
        find_series(prediction, truth)
        if pairs is None
        else (Series(name=pairs.stem, dates=read_comparisons(pairs)),),
        id_columns=(columns[0], columns[-1]),
        iou_min=asked.iou_min or IOU_MIN,
        table=table,
        progress=progress(quiet=asked.quiet),
    )
    _print(asked, summary, scot_rows(summary), _scot_lines(summary))


def aligned(head: Line, rows: "Sequence[Line]") -> list[str]:
    """Lay out a table whose first column stands on the left, the others on the right."""
    width = max(len(name) for name, *_ in (head, *rows))
    return [f"{name:<{width}}" + "".join(f"  {cell:>10}" for cell in cells) for name, *cells in (head, *rows)]


def share(value: float) -> str:
    """Write a share; one that is undefined is a dash."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def _refuse_others(ctx: typer.Context, known: set[str], option: str) -> None:
    """Tell options that would be passed over without a word."""
    names = {str(param.name) for param in ctx.command.params}
    if others := given(ctx, names - known):
        raise typer.BadParameter(f"{others} has no meaning with {option}")


def _checked(files: Files) -> tuple[Path, Path, Path | None]:
    prediction, truth, pairs = files
    if pairs is not None:
        if prediction or truth:
            raise typer.BadParameter("--pairs names all files: give no other")
        return pairs, pairs, pairs
    if prediction is None or truth is None:
        raise typer.BadParameter("give PREDICTION and TRUTH, or --pairs")
    return prediction, truth, None


def _table(asked: Asked, files: Files) -> "Table | None":
    from buildmap.evaluate_change import Table
    from buildmap.publish import check_distinct

    if asked.csv == STDOUT and asked.json:
        raise typer.BadParameter("only one of --csv and --json can go to stdout")
    if asked.csv is None or asked.csv == STDOUT:
        return None
    check_distinct(asked.csv, *([files[2]] if files[2] else []))
    return Table(path=asked.csv, overwrite=asked.overwrite)


def _print(asked: Asked, summary: "ChangeSummary | ScotSummary", rows: "list[Row]", lines: list[str]) -> None:
    from buildmap.cli.console import report
    from buildmap.metrics.change_summary import to_csv

    if asked.json:
        report(summary, json=True)
    elif asked.csv == STDOUT:
        typer.echo(to_csv(rows), nl=False)
    else:
        typer.echo("\n".join(lines))


def _change_lines(summary: "ChangeSummary") -> list[str]:
    """Lay out scores by status and kind, and what was taken for what."""
    scores = summary.total
    head = ("", "precision", "recall", "F1", "true", "predicted", "right")
    rows = [_scored(name, found) for name, found in (*scores.statuses.items(), ("any change", scores.change))]
    lines = aligned(head, rows)
    if len(summary.pairs) > 1:
        each = [_scored(Path(pair.prediction).name, pair.scores.change) for pair in summary.pairs]
        lines += ["", *aligned(("any change in", *head[1:]), each)]
    if scores.kinds is not None:
        told = [_scored(name, found) for name, found in scores.kinds.items() if found.true or found.predicted]
        lines += ["", *aligned(("changed", *head[1:]), told)] if told else []
    lines += ["", *_confusion(scores.confusion)]
    for side, others in scores.not_scored.items():
        if others:
            names = ", ".join(f"{name} {count}" for name, count in others.items())
            lines.append(f"not scored in the {side}: {names}")
    if scores.set_aside:
        lines.append(f"set aside where the truth has no status: {scores.set_aside}")
    return lines


def _confusion(table: "Mapping[str, Mapping[str, int]]") -> list[str]:
    """Lay out who was taken for what, a line for each true status."""
    names = {row: f"true {row}" if row != "unmatched" else "in no truth" for row in table if row != "other"}
    head = ("", *(f"{name}" for name in table["unmatched"]))
    return aligned(head, [(name, *map(str, table[row].values())) for row, name in names.items()])


def _scored(name: str, found: "LabelScores") -> Line:
    shares = map(share, (found.precision, found.recall, found.f1))
    return (name, *shares, *map(str, (found.true, found.predicted, found.tp)))


def _scot_lines(summary: "ScotSummary") -> list[str]:
    """Lay out the dates of each area, and its scores."""
    head = ("found", "invented", "missed", "F1")
    lines: list[str] = []
    for area in summary.areas:
        scot = area.scot
        dates = [(date.name, date.found) for date in area.dates]
        parts = [("all dates", scot.buildings), ("tracking", scot.tracking), ("change", scot.change)]
        lines += aligned((area.name, *head), [_counted(name, found) for name, found in (*dates, *parts)])
        lines += [f"SCOT {share(scot.score)}, mismatches {scot.mismatches}", ""]
    if len(summary.areas) > 1:
        lines += [f"SCOT of all {len(summary.areas)} areas, their mean: {share(summary.score)}", ""]
    return lines[:-1]


def _counted(name: str, found: "Found") -> Line:
    return (name, *map(str, (found.tp, found.fp, found.fn)), share(found.f1))
