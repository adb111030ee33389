"""Pictures of a training: how it went, and what came of it.

Curves are drawn in the colours of a light page; in SVG these become CSS variables, so that they follow the
page they stand in.
"""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from buildmap.metrics.figures import own_ids
from buildmap.metrics.layout import Panel
from buildmap.training.record import EpochRecord

_INK, _FAINT, _QUIET = "#1b2026", "#e3e7eb", "#55606c"
_ONE, _TWO = "#0072b2", "#c14f00"
_VARIABLES = {_INK: "--ink", _FAINT: "--faint", _QUIET: "--quiet", _ONE: "--one", _TWO: "--two"}
_PANEL_IN = (4.4, 3.1)
_FEW = 40
"""Epochs up to which each is marked."""


def draw_curves(records: Sequence[EpochRecord], path: Path, *, kept: int | None = None) -> None:
    """Draw loss, scores, learning rate and waiting over the epochs, as PNG.

    Args:
        records: Of the epochs.
        path: The PNG, written in place.
        kept: Number of the epoch whose weights were kept.
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    for axes, (_, draw) in zip(figure.subplots(2, 2).flat, _CURVES, strict=True):
        draw(axes, records)
        _finish(axes, kept)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize="small", labelcolor=_INK)
    figure.savefig(path)


def curve_panels(records: Sequence[EpochRecord], *, kept: int | None = None) -> tuple[Panel, ...]:
    """Draw the same as panels of a page; equal records give equal text."""
    panels = []
    for number, (caption, draw) in enumerate(_CURVES):
        figure = Figure(figsize=_PANEL_IN, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.subplots()
        axes.patch.set_visible(False)
        draw(axes, records)
        _finish(axes, kept)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(
                loc="outside upper left", ncols=4, frameon=False, fontsize=9.5, labelcolor=_INK, borderpad=0
            )
        panels.append(Panel(svg=own_ids(_to_svg(figure), f"curve-{number}"), caption=caption))
    return tuple(panels)


def _draw_losses(axes: Axes, records: Sequence[EpochRecord]) -> None:
    _plot(axes, records, [record.train_loss for record in records], color=_ONE, label="training")
    validation = [record.validation_loss for record in records]
    _plot(axes, records, validation, color=_TWO, style="--", label="validation")
    axes.set_ylabel("loss")


def _draw_scores(axes: Axes, records: Sequence[EpochRecord]) -> None:
    names = sorted({name for record in records for name in record.iou_by_source})
    for number, name in enumerate(names if len(names) > 1 else ()):
        shares = [record.iou_by_source.get(name) for record in records]
        axes.plot(
            [record.epoch for record in records],
            _gaps(shares),
            color=_QUIET,
            linewidth=0.6,
            alpha=0.6,
            label="" if number else "each source",
        )
    _plot(axes, records, [record.iou for record in records], color=_ONE, label="IoU")
    _plot(axes, records, [record.f1 for record in records], color=_TWO, style="--", label="F1")
    axes.set(ylabel="validation score", ylim=(0, 1))


def _draw_rate(axes: Axes, records: Sequence[EpochRecord]) -> None:
    _plot(axes, records, [record.learning_rate for record in records], color=_ONE)
    axes.set(ylabel="learning rate", ylim=(0, None))


def _draw_waiting(axes: Axes, records: Sequence[EpochRecord]) -> None:
    _plot(axes, records, [record.read_wait_share for record in records], color=_ONE)
    axes.set(ylabel="share of time waiting for chips", ylim=(0, 1))


_CURVES: tuple[tuple[str, Callable[[Axes, Sequence[EpochRecord]], None]], ...] = (
    ("Loss. The dotted line is the epoch whose weights were kept.", _draw_losses),
    ("Scores on the validation ground, threshold 0.5.", _draw_scores),
    ("Learning rate of the last step of each epoch.", _draw_rate),
    ("Waiting: above 0.1, reading is the bottleneck.", _draw_waiting),
)


def _plot(
    axes: Axes,
    records: Sequence[EpochRecord],
    values: Sequence[float | None],
    *,
    color: str,
    style: str = "-",
    label: str = "",
) -> None:
    if any(value is not None for value in values):
        marker = "o" if len(records) <= _FEW else ""
        epochs = [record.epoch for record in records]
        axes.plot(epochs, _gaps(values), style, color=color, label=label, marker=marker, markersize=3)


def _finish(axes: Axes, kept: int | None) -> None:
    if kept is not None:
        axes.axvline(kept, color=_INK, linestyle=":", linewidth=1)
    axes.set_xlabel("epoch")
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=_INK, labelsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    low, high = axes.get_xlim()
    if high - low < 1:  # one epoch, which has no width
        axes.set_xlim((low + high) / 2 - 1, (low + high) / 2 + 1)
    for side, spine in axes.spines.items():
        spine.set(color=_INK, linewidth=0.6, visible=side in {"left", "bottom"})
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_INK, fontsize=10.5)


def _to_svg(figure: Figure) -> str:
    """Give the root element alone, of flexible size and in the colours of the page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = text.getvalue()
    root = root[root.index("<svg") :]
    head, _, rest = root.partition(">")
    head = re.sub(r' (?:height|width)="[^"]*"', "", head)
    root = f"{head}>{rest}"
    for color, variable in _VARIABLES.items():
        root = root.replace(color, f"var({variable})")
    return root


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
