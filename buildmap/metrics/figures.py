"""Figures of a report, as SVG that takes its colours from the page it stands in.

Every figure is one panel, small enough to be read on a telephone. It is drawn in placeholder colours, which
become CSS variables: `--ink` for text and axes, `--faint` for grids, `--one` and `--two` for series.
"""

import io
import re

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from buildmap.metrics.calibration import Calibration
from buildmap.metrics.histogram import Operating, Sweep

_INK, _FAINT = "#010203", "#020304"
_ONE, _TWO = "#030405", "#040506"
_VARIABLES = {_INK: "--ink", _FAINT: "--faint", _ONE: "--one", _TWO: "--two"}
_WIDTH_IN, _HEIGHT_IN = 4.4, 3.1
_MAP_SIDE = 300
"""Most cells of a map drawn one by one along a side."""
_BINS = 30
_CLOSE = {"handlelength": 1.4, "columnspacing": 1.0, "handletextpad": 0.4, "borderpad": 0.0}


def scores_by_threshold(sweep: Sweep, used: Operating) -> str:
    """Draw IoU and F1 against the threshold, with the best of each and the threshold in use."""
    figure, axes = _panel("threshold", "score")
    thresholds = [point.threshold for point in sweep.points]
    for label, color, style, values, best, height in (
        ("IoU", _ONE, "-", [point.iou for point in sweep.points], sweep.best_iou, sweep.best_iou.iou),
        ("F1", _TWO, "--", [point.f1 for point in sweep.points], sweep.best_f1, sweep.best_f1.f1),
    ):
        axes.plot(thresholds, values, style, color=color, label=label)
        axes.plot([best.threshold], [height], "o", color=color, label=f"best {label}")
    axes.axvline(used.threshold, color=_INK, linestyle=":", linewidth=1, label="in use")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _finish(figure, axes, legend=True)


def precision_by_recall(sweep: Sweep, used: Operating) -> str:
    """Draw precision against recall over all thresholds, and where the threshold in use stands."""
    figure, axes = _panel("recall", "precision")
    axes.plot(
        [point.recall for point in sweep.points], [point.precision for point in sweep.points], "-", color=_ONE
    )
    axes.plot([used.recall], [used.precision], "s", color=_INK, label="in use")
    best = sweep.best_f1
    axes.plot([best.recall], [best.precision], "o", color=_TWO, label="best F1")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _finish(figure, axes, legend=True)


def reliability(calibration: Calibration) -> str:
    """Draw the share of true buildings against the predicted probability."""
    figure, axes = _panel("predicted probability of building", "share of true buildings")
    axes.plot([0, 1], [0, 1], ":", color=_INK, linewidth=1, label="perfect")
    seen = [part for part in calibration.bins if part.pixels]
    axes.plot(
        [part.probability for part in seen],
        [part.observed for part in seen],
        "o-",
        color=_ONE,
        label="this map",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _finish(figure, axes, legend=True)


def pixels_by_probability(calibration: Calibration) -> str:
    """Draw how many pixels there are of which probability, on a logarithmic scale."""
    figure, axes = _panel("predicted probability of building", "pixels")
    low = [part.low for part in calibration.bins]
    width = [part.high - part.low for part in calibration.bins]
    axes.bar(low, [part.pixels for part in calibration.bins], width, align="edge", color=_ONE, linewidth=0)
    if any(part.pixels for part in calibration.bins):
        axes.set_yscale("log")
    axes.set(xlim=(0, 1))
    return _finish(figure, axes)


def histogram(values: NDArray[np.floating], *, label: str, low: float, high: float) -> str:
    """Draw how many matched buildings have which value.

    Args:
        values: (n,), NaN left out.
        label: Of the axis, with the unit.
        low: Left end; what is lower is counted in the first bar.
        high: Right end; what is higher is counted in the last bar.
    """
    figure, axes = _panel(label, "matched buildings")
    known = np.clip(values[~np.isnan(values)], low, high)
    counts, edges = np.histogram(known, _BINS, (low, high))
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=_ONE, linewidth=0)
    if len(known):
        axes.axvline(float(np.median(known)), color=_INK, linestyle="--", label="median")
    axes.set(xlim=(low, high))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return _finish(figure, axes, legend=bool(len(known)))


def cell_map(iou: NDArray[np.float64], *, cell_m: float) -> str:
    """Draw the IoU of each cell, north (row 0) up; cells without buildings are grey.

    Args:
        iou: (rows, cols), 0..1 or NaN; more than 300 along a side are averaged in squares.
        cell_m: Side of a cell in metres.
    """
    merged = -(-max(iou.shape) // _MAP_SIDE)
    shown = _average(iou, merged)
    km = cell_m * merged / 1000
    rows, cols = shown.shape
    figure, axes = _panel("km", "km", height_in=min(max(3.1 * rows / cols, 1.2), 4.6) + 0.55)
    colors = colormaps["viridis"].with_extremes(bad=(0.5, 0.5, 0.5, 0.25))
    axes.imshow(
        shown,
        cmap=colors,
        norm=Normalize(0, 1),
        interpolation="none",
        extent=(0, cols * km, rows * km, 0),
        aspect="equal",
    )
    axes.grid(visible=False)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), colors), ax=axes, shrink=0.8, label="IoU of the cell"
    )
    bar.outline.set_visible(False)
    _ink(bar.ax)
    return _finish(figure, axes)


def _average(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Average squares of `side` x `side` cells; NaN where all of them are."""
    rows, cols = (-(-size // side) for size in values.shape)
    padding = [(0, rows * side - values.shape[0]), (0, cols * side - values.shape[1])]
    squares = np.pad(values, padding, constant_values=np.nan).reshape(rows, side, cols, side)
    known = (~np.isnan(squares)).sum(axis=(1, 3))
    total = np.nansum(squares, axis=(1, 3))
    return np.asarray(np.divide(total, known, out=np.full(known.shape, np.nan), where=known > 0))


def _panel(across: str, up: str, *, height_in: float = _HEIGHT_IN) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _ink(axes: Axes) -> None:
    """Give the axes, their ticks and their labels the colour of the text."""
    axes.tick_params(which="both", colors=_INK, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(_INK)
        spine.set_linewidth(0.6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_INK)
        label.set_fontsize(9.5)


def _finish(figure: Figure, axes: Axes, *, legend: bool = False) -> str:
    _ink(axes)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        figure.legend(
            loc="outside upper left", ncols=5, frameon=False, fontsize=8.5, labelcolor=_INK, **_CLOSE
        )
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", metadata=nothing)
    return _for_page(text.getvalue())


def _for_page(svg: str) -> str:
    """Leave the root element alone, of flexible size and without fixed colours."""
    root = svg[svg.index("<svg") :]
    root = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", root, count=1)
    root = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", root, count=1)
    for color, variable in _VARIABLES.items():
        root = root.replace(color, f"var({variable})")
    return root


def own_ids(svg: str, name: str) -> str:
    """Number the ids of a figure after its name: a page needs each once, and the same in every run."""
    ids = dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg))
    numbers = {old: f"{name}-{number}" for number, old in enumerate(ids)}
    svg = re.sub(r'\bid="([^"]+)"', lambda found: f'id="{numbers[found[1]]}"', svg)
    svg = re.sub(r'href="#([^"]+)"', lambda found: f'href="#{numbers[found[1]]}"', svg)
    return re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{numbers[found[1]]})", svg)
