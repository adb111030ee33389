"""Painted detections against sampling by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from buildmap.models.instance_network import Detections, InstanceNetwork
from buildmap.training.painting import Painted, paint

ROWS, COLS = 10, 14


def found(boxes: list[list[float]], scores: list[float], masks: NDArray[np.float32] | None) -> Detections:
    return Detections(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores, dtype=torch.float32),
        masks=None if masks is None else torch.from_numpy(masks),
        heatmaps=None,
    )


def sample(mask: NDArray[np.float32], y: float, x: float) -> float:
    """Interpolate between the centres of a mask's cells; outside of the mask there is 0."""
    total = 0.0
    for row, col in np.ndindex(mask.shape):
        total += max(0, 1 - abs(y - row - 0.5)) * max(0, 1 - abs(x - col - 0.5)) * mask[row, col]
    return total


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
def test_a_pixel_has_the_greatest_of_its_objects_each_the_lesser_of_score_and_mask(
    seed: int, count: int, has_masks: bool
) -> None:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1) * [COLS, ROWS]
    boxes = corners.reshape(count, 4).astype(np.float32)
    scores = rng.random(count).astype(np.float32)
    masks = rng.random((count, 3, 4)).astype(np.float32)
    expected = np.zeros((ROWS, COLS))
    for (left, top, right, bottom), score, mask in zip(boxes, scores, masks, strict=True):
        for row, col in np.ndindex(ROWS, COLS):
            x, y = col + 0.5, row + 0.5
            if left <= x < right and top <= y < bottom:
                at = (y - top) / (bottom - top) * 3, (x - left) / (right - left) * 4
                probability = min(sample(mask, *at), score) if has_masks else score
                expected[row, col] = max(expected[row, col], probability)
    painted = paint(found(boxes.tolist(), scores.tolist(), masks if has_masks else None), (ROWS, COLS))
    np.testing.assert_allclose(painted.numpy(), expected, atol=1e-4)


def test_a_mask_of_ones_is_its_box_with_the_object_s_score() -> None:
    ones = np.ones((1, 5, 5), np.float32)
    painted = paint(found([[2, 3, 9, 8]], [0.75], ones), (ROWS, COLS))
    expected = np.zeros((ROWS, COLS))
    expected[3:8, 2:9] = 0.75
    np.testing.assert_array_equal(painted[4:7, 3:8], expected[4:7, 3:8])
    # halfway from the last cells' centres to the box's sides, probability falls off
    assert set(np.argwhere(painted.numpy() >= 0.5).ravel().tolist()) == set(
        np.argwhere(expected >= 0.5).ravel().tolist()
    )
    assert ((painted.numpy() >= 0.5) == (expected >= 0.5)).all()


def test_boxes_beyond_the_image_empty_or_not_finite_do_no_harm() -> None:
    boxes = [[-6, -6, 4, 4], [math.nan, 0, 5, 5], [3, 3, 3, 9], [8, 2, 4, 9], [12, 8, 40, 40]]
    painted = paint(found(boxes, [0.9, 0.8, 0.7, 0.6, 0.5], None), (ROWS, COLS)).numpy()
    expected = np.zeros((ROWS, COLS), np.float32)
    expected[:4, :4], expected[8:, 12:] = 0.9, 0.5
    np.testing.assert_array_equal(painted, expected)


def test_nothing_found_is_nothing_painted() -> None:
    painted = paint(found([], [], np.empty((0, 5, 5), np.float32)), (ROWS, COLS))
    assert painted.shape == (ROWS, COLS)
    assert not painted.any()


class Given(InstanceNetwork):
    """Finds a building of the image's brightness on the left, and none where it is dark."""

    stride = 1

    def detect(self, images: Tensor) -> list[Detections]:
        return [
            found([[0, 0, 7, ROWS]], [image.mean().item()], None) if image.any() else found([], [], None)
            for image in images
        ]


@pytest.mark.parametrize("score", [0.25, 0.5, 1.0])
def test_in_the_place_of_a_mask_network_it_gives_logits_of_what_is_painted(score: float) -> None:
    images = torch.stack([torch.full((3, ROWS, COLS), score), torch.zeros(3, ROWS, COLS)])
    logits = Painted(Given())(images)
    assert logits.shape == (2, 1, ROWS, COLS)
    expected = torch.zeros(2, 1, ROWS, COLS)
    expected[0, :, :, :7] = score
    torch.testing.assert_close(logits.sigmoid(), expected, atol=2e-6, rtol=0)
    assert logits.isfinite().all()
    assert torch.equal(logits >= 0, expected >= 0.5)
