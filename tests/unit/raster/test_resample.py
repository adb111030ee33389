"""Resampling against slow formulas, and the same through any window."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildmap.raster.resample import plan_axis, resample

RNG = np.random.default_rng(0)


def mean_of(line: np.ndarray, begin: float, end: float) -> float:
    """Integrate a line of pixels from `begin` to `end`, finely."""
    places = np.linspace(begin, end, 20_001)
    middles = (places[:-1] + places[1:]) / 2
    return float(line[middles.astype(int)].mean())


def test_a_coarser_pixel_is_the_mean_of_what_it_covers() -> None:
    line = RNG.random(50).astype(np.float32)
    edges = np.arange(12) * 3.7 + 1.3
    axis = plan_axis(edges, extent=50)
    one = plan_axis(np.arange(2.0), extent=1)
    made, valid = resample(line[None, None, axis.start : axis.stop], None, one, axis)
    expected = [mean_of(line, *pair) for pair in pairwise(edges)]
    np.testing.assert_allclose(made[0, 0], expected, atol=1e-3)
    assert valid is None


def test_a_finer_pixel_is_linear_between_centres() -> None:
    axis = plan_axis(np.arange(41) * 0.25, extent=10)
    line = np.arange(10, dtype=np.float32) * 7
    one = plan_axis(np.arange(2.0), extent=1)
    made, _ = resample(line[None, None], None, one, axis)
    centres = (np.arange(40) + 0.5) * 0.25 - 0.5
    np.testing.assert_allclose(made[0, 0], np.interp(centres, np.arange(10), line), rtol=1e-6)


def test_pixels_on_pixels_are_untouched() -> None:
    axis = plan_axis(np.arange(4.0, 12.0), extent=20)
    assert axis.exact
    assert (axis.start, axis.stop) == (4, 11)
    pixels = RNG.integers(0, 2**31, (1, 7, 7), np.int32)
    np.testing.assert_array_equal(resample(pixels, None, axis, axis)[0], pixels)


@given(st.floats(0.3, 6), st.integers(0, 60), st.integers(2, 40), st.booleans())
def test_a_pixel_is_the_same_through_any_window(step: float, first: int, count: int, gaps: bool) -> None:
    edges = np.arange(121) * step
    extent = int(np.ceil(edges[-1]))
    pixels = np.random.default_rng(count).random((1, extent, extent), np.float32)
    valid = pixels[0] > 0.3 if gaps else np.ones((extent, extent), np.bool_)
    whole, part = plan_axis(edges, extent=extent), plan_axis(edges[first : first + count + 1], extent=extent)
    expected, known = resample(pixels, valid, whole, whole)
    source = np.s_[part.start : part.stop, part.start : part.stop]
    made, made_known = resample(pixels[:, *source], valid[source], part, part)
    cut = np.s_[first : first + count, first : first + count]
    assert known is not None
    assert made_known is not None
    np.testing.assert_array_equal(made, expected[:, *cut])
    np.testing.assert_array_equal(made_known, known[cut])
    again = whole.part(first, first + count)
    assert (again.start, again.stop) == (part.start, part.stop)


def test_invalid_pixels_have_no_part_in_a_mean() -> None:
    pixels = np.array([[[10, 20, 255, 255]]], np.uint8)
    valid = np.array([[True, True, False, False]])
    axis, one = plan_axis(np.array([0.0, 2.5, 4.0]), extent=4), plan_axis(np.arange(2.0), extent=1)
    made, known = resample(pixels, valid, one, axis)
    assert made[0, 0].tolist() == [15, 0]
    assert known is not None
    assert known[0].tolist() == [True, False]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_a_constant_stays_constant_and_types_stay(dtype: type) -> None:
    axis = plan_axis(np.arange(8) * 3.3, extent=24)
    pixels = np.full((2, 24, 24), 111, dtype)
    made, _ = resample(pixels, None, axis, axis)
    assert made.dtype == dtype
    np.testing.assert_allclose(made, 111, rtol=1e-6)
