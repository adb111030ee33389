import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import least_squares
from shapely import affinity
from shapely.geometry import Polygon, box

from buildmap.vector.fitting.lines import Lines, corners
from buildmap.vector.fitting.sampling import sample_ring
from buildmap.vector.fitting.settling import settled

HOUSE = Polygon([(0, 0), (60, 0), (60, 25), (35, 25), (35, 45), (0, 45)])


def lines_of(polygon: Polygon, free: list[int] | None = None) -> Lines:
    ring = np.array(polygon.exterior.coords)
    along = np.diff(ring, axis=0)
    angle = np.arctan2(along[:, 1], along[:, 0])
    offset = -np.sin(angle) * ring[:-1, 0] + np.cos(angle) * ring[:-1, 1]
    own = np.isin(np.arange(len(along)), free or [])
    return Lines(angle, offset, np.hypot(*along.T), own)


def samples_of(polygon: Polygon) -> NDArray[np.float64]:
    return sample_ring(np.array(polygon.exterior.coords))


@settings(deadline=None, max_examples=300)
@given(st.floats(-1.5, 1.5), st.floats(-0.7, 0.7), st.floats(-0.7, 0.7), st.floats(0, 360))
def test_lines_that_are_a_little_off_come_to_lie_on_the_walls(
    turn: float, east: float, north: float, facing: float
) -> None:
    true = affinity.rotate(HOUSE, facing, origin=(0, 0))
    moved = affinity.translate(affinity.rotate(true, turn), east, north)
    found, turned = settled(samples_of(true), lines_of(moved), 2.0, True)
    assert np.degrees(turned) == pytest.approx(-turn, abs=0.1 + 0.3 * abs(turn))
    assert Polygon(corners(found)).hausdorff_distance(true) < 0.1 + 0.5 * moved.hausdorff_distance(true)


def test_walls_of_one_direction_turn_together_by_least_squares() -> None:
    noise = np.random.default_rng(4)
    samples = samples_of(HOUSE) + noise.normal(0, 0.4, (210, 2))
    lines = lines_of(HOUSE)
    found, turned = settled(samples, lines, 2.0, True)
    distance = np.abs(samples @ [-np.sin(lines.angle), np.cos(lines.angle)] - lines.offset)
    ring = np.array(HOUSE.exterior.coords)
    length = np.hypot(*np.diff(ring, axis=0).T)
    along = samples @ [np.cos(lines.angle), np.sin(lines.angle)]
    along -= (ring[:-1] * np.stack([np.cos(lines.angle), np.sin(lines.angle)], 1)).sum(1)
    distance[(along < 0) | (along > length)] = np.inf
    owner = np.where(distance.min(1) < 4, distance.argmin(1), -1)

    def misfit(unknown: NDArray[np.float64]) -> NDArray[np.float64]:
        angle = lines.angle + unknown[0]
        away = samples @ [-np.sin(angle), np.cos(angle)] - unknown[1:]
        return np.concatenate([away[owner == wall, wall] for wall in range(6)])

    best = least_squares(misfit, np.append(0.0, lines.offset)).x
    assert turned == pytest.approx(best[0], abs=1e-4)
    np.testing.assert_allclose(np.diff(found.angle), np.diff(lines.angle), atol=1e-12)
    np.testing.assert_allclose(found.offset, best[1:], atol=5e-3)


def test_a_wall_of_its_own_direction_turns_by_itself() -> None:
    slanted = Polygon([(0, 0), (60, 0), (60, 30), (0, 42)])
    moved = Polygon([(0, 0), (60, 0), (60, 31), (0, 41)])
    found, turned = settled(samples_of(slanted), lines_of(moved, free=[2]), 2.0, True)
    assert np.tan(found.angle[2]) == pytest.approx(-12 / 60, abs=0.01)
    assert abs(np.degrees(turned)) < 0.05


def test_the_walls_of_a_courtyard_keep_the_direction_of_the_house() -> None:
    lines = lines_of(affinity.rotate(HOUSE, 1.0))
    found, turned = settled(samples_of(HOUSE), lines, 2.0, False)
    assert turned == 0
    np.testing.assert_array_equal(found.angle, lines.angle)
    assert np.abs(found.offset - lines.offset).max() > 0.05


def test_what_a_tree_hides_hardly_moves_a_wall() -> None:
    house = box(0, 0, 60, 30)
    samples = samples_of(house)
    hidden = (samples[:, 1] == 0) & (np.abs(samples[:, 0] - 30) < 3)
    samples[hidden, 1] = 3.5
    below = int(np.argmin(np.abs(lines_of(house).offset) + np.abs(np.sin(lines_of(house).angle))))
    found, _ = settled(samples, lines_of(house), 2.0, True)
    weight = 2 / 3.5  # of Huber, beyond 2 pixels
    assert hidden.sum() == 6
    assert abs(found.offset[below]) == pytest.approx(6 * weight * 3.5 / (54 + 6 * weight))
    samples[hidden, 1] = 4.5  # too far off to belong to it
    found, _ = settled(samples, lines_of(house), 2.0, True)
    assert found.offset[below] == pytest.approx(0, abs=1e-9)


def test_a_wall_that_would_become_too_short_leaves_all_as_it_was() -> None:
    stepped = Polygon([(0, 0), (30, 0), (30, 3), (60, 3), (60, 40), (0, 40)])
    lines = lines_of(stepped)
    samples = samples_of(Polygon([(0, 0), (30, 0), (30, 2), (60, 2), (60, 40), (0, 40)]))
    found, turned = settled(samples, lines, 2.5, True)
    assert turned == 0
    np.testing.assert_array_equal(found.offset, lines.offset)
    shorter, _ = settled(samples, lines, 1.0, True)
    assert np.abs(shorter.offset - lines.offset).max() > 0.5


def test_a_wall_with_two_samples_stays_where_it_is_and_turns_with_the_others() -> None:
    samples = samples_of(box(0, 0, 60, 30))
    lines = lines_of(affinity.rotate(box(0, 0, 60, 30), 0.5))
    unseen = int(np.argmax(np.abs(lines.offset - lines.offset.mean())))
    normal = np.array([-np.sin(lines.angle[unseen]), np.cos(lines.angle[unseen])])
    away = np.abs(samples @ normal - lines.offset[unseen])
    middle = (corners(lines)[unseen] + corners(lines)[(unseen + 1) % 4]) / 2
    few = middle + 3 * normal + np.array([[0.5], [-0.5]]) * [normal[1], -normal[0]]
    found, turned = settled(np.concatenate([samples[away > 4.5], few]), lines, 2.0, True)
    assert found.angle[unseen] == pytest.approx(lines.angle[unseen] + turned)
    off = middle @ [-np.sin(found.angle[unseen]), np.cos(found.angle[unseen])] - found.offset[unseen]
    assert off == pytest.approx(0, abs=1e-9)
