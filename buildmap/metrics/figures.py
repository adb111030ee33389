"""Figures of a report, as SVG that takes its colours from the page it stands in.

Every figure is one panel, small enough to be read on a telephone. It is drawn in placeholder colours, which
become CSS variables: `--ink` for text and axes, `--faint` for grids, `--one` and `--two` for series.
"""

import io
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from buildmap.metrics.calibration import Calibration
from buildmap.metrics.curves import BuildingCurve
from buildmap.metrics.histogram import Operating, Sweep
from buildmap.metrics.instances import IouScores
from buildmap.metrics.places import PREDICTED, TRUE
from buildmap.metrics.sizes import EDGES_M2, SizeCounts

_INK, _FAINT = "#010203", "#020304"
_ONE, _TWO = "#030405", "#040506"
_VARIABLES = {_INK: "--ink", _FAINT: "--faint", _ONE: "--one", _TWO: "--two"}
_WIDTH_IN, _HEIGHT_IN = 4.4, 3.1
_MAP_SIDE = 300
"""Most cells of a map drawn one by one along a side."""
_BINS = 30
_FEWEST_FOUND = 1e-3
"""Recall below which a precision says nothing: it is one of a few pixels, or of none."""
_CLOSE = {"handlelength": 1.4, "columnspacing": 1.0, "handletextpad": 0.4, "borderpad": 0.0}
_UNSEEN, _NOTHING = (0.5, 0.5, 0.5, 0.25), (0.5, 0.5, 0.5, 0.12)
"""Of cells that a map has no number for, and where the number is 0: seen on a light and on a dark page."""


class Mark(NamedTuple):
    """A number on a map."""

    number: int
    """What is written."""
    row: int
    """Of its cell."""
    col: int
    """Of its cell."""


def scores_by_threshold(sweep: Sweep, used: Operating) -> str:
    """Draw IoU and F1 against the threshold, with the best of each and the threshold in use."""
    figure, axes = _panel("threshold", "score")
    thresholds = [point.threshold for point in sweep.points]
    for label, color, style, values, best, height in (
        ("IoU", _ONE, "-", [point.iou for point in sweep.points], sweep.best_iou, sweep.best_iou.iou),
        ("F1", _TWO, "--", [point.f1 for point in sweep.points], sweep.best_f1, sweep.best_f1.f1),
    ):
        axes.plot(thresholds, values, style, color=color, label=label)
        axes.plot([best.threshold], [height], "o", color=color)
    axes.axvline(used.threshold, color=_INK, linestyle=":", linewidth=1, label="in use")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _finish(figure, axes, legend=True)


def precision_by_recall(sweep: Sweep, used: Operating) -> str:
    """Draw precision against recall over all thresholds, and where the threshold in use stands."""
    figure, axes = _panel("recall", "precision")
    points = [point for point in sweep.points if point.recall >= _FEWEST_FOUND]
    axes.plot([point.recall for point in points], [point.precision for point in points], "-", color=_ONE)
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


def building_precision_by_recall(curves: Sequence[BuildingCurve]) -> str:
    """Draw precision against recall of buildings, a line for each intersection over union."""
    figure, axes = _panel("recall", "precision")
    for curve, color, style in zip(curves, (_ONE, _TWO), ("-", "--"), strict=False):
        axes.plot(curve.recall, curve.precision, style, color=color, label=f"IoU from {curve.iou_min:g}")
        axes.plot(curve.recall[-1:], curve.precision[-1:], "s", color=color)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return _finish(figure, axes, legend=True)


def scores_by_iou(steps: Sequence[IouScores]) -> str:
    """Draw precision and recall of buildings against how well two footprints must agree."""
    figure, axes = _panel("IoU from which a footprint is right", "score")
    ious = [step.iou_min for step in steps]
    axes.plot(ious, [step.precision for step in steps], "o-", color=_ONE, markersize=4, label="precision")
    axes.plot(ious, [step.recall for step in steps], "s--", color=_TWO, markersize=4, label="recall")
    axes.set(xlim=(0.48, 0.97), ylim=(0, 1))
    return _finish(figure, axes, legend=True)


def buildings_by_size(sizes: SizeCounts) -> str:
    """Draw how many buildings of which size there are, and how many are mapped."""
    figure, axes = _size_panel(sizes, "buildings")
    edges = np.arange(len(sizes.shown) + 1)
    true, mapped = ([counts[number] for number in sizes.shown] for counts in (sizes.true, sizes.mapped))
    axes.stairs(true, edges, color=_ONE, linewidth=1.8, label="true")
    axes.stairs(mapped, edges, color=_TWO, linestyle="--", linewidth=1.8, label="mapped")
    axes.set(ylim=(0, None))
    return _finish(figure, axes, legend=True)


