"""An evaluation as one page of HTML that needs nothing beside it: no network, no script, no other file."""

import base64
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from buildmap.metrics import figures
from buildmap.metrics import report_tables as tables
from buildmap.metrics.curves import BuildingCurve
from buildmap.metrics.headline import facts, headlines, methods
from buildmap.metrics.histogram import Operating
from buildmap.metrics.layout import Panel, Picture, Section, Table, count, length, percent, share
from buildmap.metrics.places import BOTH, PREDICTED, TRUE
from buildmap.metrics.sizes import SizeCounts
from buildmap.metrics.summary import EvaluateSummary, Scores
from buildmap.metrics.verdict import verdict

MOST_MAPS = 24
"""Predictions whose cells are drawn."""
_DETAILED = 4
"""Predictions up to which a map says what is wrong, too, and not only where."""
_FEWEST_CELLS = 20
"""Cells from which a tenth of them says something."""
_LEAST_TOP = 0.01
"""Share of a cell that is drawn in full colour at least: less is no matter."""

_OUTLINE_COLORS = tuple(
    (name, "rgb({}, {}, {})".format(*color))
    for name, color in (("mapped only", PREDICTED), ("true only", TRUE), ("both", BOTH))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMap:
    """Where one prediction is right."""

    name: str
    """Of the prediction."""
    cell_m: float
    """Side of a cell."""
    iou: NDArray[np.float64]
    """(rows, cols) of the pixels, 0..1; NaN where neither side has a building."""
    invented: NDArray[np.float64]
    """(rows, cols) share of a whole cell that is mapped and not true; NaN where nothing is compared."""
    missed: NDArray[np.float64]
    """(rows, cols) share that is true and not mapped; likewise."""
    marks: tuple[figures.Mark, ...] = ()
    """Worst places that lie here, by their number in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A piece of ground where the map is wrong."""

    name: str
    """Of the prediction."""
    pair: int
    """Number of the comparison, from 0."""
    cell: tuple[int, int]
    """Row and column among the cells of that comparison."""
    where: str
    """Coordinates of the middle of the picture, with their CRS."""
    wrong_px: int
    """False and missed pixels of the cell."""
    wrong_m2: float
    """Their ground; NaN where nobody knows."""
    iou: float
    """Of the pixels of the cell, 0..1; NaN where neither side has a building."""
    picture: NDArray[np.uint8]
    """(rows, cols, 3), as `places.draw_place` gives it."""
    width_m: float
    """Of the picture, on the ground; NaN where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is shown."""

    summary: EvaluateSummary
    """The numbers."""
    title: str
    """Heading of the page."""
    maps: tuple[CellMap, ...]
    """One for each prediction, the worst first; the first `MOST_MAPS` are drawn."""
    ious: NDArray[np.float64]
    """(n,) intersection over union of matched buildings; may be empty, like the two below."""
    polis_m: NDArray[np.float64]
    """(n,) PoLiS distance of matched buildings."""
    area_errors: NDArray[np.float64]
    """(n,) mapped by true area, less 1, of matched buildings."""
    sizes: SizeCounts
    """Of the buildings of both sides; nothing counted where they were not matched."""
    curves: tuple[BuildingCurve, ...]
    """Precision against recall of buildings; none where no footprint is surer than another."""
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
        verdict=verdict(summary),
        headlines=headlines(summary),
        facts=facts(summary, command=report.command, version=report.version),
        sections=_sections(report),
        methods=methods(summary),
    )


def _sections(report: Report) -> list[Section]:
    """Compose what there is to show, in reading order: where, what, how well, by which threshold."""
    summary, total = report.summary, report.summary.total
    width = "" if total.boundary is None else f"{total.boundary.width_m:g} m ({total.boundary.width_px} px)"
    outlines = () if total.outlines is None else tables.outline_tables(total.outlines)
    found = [
        ("Pairs", "Each prediction against its truth.", tables.pair_table(summary), ()),
        ("Error map", _where_lead(report), (), _maps(report.maps)),
        ("Worst places", "", (), ()),
        ("Buildings", "Which buildings were found.", tables.object_tables(summary), _buildings(report)),
        (
            "Sizes",
            "Which sizes are found, and whether the map has as many of each as there are.",
            tables.size_table(report.sizes),
            _sizes(report.sizes),
        ),
        ("Pixels", "How much of the ground is mapped right.", tables.pixel_tables(summary), ()),
        ("Groups", "The same scores for parts of the ground.", tables.group_tables(summary), ()),
        ("Paired test", "Is this map better than the other?", tables.paired_table(summary), ()),
        ("Threshold", "What other thresholds give.", tables.threshold_table(summary), _sweep(summary)),
        (
            "Calibration",
            "Whether a probability means what it says.",
            tables.calibration_table(total),
            _calibration(total),
        ),
        ("Boundaries", f"Agreement of the outlines within {width}.", tables.boundary_table(summary), ()),
        ("Cells", "Number and area of buildings per cell of ground.", tables.cell_table(total), ()),
        ("Outlines", "How well matched buildings are drawn.", outlines, _outlines(report)),
        ("Topology", "Whether the mapped layer is sound.", tables.topology_table(total), ()),
    ]
    sections = [_section(title, lead, rows, panels) for title, lead, rows, panels in found]
    worst = [section.title for section in sections].index("Worst places")
    sections[worst] = _worst_places(report)
    return [section for section in sections if not section.is_empty]


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


