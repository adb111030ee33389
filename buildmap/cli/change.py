"""`buildmap change`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildmap.cli.options import Format, Json, Layer, Overwrite, Quiet, Wait, date, number

if TYPE_CHECKING:
    from buildmap.changes.columns import Status
    from buildmap.changes.history import Confirming
    from buildmap.changes.options import Comparing, Date, Delivery
    from buildmap.changes.summary import ChangeSummary

Before = Annotated[
    Path,
    typer.Argument(
        metavar="BEFORE", readable=False, help="Footprints of the first date, or what an earlier run wrote."
    ),
]
After = Annotated[
    Path, typer.Argument(metavar="AFTER", readable=False, help="Footprints of the second date, in any CRS.")
]
Output = Annotated[
    Path,
    typer.Argument(
        metavar="OUTPUT",
        readable=False,
        allow_dash=True,
        help="Layer to write; - streams FlatGeobuf, or GeoJSONSeq with -f.",
    ),
]
Iou = Annotated[
    float,
    typer.Option(
        "--iou-min",
        min=0.01,
        max=1.0,
        callback=number,
        help="Buildings of two dates are one from this IoU on.",
    ),
]
AreaChange = Annotated[
    float,
    typer.Option(
        "--area-change", min=0.01, callback=number, help="A building is enlarged that grew by this share."
    ),
]
ShiftTolerance = Annotated[
    float,
    typer.Option(
        "--shift-tolerance-m",
        min=0.0,
        callback=number,
        help="Longest shift between the dates to look for, in metres; 0 looks for none.",
    ),
]
ShiftBlock = Annotated[
    float,
    typer.Option(
        "--shift-block-m", min=100.0, callback=number, help="Side of the squares with a shift of their own."
    ),
]
Confirm = Annotated[
    str,
    typer.Option(
        "--confirm", metavar="K/N", help="Believe a change when K of the last N dates that looked say so."
    ),
]
ValidBefore = Annotated[
    Path | None,
    typer.Option(
        "--valid-before",
        readable=False,
        help="Raster or layer: where the first date had data; BEFORE's layer valid if absent.",
    ),
]
ValidAfter = Annotated[
    Path | None,
    typer.Option(
        "--valid-after",
        readable=False,
        help="Raster or layer: where the second date had data; nothing is gone where it had none.",
    ),
]
DateBefore = Annotated[
    str | None,
    typer.Option(
        "--date-before",
        metavar="YYYY[-MM[-DD]]",
        callback=date,
        help="First date; what BEFORE says if absent.",
    ),
]
DateAfter = Annotated[
    str | None,
    typer.Option(
        "--date-after",
        metavar="YYYY[-MM[-DD]]",
        callback=date,
        help="Second date; what AFTER says if absent.",
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        "--id-column", metavar="NAME", help="Column of BEFORE with ids to keep; building_id if absent."
    ),
]
LayerBefore = Annotated[
    str | None, typer.Option("--layer-before", help="Layer of BEFORE, where it has several.")
]
LayerAfter = Annotated[
    str | None, typer.Option("--layer-after", help="Layer of AFTER, where it has several.")
]
Only = Annotated[
    str | None,
    typer.Option("--only", metavar="STATUS,...", help="Write rows of these only, such as added,removed."),
]
TargetCrs = Annotated[
    str | None,
    typer.Option("--target-crs", metavar="EPSG:CODE", help="CRS of the layer; BEFORE's if absent."),
]
Shifts = Annotated[
    Path | None,
    typer.Option("--shifts", readable=False, help="GeoPackage for the shift of every square of ground."),
]
Html = Annotated[Path | None, typer.Option("--html", readable=False, help="Report for people, in one file.")]
ImageBefore = Annotated[
    Path | None, typer.Option("--image-before", readable=False, help="Raster to show in the report.")
]
ImageAfter = Annotated[
    Path | None, typer.Option("--image-after", readable=False, help="The same, second date.")
]
ExitCode = Annotated[
    bool, typer.Option("--exit-code", help="End with 10 if anything was added, removed or changed.")
]

_FOUND = 10


def change(
    before: Before,
    after: After,
    output: Output,
    iou_min: Iou = 0.3,
    area_change: AreaChange = 0.25,
    shift_tolerance_m: ShiftTolerance = 5.0,
    shift_block_m: ShiftBlock = 1000.0,
    confirm: Confirm = "1/1",
    valid_before: ValidBefore = None,
    valid_after: ValidAfter = None,
    date_before: DateBefore = None,
    date_after: DateAfter = None,
    id_column: IdColumn = None,
    layer_before: LayerBefore = None,
    layer_after: LayerAfter = None,
    only: Only = None,
    format: Format = None,  # noqa: A002
    layer: Layer = "changes",
    target_crs: TargetCrs = None,
    shifts: Shifts = None,
    html: Html = None,
    image_before: ImageBefore = None,
    image_after: ImageAfter = None,
    exit_code: ExitCode = False,
    overwrite: Overwrite = False,
    wait: Wait = 0.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell what was built and what is gone.

    OUTPUT has a row for every building, with a status: added, removed, changed, unchanged, or unobserved
    where the other date had no data; with --confirm also appearing, missing and changing, until enough dates
    agree. It is the next date's BEFORE.
    """
    from buildmap.changes.options import Comparing, Date, Delivery
    from buildmap.changes.verdicts import Judging
    from buildmap.vector.writing.formats import STREAM

    if html is None and (image_before or image_after):
        raise typer.BadParameter("--image-before and --image-after are shown in the report of --html")
    if shift_block_m < 2 * shift_tolerance_m:
        raise typer.BadParameter("--shift-block-m must be at least twice --shift-tolerance-m")
    comparing = Comparing(
        judging=Judging(iou_min=iou_min, area_change=area_change),
        confirming=_confirming(confirm),
        shift_tolerance_m=shift_tolerance_m,
        shift_block_m=shift_block_m,
        id_column=id_column,
    )
    delivery = Delivery(
        layer=layer,
        format=format,
        target_crs=target_crs,
        only=_statuses(only),
        shifts=shifts,
        html=html,
        overwrite=overwrite,
        wait_s=wait,
        command=shlex.join(["buildmap", *sys.argv[1:]]),
    )
    dates = (
        Date(path=before, layer=layer_before, valid=valid_before, date=date_before, image=image_before),
        Date(path=after, layer=layer_after, valid=valid_after, date=date_after, image=image_after),
    )
    summary = _carry_out(dates, output, comparing, delivery, quiet=quiet)
    _tell(summary, json=json, quiet=quiet, streamed=output == STREAM)
    if exit_code and summary.has_changes:
        raise typer.Exit(_FOUND)