def found_by_size(sizes: SizeCounts) -> str:
    """Draw the share of the true buildings of each size that was found; where there are none, nothing."""
    figure, axes = _size_panel(sizes, "share found")
    places = [place for place, number in enumerate(sizes.shown) if sizes.true[number]]
    shares = [sizes.found[number] / sizes.true[number] for number in sizes.shown if sizes.true[number]]
    axes.bar(places, shares, 0.92, align="edge", color=_ONE, linewidth=0)
    axes.set(ylim=(0, 1))
    return _finish(figure, axes)


def _size_panel(sizes: SizeCounts, up: str) -> tuple[Figure, Axes]:
    """Lay out the bins that hold a building side by side, with their limits between them."""
    figure, axes = _panel("size of the footprint, m²", up)
    shown = sizes.shown
    limits = range(1, len(shown))
    axes.set_xticks(list(limits), [f"{EDGES_M2[shown[place] - 1]:,.0f}" for place in limits])
    axes.set_xlim(0, max(len(shown), 1))
    axes.tick_params(axis="x", labelrotation=45 if len(shown) > 8 else 0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=up == "buildings"))
    return figure, axes


def cell_map(iou: NDArray[np.float64], *, cell_m: float, marks: Sequence[Mark] = ()) -> str:
    """Draw the IoU of each cell, row 0 up; cells without buildings are grey.

    Args:
        iou: (rows, cols), 0..1 or NaN; more than 300 along a side are averaged in squares.
        cell_m: Side of a cell in metres.
        marks: Numbers to write on cells.
    """
    colors = colormaps["viridis"].with_extremes(bad=_UNSEEN)
    return _lattice(iou, colors, cell_m=cell_m, label="IoU of the cell", marks=marks)


def invented_map(share: NDArray[np.float64], *, cell_m: float, top: float) -> str:
    """Draw the share of each cell that is mapped as building and is none, in the colour of such outlines.

    Args:
        share: (rows, cols), 0..1, or NaN where nothing was compared.
        cell_m: Side of a cell in metres.
        top: What is drawn in full colour, above 0.
    """
    return _lattice(share, _ramp(PREDICTED), cell_m=cell_m, label="wrongly mapped, % of the cell", top=top)


def missed_map(share: NDArray[np.float64], *, cell_m: float, top: float) -> str:
    """Draw the share of each cell that is building and not mapped; else as `invented_map`."""
    return _lattice(share, _ramp(TRUE), cell_m=cell_m, label="overlooked, % of the cell", top=top)


def _ramp(color: tuple[int, int, int]) -> Colormap:
    """Go from hardly seen to a full colour."""
    full = tuple(part / 255 for part in color)
    ramp = LinearSegmentedColormap.from_list("ramp", [_NOTHING, (*full, 1.0)])
    return ramp.with_extremes(bad=(0, 0, 0, 0))


def _lattice(
    values: NDArray[np.float64],
    colors: Colormap,
    *,
    cell_m: float,
    label: str,
    marks: Sequence[Mark] = (),
    top: float | None = None,
) -> str:
    """Draw a value for each cell of ground; with `top`, shares up to there in percent, or else up to 1."""
    merged = -(-max(values.shape) // _MAP_SIDE)
    shown = _average(values, merged)
    km = cell_m * merged / 1000
    rows, cols = shown.shape
    scale = Normalize(0, 1) if top is None else Normalize(0, 100 * top)
    figure, axes = _panel("km", "km", height_in=min(max(3.1 * rows / cols, 1.2), 4.6) + 0.55)
    axes.imshow(
        shown if top is None else 100 * shown,
        cmap=colors,
        norm=scale,
        interpolation="none",
        extent=(0, cols * km, rows * km, 0),
        aspect="equal",
    )
    axes.grid(visible=False)
    bar = figure.colorbar(ScalarMappable(scale, colors), ax=axes, shrink=0.8, label=label)
    bar.outline.set_visible(False)
    bar.ax.patch.set_visible(False)
    _ink(bar.ax)
    for number, row, col in marks:
        place = ((col + 0.5) * cell_m / 1000, (row + 0.5) * cell_m / 1000)
        rim = withStroke(linewidth=2.5, foreground="#000000")
        axes.annotate(
            str(number),
            place,
            ha="center",
            va="center",
            color="#ffffff",
            fontsize=10,
            fontweight="bold",
            path_effects=[rim],
            annotation_clip=False,
        )
    return _finish(figure, axes, is_map=True)


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
    axes.tick_params(which="both", colors=_INK, labelsize=10)
    for spine in axes.spines.values():
        spine.set_color(_INK)
        spine.set_linewidth(0.6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_INK)
        label.set_fontsize(10.5)


def _finish(figure: Figure, axes: Axes, *, legend: bool = False, is_map: bool = False) -> str:
    _ink(axes)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        figure.legend(
            loc="outside upper left", ncols=5, frameon=False, fontsize=9.5, labelcolor=_INK, **_CLOSE
        )
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # the layout of a map is settled before its shape, and would cut off a label
    figure.savefig(text, format="svg", metadata=nothing, bbox_inches="tight" if is_map else None)
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
