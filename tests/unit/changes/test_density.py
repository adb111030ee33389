"""Counts per cell: exact, bounded, and the same however the rows come."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from buildmap.changes.density import MOST_CELLS, Density


def at_once(xy: NDArray[np.float64], sort: NDArray[np.int64]) -> tuple[float, dict[tuple[int, ...], int]]:
    """Take the finest lattice that everything fits on, and count with a dictionary."""
    cell = 50.0
    while any(
        math.floor(values.max() / cell) - math.floor(values.min() / cell) + 1 > MOST_CELLS for values in xy.T
    ):
        cell *= 2
    counts: dict[tuple[int, ...], int] = {}
    for (x, y), which in zip(xy, sort, strict=True):
        key = (int(which), math.floor(x / cell), math.floor(y / cell))
        counts[key] = counts.get(key, 0) + 1
    return cell, counts


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    extent=st.sampled_from([30.0, 12_799.0, 12_801.0, 1e6]),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_every_row_is_counted_in_its_cell_of_the_finest_lattice_that_holds_all(
    seed: int, count: int, extent: float, cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-1e5, 1e5, 2) + rng.uniform(0, 1, (count, 2)) * [extent, rng.uniform(0, extent)]
    sort = rng.integers(0, 3, count)
    density = Density(3)
    for part in np.split(np.arange(count), sorted(min(cut, count) for cut in cuts)):
        density.add(xy[part], sort[part])
    overview = density.overview
    cell, expected = at_once(xy, sort)
    assert overview.cell == cell
    assert max(overview.counts.shape[1:]) <= MOST_CELLS
    rows, cols = np.nonzero(overview.counts.any(axis=0))
    assert (rows.min(), cols.min()) == (0, 0)
    assert (rows.max() + 1, cols.max() + 1) == overview.counts.shape[1:]
    left, top = round(overview.left / cell), round(overview.top / cell)
    found = {
        (int(which), int(left + col), int(top - 1 - row)): int(overview.counts[which, row, col])
        for which, row, col in np.argwhere(overview.counts)
    }
    assert found == expected


def test_nothing_counted_has_no_cells() -> None:
    density = Density(2)
    density.add(np.empty((0, 2)), np.empty(0, np.int64))
    assert density.overview.counts.shape == (2, 0, 0)


def test_no_row_of_cells_is_beside_the_ground() -> None:
    density = Density(1)
    density.add(np.array([[125.0, 25], [175, 325]]), np.zeros(2, np.int64))
    overview = density.overview
    assert (overview.left, overview.top, overview.counts.shape) == (100, 350, (1, 7, 2))
    assert overview.counts[0, [0, -1]].tolist() == [[0, 1], [1, 0]]


def test_cells_without_a_size_are_refused() -> None:
    with pytest.raises(ValueError, match="cells of 0"):
        Density(1, cell=0)
