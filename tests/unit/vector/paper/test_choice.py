import numpy as np
import pytest
import shapely

from buildmap.vector.paper.choice import choose, simplify_contours, simplify_ring
from buildmap.vector.paper.options import PaperOptions
from buildmap.vector.paper.points import contours, cut_ring, smooth, turning
from buildmap.vector.paper.score import shape_of, terms
from buildmap.vector.paper.simplifiers import deviations, effective_areas, sample_by_curvature
from tests.unit.vector.traced import rough_mask, traced, traced_shape, turned_l

OPTIONS = PaperOptions()
KINDS = ["regular", "complex", "noisy"]


def one_ring(angle_deg: float = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    outlines = contours(traced_shape(turned_l(angle_deg)))
    return outlines.corners, outlines.first_point, outlines.points


def test_each_class_has_its_own_simplifier() -> None:
    corners, first, points = one_ring()
    dp, _ = simplify_ring(corners, first, points, 0, 2.0)
    vw, _ = simplify_ring(corners, first, points, 1, 2.0)
    sampled, chosen = simplify_ring(corners, first, points, 2, 2.0)
    np.testing.assert_array_equal(dp, corners[deviations(corners) > 2])
    np.testing.assert_array_equal(vw, corners[effective_areas(corners) >= 4])
    smoothed = smooth(points, 3)
    np.testing.assert_array_equal(chosen, sample_by_curvature(smoothed, turning(smoothed), 2.0))
    assert np.abs(sampled - smoothed[chosen]).max() <= 1 / 2048
    assert (sampled * 1024 % 1 == 0).all()
    own = choose(contours(np.repeat(traced_shape(turned_l(25)), 3)), np.array(KINDS, object), OPTIONS)
    assert own.simplifier.tolist() == [0, 1, 2]


def test_the_candidate_with_the_highest_score_is_chosen() -> None:
    houses = traced(rough_mask(np.random.default_rng(8)))
    houses = houses[shapely.area(houses) > 20]
    outlines = contours(houses)
    kind = np.array([KINDS[k % 3] for k in range(len(houses))], object)
    found = choose(outlines, kind, OPTIONS)
    for k in range(len(houses)):
        alone = contours(np.array([shapely.Polygon(houses[k].exterior)], object))
        scores = {}
        for tolerance in OPTIONS.tolerances_px:
            ring, _ = simplify_ring(alone.corners, alone.first_point, alone.points, k % 3, tolerance)
            if len(ring) > 2:
                kept = terms(shape_of(alone.points), shape_of(cut_ring(ring)[0]))
                scores[tolerance] = float(np.dot((0.2, 0.3, 0.5), kept))
        best = max(scores.values(), default=0)
        assert found.score[k] == pytest.approx(best)
        near = [0.0, *(t for t, score in scores.items() if score > best - 1e-12)]
        assert found.tolerance_px[k] == near[-1]


def test_all_simplifiers_compete_when_asked() -> None:
    houses = traced(rough_mask(np.random.default_rng(8)))
    kind = np.full(len(houses), "regular", object)
    outlines = contours(houses)
    own, all_of_them = (
        choose(outlines, kind, OPTIONS),
        choose(outlines, kind, PaperOptions(all_simplifiers=True)),
    )
    assert set(own.simplifier) == {0} and set(all_of_them.simplifier) > {0}
    assert (all_of_them.score >= own.score).all() and (all_of_them.score > own.score).any()


def test_a_pixel_whose_candidates_collapse_stays_as_it_is() -> None:
    outlines = contours(traced(np.ones((1, 1), np.uint8)))
    choice = choose(outlines, np.array(["regular"], object), OPTIONS)
    assert choice.tolerance_px.tolist() == [0] and choice.score.tolist() == [0]
    simple = simplify_contours(outlines, choice.simplifier, choice.tolerance_px)
    np.testing.assert_array_equal(simple.corners, outlines.corners)


@pytest.mark.parametrize("simplifier", [0, 1, 2])
def test_starts_are_the_points_after_their_corners(simplifier: int) -> None:
    outlines = contours(traced_shape(turned_l(25)))
    simple = simplify_contours(outlines, np.array([simplifier]), np.array([2.0]))
    gap = np.linalg.norm(simple.corners - outlines.points[simple.starts], axis=1)
    assert gap.max() <= 1.5
    assert (np.diff(simple.starts) > 0).all()


def test_a_hole_goes_the_way_of_its_exterior_and_is_dropped_when_it_collapses() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[5:55, 5:55] = 1
    mask[15:40, 15:40] = 0
    mask[45, 45] = 0
    outlines = contours(traced(mask))
    simple = simplify_contours(outlines, np.array([0]), np.array([2.0]))
    assert np.diff(simple.rings).tolist() == [4, 4, 0]
