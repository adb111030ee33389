"""Times and names of Items."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.stac.item import make_item, safe_name, time_of


def test_a_day_is_a_moment() -> None:
    assert time_of(("2024-06-30", "2024-06-30")) == {"datetime": "2024-06-30T00:00:00Z"}


@pytest.mark.parametrize(
    ("first", "last", "start", "end"),
    [
        ("2023-06-01", "2024-06-30", "2023-06-01", "2024-06-30"),
        ("2024-02", "2024-02", "2024-02-01", "2024-02-29"),
        ("2023-12", "2023-12", "2023-12-01", "2023-12-31"),
        ("2023", "2024", "2023-01-01", "2024-12-31"),
    ],
)
def test_more_than_a_day_is_a_range(first: str, last: str, start: str, end: str) -> None:
    assert time_of((first, last)) == {
        "datetime": None,
        "start_datetime": f"{start}T00:00:00Z",
        "end_datetime": f"{end}T23:59:59Z",
    }


@settings(max_examples=40)
@given(day=st.dates(date(1900, 1, 1), date(2900, 1, 1)))
def test_a_month_ends_where_the_next_begins(day: date) -> None:
    end = time_of((f"{day:%Y-%m}", f"{day:%Y-%m}"))["end_datetime"]
    assert end is not None
    last = date.fromisoformat(end[:10])
    assert (last.year, last.month) == (day.year, day.month)
    assert date.fromordinal(last.toordinal() + 1).day == 1


def test_no_date_is_any_time() -> None:
    told = time_of(None)
    assert told["datetime"] is None
    assert (str(told["start_datetime"])[:4], str(told["end_datetime"])[:4]) == ("1900", "9999")


@pytest.mark.parametrize(
    ("text", "safe"),
    [("a b/c.tif", "a-b-c.tif"), ("建物 roofs", "roofs"), ("建物", "unnamed"), ("x_1.2-3", "x_1.2-3")],
)
def test_names_are_made_safe(text: str, safe: str) -> None:
    assert safe_name(text) == safe


def test_an_item_without_a_place_has_no_box() -> None:
    item = make_item("x", extensions=("b", "a"), ground=None, dates=None, properties={"k": 1}, assets={})
    assert item["geometry"] is None
    assert "bbox" not in item
    assert item["stac_extensions"] == ["a", "b"]
    assert item["properties"]["k"] == 1