def _where_lead(report: Report) -> str:
    several = len(report.maps)
    told = "Where the map is right and where it is wrong, cell by cell of ground."
    if report.places:
        told += " The numbers are those of the worst places."
    return f"{told} The {MOST_MAPS} worst of {count(several)} maps." if several > MOST_MAPS else told


def _maps(maps: tuple[CellMap, ...]) -> Iterable[Panel]:
    for shown in maps[:MOST_MAPS]:
        side = length(shown.cell_m)
        yield Panel(
            svg=figures.cell_map(shown.iou, cell_m=shown.cell_m, marks=shown.marks),
            caption=f"IoU of the pixels in cells of {side}: yellow is right; grey: no buildings.",
            name=shown.name,
        )
        if len(maps) > _DETAILED:
            continue
        known = np.concatenate([shown.invented.ravel(), shown.missed.ravel()])
        top = max(float(np.nanmax(known, initial=0)), _LEAST_TOP)
        yield Panel(
            svg=figures.invented_map(shown.invented, cell_m=shown.cell_m, top=top),
            caption=f"Wrongly mapped: building on the map, none in truth. {_spots(shown.invented)}".rstrip(),
            name=shown.name,
        )
        yield Panel(
            svg=figures.missed_map(shown.missed, cell_m=shown.cell_m, top=top),
            caption=f"Overlooked: building in truth, none on the map. {_spots(shown.missed)}".rstrip(),
            name=shown.name,
        )


def _spots(share_wrong: NDArray[np.float64]) -> str:
    """Say how even an error is: what the worst tenth of the compared cells have of it."""
    known = np.sort(share_wrong[~np.isnan(share_wrong)])[::-1]
    tenth = -(-len(known) // 10)
    if not known.any():
        return "Nowhere."
    if len(known) < _FEWEST_CELLS:
        return ""
    of_all = percent(float(known[:tenth].sum()), float(known.sum()))
    return f"The worst tenth of the cells has {of_all} of it."


def _worst_places(report: Report) -> Section:
    """Show the ground where most is wrong."""
    return Section(
        title="Worst places",
        anchor="worst-places",
        lead="The cells where most ground is wrong; of a large cell, the part with most of it.",
        tables=(),
        panels=(),
        key=_OUTLINE_COLORS,
        pictures=tuple(_shown(number, place) for number, place in enumerate(report.places, 1)),
    )


def _shown(number: int, place: Place) -> Picture:
    picture = io.BytesIO()
    few_colors = Image.fromarray(place.picture).quantize(256, dither=Image.Dither.NONE)  # half the bytes
    few_colors.save(picture, format="PNG", optimize=True)
    known = not math.isnan(place.wrong_m2)
    wrong = f"{count(place.wrong_m2)} m² wrong" if known else f"{count(place.wrong_px)} px wrong"
    width = "" if math.isnan(place.width_m) else f"; {length(place.width_m)} wide"
    return Picture(
        url=f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}",
        alt=f"Place {number}: mapped and true outlines at {place.where}",
        caption=f"{place.where}: {wrong}, IoU {share(place.iou)}{width}",
        name=f"{number}. {place.name}",
    )


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
        Panel(
            svg=figures.precision_by_recall(sweep, used),
            caption="Precision against recall of the pixels, for every threshold: further up and right is "
            "better.",
        ),
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


def _buildings(report: Report) -> Iterable[Panel]:
    if report.curves:
        yield Panel(
            svg=figures.building_precision_by_recall(report.curves),
            caption="Precision against recall of the buildings, from the surest footprint to all of them "
            "(the square): how right the map is if only sure footprints are kept.",
        )
    objects = report.summary.total.objects
    if objects is not None and objects.by_iou:
        yield Panel(
            svg=figures.scores_by_iou(objects.by_iou),
            caption="Precision and recall of the buildings, the stricter the match.",
        )
    if len(report.ious):
        svg = figures.histogram(report.ious, label="IoU", low=0.0, high=1.0)
        yield Panel(svg=svg, caption="IoU of matched buildings.")


def _sizes(sizes: SizeCounts) -> Iterable[Panel]:
    if not sizes.shown:
        return
    yield Panel(
        svg=figures.buildings_by_size(sizes),
        caption="Buildings by size: where the dashed line is higher, the map has too many of that size.",
    )
    yield Panel(svg=figures.found_by_size(sizes), caption="Share of the true buildings found, by size.")


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
