"""An evaluation as one page of HTML that needs nothing beside it: no network, no script, no other file."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image as Picture

from buildmap.metrics import figures
from buildmap.metrics import report_tables as tables
from buildmap.metrics.headline import facts, headlines, methods
from buildmap.metrics.histogram import Operating
from buildmap.metrics.layout import Panel, Section, Table, count, share
from buildmap.metrics.places import BOTH, PREDICTED, TRUE
from buildmap.metrics.summary import EvaluateSummary, Scores

MOST_MAPS = 24
"""Maps of cells drawn."""

_OUTLINE_COLORS = [
    (name, "rgb({}, {}, {})".format(*color))
    for name, color in (("mapped only", PREDICTED), ("true only", TRUE), ("both", BOTH))
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMap:
    """Where one prediction is right."""

    name: str
    """Of the prediction."""
    cell_m: float
    """Side of a cell."""
    iou: NDArray[np.float64]
    """(rows, cols) of the pixels, 0..1; NaN where neither side has a building."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A piece of ground where the map is wrong."""

    name: str
    """Of the prediction."""
    where: str
    """Coordinates, with their CRS."""
    wrong_px: int
    """False and missed pixels."""
    iou: float
    """Of the pixels, 0..1; NaN where neither side has a building."""
    picture: NDArray[np.uint8]
    """(rows, cols, 3), as `places.draw_place` gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is shown."""

    summary: EvaluateSummary
    """The numbers."""
    title: str
    """Heading of the page."""
    maps: tuple[CellMap, ...]
    """One for each prediction; the first `MOST_MAPS` are drawn."""
    ious: NDArray[np.float64]
    """(n,) intersection over union of matched buildings; may be empty, like the two below."""
    polis_m: NDArray[np.float64]
    """(n,) PoLiS distance of matched buildings."""
    area_errors: NDArray[np.float64]
    """(n,) mapped by true area, less 1, of matched buildings."""
    places: tuple[Place, ...]
    """The worst first."""
    version: str
    """Of this program."""
    command: str
    """What was typed."""


def render(report: Report) -> str:
    """Write the page.

    Whatever a file is called, its name is text and no markup. What was not measured is absent.
    """
    environment = Environment(
        loader=PackageLoader("buildmap.metrics", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    summary = report.summary
    return environment.get_template("report.html.jinja").render(
        title=report.title,
        headlines=headlines(summary),
        facts=facts(summary, command=report.command, version=report.version),
        sections=_sections(report),
        places=[_shown(place) for place in report.places],
        outline_colors=_OUTLINE_COLORS,
        methods=methods(summary),
    )


def _shown(place: Place) -> dict[str, str]:
    picture = io.BytesIO()
    few_colors = Picture.fromarray(place.picture).quantize(256, dither=Picture.Dither.NONE)  # half the bytes
    few_colors.save(picture, format="PNG", optimize=True)
    return {
        "name": place.name,
        "where": place.where,
        "numbers": f"{count(place.wrong_px)} px wrong, IoU {share(place.iou)}",
        "url": f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}",
    }


def _sections(report: Report) -> list[Section]:
    """Compose what there is to show, in reading order."""
    summary, total = report.summary, report.summary.total
    width = "" if total.boundary is None else f"{total.boundary.width_m:g} m ({total.boundary.width_px} px)"
    outlines = () if total.outlines is None else tables.outline_tables(total.outlines)
    found = [
        ("Pixels", "How much of the ground is mapped right.", tables.pixel_tables(summary), ()),
        ("Pairs", "Each prediction against its truth.", tables.pair_table(summary), ()),
        ("Groups", "The same scores for parts of the ground.", tables.group_tables(summary), ()),
        ("Paired test", "Is this map better than the other?", tables.paired_table(summary), ()),
        ("Error map", "Where the map is right.", (), _maps(report.maps)),
        ("Threshold", "What other thresholds give.", tables.threshold_table(summary), _sweep(summary)),
        (
            "Calibration",
            "Whether a probability means what it says.",
            tables.calibration_table(total),
            _calibration(total),
        ),
        ("Boundaries", f"Agreement of the outlines within {width}.", tables.boundary_table(summary), ()),
        ("Buildings", "Which buildings were found.", tables.object_tables(summary), _ious(report)),
        ("Cells", "Number and area of buildings per cell of ground.", tables.cell_table(total), ()),
        ("Outlines", "How well matched buildings are drawn.", outlines, _outlines(report)),
        ("Topology", "Whether the mapped layer is sound.", tables.topology_table(total), ()),
    ]
    sections = [_section(title, lead, rows, panels) for title, lead, rows, panels in found]
    return [section for section in sections if section.tables or section.panels]


def _section(
    title: str, lead: str, rows: Table | tuple[Table, ...] | None, panels: Iterable[Panel]
) -> Section:
    """Make a section; its figures take ids that no other figure of the page has."""
    anchor = title.lower().replace(" ", "-")
    return Section(
        title=title,
        anchor=anchor,
        lead=lead,
        tables=() if rows is None else (rows,) if isinstance(rows, Table) else rows,
        panels=tuple(
            replace(panel, svg=figures.own_ids(panel.svg, f"{anchor}-{number}"))
            for number, panel in enumerate(panels)
        ),
    )


def _maps(maps: tuple[CellMap, ...]) -> list[Panel]:
    return [
        Panel(
            svg=figures.cell_map(shown.iou, cell_m=shown.cell_m),
            caption=f"IoU of the pixels in cells of {shown.cell_m:g} m; grey: no buildings.",
            name=shown.name,
        )
        for shown in maps[:MOST_MAPS]
    ]


def _sweep(summary: EvaluateSummary) -> list[Panel]:
    sweep, pixels = summary.total.sweep, summary.total.pixels
    if sweep is None:
        return []
    used = Operating(
        threshold=summary.threshold,
        iou=pixels.iou,
        f1=pixels.f1,
        precision=pixels.precision,
        recall=pixels.recall,
    )
    return [
        Panel(svg=figures.scores_by_threshold(sweep, used), caption="IoU and F1 against the threshold."),
        Panel(svg=figures.precision_by_recall(sweep, used), caption="Precision against recall."),
    ]


def _calibration(scores: Scores) -> list[Panel]:
    if scores.calibration is None:
        return []
    return [
        Panel(
            svg=figures.reliability(scores.calibration),
            caption="Below the dotted line the map promises more than is true, above it less.",
        ),
        Panel(svg=figures.pixels_by_probability(scores.calibration), caption="Pixels by probability."),
    ]


def _ious(report: Report) -> list[Panel]:
    if not len(report.ious):
        return []
    svg = figures.histogram(report.ious, label="IoU", low=0.0, high=1.0)
    return [Panel(svg=svg, caption="IoU of matched buildings.")]


def _outlines(report: Report) -> list[Panel]:
    panels = []
    if np.isfinite(report.polis_m).any():
        farthest = max(float(np.nanpercentile(report.polis_m, 99)), 0.01)
        svg = figures.histogram(report.polis_m, label="PoLiS, m", low=0.0, high=farthest)
        panels.append(Panel(svg=svg, caption="PoLiS distance; the last bar holds all that is farther."))
    if np.isfinite(report.area_errors).any():
        svg = figures.histogram(100 * report.area_errors, label="area error, %", low=-100.0, high=100.0)
        panels.append(Panel(svg=svg, caption="Area error; the last bar holds all that is more."))
    return panels
