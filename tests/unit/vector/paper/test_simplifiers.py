import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from buildmap.vector.paper.simplifiers import deviations, effective_areas, sample_by_curvature
from tests.unit.vector.traced import rough_mask, traced


def rings(seed: int, size: int = 60) -> list[NDArray[np.float64]]:
    return [
        shapely.get_coordinates(polygon.exterior)[:-1]
        for polygon in traced(rough_mask(np.random.default_rng(seed), size))
    ]


def _geos(half: NDArray[np.float64], tolerance: float) -> shapely.LineString:
    return shapely.simplify(shapely.LineString(half), tolerance, preserve_topology=False)


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 1.7, 3.0])
def test_both_halves_of_a_ring_are_simplified_as_geos_does(tolerance: float) -> None:
    rng = np.random.default_rng(1)
    for exact in rings(1):
        ring = exact + rng.uniform(-0.01, 0.01, exact.shape)  # of equal distances, rounding would choose
        weight = deviations(ring)
        one, other = np.flatnonzero(np.isinf(weight))
        turned = np.roll(ring, -one, axis=0)
        halves = turned[: other - one + 1], np.append(turned[other - one :], turned[:1], axis=0)
        simple = [_geos(half, tolerance) for half in halves]
        expected = np.concatenate([shapely.get_coordinates(line)[:-1] for line in simple])
        kept = weight > tolerance
        np.testing.assert_array_equal(turned[np.roll(kept, -one)], expected)


def test_a_ring_is_cut_at_its_farthest_corners() -> None:
    ring = np.array([(0.0, 0), (4, 0), (8, 0), (8, 3), (4, 3), (0, 3)])
    np.testing.assert_allclose(deviations(ring), [np.inf, 0, 24 / np.sqrt(73), np.inf, 0, 24 / np.sqrt(73)])


def slow_areas(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop the smallest triangle again and again, looking at all of them each time."""
    left, area, reached = list(range(len(ring))), np.full(len(ring), np.inf), 0.0
    while len(left) > 3:
        triangles = [
            shapely.area(shapely.Polygon(ring[[left[k - 1], left[k], left[(k + 1) % len(left)]]]))
            for k in range(len(left))
        ]
        smallest = int(np.argmin(triangles))
        reached = max(reached, triangles[smallest])
        area[left.pop(smallest)] = reached
    return area


def test_effective_areas_are_those_of_the_slow_way() -> None:
    for ring in rings(2, 30):
        np.testing.assert_array_equal(effective_areas(ring), slow_areas(ring))


def test_a_triangle_is_never_simplified() -> None:
    assert np.isinf(effective_areas(np.array([(0.0, 0), (1, 0), (0, 1)]))).all()


@pytest.mark.parametrize("tolerance", [0.2, 0.5, 1.0])
def test_samples_of_a_circle_are_equally_far_and_within_the_tolerance(tolerance: float) -> None:
    radius, count = 50.0, 2000
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    circle = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    chosen = sample_by_curvature(circle, np.full(count, 1 / radius), tolerance)
    gaps = np.diff(np.append(chosen, chosen[0] + count))
    assert gaps.max() - gaps.min() <= 1
    assert radius * (1 - np.cos(gaps.max() * np.pi / count)) <= tolerance
    assert len(chosen) < 2 * np.pi * radius / np.sqrt(8 * tolerance * radius) + 2 * np.pi * radius / 40 + 1


def test_samples_are_dense_where_a_ring_bends() -> None:
    angle = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    ring = np.column_stack([200 * np.cos(angle), 20 * np.sin(angle)])
    curvature = 200 * 20 / ((200 * np.sin(angle)) ** 2 + (20 * np.cos(angle)) ** 2) ** 1.5
    chosen = sample_by_curvature(ring, curvature, 0.5)
    samples = ring[chosen]
    steps = np.linalg.norm(np.roll(samples, -1, axis=0) - samples, axis=1)
    at_the_tips = np.abs(samples[:, 0] + np.roll(samples[:, 0], -1)) / 2 > 190
    assert steps[at_the_tips].mean() < 0.5 * steps[~at_the_tips].mean()
    assert np.argmax(curvature) in chosen


def test_samples_rise_and_are_four_at_least() -> None:
    points = np.array([(0.0, 0), (1, 0), (1, 1), (0, 1), (0, 0.5)])
    chosen = sample_by_curvature(points, np.zeros(5), 100.0)
    assert (np.diff(chosen) > 0).all() and len(chosen) == 4
