"""How numbers are written in a report."""

import math

import pytest

from buildmap.metrics.layout import UNDEFINED, count, measure, share, signed, span
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
