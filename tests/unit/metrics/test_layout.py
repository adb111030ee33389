"""How numbers are written in a report."""

import math
from dataclasses import replace

import pytest

from buildmap.metrics.layout import (
    UNDEFINED,
    Panel,
    Picture,
    Section,
    Table,
    count,
    length,
    measure,
    percent,
    share,
    signed,
    span,
)
from buildmap.metrics.statistics import Interval


def test_numbers_of_a_kind_have_the_same_decimals() -> None:
    assert [share(value) for value in (0.5, 1, 0.12345)] == ["0.500", "1.000", "0.123"]
    assert [measure(value) for value in (0.5, 1234.5678)] == ["0.50", "1,234.57"]
    assert [count(value) for value in (0, 1234567)] == ["0", "1,234,567"]
    assert [signed(value) for value in (0.5, -1.25)] == ["+0.50", "-1.25"]


@pytest.mark.parametrize("show", [share, measure, count, signed])
def test_what_is_unknown_or_undefined_is_no_number(show: object) -> None:
    assert callable(show)
    assert show(None) == show(math.nan) == UNDEFINED


def test_an_interval_shows_both_ends_in_their_unit_or_nothing() -> None:
    assert span(Interval(low=0.1, high=0.25)) == "0.100 to 0.250"
    assert span(Interval(low=0.1, high=0.25), measure) == "0.10 to 0.25"
    for unknown in (None, Interval(low=math.nan, high=0.5), Interval(low=0.5, high=math.nan)):
        assert span(unknown) == UNDEFINED


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert [measure(value) for value in (-0.001, -0.0, -0.01)] == ["0.00", "0.00", "-0.01"]
    assert [signed(value) for value in (-0.001, 0.001, -0.01)] == ["+0.00", "+0.00", "-0.01"]
    assert share(-0.0001) == "0.000"


@pytest.mark.parametrize(
    ("metres", "told"),
    [
        (100.218, "100 m"),
        (50.01, "50 m"),
        (0.5, "0.5 m"),
        (999.6, "1 km"),
        (12345, "12.3 km"),
        (2e6, "2,000 km"),
    ],
)
def test_lengths_have_three_digits_and_the_unit_that_fits(metres: float, told: str) -> None:
    assert length(metres) == told


@pytest.mark.parametrize(
    ("part", "whole", "told"),
    [
        (73, 255, "29 %"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 1000, "less than 1 %"),
        (999, 1000, "more than 99 %"),
        (0, 0, UNDEFINED),
    ],
)
def test_almost_all_is_not_all_and_hardly_any_is_not_none(part: int, whole: int, told: str) -> None:
    assert percent(part, whole) == told


def test_a_section_is_empty_where_nothing_is_under_its_heading() -> None:
    bare = Section(title="a", anchor="a", lead="b", tables=(), panels=(), key=(("c", "red"),))
    assert bare.is_empty
    assert not replace(bare, panels=(Panel(svg="", caption=""),)).is_empty
    assert not replace(bare, pictures=(Picture(url="", alt="", caption="", name=""),)).is_empty
    assert not replace(bare, tables=(Table(title="", head=(), lines=()),)).is_empty
