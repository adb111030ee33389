import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildmap.vector.fitting.moments import best_angle, least_residual, running_sums, scatter, trimmed

SAMPLES = np.random.default_rng(3).normal((300, 20), 5, (40, 2))


@given(st.integers(0, 39), st.integers(0, 39), st.integers(1, 40))
def test_a_stretch_has_the_mean_and_covariance_of_its_samples(first: int, start: int, size: int) -> None:
    part = SAMPLES[np.arange(start, start + size) % 40]
    found = scatter(running_sums(SAMPLES, first), start, start + size)
    off = part - part.mean(0)
    np.testing.assert_allclose([found.x, found.y], part.mean(0) - SAMPLES[first], atol=1e-9)
    np.testing.assert_allclose(
        [[found.xx, found.xy], [found.xy, found.yy]], off.T @ off, rtol=1e-6, atol=1e-6
    )
    assert found.samples == size


@given(st.integers(0, 39), st.integers(3, 40))
def test_the_best_line_is_that_of_the_singular_values(start: int, size: int) -> None:
    part = SAMPLES[np.arange(start, start + size) % 40]
    found = scatter(running_sums(SAMPLES, 0), start, start + size)
    _, values, (along, _) = np.linalg.svd(part - part.mean(0))
    assert least_residual(found) == pytest.approx(values[1] ** 2, rel=1e-6, abs=1e-6)
    turn = np.arctan2(along[1], along[0]) - best_angle(found)
    assert np.sin(turn) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("stop", "left"), [(4, 5), (5, 4), (10, 7), (30, 27)])
def test_the_ends_of_a_long_stretch_do_not_count(stop: int, left: int) -> None:
    sums = running_sums(SAMPLES, 0)
    assert trimmed(sums, 0, stop).samples == left
    assert trimmed(sums, 0, stop) == scatter(sums, (stop + 1 - left) // 2, stop + 1 - (stop + 1 - left) // 2)


def test_one_sample_lies_on_its_line() -> None:
    alone = scatter(running_sums(SAMPLES, 0), 5, 6)
    assert alone.samples == 1
    assert least_residual(alone) == pytest.approx(0, abs=1e-9)
