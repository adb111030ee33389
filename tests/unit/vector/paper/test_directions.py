import numpy as np
import pytest
import shapely

from buildmap.vector.paper.directions import (
    Directions,
    is_organic,
    principal_directions,
    roundness,
    square_up,
)
from buildmap.vector.paper.options import PaperOptions
from buildmap.vector.paper.points import contours
from tests.unit.vector.traced import traced_shape, turned_l

OPTIONS = PaperOptions()


def found(shape: shapely.Polygon) -> Directions:
    return principal_directions(contours(traced_shape(shape)), OPTIONS)


def blob(seed: int) -> shapely.Polygon:
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = [rng.normal(0, 12 / k) * np.sin(k * angle + rng.uniform(0, 6)) for k in range(2, 7)]
    radius = 35 + np.sum(waves, axis=0)
    return shapely.Polygon(60 + np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None])


@pytest.mark.parametrize("angle_deg", [0, 8, 20, 33.5, 45, 61, 89])
def test_a_house_has_two_directions_at_right_angles(angle_deg: float) -> None:
    directions = found(turned_l(angle_deg))
    assert len(directions.angle) == 2
    one, other = np.degrees(directions.angle)
    assert (one - other) % 90 == pytest.approx(0, abs=1e-9) or (other - one) % 90 == pytest.approx(
        0, abs=1e-9
    )
    off = (one - angle_deg + 45) % 90 - 45
    assert abs(off) < 1
    assert directions.consensus[0] > 0.8
    assert is_organic(directions, OPTIONS).tolist() == [False]


def test_a_slanted_wall_has_a_direction_of_its_own() -> None:
    house = shapely.Polygon([(20, 20), (100, 20), (100, 60), (60, 100), (20, 100)])
    degrees = np.sort(np.degrees(found(house).angle))
    np.testing.assert_allclose(degrees, [0, 90, 135], atol=0.6)


@pytest.mark.parametrize("radius", [7, 15, 40])
def test_a_tank_is_round(radius: float) -> None:
    directions = found(shapely.Point(60.3, 59.8).buffer(radius))
    assert directions.roundness[0] < OPTIONS.roundness_max
    assert is_organic(directions, OPTIONS).tolist() == [True]


def test_a_square_is_not_round() -> None:
    for half in (3, 10, 40):
        directions = found(shapely.box(60 - half, 60 - half, 60 + half, 60 + half))
        assert directions.roundness[0] > OPTIONS.roundness_max
        assert is_organic(directions, OPTIONS).tolist() == [False]


def test_most_blobs_follow_no_direction_and_houses_do() -> None:
    blobs = [found(blob(seed)) for seed in range(40)]
    houses = [found(turned_l(angle)) for angle in range(0, 90, 3)]
    organic = [bool(is_organic(one, OPTIONS)[0]) for one in blobs]
    assert np.mean(organic) > 0.4
    assert not any(is_organic(one, OPTIONS)[0] for one in houses)
    assert np.median([one.consensus[0] for one in blobs]) < 0.4
    assert min(one.consensus[0] for one in houses) > 0.7


def test_consensus_is_the_share_along_directions_beyond_chance() -> None:
    house = shapely.Polygon([(20, 20), (100, 20), (100, 100), (20, 100)])
    assert found(house).consensus[0] == pytest.approx(1)
    cut = shapely.Polygon([(20, 20), (100, 20), (100, 100), (50, 100), (20, 85)])
    directions = principal_directions(contours(np.array([cut], object)), PaperOptions(directions_max=2))
    points = len(contours(np.array([cut], object)).points)
    along = 80 + 80 + 50 + 65
    assert directions.consensus[0] == pytest.approx((along / points - 1 / 6) / (5 / 6), abs=0.02)


def test_what_is_too_small_for_lines_has_no_direction() -> None:
    directions = found(shapely.box(60, 60, 61, 61))
    assert len(directions.angle) == 0
    assert is_organic(directions, OPTIONS).tolist() == [True]


def test_roundness_is_the_spread_of_the_radii_over_their_mean() -> None:
    angle = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    wavy = (100 + 10 * np.sin(5 * angle))[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    assert roundness(wavy) == pytest.approx(0.1 / np.sqrt(2), rel=1e-3)


def test_nearly_right_angles_are_made_right_and_share_the_difference() -> None:
    angle = np.degrees(square_up(np.radians([30.0, 124.0]), np.array([3.0, 1.0])))
    np.testing.assert_allclose(angle, [31, 121])


def test_nearly_parallel_directions_become_one_and_get_a_right_angle() -> None:
    np.testing.assert_allclose(
        np.degrees(square_up(np.radians([178.0, 2.0]), np.array([1.0, 1.0]))), [0, 90], atol=1e-9
    )


def test_other_directions_stay_and_the_heaviest_comes_first() -> None:
    angle = np.degrees(square_up(np.radians([45.0, 10.0, 100.0]), np.array([1.0, 9.0, 2.0])))
    np.testing.assert_allclose(angle, [10, 100, 45])


def test_directions_of_each_polygon_are_its_own() -> None:
    shapes = [traced_shape(turned_l(a))[0] for a in (10, 70)] + [traced_shape(shapely.box(5, 5, 6, 6))[0]]
    together = principal_directions(contours(np.array(shapes, object)), OPTIONS)
    assert np.diff(together.polygons).tolist() == [2, 2, 0]
    for k, shape in enumerate(shapes):
        alone = principal_directions(contours(np.array([shape], object)), OPTIONS)
        np.testing.assert_array_equal(
            together.angle[together.polygons[k] : together.polygons[k + 1]], alone.angle
        )
