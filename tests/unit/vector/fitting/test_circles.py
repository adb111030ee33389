import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon, box

from buildmap.vector.fitting.circles import Circle, draw_circle, fit_circle


@given(st.integers(0, 500), st.floats(3, 200))
def test_the_circle_is_the_linear_least_squares_solution(seed: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, 30)
    samples = np.column_stack([np.cos(angle), np.sin(angle)]) * radius + rng.normal(0, 1, (30, 2)) + [40, -7]
    rows = np.column_stack([2 * samples, np.ones(30)])
    (x, y, rest), *_ = np.linalg.lstsq(rows, (samples**2).sum(1), rcond=None)
    expected = np.sqrt(rest + x**2 + y**2)
    found = fit_circle(samples)
    assert (found.x, found.y, found.radius) == pytest.approx((x, y, expected), rel=1e-6)
    distances = np.hypot(*(samples - [x, y]).T) - expected
    assert found.residual == pytest.approx((distances**2).sum(), rel=1e-5)


def test_samples_on_a_line_have_no_circle() -> None:
    line = np.column_stack([np.arange(10.0), 2 * np.arange(10.0)])
    assert fit_circle(line).radius == 0


@given(st.floats(4, 5000), st.sampled_from([-1.0, 1.0]))
def test_a_drawn_circle_has_its_area_and_turns_as_told(radius: float, turn: float) -> None:
    ring = shapely.LinearRing(draw_circle(Circle(10.0, 20.0, radius, 0.0), turn))
    assert Polygon(ring).area == pytest.approx(np.pi * radius**2, rel=1e-9)
    assert ring.is_ccw == (turn > 0)
    assert Polygon(ring).centroid.distance(Point(10, 20)) < 1e-6 * radius


@pytest.mark.parametrize(("radius", "sides"), [(4, 16), (20, 32), (70, 60), (1e4, 64)])
def test_sides_are_a_tenth_of_a_pixel_off_unless_they_are_too_many(radius: float, sides: int) -> None:
    ring = Polygon(draw_circle(Circle(0.0, 0.0, radius, 0.0), 1.0))
    assert len(ring.exterior.coords) - 1 == sides
    if sides < 64:
        assert ring.exterior.distance(Point(0, 0)) > radius - 0.1


def test_a_square_is_farther_from_its_circle_than_a_disc() -> None:
    square = shapely.get_coordinates(box(0, 0, 20, 20).exterior.segmentize(1))
    disc = shapely.get_coordinates(Point(10, 10).buffer(11, quad_segs=20).exterior)
    assert fit_circle(square).residual / len(square) > 1
    assert fit_circle(disc).residual / len(disc) < 1e-9
