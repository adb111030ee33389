import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from shapely.geometry import Polygon, box

from buildmap.vector.corners import count_near
from buildmap.vector.ragged import Ragged, to_ragged

SQUARE = box(0, 0, 10, 10)


def as_ring(corners: NDArray[np.float64]) -> Ragged:
    closed = np.vstack([corners, corners[:1]])
    return Ragged(corners=closed, rings=np.array([0, len(closed)]), polygons=np.array([0, 1]))


def one_by_one(ours: NDArray[np.float64], theirs: NDArray[np.float64], tolerance: float) -> int:
    """Take the nearest two corners out, again and again."""
    distances = cdist(ours, theirs)
    partners = 0
    while distances.size and distances.min() <= tolerance:
        i, j = np.unravel_index(distances.argmin(), distances.shape)
        distances = np.delete(np.delete(distances, i, axis=0), j, axis=1)
        partners += 1
    return partners


@pytest.mark.parametrize("tolerance", [0.05, 0.2, 0.7])
def test_counts_agree_with_taking_out_the_nearest_pair_again_and_again(tolerance: float) -> None:
    rng = np.random.default_rng(5)
    counts = set()
    for _ in range(60):
        ours, theirs = rng.random((rng.integers(3, 15), 2)), rng.random((rng.integers(3, 15), 2))
        near = int(count_near(as_ring(ours), as_ring(theirs), tolerance)[0])
        assert near == one_by_one(ours, theirs, tolerance)
        counts.add(near)
    assert len(counts) > 2


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 2))
@settings(max_examples=60, deadline=None)
def test_partners_are_at_most_as_many_as_could_be_and_at_least_half(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = rng.random((rng.integers(3, 9), 2)), rng.random((rng.integers(3, 9), 2))
    able = cdist(ours, theirs) <= tolerance
    most = int(able[linear_sum_assignment(able, maximize=True)].sum())
    assert most / 2 <= int(count_near(as_ring(ours), as_ring(theirs), tolerance)[0]) <= most


def test_one_true_corner_is_no_partner_of_two() -> None:
    doubled = Polygon([(0, 0), (10, 0), (10, 9.8), (9.8, 10), (0, 10)])
    assert count_near(to_ragged(np.array([doubled])), to_ragged(np.array([SQUARE])), 1.0).tolist() == [4]


def test_the_nearest_pair_goes_first() -> None:
    # two pairs could be made, but 0.6 and 1.0 are nearest, and leave 1.5 and -0.2 too far apart
    ours = np.array([[0.6, 0.0], [1.5, 0.0], [9.0, 9.0]])
    theirs = np.array([[1.0, 0.0], [-0.2, 0.0], [-9.0, -9.0]])
    able = cdist(ours, theirs) <= 0.85
    assert able[linear_sum_assignment(able, maximize=True)].sum() == 2
    assert count_near(as_ring(ours), as_ring(theirs), 0.85).tolist() == [1]


def test_a_corner_at_the_tolerance_is_near_and_one_beyond_is_not() -> None:
    moved = to_ragged(np.array([box(0.5, 0, 10.5, 10)]))
    square = to_ragged(np.array([SQUARE]))
    assert count_near(moved, square, 0.5).tolist() == [4]
    assert count_near(moved, square, 0.499).tolist() == [0]


def test_interiors_have_corners_too_and_pairs_do_not_mix() -> None:
    court = SQUARE - box(4, 4, 6, 6)
    ours, theirs = to_ragged(np.array([court, SQUARE, court])), to_ragged(np.array([court, court, SQUARE]))
    assert count_near(ours, theirs, 0.1).tolist() == [8, 4, 4]
