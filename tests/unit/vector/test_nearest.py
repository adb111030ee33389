import math
from itertools import pairwise

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import LineString, Point, Polygon, box
from shapely.ops import nearest_points

from buildmap.vector.nearest import max_tangent_angles, sum_distances
from buildmap.vector.ragged import to_ragged

SQUARE = box(0, 0, 10, 10)


def star(rng: np.random.Generator) -> Polygon:
    """Draw a house nobody would build, sometimes with a court."""
    sides = rng.integers(5, 13)
    angles = (np.arange(sides) + 0.8 * rng.random(sides)) / sides * 2 * np.pi
    radii = 10 * rng.uniform(0.5, 1, sides)
    around = Polygon(np.column_stack([np.cos(angles), np.sin(angles)]) * radii[:, None])
    return around - affinity.rotate(box(-1, -1, 1, 1), rng.uniform(0, 90)) if rng.random() < 0.5 else around


def pairs_of_stars(seed: int, count: int) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    rng = np.random.default_rng(seed)
    true = [star(rng) for _ in range(count)]
    turned = [affinity.rotate(one, rng.uniform(-9, 9)) for one in true]
    drawn = [affinity.translate(one, *rng.normal(0, 0.5, 2)) for one in turned]
    return np.array(drawn, object), np.array(true, object)


def angles_of(outlines: list[Polygon], targets: list[Polygon], spacing: float) -> list[float]:
    pair = (to_ragged(np.array(polygons, object)) for polygons in (outlines, targets))
    return [float(angle) for angle in max_tangent_angles(*pair, spacing)]


