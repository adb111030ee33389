"""`buildmap evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildmap.cli.options import Aoi, Bbox, Json, MinAreaM2, Quiet, Threshold, box, number

if TYPE_CHECKING:
    from buildmap.evaluate import EvaluateSummary

Prediction = Annotated[
    Path,
    typer.Argument(
        metavar="PREDICTION", readable=False, help="Probability, mask or footprints; or a folder of them."
    ),
]
Truth = Annotated[
    Path,
    typer.Argument(
        metavar="TRUTH", readable=False, help="Mask or footprints, in any CRS; or a folder, same file stems."
    ),
]
GsdM = Annotated[
    float,
    typer.Option(
        "--gsd-m", min=0.01, callback=number, help="Side of a pixel in metres where both sides are layers."
    ),
]


def evaluate(
    prediction: Prediction,
    truth: Truth,
    threshold: Threshold = None,
    aoi: Aoi = None,
    bbox: Bbox = None,
    gsd_m: GsdM = 0.3,
    min_area_m2: MinAreaM2 = 0.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score maps by pixels and by buildings.

    Each side is a raster or a layer, in any CRS, or a folder of them.
    """
    from buildmap.cli.console import progress, report
    from buildmap.evaluate import evaluate as run
    from buildmap.metrics.scoring import Evaluation

    evaluation = Evaluation(
        threshold=0.5 if threshold is None else threshold,
        aoi=aoi,
        bbox=box(bbox),
        gsd_m=gsd_m,
        min_area_m2=min_area_m2,
    )
    summary = run(prediction, truth, evaluation, progress=progress(quiet=quiet))
    if json:
        report(summary, json=True)
    else:
        typer.echo("\n".join(_table(summary)))


def _table(summary: "EvaluateSummary") -> list[str]:
    """Lay out the scores in columns: each pair, all together, then the buildings."""
    rows = [(Path(pair.prediction).name, pair.pixels) for pair in summary.pairs]
    rows = [("pixels", summary.micro)] if len(rows) == 1 else rows
    if len(rows) > 1:
        rows += [("micro", summary.micro), ("macro", summary.macro)]
    found, objects = summary.instances, summary.objects
    table: list[tuple[str, ...]] = [("", "IoU", "precision", "recall", "F1", "accuracy")]
    table += [(name, *map(_share, (s.iou, s.precision, s.recall, s.f1, s.accuracy))) for name, s in rows]
    table += [("buildings", "-", *map(_share, (objects.precision, objects.recall, objects.f1)), "-")]
    width = max(len(name) for name, *_ in table)
    return [
        *(f"{name:<{width}}" + "".join(f"  {cell:>9}" for cell in cells) for name, *cells in table),
        f"{found.tp} buildings found, {found.fp} invented, {found.fn} missed (IoU from {summary.iou_min:g})",
    ]


def _share(value: float) -> str:
    return f"{value:.4f}"
