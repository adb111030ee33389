import itertools
from typing import TYPE_CHECKING

import numpy as np
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from shapely.geometry import box

from buildmap.vector.fitting.sampling import count_samples, sample_ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXEL_L = np.array([(0, 0), (0, 3), (1, 3), (1, 1), (2, 1), (2, 0), (0, 0)], float)


def test_samples_of_a_pixel_outline_are_the_middles_of_its_pixel_edges() -> None:
    samples = sample_ring(PIXEL_L)
    expected = [
        (0, 0.5),
        (0, 1.5),
        (0, 2.5),
        (0.5, 3),
        (1, 2.5),
        (1, 1.5),
        (1.5, 1),
        (2, 0.5),
        (1.5, 0),
        (0.5, 0),
    ]
    np.testing.assert_array_equal(samples, expected)


@given(st.floats(0.01, 40), st.floats(0.01, 40), st.floats(0, 360))
def test_an_edge_has_a_sample_a_pixel_at_equal_distances(width: float, height: float, turn: float) -> None:
    assume(all(abs(length % 1 - 0.5) > 1e-6 for length in (width, height)))  # else rounding decides
    ring = shapely.get_coordinates(shapely.affinity.rotate(box(0, 0, width, height), turn))
    expected: list[NDArray[np.float64]] = []
    for start, stop in itertools.pairwise(ring):
        edge = shapely.LineString([start, stop])
        parts = max(1, int(np.floor(edge.length + 0.5)))
        places = shapely.line_interpolate_point(edge, (np.arange(parts) + 0.5) / parts, normalized=True)
        expected.append(shapely.get_coordinates(places))
    np.testing.assert_allclose(sample_ring(ring), np.concatenate(expected), atol=1e-9)


def test_samples_are_counted_before_they_are_made() -> None:
    assert count_samples(PIXEL_L) == 10
    assert count_samples(np.array([(0.0, 0.0), (0.2, 0.0), (0.2, 0.2), (0.0, 0.0)])) == 3
