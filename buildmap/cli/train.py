"""`buildmap train`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildmap.cli.options import Json, Overwrite, PresetName, Quiet
from buildmap.preset import LOSSES, change_preset, find_preset
from buildmap.search.plan import SearchPlan, find_plan, plan_of, plan_paths

if TYPE_CHECKING:
    from buildmap.search.run import SearchSummary

DataFolder = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Folder with the preset's sources, or with images/ and labels/."),
]
Output = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL.safetensors", readable=False, help="Model file; metrics lie beside it in MODEL.run/."
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs, in place of the preset's.")]
LossName = Annotated[
    str | None,
    typer.Option(
        "--loss",
        metavar="NAME",
        help=f"Loss, in place of the preset's: {', '.join(LOSSES)}.",
        autocompletion=lambda: list(LOSSES),
    ),
]
Drop = Annotated[
    float | None,
    typer.Option(
        "--drop-annotations",
        metavar="SHARE",
        min=0,
        max=1,
        help="Take this share of whole buildings out of the training annotations, by the seed.",
    ),
]
Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the preset: --set training.seed=1; KEY= alone makes it absent.",
    ),
]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="KEY=VALUE,VALUE,...",
        help="Train every combination of such values, keep the best model, and print a table.",
    ),
]
Search = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="NAME|FILE",
        help="The same from a TOML file, or a shipped search: [grid], and [halving] to stop bad ones early.",
        autocompletion=lambda: list(plan_paths()),
    ),
]
AuditLayer = Annotated[
    Path | None,
    typer.Option(
        "--audit-annotations",
        metavar="OUT.gpkg",
        readable=False,
        help="Write where the finished network says that the map lacks a building, or has one too many.",
    ),
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write MODEL.run/tensorboard, where tensorboard is installed.")
]
TrainDevice = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|...",
        help="Where the network learns: auto, cpu, cuda; several GPUs as cuda:0,1, processes as cpu:2; "
        "in a search, a trial on each.",
        autocompletion=lambda: ["auto", "cpu", "cuda"],
    ),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Begin anew, whatever an interrupted run has left in MODEL.run/.")
]


def train(
    data: DataFolder,
    output: Output,
    preset: PresetName,
    loss: LossName = None,
    drop_annotations: Drop = None,
    epochs: Epochs = None,
    settings: Setting = None,
    grid: Grid = None,
    search: Search = None,
    audit_annotations: AuditLayer = None,
    tensorboard: TensorBoard = False,
    device: TrainDevice = "auto",
    overwrite: Overwrite = False,
    restart: Restart = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn a model from rasters and annotations.

    The same command, given again, goes on where an interrupted one ended.
    """
    plan = _plan(grid or [], search)
    if plan is not None and audit_annotations is not None:
        raise typer.BadParameter("--audit-annotations goes with one training, not with --grid or --search")
    chosen = find_preset(preset)
    flags = {"loss": loss, "training.drop_annotations": drop_annotations, "training.epochs": epochs}
    given = {key: str(value) for key, value in flags.items() if value is not None}
    chosen = change_preset(chosen, given | dict(_pair(text) for text in settings or []))
    from buildmap.cli.console import progress, report
    from buildmap.train import TrainOptions
    from buildmap.train import train as run

    options = TrainOptions(
        overwrite=overwrite,
        restart=restart,
        device=device,
        audit_annotations=audit_annotations,
        tensorboard=tensorboard,
        command=shlex.join(["buildmap", *sys.argv[1:]]),
    )
    if plan is None:
        report(run(data, output, chosen, options, progress=progress(quiet=quiet)), json=json)
        return
    from buildmap.errors import IncompleteError
    from buildmap.search.run import search as run_search

    found = run_search(data, output, chosen, plan, options, progress=progress(quiet=quiet))
    report(found, json=json, apart=("rows", "trials"))
    if not json:
        typer.echo(_table(found))
    if found.failed:
        reason = next(trial.failure for trial in found.trials if trial.failure is not None)
        raise IncompleteError(
            f"{found.failed} of {len(found.trials)} trials have no model: {reason}",
            hint=f"{found.table} lists them; with --overwrite, the same command tries only these again",
        )


def _plan(grid: list[str], search: str | None) -> SearchPlan | None:
    """Gather what a search tries; None for a single training."""
    if search is None and not grid:
        return None
    if search is not None and grid:
        raise typer.BadParameter("--grid and --search exclude each other: write the values into the file")
    if search is not None:
        return find_plan(search)
    values = {key: value.split(",") for key, value in map(_pair, grid)}
    if len(values) < len(grid):
        raise typer.BadParameter("--grid names a key twice: list all its values at once")
    return plan_of(values, where="--grid")


def _pair(text: str) -> tuple[str, str]:
    """Cut KEY=VALUE in two."""
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise typer.BadParameter(f"'{text}' is not KEY=VALUE")
    return key, value


def _table(found: "SearchSummary") -> str:
    """Lay out the rows of a grid: settings, how many seeds, IoU and F1 with their spread.

    Where trials were stopped, the epochs that each has run stand beside.
    """
    keys, epochs = list(found.rows[0].settings), ["epochs"] if found.stopped else []
    lines = [[*keys, "trials", *epochs, "iou", "sd", "f1", "sd"]]
    for row in found.rows:
        scores = (row.iou, row.iou_sd, row.f1, row.f1_sd)
        cells = ["-" if score is None else f"{score:.4f}" for score in scores]
        ran = [str(row.epochs)] if found.stopped else []
        lines.append([*row.settings.values(), str(row.trials), *ran, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
