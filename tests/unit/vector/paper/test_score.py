import numpy as np
import pytest
import shapely

from buildmap.vector.paper.points import cut_ring
from buildmap.vector.paper.score import Shape, bend_shares, shape_of, terms
from tests.unit.vector.traced import traced_shape, turned_l

EVEN = np.full(7, 1 / 7)


def described(polygon: shapely.Polygon) -> Shape:
    return shape_of(cut_ring(shapely.get_coordinates(polygon.exterior)[:-1])[0])


def test_a_ring_agrees_with_itself_but_for_noise_that_stays() -> None:
    house = described(turned_l(20))
    assert terms(house, house) == pytest.approx((1, 1, 0))


def test_the_terms_are_overlap_ratio_and_loss() -> None:
    one = Shape(np.array([0.5, 0.5, 0, 0, 0, 0, 0]), 0.2, 0.004)
    other = Shape(np.array([0.7, 0.1, 0.2, 0, 0, 0, 0]), 0.25, 0.001)
    assert terms(one, other) == pytest.approx((0.6, 0.8, 0.75))
    noisier = Shape(one.bends, 0.2, 0.9)
    assert terms(one, noisier) == pytest.approx((1, 1, 0))


@pytest.mark.parametrize("flat", [0, 1])
def test_what_has_no_area_scores_nothing(flat: int) -> None:
    pair = [Shape(EVEN, 0.2, 0.1), Shape(EVEN, 0.2, 0.1)]
    pair[flat] = Shape(EVEN, 0.0, 0.1)
    assert terms(*pair) == (0, 0, 0)


def test_the_true_shape_scores_better_than_the_raw_one_and_than_its_box() -> None:
    raw = described(traced_shape(turned_l(20))[0])
    weights = (0.2, 0.3, 0.5)
    true, same, box = (
        float(np.dot(weights, terms(raw, described(one))))
        for one in (turned_l(20), traced_shape(turned_l(20))[0], turned_l(20).minimum_rotated_rectangle)
    )
    assert true > same
    assert true > box


def test_bends_of_a_circle_fall_into_the_class_of_its_radius() -> None:
    angle = np.linspace(0, 2 * np.pi, 628, endpoint=False)
    for radius, place in [(100, 0), (30, 1), (14, 2), (7, 3)]:
        circle = radius * np.column_stack([np.cos(angle), np.sin(angle)])[:: max(1, 100 // radius)]
        assert bend_shares(circle.copy())[place] == 1


def test_shares_of_bends_add_up_to_one() -> None:
    house = described(traced_shape(turned_l(33))[0])
    assert house.bends.sum() == pytest.approx(1)
    assert (house.bends >= 0).all()
