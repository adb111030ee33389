"""A picture of a search: what each combination of settings came to, after Figure 6 of the HR-Mamba paper.

Two keys span a panel, the third lays panels side by side, all others lay them one below the other. A single
key is a line.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from buildmap.publish import staged
from buildmap.search.table import Row, best_row
from buildmap.search.trial import Score

_NAMES: Mapping[Score, str] = {"iou": "IoU", "f1": "F1", "balanced_accuracy": "balanced accuracy"}
_COLORS = colormaps["viridis"].with_extremes(bad="#e3e7eb")
_DARK_BELOW = 0.5
"""Share of the scale below which a cell is dark."""
_INK, _FAINT, _LINE, _BEST = "#1b2026", "#e3e7eb", "#0072b2", "#d1001c"
_CELL_IN = (0.74, 0.46)
_LETTER_IN = 0.085
"""Width of a letter, inches."""
_LONGEST_IN = 1.5
"""Of a cell; labels that are longer stand aslant."""
_MOST_LETTERS = 30
"""Of a value."""
_LEAST_IN = 1.1
"""Height of a panel."""
_BAR_IN = 0.18
"""Width of the bar of colours."""
_MOST_PX = 8000
"""Side of the picture."""
_DPI = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One grid of cells."""

    title: str
    """What its trials share, of what differs between panels; '' for a single panel."""
    rows: tuple[tuple[Row | None, ...], ...]
    """The cells, by the values of the vertical and of the horizontal key; None where none was tried."""

    @property
    def scores(self) -> list[list[float]]:
        """What is drawn: NaN where there is no score."""
        return [
            [math.nan if row is None or row.score is None else row.score for row in line]
            for line in self.rows
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Panels on a page."""

    vertical: str
    """The key whose values are the lines of a panel."""
    horizontal: str
    """The key whose values are its columns."""
    vertical_values: tuple[str, ...]
    horizontal_values: tuple[str, ...]
    panels: tuple[tuple[Panel, ...], ...]
    """Lines of panels."""


def lay_out(rows: Sequence[Row]) -> HeatMap | None:
    """Arrange the rows of a table in panels; None if fewer than two of their keys have several values."""
    values = varied(rows)
    if len(values) < 2:
        return None
    (vertical, downwards), (horizontal, rightwards), *rest = values.items()
    across, below = rest[:1], rest[1:]
    cells = {tuple(row.settings[key] for key in values): row for row in rows}

    def panel(right: tuple[str, ...], down: tuple[str, ...]) -> Panel:
        shared = zip((key for key, _ in rest), right + down, strict=True)
        return Panel(
            title="\n".join(f"{key} = {_label(value)}" for key, value in shared),
            rows=tuple(tuple(cells.get((v, h, *right, *down)) for h in rightwards) for v in downwards),
        )

    return HeatMap(
        vertical=vertical,
        horizontal=horizontal,
        vertical_values=downwards,
        horizontal_values=rightwards,
        panels=tuple(tuple(panel(right, down) for right in _products(across)) for down in _products(below)),
    )


def varied(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """Give the keys that have several values in a table, and these in the order of the table."""
    values = {key: tuple(dict.fromkeys(row.settings[key] for row in rows)) for key in rows[0].settings}
    return {key: several for key, several in values.items() if len(several) > 1}


def _products(keys: Sequence[tuple[str, tuple[str, ...]]]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for _, values in keys:
        found = [(*before, value) for before in found for value in values]
    return found


def draw(rows: Sequence[Row], score: Score, path: Path) -> bool:
    """Draw the rows of a table as PNG; a file that is there is replaced.

    Args:
        rows: Of `rows_of`.
        score: What their score is.
        path: The PNG.

    Returns:
        Whether there was anything to draw: a key with several values.
    """
    values, page = varied(rows), lay_out(rows)
    if page is not None:
        figure = _draw_panels(page, rows, score)
    elif values:
        figure = _draw_line(next(iter(values)), rows, score)
    else:
        return False
    dpi = min(_DPI, _MOST_PX / max(figure.get_size_inches()))
    with staged(path, overwrite=True) as folder:
        figure.savefig(folder / path.name, dpi=dpi, bbox_inches="tight", pad_inches=0.15)
    return True


def _draw_panels(page: HeatMap, rows: Sequence[Row], score: Score) -> Figure:
    scale, best = _scale(rows), best_row(rows)
    figure, grid = _blank(page)
    for line, axes_line in zip(page.panels, grid, strict=True):
        for panel, axes in zip(line, axes_line, strict=True):
            _draw_panel(axes, panel, scale, best)
    for axes in grid[-1]:
        _name_values(axes, page.horizontal, page.horizontal_values)
    for axes_line in grid:
        axes_line[0].set_yticks(range(len(page.vertical_values)), map(_label, page.vertical_values))
        axes_line[0].set_ylabel(page.vertical)
    width_in, height_in = figure.get_size_inches()
    figure.colorbar(
        ScalarMappable(norm=scale, cmap=_COLORS),
        ax=[axes for axes_line in grid for axes in axes_line],
        label=f"validation {_NAMES[score]}",
        fraction=_BAR_IN / width_in,
        pad=_BAR_IN / width_in,
        aspect=height_in / _BAR_IN,
    ).outline.set_visible(False)
    figure.suptitle(_title(rows, score), fontsize=11, color=_INK)
    return figure


def _blank(page: HeatMap) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure in which cells, and titles of panels, have the room they need."""
    cell_in = min(max(_CELL_IN[0], _text_in(page.horizontal_values)), _LONGEST_IN)
    titles = page.panels[0][0].title.splitlines()
    title_in, title_lines = (_text_in(titles) if titles else 0.0), len(titles)
    width_in = max(len(page.horizontal_values) * cell_in, title_in) + 0.25
    height_in = max(len(page.vertical_values) * _CELL_IN[1], _LEAST_IN) + title_lines * 0.17 + 0.15
    down, right = len(page.panels), len(page.panels[0])
    tilted_in = _text_in(page.horizontal_values) / 2 if _are_tilted(page.horizontal_values) else 0.0
    outside_in = _text_in(page.vertical_values) + 1.6, tilted_in + 1.1
    figure = Figure(
        figsize=(right * width_in + outside_in[0], down * height_in + outside_in[1]), layout="constrained"
    )
    grid = figure.subplots(down, right, sharex=True, sharey=True, squeeze=False)
    return figure, [list(line) for line in grid]


def _draw_panel(axes: Axes, panel: Panel, scale: Normalize, best: Row | None) -> None:
    axes.imshow(panel.scores, cmap=_COLORS, norm=scale, aspect="auto", interpolation="nearest")
    axes.set_title(panel.title, fontsize=9, color=_INK)
    axes.tick_params(length=0, labelsize=9, colors=_INK)
    axes.spines[:].set_visible(False)
    for line, cells in enumerate(panel.rows):
        for column, row in enumerate(cells):
            if row is None:
                continue
            light = row.score is not None and scale(row.score) < _DARK_BELOW
            axes.text(
                column,
                line,
                _cell_text(row),
                ha="center",
                va="center",
                fontsize=8,
                linespacing=1.05,
                fontstyle="italic" if row.stopped else "normal",
                fontweight="bold" if row is best else "normal",
                color="white" if light else _INK,
            )
            if row is best:
                corner = column - 0.5, line - 0.5
                axes.add_patch(
                    Rectangle(corner, 1, 1, fill=False, edgecolor=_BEST, linewidth=2.5, clip_on=False)
                )


def _cell_text(row: Row) -> str:
    if row.score is None:
        return "no\nmodel"
    return f"{row.score:.3f}" + (f"\nepoch {row.epochs}" if row.stopped else "")


def _draw_line(key: str, rows: Sequence[Row], score: Score) -> Figure:
    """Draw a single key: the values as they stand in the table, evenly spaced."""
    labels = [row.settings[key] for row in rows]
    scores = [math.nan if row.score is None else row.score for row in rows]
    step_in = min(max(_CELL_IN[0], _text_in(labels)), _LONGEST_IN)
    figure = Figure(figsize=(max(len(rows) * step_in, 4.5) + 1.2, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(scores, marker="o", color=_LINE, linestyle="-" if all(map(_is_number, labels)) else "none")
    best = best_row(rows)
    for place, row in enumerate(rows):
        axes.annotate(
            _cell_text(row),
            (place, math.nan if row.score is None else row.score),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            fontstyle="italic" if row.stopped else "normal",
            fontweight="bold" if row is best else "normal",
            color=_INK,
        )
        if row is best:
            axes.plot(
                place, scores[place], "o", markersize=13, fillstyle="none", color=_BEST, markeredgewidth=2
            )
    _name_values(axes, key, labels)
    axes.margins(x=0.5 / max(len(rows), 2), y=0.25)
    axes.set_ylabel(f"validation {_NAMES[score]}")
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_title(rows, score), fontsize=11, color=_INK)
    return figure


def _name_values(axes: Axes, key: str, values: Sequence[str]) -> None:
    """Write a key and its values below the axes, aslant where they are long."""
    tilted = _are_tilted(values)
    axes.set_xticks(
        range(len(values)),
        map(_label, values),
        rotation=30 if tilted else 0,
        ha="right" if tilted else "center",
        rotation_mode="anchor" if tilted else "default",
    )
    axes.set_xlabel(key)


def _label(value: str) -> str:
    shown = value or "absent"
    return shown if len(shown) <= _MOST_LETTERS else f"{shown[: _MOST_LETTERS - 1]}…"


def _are_tilted(values: Sequence[str]) -> bool:
    return _text_in(values) > _LONGEST_IN


def _title(rows: Sequence[Row], score: Score) -> str:
    best, seeds = best_row(rows), max(row.trials for row in rows)
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    marked = f"; best, marked: {best.score:.4f}" if best is not None and best.score is not None else ""
    early = "; aslant: stopped early" if any(row.stopped for row in rows) else ""
    return f"Validation {_NAMES[score]}{mean}{marked}{early}"


def _scale(rows: Sequence[Row]) -> Normalize:
    scores = [row.score for row in rows if row.score is not None]
    return Normalize(min(scores), max(scores)) if scores else Normalize(0, 1)


def _text_in(texts: Sequence[str]) -> float:
    """Estimate the width of the longest text, inches."""
    return max(len(_label(text)) for text in texts) * _LETTER_IN


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
