import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from skimage.measure import find_contours

from buildmap.vector.paper.measures import measure
from tests.unit.vector.traced import rough_mask, traced, traced_shape, turned_l


def formulas(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """Write the three measures out for one ring of points."""
    to, back = np.roll(points, -1, axis=0) - points, points - np.roll(points, 1, axis=0)
    z, w = to[:, 0] + 1j * to[:, 1], back[:, 0] + 1j * back[:, 1]
    curvature = np.abs(np.angle(z / w)) / ((np.abs(z) + np.abs(w)) / 2)
    weights = np.array([1, 6, 15, 20, 15, 6, 1]) / 64
    smoothed = sum(weight * np.roll(points, 3 - k, axis=0) for k, weight in enumerate(weights))
    ring = shapely.Polygon(points)
    noise = np.linalg.norm(points - smoothed, axis=1).mean() / ring.length
    return curvature.mean(), ring.length / ring.area, noise


def test_the_measures_are_the_formulas_on_the_contour_of_marching_squares() -> None:
    rng = np.random.default_rng(11)
    for _ in range(10):
        mask = np.zeros((40, 40), np.uint8)
        mask[5:30, 8:33] = 1
        mask[5:30, 8:33] -= rough_mask(rng, 25, 0.03)
        house = max(traced(mask), key=shapely.area)
        alone = np.array([shapely.Polygon(house.exterior)], object)
        inside = shapely.contains_xy(alone[0], *np.meshgrid(np.arange(40) + 0.5, np.arange(40) + 0.5))
        (contour,) = find_contours(np.pad(inside, 1).astype(float), 0.5, fully_connected="low")
        measures = measure(np.array([house], object))
        ours = (measures.curvature[0], measures.ratio[0], measures.noise[0])
        assert ours == pytest.approx(formulas(contour[:-1]))


def test_a_square_worked_by_hand() -> None:
    measures = measure(np.array([shapely.box(0, 0, 10, 10)], object))
    short = np.sqrt(0.5)
    turn = (np.pi / 4) / ((1 + short) / 2)
    length, area = 4 * (9 + short), 100 - 4 * 0.125
    assert measures.curvature[0] == pytest.approx(8 * turn / 40)
    assert measures.ratio[0] == pytest.approx(length / area)


def test_a_rough_outline_is_noisier_and_bends_more_than_a_smooth_one() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:50, 10:50] = 1
    rough = mask.copy()
    rough[10, 11:50:4] = rough[49, 11:50:4] = 0
    smooth, noisy = measure(traced(mask)), measure(traced(rough))
    assert noisy.noise[0] > 2 * smooth.noise[0]
    assert noisy.curvature[0] > 2 * smooth.curvature[0]
    assert noisy.ratio[0] > smooth.ratio[0]


def test_interiors_do_not_matter() -> None:
    ring = shapely.box(0, 0, 30, 20)
    holed = ring - shapely.box(5, 5, 10, 10)
    one, other = measure(np.array([ring], object)), measure(np.array([holed], object))
    assert (one.curvature, one.ratio, one.noise) == (other.curvature, other.ratio, other.noise)


def test_a_wall_along_a_diagonal_is_as_quiet_as_one_along_a_row() -> None:
    straight, diagonal = measure(traced_shape(turned_l(0))), measure(traced_shape(turned_l(45)))
    assert diagonal.curvature[0] < 1.2 * straight.curvature[0]
    slanted = measure(traced_shape(turned_l(20)))
    assert slanted.curvature[0] > 2 * straight.curvature[0]
