"""A change as one page of HTML that needs nothing beside it: no network, no script, no other file.

The rasters that the examples are shown on are opened here.
"""

from contextlib import ExitStack, suppress
from dataclasses import dataclass

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from buildmap.changes import drawings, wording
from buildmap.changes.columns import STATUSES
from buildmap.changes.examples import Example, by_status
from buildmap.changes.findings import ChangeReport, DateFacts, StatusCount
from buildmap.changes.imagery import Imagery, to_url
from buildmap.errors import StorageError
from buildmap.metrics.layout import Panel, Section, count, length
from buildmap.raster.grid import Bounds

__all__ = ["ChangeReport", "DateFacts", "StatusCount", "render"]

_TIMES = 3.0
"""Side of a picture, in lengths of its building."""
_LEAST_M = 30.0
"""Shortest side of a picture."""
_MAPS = (("added", "var(--two)"), ("removed", "var(--one)"), ("changed", "var(--ink)"))
_COLORS = (
    ("before, dashed", drawings.BEFORE_COLOR),
    ("after, solid", drawings.AFTER_COLOR),
    ("no data", drawings.GROUND_COLOR),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """The ground of an example at one date."""

    svg: str
    """Element `svg`."""
    label: str
    """Which date, and whether there is a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """An example."""

    name: str
    """Of the building."""
    numbers: str
    """What happened, and where."""
    drawings: tuple[_Drawing, ...]
    """One for each raster, or one without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gallery:
    """The examples of one status."""

    title: str
    """Heading."""
    lead: str
    """One sentence that says what is shown."""
    examples: tuple[_Shown, ...]
    """At least one."""


def render(report: ChangeReport) -> str:
    """Write the page; the same for the same report.

    Whatever a file or a building is called, its name is text and no markup. What cannot be encoded in UTF-8
    becomes a question mark. Of a raster that cannot be read at some place the page says so there.

    Raises:
        MissingInput: If there is no such raster.
        InputError: If a raster is none, or does not say where it lies.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("buildmap.changes", ""), PackageLoader("buildmap.metrics", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        title=report.title,
        headlines=wording.headlines(report),
        verdict=wording.verdict(report),
        facts=wording.compared_facts(report),
        sections=_sections(report),
        galleries=_galleries(report),
        layout="narrow" if _rasters(report) < 2 else "dates",
        outline_colors=_COLORS[: 3 if _rasters(report) else 2],
        made=wording.made_facts(report),
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _sections(report: ChangeReport) -> list[Section]:
    """Compose what is known of all buildings, in reading order."""
    blocks = report.shifts
    sections = [
        Section(
            title="Statuses",
            anchor="statuses",
            lead="Every row of the layer of changes has one.",
            tables=wording.status_tables(report),
            panels=(),
        ),
        Section(
            title="Where",
            anchor="where",
            lead="Number of buildings per cell of ground, north up; grey: buildings without such a change.",
            tables=(),
            panels=_maps(report),
        ),
        Section(
            title="Shift",
            anchor="shift",
            lead="How far AFTER lies off BEFORE, from place to place.",
            tables=() if blocks is None else wording.shift_tables(blocks, report.unit_m),
            panels=_arrows(report),
        ),
    ]
    return [section for section in sections if not section.is_empty]


def _maps(report: ChangeReport) -> tuple[Panel, ...]:
    panels = []
    for status, color in _MAPS:
        sort = STATUSES.index(status)
        if not report.overview.counts[sort].any():
            continue
        most, cell_m = drawings.densest_cell(report.overview, sort, unit_m=report.unit_m)
        caption = f"{status.capitalize()}; the largest disc is {count(most)} in a cell of {length(cell_m)}."
        svg = drawings.density_map(report.overview, sort, unit_m=report.unit_m, color=color)
        panels.append(Panel(svg=svg, caption=caption))
    return tuple(panels)


def _arrows(report: ChangeReport) -> tuple[Panel, ...]:
    blocks = report.shifts
    if blocks is None or not (blocks.source != "none").any():
        return ()
    longest_m = float(np.hypot(blocks.dx, blocks.dy).max()) * report.unit_m
    caption = f"At most {longest_m:,.2f} m, much enlarged, north up; pale: not from a block's own pairs."
    return (Panel(svg=drawings.shift_map(blocks, unit_m=report.unit_m), caption=caption),)


def _rasters(report: ChangeReport) -> int:
    return sum(path is not None for path in (report.image_before, report.image_after))


def _galleries(report: ChangeReport) -> list[_Gallery]:
    """Draw all examples while the rasters are open."""
    place = _Places(report.crs)
    with ExitStack() as open_rasters:
        rasters = [
            (when, open_rasters.enter_context(Imagery(path, report.crs)))
            for when, path in (("before", report.image_before), ("after", report.image_after))
            if path is not None
        ]
        return [
            _Gallery(
                title=status.capitalize(),
                lead=wording.lead_of(status, shown=len(examples), rows=report.of_status(status).rows),
                examples=tuple(
                    _Shown(
                        name=wording.name_of(example),
                        numbers=wording.numbers_of(example, place.name(example)),
                        drawings=_drawings(report, example, rasters),
                    )
                    for example in examples
                ),
            )
            for status, examples in by_status(list(report.examples))
        ]


def _drawings(
    report: ChangeReport, example: Example, rasters: list[tuple[str, Imagery]]
) -> tuple[_Drawing, ...]:
    """Draw an example on each raster; AFTER where it lies there, so that its outline fits."""
    shapes = (example.before, example.after)
    box = drawings.frame_of((*shapes, example.polygon), times=_TIMES, least=_LEAST_M / report.unit_m)
    if not rasters:
        return (_Drawing(svg=drawings.outlines(box, *shapes, picture=None), label=""),)
    found = []
    for when, raster in rasters:
        url, fault = _crop(raster, _moved(box, example.shift) if when == "after" else box)
        date = (report.before if when == "before" else report.after).date
        words = [when, *([date] if date else []), *([fault] if fault else [])]
        found.append(_Drawing(svg=drawings.outlines(box, *shapes, picture=url), label=", ".join(words)))
    return tuple(found)


def _crop(raster: Imagery, box: Bounds) -> tuple[str | None, str]:
    """Give the address of a picture, or None and why there is none."""
    try:
        picture = raster.picture(box, side_px=drawings.SIDE_PX)
    except StorageError:
        return None, "cannot be read here"
    return (None, "no data here") if picture is None else (to_url(picture), "")


def _moved(box: Bounds, shift: tuple[float, float]) -> Bounds:
    (left, bottom, right, top), (dx, dy) = box, shift
    return left + dx, bottom + dy, right + dx, top + dy


class _Places:
    """Names places so that any map finds them."""

    def __init__(self, crs: CRS) -> None:
        self._to_degrees: Transformer | None = None
        with suppress(ProjError):  # a CRS of its own, without a place on the Earth
            self._to_degrees = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)

    def name(self, example: Example) -> str:
        """Give latitude and longitude, or coordinates where that is not known."""
        left, bottom, right, top = example.polygon.bounds
        x, y = (left + right) / 2, (bottom + top) / 2
        lon, lat = (np.inf, np.inf) if self._to_degrees is None else self._to_degrees.transform(x, y)
        if np.isfinite([lon, lat]).all():
            return f"{lat:.5f}, {lon:.5f}"
        return f"x {x:.9g}, y {y:.9g}"
