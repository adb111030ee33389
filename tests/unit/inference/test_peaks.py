"""Keypoints lie where Gaussians were drawn, also on the border of a box."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from buildmap.inference.peaks import find_keypoints

ROWS, COLS = 20, 28


def draw(centres: NDArray[np.float64], sigma: float) -> NDArray[np.float32]:
    """Draw Gaussians about (k, 2) x and y in cells, the highest where several meet."""
    x, y = np.arange(COLS) + 0.5, np.arange(ROWS) + 0.5
    squared = (x - centres[:, 0, None]) ** 2
    heat = np.exp(-(squared[:, None, :] + ((y - centres[:, 1, None]) ** 2)[:, :, None]) / (2 * sigma**2))
    return heat.max(0).astype(np.float32)


@given(
    x=st.floats(0, COLS),
    y=st.floats(0, ROWS),
    sigma=st.floats(0.8, 4),
    box=st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(3, 200), st.floats(3, 200)),
)
def test_a_gaussian_is_found_at_its_centre_wherever_that_lies(
    x: float, y: float, sigma: float, box: tuple[float, float, float, float]
) -> None:
    left, top, width, height = box
    boxes = np.array([[left, top, left + width, top + height]])
    found = find_keypoints(draw(np.array([[x, y]]), sigma)[None], boxes, peak_min=0.3)
    expected = [[left + x / COLS * width, top + y / ROWS * height]]
    np.testing.assert_allclose(found.points, expected, atol=2e-3 * max(width / COLS, height / ROWS))
    assert found.offsets.tolist() == [0, 1]
    assert 0.3 < found.score[0] <= 1


def test_each_object_has_its_own_keypoints() -> None:
    some = [np.array([[4.2, 3.9], [20.5, 3.5], [12.0, 16.7]]), np.empty((0, 2)), np.array([[9.1, 9.9]])]
    heat = np.stack([draw(one, 1.2) if len(one) else np.zeros((ROWS, COLS), np.float32) for one in some])
    boxes = np.tile([0.0, 0, COLS, ROWS], (3, 1))
    found = find_keypoints(heat, boxes, peak_min=0.3)
    assert np.diff(found.offsets).tolist() == [3, 0, 1]
    for number, one in enumerate(some):
        points = found.points[found.offsets[number] : found.offsets[number + 1]]
        np.testing.assert_allclose(points, one[np.lexsort((one[:, 0], np.floor(one[:, 1])))], atol=1e-2)


def test_peaks_are_the_cells_that_equal_the_maximum_around_them() -> None:
    rng = np.random.default_rng(0)
    heat = rng.permutation(5 * ROWS * COLS).reshape(5, ROWS, COLS).astype(np.float32) / (5 * ROWS * COLS)
    found = find_keypoints(heat, np.tile([0.0, 0, COLS, ROWS], (5, 1)), peak_min=0.25)
    around = maximum_filter(heat, (1, 3, 3), mode="constant")
    expected = (heat == around) & (heat >= 0.25)
    assert np.diff(found.offsets).tolist() == expected.sum((1, 2)).tolist()
    col, row = np.floor(np.clip(found.points, 0, [COLS - 1e-9, ROWS - 1e-9])).astype(int).T
    # half a cell off at most, so the keypoint stays in its cell, or on the border of it
    assert np.abs(heat[found.owner, row, col] - found.score).astype(bool).mean() < 0.1
    np.testing.assert_array_equal(np.sort(found.score), np.sort(heat[expected].astype(np.float64)))


@pytest.mark.parametrize("cells", [[(5, 5), (5, 6)], [(5, 5), (6, 5)], [(5, 5), (6, 4)], [(5, 5), (6, 6)]])
def test_of_two_equal_neighbours_only_the_first_is_a_peak(cells: list[tuple[int, int]]) -> None:
    heat = np.full((1, ROWS, COLS), 0.1)
    for cell in cells:
        heat[0, *cell] = 0.9
    found = find_keypoints(heat, np.array([[0.0, 0, COLS, ROWS]]), peak_min=0.3)
    assert len(found.points) == 1
    assert np.abs(found.points[0] - [5.5, 5.5]).max() <= 0.5


def test_low_peaks_and_what_is_no_number_are_none() -> None:
    heat = np.full((2, ROWS, COLS), np.nan)
    heat[0] = draw(np.array([[5.0, 5.0], [15.0, 12.0]]), 1.0)
    heat[0, 9:] *= 0.4
    boxes = np.tile([0.0, 0, COLS, ROWS], (2, 1))
    assert len(find_keypoints(heat, boxes, peak_min=0.5).points) == 1
    assert len(find_keypoints(heat, boxes, peak_min=0.2).points) == 2


def test_a_map_too_small_for_a_parabola_gives_the_middle_of_its_cells() -> None:
    heat = np.array([[[0.9, 0.1], [0.2, 0.1]]])
    found = find_keypoints(heat, np.array([[10.0, 20, 14, 28]]), peak_min=0.5)
    assert found.points.tolist() == [[11, 22]]
    assert find_keypoints(np.zeros((0, 8, 8)), np.zeros((0, 4)), peak_min=0.5).offsets.tolist() == [0]
