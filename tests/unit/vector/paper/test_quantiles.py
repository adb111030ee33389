import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from buildmap.vector.paper.quantiles import RELATIVE_ERROR, QuantileSketch

VALUES = arrays(np.float64, st.integers(1, 60), elements=st.floats(1e-9, 9e8))


@given(VALUES, st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_quantile_is_off_by_no_more_than_the_stated_error(values: np.ndarray, share: float) -> None:
    exact = np.quantile(values, share, method="inverted_cdf")
    # two shares apart by rounding are both right where the count jumps
    near = [np.quantile(values, np.clip(share + d, 0, 1), method="inverted_cdf") for d in (-1e-12, 1e-12)]
    found = QuantileSketch.of(values).quantile(share)
    assert any(found == pytest.approx(one, rel=RELATIVE_ERROR * 1.001) for one in [exact, *near])


@given(arrays(np.float64, st.integers(0, 60), elements=st.floats(0, 1e12)), st.data())
@settings(max_examples=60, deadline=None)
def test_parts_in_any_order_give_the_same_bits(values: np.ndarray, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    parts = [QuantileSketch.of(part) for part in np.split(values, cuts)]
    whole = QuantileSketch.of(values)
    for order in itertools.permutations(parts):
        merged = sum(order, QuantileSketch())
        assert merged.counts.tobytes() == whole.counts.tobytes()
        assert merged == whole


def test_a_million_values_take_no_more_room_than_one() -> None:
    many = QuantileSketch.of(np.random.default_rng(1).lognormal(size=1_000_000))
    assert many.counts.nbytes == QuantileSketch.of(np.ones(1)).counts.nbytes == 82_904
    assert many.values == 1_000_000
    assert many.quantile(0.5) == pytest.approx(1, rel=0.01)


def test_what_is_too_small_counts_as_nothing_and_what_is_too_large_as_the_largest() -> None:
    sketch = QuantileSketch.of(np.array([0, 1e-12, np.inf]))
    assert sketch.quantile(0.5) == 0
    assert sketch.quantile(1) == pytest.approx(1e9, rel=0.005)


def test_an_empty_sketch_has_no_quantile() -> None:
    assert math.isnan(QuantileSketch().quantile(0.5))
    assert QuantileSketch().values == 0


@pytest.mark.parametrize("odd", [-1.0, np.nan])
def test_values_below_nothing_are_refused(odd: float) -> None:
    with pytest.raises(ValueError, match="none negative"):
        QuantileSketch.of(np.array([1, odd]))


def test_odd_counts_and_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="counts are int64"):
        QuantileSketch(counts=np.zeros(3, np.int64))
    with pytest.raises(ValueError, match=r"share 1\.5"):
        QuantileSketch().quantile(1.5)


def test_sketches_of_different_values_differ() -> None:
    assert QuantileSketch.of(np.ones(1)) != QuantileSketch.of(np.full(1, 2.0))
    assert QuantileSketch() != 3
