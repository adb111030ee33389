"""`buildmap evaluate`."""

import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildmap.cli.evaluate_change import STDOUT, Asked, aligned, score_change, score_tracks, share
from buildmap.cli.options import Aoi, Bbox, Json, MinAreaM2, Overwrite, Quiet, Threshold, box, given, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildmap.data.comparisons import Comparison
    from buildmap.evaluate import Grouping, Outputs
    from buildmap.metrics.confusion import EmptyRule
    from buildmap.metrics.evaluation import Evaluation
    from buildmap.metrics.summary import Alignment, EvaluateSummary, Scores

Prediction = Annotated[
    Path | None,
    typer.Argument(
        metavar="PREDICTION", readable=False, help="Probability, mask or footprints; or a folder of them."
    ),
]
Truth = Annotated[
    Path | None,
    typer.Argument(
        metavar="TRUTH", readable=False, help="Mask or footprints, in any CRS; or a folder, same file stems."
    ),
]
Pairs = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        metavar="CSV",
        readable=False,
        help="Instead of both: a table with the columns prediction, truth and maybe image, other, ...",
    ),
]
GsdM = Annotated[
    float,
    typer.Option(
        "--gsd-m",
        min=0.01,
        callback=number,
        help="Both are layers: length of the side of a pixel that they are drawn in, in metres.",
    ),
]
Measures = Annotated[
    str,
    typer.Option(
        "--measures",
        metavar="LIST",
        help="What to measure beside pixels: all, none, or some of boundary,ssim,objects,outlines,topology.",
    ),
]
Empty = Annotated[
    str,
    typer.Option(
        "--empty",
        metavar="epsilon|one|skip",
        help="Score where neither side has a building: 1 by an epsilon of 1e-4 (Sci-Net), 1, or none.",
        autocompletion=lambda: ["epsilon", "one", "skip"],
    ),
]
BoundaryM = Annotated[
    float,
    typer.Option(
        "--boundary-m",
        min=0.001,
        callback=number,
        help="How far boundaries may be apart, in metres: for boundary IoU and F1.",
    ),
]
CornerM = Annotated[
    float,
    typer.Option("--corner-m", min=0.001, callback=number, help="Farthest that equal corners may be apart."),
]
CellM = Annotated[
    float,
    typer.Option(
        "--cell-m",
        min=0.1,
        max=1e9,
        callback=number,
        help="Side of the cells that buildings are counted in, and intervals drawn from.",
    ),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="gsd|size|COLUMN|FILE[:COLUMN]",
        help="Score parts too: bins of GSD, size classes, a column of --pairs, named polygons. Repeatable.",
        autocompletion=lambda: ["gsd", "size"],
    ),
]
Image = Annotated[
    Path | None,
    typer.Option("--image", readable=False, help="Raster to draw the worst places on (or a folder)."),
]
Other = Annotated[
    Path | None,
    typer.Option(
        "--paired",
        metavar="OTHER",
        readable=False,
        help="Another prediction of the same ground: tells whether PREDICTION is better (Wilcoxon's test).",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Seed of the random draws behind the confidence intervals.")
]
Csv = Annotated[Path | None, typer.Option("--csv", readable=False, help="Table to write; - is stdout.")]
Html = Annotated[Path | None, typer.Option("--html", readable=False, help="Report to write, one file.")]
Errors = Annotated[
    Path | None,
    typer.Option(
        "--errors", readable=False, help="GeoPackage to write: false, missed, merged and split buildings."
    ),
]
Change = Annotated[
    bool,
    typer.Option(
        "--change",
        help="Both are layers of changes: score the column 'status', and 'kind' where both have it.",
    ),
]
Scot = Annotated[
    bool,
    typer.Option(
        "--scot",
        help="Both are folders with a layer for each date: SpaceNet 7's score of tracking and change.",
    ),
]
IouMin = Annotated[
    float | None,
    typer.Option(
        "--iou-min",
        min=0.01,
        max=1,
        callback=number,
        help="For --change and --scot: IoU from which two footprints are one building (0.5 and 0.25).",
    ),
]
IdColumn = Annotated[
    str,
    typer.Option(
        "--id-column", metavar="NAME[,NAME]", help="For --scot: column of ids; the truth's, if it is another."
    ),
]


def evaluate(
    ctx: typer.Context,
    prediction: Prediction = None,
    truth: Truth = None,
    pairs: Pairs = None,
    threshold: Threshold = None,
    aoi: Aoi = None,
    bbox: Bbox = None,
    gsd_m: GsdM = 0.3,
    min_area_m2: MinAreaM2 = 0.0,
    measures: Measures = "all",
    empty: Empty = "epsilon",
    boundary_m: BoundaryM = 1.0,
    corner_m: CornerM = 1.0,
    cell_m: CellM = 100.0,
    by: By = None,
    image: Image = None,
    other: Other = None,
    seed: Seed = 0,
    csv: Csv = None,
    html: Html = None,
    errors: Errors = None,
    change: Change = False,
    scot: Scot = False,
    iou_min: IouMin = None,
    id_column: IdColumn = "building_id",
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score maps by pixels, outlines and buildings.

    Each side is a raster or a layer, in any CRS, or a folder of them.
    """
    from buildmap.cli.console import progress
    from buildmap.evaluate import evaluate as run
    from buildmap.metrics.evaluation import Evaluation

    rule = _rule(empty)
    if change or scot:
        asked = Asked(csv=csv, overwrite=overwrite, json=json, quiet=quiet, iou_min=iou_min)
        files = (prediction, truth, pairs)
        if scot:
            score_tracks(ctx, asked, files, id_column=id_column)
        else:
            score_change(ctx, asked, files, ground=(aoi, box(bbox)), empty=rule)
        return
    if stray := given(ctx, {"iou_min", "id_column"}):
        raise typer.BadParameter(f"{stray} says nothing without --change or --scot")
    if image is not None and html is None:
        raise typer.BadParameter("--image is drawn in the report: give --html, too")
    evaluation = Evaluation(
        threshold=0.5 if threshold is None else threshold,
        aoi=aoi,
        bbox=box(bbox),
        gsd_m=gsd_m,
        min_area_m2=min_area_m2,
        measures=_measures(measures),
        empty=rule,
        boundary_m=boundary_m,
        corner_m=corner_m,
        cell_m=cell_m,
    )
    compared = _compared(prediction, truth, pairs, image=image, other=other)
    evaluation, grouping = _parts(by or [], evaluation, list(compared[0].columns))
    if errors is not None and not evaluation.takes_objects:
        raise typer.BadParameter("--errors are those of buildings: add objects to --measures")
    if (csv == STDOUT and json) or STDOUT in {html, errors}:
        raise typer.BadParameter("only one of --csv and --json can go to stdout, and no other output")
    summary = run(
        compared,
        evaluation,
        grouping=grouping,
        outputs=_outputs(csv, html, errors, pairs=pairs, overwrite=overwrite),
        seed=seed,
        progress=progress(quiet=quiet),
    )
    _print(summary, json=json, csv=csv == STDOUT)


def _outputs(
    csv: Path | None, html: Path | None, errors: Path | None, *, pairs: Path | None, overwrite: bool
) -> "Outputs":
    """Name what is to be written; the table of pairs is no output."""
    from buildmap.evaluate import Outputs
    from buildmap.publish import check_distinct

    command = shlex.join(["buildmap", *sys.argv[1:]])
    written = None if csv == STDOUT else csv
    outputs = Outputs(csv=written, html=html, errors=errors, overwrite=overwrite, command=command)
    for path in outputs.files:
        check_distinct(path, *([pairs] if pairs else []))
    return outputs


def _print(summary: "EvaluateSummary", *, json: bool, csv: bool) -> None:
    from buildmap.cli.console import report
    from buildmap.metrics.table import to_csv

    if json:
        report(summary, json=True)
    elif csv:
        typer.echo(to_csv(summary), nl=False)
    else:
        typer.echo("\n".join(_told(summary)))


def _rule(text: str) -> "EmptyRule":
    """Read what nothing in nothing is worth."""
    from buildmap.metrics.confusion import EMPTY_RULES

    rules = {str(rule): rule for rule in EMPTY_RULES}
    if text not in rules:
        raise typer.BadParameter(f"--empty '{text}' is not one of {', '.join(rules)}")
    return rules[text]


def _measures(text: str) -> frozenset[str]:
    """Read a list of measures."""
    from buildmap.metrics.evaluation import MEASURES

    if text in {"all", "none"}:
        return frozenset(MEASURES if text == "all" else ())
    chosen = {name.strip() for name in text.split(",")}
    if unknown := sorted(chosen - set(MEASURES)):
        raise typer.BadParameter(
            f"--measures '{text}': give all, none, or some of {','.join(MEASURES)}; not '{unknown[0]}'"
        )
    return frozenset(chosen)


def _compared(
    prediction: Path | None, truth: Path | None, pairs: Path | None, *, image: Path | None, other: Path | None
) -> "Sequence[Comparison]":
    """Find what is compared with what."""
    from buildmap.data.comparisons import find_comparisons, read_comparisons

    if pairs is not None:
        if prediction or truth or image or other:
            raise typer.BadParameter("--pairs names all files: give no other")
        return read_comparisons(pairs)
    if prediction is None or truth is None:
        raise typer.BadParameter("give PREDICTION and TRUTH, or --pairs")
    return find_comparisons(prediction, truth, image=image, other=other)


def _parts(by: list[str], evaluation: "Evaluation", columns: list[str]) -> "tuple[Evaluation, Grouping]":
    """Tell gsd, size, columns of the pairs and files apart."""
    from dataclasses import replace

    from buildmap.evaluate import Grouping

    chosen = list(dict.fromkeys(by))
    for name in chosen:
        if name == "size":
            evaluation = replace(evaluation, by_size=True)
        elif name != "gsd" and name not in columns:
            if evaluation.regions is not None:
                raise typer.BadParameter(f"--by {name}: one layer of regions at a time")
            evaluation = replace(evaluation, regions=_regions(name, columns))
    return evaluation, Grouping(gsd="gsd" in chosen, columns=tuple(n for n in chosen if n in columns))


def _regions(name: str, columns: list[str]) -> tuple[Path, str | None]:
    """Read FILE or FILE:COLUMN."""
    from buildmap.errors import MissingInput
    from buildmap.vector.writing.formats import is_vector

    file, _, column = name.rpartition(":")
    for path, chosen in ((name, None), (file, column or None)):
        if path and (Path(path).exists() or path.startswith("/vsi")):
            return Path(path), chosen
    if is_vector(Path(file or name)):
        raise MissingInput(f"{file or name} does not exist")
    choices = ", ".join(["gsd", "size", *columns])
    raise typer.BadParameter(f"--by '{name}' is not one of {choices}, and no layer")


def _told(summary: "EvaluateSummary") -> list[str]:
    """Lay out the scores: pixels of each pair and altogether, then what else was measured."""
    names = ("iou", "precision", "recall", "f1", "balanced_accuracy", "mean_iou")
    rows = [(Path(pair.prediction).name, pair.scores.pixels) for pair in summary.pairs]
    rows = [("pixels", summary.total.pixels)] if len(rows) == 1 else [*rows, ("micro", summary.total.pixels)]
    if len(summary.pairs) > 1:
        rows.append(("macro", summary.macro[summary.empty_rule]))
    rows += [(f"{g.kind} {g.name}", g.scores.pixels) for g in summary.groups if g.scores.pixels]
    lines = aligned(
        ("", "IoU", "precision", "recall", "F1", "bal. acc.", "mean IoU"),
        [(name, *(share(getattr(scores, key)) for key in names)) for name, scores in rows],
    )
    objects = [("buildings", summary.total)] if summary.total.objects else []
    made = [(name, s.instances, s.objects) for name, s in objects]
    made += [(f"{g.kind} {g.name}", g.scores.instances, g.scores.objects) for g in summary.groups]
    table = [
        (
            name,
            *map(share, (o.at_50.precision, o.at_50.recall, o.at_50.f1, o.f1_50_95)),
            *map(str, (i.tp, i.fp, i.fn)),
        )
        for name, i, o in made
        if i is not None and o is not None
    ]
    if table:
        head = ("", "precision", "recall", "F1", "F1 .50:.95", "found", "invented", "missed")
        lines += ["", *aligned(head, table)]
    return [*lines, "", *_rest(summary)]


def _rest(summary: "EvaluateSummary") -> list[str]:
    """Tell what has no place in a table of scores, a line for each."""
    scores = summary.total
    lines = [f"{what:<13}{text}" for what, text in _measured(scores)]
    for name in ("iou", "object_f1"):
        if (found := summary.intervals.get(name)) and not math.isnan(found.low):
            lines.append(f"{name.replace('_', ' '):<13}{share(found.low)} to {share(found.high)} (95 %)")
    for name, test in (summary.paired or {}).items():
        more = "no difference known" if math.isnan(test.mean_difference) else f"{test.mean_difference:+.4f}"
        lines.append(
            f"{'paired':<13}{name.replace('_', ' ')} {more} against the other over {test.n} {test.units}, "
            f"p {test.p_value:.3g}, effect {test.effect_size:+.2f}"
        )
    for pair in summary.pairs:
        if pair.alignment is not None and not pair.alignment.same_grid:
            lines.append(f"{'resampled':<13}{Path(pair.prediction).name} {_resampled(pair.alignment)}")
    return lines


def _resampled(where: "Alignment") -> str:
    parts = ["to the grid it is compared on"]
    if where.gsd_ratio is not None:
        parts.append(f"its pixels are {where.gsd_ratio:.4g} times as large")
    if where.offset_px is None:
        parts.append("turned or in another CRS")
    else:
        parts.append("corners off by ({:.3g}, {:.3g}) px".format(*where.offset_px))
    return ", ".join(parts)


def _measured(scores: "Scores") -> list[tuple[str, str]]:
    told = []
    if (boundary := scores.boundary) is not None:
        told.append(
            (
                "boundary",
                f"IoU {share(boundary.iou)}, F1 {share(boundary.f1)} within {boundary.width_m:g} m",
            )
        )
    if scores.similarity is not None:
        told.append(("SSIM", share(scores.similarity.ssim)))
    if scores.calibration is not None and scores.sweep is not None:
        best = scores.sweep.best_iou
        told.append(("calibration", f"ECE {share(scores.calibration.ece)}"))
        told.append(("threshold", f"best IoU {share(best.iou)} at {best.threshold:.3f}"))
    if (ap := scores.average_precision) is not None:
        told.append(("COCO", f"AP {share(ap.ap)}, AP50 {share(ap.ap50)}, AR {share(ap.ar)}"))
    if (faults := scores.segmentation) is not None:
        told.append(
            ("joined", f"{faults.merged} predictions hold several buildings, {faults.split} are split")
        )
    if (cells := scores.cells) is not None:
        told.append(
            ("cells", f"{cells.cell_m:g} m: count off by {cells.count_mae:.2f}, bias {cells.count_bias:+.2f}")
        )
    if (outlines := scores.outlines) is not None:
        told.append(
            (
                "outlines",
                f"PoLiS {outlines.polis_m.mean:.2f} m, C-IoU {share(outlines.c_iou)}, "
                f"vertex ratio {outlines.vertex_ratio:.2f}, corners {share(outlines.corner_precision)} / "
                f"{share(outlines.corner_recall)}"
                if outlines.pairs
                else "no building was found, so none can be compared",
            )
        )
    if (layer := scores.topology) is not None:
        told.append(
            ("topology", f"{layer.invalid} invalid, {layer.overlaps} overlaps ({layer.overlap_m2:.1f} m2)")
        )
    return told
