"""Pictures of wrong places."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from buildmap.metrics.places import BOTH, PREDICTED, TRUE, densest, draw_place, stretch

CROSS = ndimage.generate_binary_structure(2, 1)


def masks(seed: int, shape: tuple[int, int] = (40, 30)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    prediction, truth = (ndimage.binary_dilation(rng.random(shape) < 0.02, CROSS, 3) for _ in range(2))
    return prediction, truth


@given(st.integers(0, 10_000), st.integers(1, 9))
def test_the_densest_square_is_the_first_of_those_with_most_wrong_pixels(seed: int, side_px: int) -> None:
    rng = np.random.default_rng(seed)
    wrong = rng.random(rng.integers(1, 9, 2)) < 0.3
    height, width = (min(side_px, size) for size in wrong.shape)
    places = [
        (row, col) for row in range(wrong.shape[0] - height + 1) for col in range(wrong.shape[1] - width + 1)
    ]
    inside = [int(wrong[row : row + height, col : col + width].sum()) for row, col in places]
    assert densest(wrong, side_px) == places[inside.index(max(inside))]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_outlines_have_the_colour_of_their_side(seed: int) -> None:
    prediction, truth = masks(seed)
    picture = draw_place(np.zeros((40, 30, 3), np.uint8), prediction, truth)
    edges = [mask & ~ndimage.binary_erosion(mask, CROSS, border_value=1) for mask in (prediction, truth)]
    for color, where in (
        (PREDICTED, edges[0] & ~edges[1]),
        (TRUE, edges[1] & ~edges[0]),
        (BOTH, edges[0] & edges[1]),
    ):
        assert where.any()
        np.testing.assert_array_equal((picture == color).all(axis=-1), where)


def test_the_image_is_seen_as_it_is_but_for_the_outlines_and_darker_beside_them() -> None:
    prediction, truth = masks(3)
    image = np.random.default_rng(3).integers(0, 255, (40, 30, 3), np.uint8)
    picture = draw_place(image, prediction, truth)
    edge = np.zeros_like(truth)
    for mask in (prediction, truth):
        edge |= mask & ~ndimage.binary_erosion(mask, CROSS, border_value=1)
    beside = ndimage.binary_dilation(edge, CROSS) & ~edge
    np.testing.assert_array_equal(picture[beside], image[beside] // 2)
    np.testing.assert_array_equal(picture[~beside & ~edge], image[~beside & ~edge])


def test_without_an_image_the_ground_is_one_gray() -> None:
    nothing = np.zeros((5, 7), np.bool_)
    picture = draw_place(None, nothing, nothing)
    assert picture.shape == (5, 7, 3)
    assert len(np.unique(picture)) == 1
    assert 0 < picture[0, 0, 0] < 128


def test_a_building_cut_by_the_border_has_no_outline_there() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[:, 3:] = True
    picture = draw_place(None, mask, mask)
    np.testing.assert_array_equal((picture == BOTH).all(axis=-1), np.tile(np.arange(9) == 3, (9, 1)))


def test_a_large_place_is_shrunk_before_its_outlines_are_drawn() -> None:
    mask = np.zeros((900, 600), np.bool_)
    mask[90:210, 60:240] = True
    picture = draw_place(None, mask, np.zeros_like(mask), longest_px=300)
    assert picture.shape == (300, 200, 3)
    drawn = (picture == PREDICTED).all(axis=-1)
    rows, cols = np.nonzero(drawn)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (30, 69, 20, 79)
    assert drawn.sum() == 2 * (40 + 60) - 4  # one pixel wide, unbroken


def test_masks_and_image_of_different_ground_are_refused() -> None:
    mask = np.zeros((4, 4), np.bool_)
    with pytest.raises(ValueError, match=r"\(4, 5\)"):
        draw_place(None, mask, np.zeros((4, 5), np.bool_))
    with pytest.raises(ValueError, match=r"\(5, 4, 3\)"):
        draw_place(np.zeros((5, 4, 3), np.uint8), mask, mask)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_other_types_are_stretched_between_percentiles_of_their_valid_pixels(dtype: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(900, 200, (4, 50, 50)).astype(dtype)
    valid = rng.random((50, 50)) < 0.8
    pixels[:, ~valid] = 30_000
    picture = stretch(pixels, valid)
    assert picture.shape == (50, 50, 3)
    assert (picture[~valid] == 0).all()
    for band in range(3):
        low, high = np.percentile(pixels[band][valid].astype(np.float64), (2, 98))
        expected = np.clip((pixels[band][valid].astype(np.float64) - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(picture[..., band][valid], expected, atol=0.501)


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
def test_eight_bits_are_shown_as_they_are_and_few_bands_as_gray(bands: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (bands, 8, 9), np.uint8)
    shown = pixels[:3] if bands >= 3 else pixels[[0, 0, 0]]
    np.testing.assert_array_equal(stretch(pixels, np.ones((8, 9), np.bool_)), np.moveaxis(shown, 0, -1))


def test_ground_of_one_value_or_none_is_no_obstacle() -> None:
    flat = np.full((1, 3, 3), 700, np.uint16)
    assert (stretch(flat, np.ones((3, 3), np.bool_)) == 0).all()
    assert (stretch(flat, np.zeros((3, 3), np.bool_)) == 0).all()
    unknown = np.full((1, 3, 3), np.nan, np.float32)
    assert (stretch(unknown, np.ones((3, 3), np.bool_)) == 0).all()