def _confirming(text: str) -> "Confirming":
    from buildmap.changes.history import Confirming

    parts = text.split("/")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"--confirm '{text}' is not such as 2/3")
    try:
        return Confirming(dates=int(parts[0]), of=int(parts[1]))
    except ValueError as error:
        raise typer.BadParameter(f"--confirm {text}: {error}") from error


def _statuses(text: str | None) -> "tuple[Status, ...]":
    from buildmap.changes.columns import STATUSES
    from buildmap.schema import did_you_mean

    known = {str(status): status for status in STATUSES}
    asked = [] if text is None else [word.strip() for word in text.split(",")]
    for word in asked:
        if word not in known:
            hint = did_you_mean(word, [*known]) or f"choose among {', '.join(known)}"
            raise typer.BadParameter(f"--only: there is no status '{word}'; {hint}")
    return tuple(known[word] for word in asked)


def _carry_out(
    dates: "tuple[Date, Date]", output: Path, comparing: "Comparing", delivery: "Delivery", *, quiet: bool
) -> "ChangeSummary":
    from buildmap.change import change as run
    from buildmap.cli.console import progress
    from buildmap.execution.drain import draining

    with draining() as drain:
        return run(
            *dates,
            output,
            comparing,
            delivery,
            progress=progress(quiet=quiet),
            stop=lambda: drain.asked is not None,
        )


def _tell(summary: "ChangeSummary", *, json: bool, quiet: bool, streamed: bool) -> None:
    """Report on stdout, or on stderr where the layer went down the other."""
    from buildmap.cli.console import report

    if not streamed:
        report(summary, json=json)
    elif json or not quiet:
        report(summary, json=json, on_stderr=True)
