"""Masks over boxes become the pixels that torch's sampling gives."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import Polygon, box
from torch.nn.functional import grid_sample

from buildmap.inference.paste import outline_masks, paste

HEIGHT, WIDTH = 30, 40
ALL = np.ones((HEIGHT, WIDTH), np.bool_)


def sampled(mask: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample a mask at all pixel centres of the window, its border cells reaching outwards."""
    x = (np.arange(WIDTH) + 0.5 - edges[0]) / (edges[2] - edges[0]) * 2 - 1
    y = (np.arange(HEIGHT) + 0.5 - edges[1]) / (edges[3] - edges[1]) * 2 - 1
    places = np.stack(np.broadcast_arrays(x, y[:, None]), axis=-1)[None]
    given = torch.from_numpy(mask)[None, None]
    return np.asarray(
        grid_sample(given, torch.from_numpy(places), padding_mode="border", align_corners=False)[0, 0]
    )


def whole(mask: NDArray[np.float64], edges: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Paste into an empty window."""
    pixels, (col, row) = paste(mask, edges, ALL, threshold)
    found = np.zeros_like(ALL)
    found[row : row + pixels.shape[0], col : col + pixels.shape[1]] = pixels
    return found


@given(
    left=st.floats(-10, 35),
    top=st.floats(-10, 25),
    width=st.floats(0.3, 60),
    height=st.floats(0.3, 60),
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_pixels_are_those_where_the_sampled_probability_is_high(
    left: float, top: float, width: float, height: float, rows: int, cols: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((rows, cols))
    edges = np.array([left, top, left + width, top + height])
    x, y = np.arange(WIDTH) + 0.5, np.arange(HEIGHT)[:, None] + 0.5
    inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    for threshold in (0.3, 0.5):
        probability = sampled(mask, edges)
        sure = np.abs(probability - threshold) > 1e-9
        expected = inside & (probability >= threshold)
        np.testing.assert_array_equal(whole(mask, edges, threshold)[sure], expected[sure])


def test_a_mask_of_ones_gives_every_pixel_whose_centre_lies_in_the_box() -> None:
    found = whole(np.ones((28, 28)), np.array([3.5, 2.4, 17.5, 9.6]), 0.5)
    expected = np.zeros_like(ALL)
    expected[2:10, 3:17] = True  # 3.5 is the centre of column 3; 17.5 that of 17, and no more inside
    np.testing.assert_array_equal(found, expected)


def test_pixels_without_data_belong_to_nothing() -> None:
    valid = ALL.copy()
    valid[:, 8:] = False
    (outline,) = outline_masks(np.ones((1, 7, 7)), np.array([[2.0, 3, 20, 9]]), valid, 0.5)
    assert outline.equals(box(2, 3, 8, 9))


def test_what_is_no_number_belongs_to_nothing() -> None:
    mask = np.ones((4, 4))
    mask[:, 2:] = np.nan
    found = whole(mask, np.array([0.0, 0, 16, 16]), 0.5)
    assert found.sum() == 16 * 6


@pytest.mark.parametrize("count", [0, 1, 31, 33, 70])
def test_outlines_stand_in_the_order_of_the_masks_and_where_they_are_in_the_window(count: int) -> None:
    boxes = np.array([[n % 9 * 4.0, n % 7 * 4.0, n % 9 * 4.0 + 3, n % 7 * 4.0 + 2] for n in range(count)])
    outlines = outline_masks(np.ones((count, 5, 5)), boxes.reshape(-1, 4), ALL, 0.5)
    assert [outline.bounds for outline in outlines] == [tuple(one) for one in boxes]


def test_an_object_without_a_pixel_has_no_outline() -> None:
    boxes = np.array([[1.0, 1, 5, 5], [-9, -9, -2, -2], [50, 50, 60, 60], [3.6, 3.6, 4.4, 9], [5, 5, 9, 9]])
    masks = np.ones((5, 3, 3))
    masks[0] = 0.2
    outlines = outline_masks(masks, boxes, ALL, 0.5)
    assert [outline is None for outline in outlines] == [True, True, True, True, False]


def test_the_largest_piece_of_a_mask_is_taken() -> None:
    mask = np.zeros((10, 20))
    mask[:, :4] = 1
    mask[:, 10:] = 1
    (outline,) = outline_masks(mask[None], np.array([[5.0, 5, 25, 15]]), ALL, 0.5)
    assert outline.equals(Polygon([(15, 5), (25, 5), (25, 15), (15, 15)]))
