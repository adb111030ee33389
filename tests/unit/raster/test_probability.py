import numpy as np
import pytest

from buildmap.raster.blend import finish, weigh
from buildmap.raster.probability import to_probability
from buildmap.vector.outlining import lowest_value


def test_what_predict_stores_is_read_back_unchanged() -> None:
    stored = finish(weigh(np.linspace(0, 1, 255, dtype=np.float32), np.ones(255, np.float32)))
    np.testing.assert_array_equal(to_probability(stored, scale=1 / 254), stored)


def test_integers_without_that_scale_are_masks() -> None:
    for pixels in (np.array([0, 1, 255], np.uint8), np.array([0, 7, -1], np.int16)):
        assert to_probability(pixels, scale=1.0).tolist() == [0, 254, 254]


def test_floats_are_probabilities_and_never_wrap() -> None:
    pixels = np.array([-1, 0, 0.25, 1, 255, np.nan, np.inf], np.float32)
    assert to_probability(pixels, scale=1.0).tolist() == [0, 0, 63, 254, 254, 0, 254]


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 1.0])
def test_a_float_is_a_building_from_the_threshold_on(threshold: float) -> None:
    pixels = np.array([threshold - 5e-3, threshold, threshold + 5e-3], np.float32)
    reached = to_probability(pixels, scale=1.0) >= lowest_value(threshold)
    assert reached.tolist() == [threshold == 0, threshold != 0.25, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stored_values_and_the_same_as_floats_agree(dtype: type[np.floating]) -> None:
    stored = np.arange(255, dtype=np.uint8)
    floats = (stored / 254).astype(dtype)
    assert (to_probability(floats, scale=1.0) == to_probability(stored, scale=1 / 254)).all()
