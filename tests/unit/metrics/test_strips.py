import weakref
from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from buildmap.metrics.strips import Strip, Surrounded, surround
from buildmap.raster.windows import Window

COLS, TOP = 5, 40


def whole(rows: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    rng = np.random.default_rng(rows)
    shape = rows, COLS
    return rng.integers(0, 255, shape, np.uint8), rng.random(shape) < 0.5, rng.random(shape) < 0.5


def strips(heights: list[int]) -> Iterator[Strip]:
    """Cut arrays of random pixels, copied so that each strip holds its own."""
    values, truth, counted = whole(sum(heights))
    row = 0
    for height in heights:
        part = slice(row, row + height)
        yield Strip(
            window=Window(col_off=3, row_off=TOP + row, width=COLS, height=height),
            values=values[part].copy(),
            truth=truth[part].copy(),
            counted=counted[part].copy(),
        )
        row += height


HEIGHTS = st.lists(st.integers(1, 6), min_size=1, max_size=9)


@given(heights=HEIGHTS, halo=st.integers(0, 14))
def test_each_strip_comes_once_with_the_rows_around_it_that_there_are(heights: list[int], halo: int) -> None:
    total = sum(heights)
    given_ = list(surround(strips(heights), halo))
    assert [around.window for around in given_] == [strip.window for strip in strips(heights)]
    for around in given_:
        first = around.window.row_off - TOP
        last = first + around.window.height
        rows = slice(max(first - halo, 0), min(last + halo, total))
        for part, expected in zip((around.values, around.truth, around.counted), whole(total), strict=True):
            np.testing.assert_array_equal(part, expected[rows])
        assert around.rows == slice(first - rows.start, last - rows.start)
        np.testing.assert_array_equal(around.own.values, whole(total)[0][first:last])
        np.testing.assert_array_equal(around.own.truth, whole(total)[1][first:last])
        np.testing.assert_array_equal(around.own.counted, whole(total)[2][first:last])
        assert around.own.window == around.window


@given(heights=HEIGHTS, halo=st.integers(0, 14))
def test_a_short_halo_is_told_to_be_the_end_of_the_window(heights: list[int], halo: int) -> None:
    total = sum(heights)
    for around in surround(strips(heights), halo):
        first, last = around.window.row_off - TOP, around.window.row_off - TOP + around.window.height
        above, below = around.rows.start, len(around.values) - around.rows.stop
        assert around.at_top == (first - above == 0)
        assert around.at_bottom or below == halo
        assert not around.at_bottom or last + below == total


@given(heights=HEIGHTS, halo=st.integers(0, 14))
def test_no_strip_is_read_before_its_rows_are_needed(heights: list[int], halo: int) -> None:
    read: list[int] = []

    def noted() -> Iterator[Strip]:
        for strip in strips(heights):
            read.append(strip.window.height)
            yield strip

    for around in surround(noted(), halo):
        needed = around.window.row_off - TOP + around.window.height + halo
        assert sum(read[:-1]) < needed or len(read) == 1


def test_strips_that_no_halo_reaches_any_more_are_let_go() -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []

    def noted() -> Iterator[Strip]:
        for strip in strips([4] * 20):
            alive.append(weakref.ref(strip.values))
            yield strip
            del strip

    most = 0
    for around in surround(noted(), 6):
        assert isinstance(around, Surrounded)
        del around
        most = max(most, sum(values() is not None for values in alive))
    assert len(alive) == 20
    assert most <= 6  # the strip, two above, two below, and the one that is being read


def test_nothing_gives_nothing() -> None:
    assert list(surround(iter(()), 3)) == []
