"""The worst rows are those of one big sort."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from buildmap.training.ranking import Worst
from buildmap.vector.writing.layers import Layer


def rows(values: list[tuple[int, int]], first: int = 0) -> Layer:
    numbers = np.arange(first, first + len(values))
    score, area = np.array(values, np.float64).reshape(-1, 2).T
    return Layer(
        polygons=np.asarray(shapely.points(numbers, numbers), np.object_).reshape(-1),
        columns={"score": score, "area": area, "number": numbers},
    )


@given(
    parts=st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6), min_size=1),
    limit=st.integers(1, 8),
)
def test_rows_are_those_that_sorting_all_at_once_gives(
    parts: list[list[tuple[int, int]]], limit: int
) -> None:
    worst, first = Worst(limit, by=("score", "area")), 0
    for part in parts:
        worst.add(rows(part, first))
        first += len(part)
    everything = [value for part in parts for value in part]
    order = sorted(range(first), key=lambda n: (-everything[n][0], -everything[n][1], n))[:limit]
    ranked = worst.ranked()
    assert ranked.columns["number"].tolist() == order
    assert ranked.columns["rank"].tolist() == list(range(1, len(order) + 1))
    assert shapely.get_x(ranked.polygons).tolist() == order
    assert next(iter(ranked.columns)) == "rank"


def test_memory_follows_what_is_kept() -> None:
    worst = Worst(10, by=("score",))
    for number in range(100):
        worst.add(rows([(number, 0)] * 7, 7 * number))
        assert sum(len(part.polygons) for part in worst._parts) <= 27


def test_nothing_ever_added_has_no_columns() -> None:
    with pytest.raises(ValueError, match="need at least one"):
        Worst(3, by=("score",)).ranked()
