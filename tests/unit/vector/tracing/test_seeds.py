import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from buildmap.vector.tracing.seeds import count_seeds
from tests.unit.vector.tracing.test_flood import blurred


def counted(
    values: NDArray[np.uint8], score: NDArray[np.uint8], pixel: tuple[int, int], lowest: int, min_px: int
) -> int:
    buildings, _ = ndimage.label((values >= lowest) & (values < 255))
    if not buildings[pixel]:
        return 0
    parts, count = ndimage.label((buildings == buildings[pixel]) & (score >= 170))
    return int((np.bincount(parts.ravel(), minlength=count + 1)[1:] >= min_px).sum())


@pytest.mark.parametrize("has_border", [False, True])
def test_seeds_are_counted_as_scipy_counts_them(has_border: bool) -> None:
    rng = np.random.default_rng(4)
    seen = set()
    for _ in range(150):
        values = blurred(rng, *rng.integers(2, 40, 2), sigma=rng.choice([0.3, 1, 2]))
        values[rng.random(values.shape) < 0.02] = 255
        score = (values * rng.random(values.shape)).astype(np.uint8) if has_border else values
        lowest, min_px = int(rng.integers(90, 200)), int(rng.integers(1, 9))
        for row, col in rng.integers(0, values.shape, (6, 2)).tolist():
            count = count_seeds(values, score, (row, col), lowest, 170, min_px)
            assert count == counted(values, score, (row, col), lowest, min_px)
            seen.add(count)
    assert {0, 1, 2, 3, 4} <= seen


def test_seeds_of_a_neighbour_in_the_picture_do_not_count() -> None:
    values = np.array([[250, 250, 0, 250], [130, 0, 0, 250], [250, 0, 0, 250]], np.uint8)
    assert count_seeds(values, values, (0, 0), 127, 240, 1) == 2
    assert count_seeds(values, values, (0, 3), 127, 240, 1) == 1
    assert count_seeds(values, values, (0, 2), 127, 240, 1) == 0


def test_two_arms_that_meet_below_are_one_seed() -> None:
    values = np.array([[250, 9, 250], [250, 9, 250], [250, 250, 250]], np.uint8)
    assert count_seeds(values, values, (0, 2), 5, 240, 7) == 1
    assert count_seeds(values, values, (0, 2), 5, 240, 8) == 0