def rings(polygon: Polygon) -> list[NDArray[np.float64]]:
    return [np.array(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]


def line_angle(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    cosine = abs(one @ other) / (np.linalg.norm(one) * np.linalg.norm(other))
    return math.degrees(math.acos(min(cosine, 1)))


def steps_of(outline: Polygon, target: Polygon, spacing: float) -> list[tuple[NDArray[np.float64], ...]]:
    """Give the steps that count, and the start and end of their projections."""
    lines = target.boundary
    counted = []
    for ring in rings(outline):
        for start, end in pairwise(ring):
            count = max(1, round(float(np.linalg.norm(end - start)) / spacing))
            points = np.linspace(start, end, count + 1)
            feet = [np.array(nearest_points(Point(point), lines)[1].coords[0]) for point in points]
            for k in range(count):
                step, foot, next_foot = points[k + 1] - points[k], feet[k], feet[k + 1]
                length = float(np.linalg.norm(next_foot - foot))
                if length > 0 and 0.5 < np.linalg.norm(step) / length < 2:
                    counted.append((step, foot, next_foot))
    return counted


def published_angle(outline: Polygon, target: Polygon, spacing: float) -> float:
    """Follow the code of Girard et al.: the tangent of the target is the chord between two projections."""
    return max(line_angle(step, end - start) for step, start, end in steps_of(outline, target, spacing))


def slow_angle(outline: Polygon, target: Polygon, spacing: float) -> float:
    """Follow the definition: the chord, or an edge of the target that touches one of its ends."""
    edges = [LineString(edge) for ring in rings(target) for edge in pairwise(ring)]
    angles = []
    for step, start, end in steps_of(outline, target, spacing):
        touched = [edge for edge in edges for foot in (start, end) if edge.distance(Point(foot)) < 1e-9]
        tangents = [end - start, *(np.subtract(*np.array(edge.coords)) for edge in touched)]
        angles.append(min(line_angle(step, tangent) for tangent in tangents))
    return max(angles)


@pytest.mark.parametrize("seed", range(4))
def test_distances_agree_with_asking_shapely_for_every_corner_of_the_exterior(seed: int) -> None:
    drawn, true = pairs_of_stars(seed, 25)
    expected = [
        sum(other.exterior.distance(Point(corner)) for corner in one.exterior.coords[:-1])
        for one, other in zip(drawn, true, strict=True)
    ]
    given = sum_distances(to_ragged(drawn), to_ragged(true))
    np.testing.assert_allclose(given, expected, rtol=1e-12, atol=1e-12)


def test_interiors_add_no_distance_and_attract_no_corner() -> None:
    court = SQUARE - box(4, 4, 6, 6)
    small, apart = box(3, 3, 7, 7), box(3, 3, 7, 7) - box(4.5, 4.5, 5.5, 5.5)
    outlines, targets = to_ragged(np.array([small, apart])), to_ragged(np.array([court, SQUARE]))
    assert sum_distances(outlines, targets).tolist() == [12, 12]


@pytest.mark.parametrize("spacing", [0.6, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_tangent_angles_agree_with_a_slow_direct_formula(seed: int, spacing: float) -> None:
    drawn, true = pairs_of_stars(seed, 12)
    expected = [slow_angle(one, other, spacing) for one, other in zip(drawn, true, strict=True)]
    given = max_tangent_angles(to_ragged(drawn), to_ragged(true), spacing)
    np.testing.assert_allclose(given, expected, atol=1e-5)
    assert np.unique(given.round(3)).size > 6


def test_no_tangent_angle_is_above_the_published_one() -> None:
    drawn, true = pairs_of_stars(7, 25)
    published = [published_angle(one, other, 1.0) for one, other in zip(drawn, true, strict=True)]
    assert (max_tangent_angles(to_ragged(drawn), to_ragged(true), 1.0) <= np.array(published) + 1e-5).all()


@pytest.mark.parametrize("turn", [1.0, 5.0, 10.0, 20.0])
def test_a_turned_square_has_the_angle_by_which_it_was_turned(turn: float) -> None:
    assert angles_of([affinity.rotate(SQUARE, turn)], [SQUARE], 0.6) == pytest.approx([turn])


def test_an_aligned_square_has_no_angle_where_the_published_code_sees_twenty_degrees() -> None:
    inset = box(0.4, 0.4, 8.6, 8.6)
    target = box(0, 0, 9, 9)
    assert published_angle(inset, target, 0.6) == pytest.approx(math.degrees(math.atan2(0.4, 0.4 + 8.2 / 14)))
    assert angles_of([inset], [target], 0.6) == pytest.approx([0])


def test_an_outline_is_at_no_angle_to_itself_where_the_published_code_gives_nan() -> None:
    diamond = Polygon([(0, 0), (3, 3), (0, 6), (-3, 3)])
    walls = np.diff(rings(diamond)[0], axis=0)
    lengths = np.linalg.norm(walls, axis=1)
    with np.errstate(invalid="ignore"):
        published = np.arccos(np.abs((walls * walls).sum(axis=1) / (lengths * lengths)).min())
    assert math.isnan(published)
    assert angles_of([diamond], [diamond], 10) == [0]


def test_a_cut_corner_is_seen() -> None:
    cut = SQUARE - Polygon([(10, 10), (7, 10), (10, 7)])
    assert angles_of([cut], [SQUARE], 0.6) == pytest.approx([45])


def test_interiors_are_walked_and_projected_to() -> None:
    court = SQUARE - box(4, 4, 6, 6)
    turned = SQUARE - affinity.rotate(box(4, 4, 6, 6), 15)
    assert angles_of([turned, turned], [court, SQUARE], 0.6) == pytest.approx([15, 15])
    assert angles_of([SQUARE], [court], 0.6) == pytest.approx([0])


@pytest.mark.parametrize(("slope", "seen"), [(59, 59), (61, 0)])
def test_a_wall_steeper_than_sixty_degrees_is_squeezed_too_much_to_count(slope: float, seen: float) -> None:
    gable = Polygon([(45, 100), (55, 100), (50, 100 + 5 * math.tan(math.radians(slope)))])
    assert angles_of([gable], [box(0, 0, 100, 100)], 0.6) == pytest.approx([seen])


def test_an_outline_that_projects_to_one_point_has_no_angle() -> None:
    alone, known = angles_of([box(20, 20, 21, 21), SQUARE], [SQUARE, SQUARE], 0.6)
    assert math.isnan(alone)
    assert known == 0


def test_the_angle_depends_neither_on_the_first_corner_nor_on_the_direction() -> None:
    drawn, true = pairs_of_stars(11, 20)

    def rolled(polygon: Polygon) -> Polygon:
        return Polygon(np.roll(rings(polygon)[0][:-1], 2, axis=0)[::-1], polygon.interiors)

    as_drawn = max_tangent_angles(to_ragged(drawn), to_ragged(true), 0.6)
    otherwise = to_ragged(np.array([rolled(one) for one in true], object))
    np.testing.assert_allclose(max_tangent_angles(to_ragged(drawn), otherwise, 0.6), as_drawn, atol=1e-5)


@pytest.mark.parametrize("repeated", [1, 3])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("first", range(4))
def test_at_a_corner_both_walls_are_tangents(first: int, direction: int, repeated: int) -> None:
    # from beside the corner (10, 10) to above the upper wall: 54 degrees from it, 36 from the other
    outline = Polygon([(10.1, 10.2), (9, 11.7), (2, 11.9)])
    corners = np.roll(rings(SQUARE)[0][:-1], first, axis=0)[::direction]
    target = Polygon(np.repeat(corners, repeated, axis=0))
    angle = math.degrees(math.atan2(1.1, 1.5))
    assert angles_of([outline], [target], 100) == pytest.approx([angle])
    assert slow_angle(outline, target.simplify(0), 100) == pytest.approx(angle)


def test_corners_that_are_repeated_change_nothing() -> None:
    drawn, true = pairs_of_stars(13, 20)
    twice = [Polygon(np.repeat(rings(one)[0], 2, axis=0)) for one in true]
    once = to_ragged(shapely.polygons(shapely.get_exterior_ring(true)))
    expected = max_tangent_angles(to_ragged(drawn), once, 0.6)
    assert (max_tangent_angles(to_ragged(drawn), to_ragged(np.array(twice)), 0.6) == expected).all()
    turned = affinity.rotate(Polygon(np.repeat(rings(SQUARE)[0], 2, axis=0)), 10)
    assert angles_of([turned], [SQUARE], 0.6) == pytest.approx([10])


def test_an_outline_of_nan_has_no_angle_and_spoils_no_other() -> None:
    turned = affinity.rotate(SQUARE, 10)
    outlines, targets = to_ragged(np.array([SQUARE, turned])), to_ragged(np.array([SQUARE, SQUARE]))
    outlines.corners[:5] = targets.corners[:5] = np.nan
    angles = max_tangent_angles(outlines, targets, 0.6)
    assert math.isnan(angles[0])
    assert angles[1] == pytest.approx(10)
