"""`buildmap export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildmap.cli.options import Json, Overwrite, Quiet
from buildmap.preset import find_preset, preset_paths

if TYPE_CHECKING:
    from buildmap.contract import HaloRow

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        readable=False,
        help="MODEL.safetensors of `buildmap train`, or an .onnx with --data.",
    ),
]
Output = Annotated[Path, typer.Argument(metavar="OUTPUT.onnx", readable=False, help="Runs without torch.")]
Int8 = Annotated[
    bool, typer.Option("--int8", help="Quantize to eight bits, if that costs less than half a point of IoU.")
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", readable=False, help="What it was trained on: the halo is measured there."
    ),
]
DataPreset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME|FILE",
        help="Lists the sources in --data; the shipped preset of the architecture if absent.",
        autocompletion=lambda: list(preset_paths()),
    ),
]
Deepness = Annotated[
    bool,
    typer.Option(
        "--deepness",
        help="Write it for the QGIS plugin Deepness (windows of one size), not for predict.",
    ),
]


def export(
    model: Model,
    output: Output,
    int8: Int8 = False,
    data: DataFolder = None,
    preset: DataPreset = None,
    deepness: Deepness = False,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trained model as ONNX.

    The file runs without torch, and is checked to give the same probabilities. With --data, the windows
    that `predict` cuts are measured: what a halo costs, and how far tiled prediction is from predicting
    an image whole.
    """
    if data is None and int8:
        raise typer.BadParameter(
            "eight bits are calibrated and judged on real images: --int8 needs --data DIR"
        )
    if data is None and preset is not None:
        raise typer.BadParameter("--preset says what lies in --data DIR, which is absent")
    chosen = None if preset is None else find_preset(preset)
    from buildmap.cli.console import progress, report
    from buildmap.export import Material
    from buildmap.export import export as run

    material = None if data is None else Material(folder=data, preset=chosen)
    summary = run(
        model,
        output,
        int8=int8,
        material=material,
        deepness=deepness,
        overwrite=overwrite,
        progress=progress(quiet=quiet),
    )
    report(summary, json=json, apart=("halo_table",))
    if not json and summary.halo_table:
        typer.echo("\n".join(_table(summary.halo_table, kept=(summary.window_px, summary.halo_px))))


def _table(rows: "tuple[HaloRow, ...]", *, kept: tuple[int, int]) -> list[str]:
    """Lay out rows under a header; the row in use is starred."""
    header = f"{'window px':>9}  {'halo px':>7}  {'cost':>5}  {'u8 changed':>10}  {'flips per million':>17}"
    return [header] + [
        f"{row.window_px:>9}  {row.halo_px:>7}  {row.cost:>5.2f}  {row.u8_changed:>10.3%}  "
        f"{row.flips_per_million:>17.1f}{'  *' if (row.window_px, row.halo_px) == kept else ''}"
        for row in rows
    ]
