"""How a report is laid out, and how its numbers are written."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from buildmap.metrics.statistics import Interval

UNDEFINED = "-"
"""Shown where there is no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a table."""

    name: str
    """What is measured."""
    cells: tuple[str, ...]
    """Formatted values."""
    note: str = ""
    """What it means, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Lines under a head."""

    title: str
    """What is in it, with the unit where all cells share one."""
    head: tuple[str, ...]
    """Of the columns; the first is that of the names."""
    lines: tuple[Line, ...]
    """At least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A figure and what it shows."""

    svg: str
    """Element `svg`."""
    caption: str
    """What it shows."""
    name: str = ""
    """Of what it is shown, where there are several alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image and what it shows."""

    url: str
    """Address that holds all of it."""
    alt: str
    """What it shows, for who cannot see it."""
    caption: str
    """What is to be known of it."""
    name: str
    """Of what it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One subject of the report."""

    title: str
    """Heading."""
    anchor: str
    """Name to link to."""
    lead: str
    """One sentence that says how to read it."""
    tables: tuple[Table, ...]
    """May be empty where there are panels."""
    panels: tuple[Panel, ...]
    """Figures."""
    key: tuple[tuple[str, str], ...] = ()
    """What the colours of the pictures mean, as CSS values."""
    pictures: tuple[Picture, ...] = ()
    """Images."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing under the heading."""
        return not (self.tables or self.panels or self.pictures)


def share(value: float | None) -> str:
    """Format a share of 1 or a score."""
    return _number(value, ".3f")


def measure(value: float | None) -> str:
    """Format metres or degrees."""
    return _number(value, ",.2f")


def count(value: float | None) -> str:
    """Format a number of things."""
    return _number(value, ",.0f")


def span(interval: Interval | None, show: Callable[[float | None], str] = share) -> str:
    """Format an interval."""
    if interval is None or math.isnan(interval.low) or math.isnan(interval.high):
        return UNDEFINED
    return f"{show(interval.low)} to {show(interval.high)}"


def signed(value: float | None, form: str = ",.2f") -> str:
    """Format a difference."""
    return _number(value, f"+{form}")


def length(value: float) -> str:
    """Format metres or kilometres that are near enough: three digits."""
    rounded = float(f"{value:.3g}")
    return f"{rounded / 1000:,g} km" if rounded >= 1000 else f"{rounded:g} m"


def percent(part: float, whole: float) -> str:
    """Format a share of something in whole percent; what is not all or nothing is not told as such."""
    if not whole:
        return UNDEFINED
    shown = round(100 * part / whole)
    if shown == 0 and part:
        return "less than 1 %"
    return "more than 99 %" if shown == 100 and part != whole else f"{shown:,} %"


def _number(value: float | None, form: str) -> str:
    if value is None or math.isnan(value):
        return UNDEFINED
    shown = f"{value:{form}}"
    nothing = f"{0.0:{form}}"
    return nothing if shown == f"{-0.0:{form}}" else shown  # what rounds to nothing has no sign
