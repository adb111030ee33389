"""Keypoints as flat arrays."""

import numpy as np
import pytest

from buildmap.vector.keypoints.points import Keypoints


def test_every_keypoint_knows_its_object() -> None:
    keypoints = Keypoints(points=np.zeros((5, 2)), score=np.ones(5), offsets=np.array([0, 2, 2, 5], np.int64))
    assert len(keypoints) == 3
    assert keypoints.owner.tolist() == [0, 0, 2, 2, 2]


@pytest.mark.parametrize(
    ("points", "score", "offsets", "message"),
    [
        (np.zeros((2, 3)), np.ones(2), [0, 2], "with scores"),
        (np.zeros((2, 2)), np.ones(3), [0, 2], "with scores"),
        (np.zeros((2, 2)), np.ones(2), [0, 1], "do not part"),
        (np.zeros((2, 2)), np.ones(2), [1, 2], "do not part"),
        (np.zeros((2, 2)), np.ones(2), [0, 2, 1, 2], "do not part"),
        (np.zeros((2, 2)), np.ones(2), [], "do not part"),
        (np.array([[0, np.nan]]), np.ones(1), [0, 1], "nowhere"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(
    points: np.ndarray, score: np.ndarray, offsets: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Keypoints(points=points, score=score, offsets=np.array(offsets, np.int64))
