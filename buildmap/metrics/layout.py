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


def _number(value: float | None, form: str) -> str:
    return UNDEFINED if value is None or math.isnan(value) else f"{value:{form}}"
