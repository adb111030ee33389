import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from buildmap.vector.paper import chain as paper_chain
from buildmap.vector.paper.chain import PaperSteps, paper_outlines, passes_checks
from buildmap.vector.paper.choice import choose, simplify_contours
from buildmap.vector.paper.directions import is_organic, principal_directions
from buildmap.vector.paper.kinds import Thresholds, thresholds
from buildmap.vector.paper.measures import measure
from buildmap.vector.paper.options import PaperOptions
from buildmap.vector.paper.points import contours
from buildmap.vector.paper.projection import project_edges
from tests.unit.vector.traced import rough_mask, traced, traced_shape, turned_l

REGULAR = Thresholds(curvature=np.inf, ratio=np.inf, noise=np.inf)
OPTIONS = PaperOptions()


def town(seed: int) -> NDArray[np.object_]:
    """Trace blobs, houses at several angles, a tank and a courtyard."""
    shapes = [turned_l(a) for a in (0, 12, 45, 70)]
    shapes += [shapely.Point(60, 60).buffer(20), shapely.box(20, 20, 80, 70) - shapely.box(35, 35, 60, 55)]
    blobs = traced(rough_mask(np.random.default_rng(seed), 50))
    return np.concatenate([blobs, *(traced_shape(shape) for shape in shapes)])


def bits(steps: PaperSteps) -> list[list[object]]:
    outlines = [shapely.to_wkb(part).tolist() for part in (steps.simplified, steps.regularized, steps.final)]
    numbers = [part.tolist() for part in (steps.score, steps.tolerance_px, steps.iou_raw, steps.rolled_back)]
    return [*outlines, *numbers, steps.kind.tolist(), [one.tolist() for one in steps.directions]]


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_outlines_are_valid_polygons_near_the_raw_ones(seed: int) -> None:
    houses = town(seed)
    steps = paper_outlines(houses, thresholds(measure(houses)))
    assert shapely.is_valid(steps.final).all()
    assert (shapely.get_type_id(steps.final) == shapely.GeometryType.POLYGON).all()
    change = np.abs(shapely.area(steps.final) / shapely.area(houses) - 1)
    assert change.max() <= OPTIONS.area_change_max + 1e-12
    common = shapely.area(shapely.intersection(steps.final, houses))
    union = shapely.area(shapely.union(steps.final, houses))
    np.testing.assert_allclose(steps.iou_raw, common / union, rtol=1e-9)


@given(st.integers(0, 100), st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
@settings(max_examples=10, deadline=None)
def test_outlines_do_not_depend_on_the_place(seed: int, cols: int, rows: int) -> None:
    houses = town(seed)
    limits = thresholds(measure(houses))

    def moved(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
        return np.asarray(shapely.transform(polygons, lambda c: np.add(c, (cols, rows))))

    here, there = paper_outlines(houses, limits), paper_outlines(moved(houses), limits)
    for name in ("simplified", "regularized", "final"):
        expected = shapely.to_wkb(moved(getattr(here, name)))
        assert (shapely.to_wkb(getattr(there, name)) == expected).all(), name
    np.testing.assert_array_equal(here.iou_raw, there.iou_raw)
    np.testing.assert_array_equal(here.score, there.score)


def test_outlines_do_not_depend_on_the_batch() -> None:
    houses = town(3)
    limits = thresholds(measure(houses))
    together = bits(paper_outlines(houses, limits))
    alone = [bits(paper_outlines(houses[k : k + 1], limits)) for k in range(len(houses))]
    assert together == [[part[0] for part in column] for column in zip(*alone, strict=True)]


@pytest.mark.parametrize("angle_deg", [0, 12, 33, 45, 80])
def test_a_house_gets_its_own_corners_back(angle_deg: float) -> None:
    steps = paper_outlines(traced_shape(turned_l(angle_deg)), REGULAR)
    corners = shapely.get_coordinates(steps.final[0])[:-1]
    truth = shapely.get_coordinates(turned_l(angle_deg))[:-1]
    assert len(corners) == 6
    assert steps.rolled_back.tolist() == [0]
    distance = np.linalg.norm(corners[:, None] - truth[None], axis=2).min(axis=1)
    assert distance.max() < 1.2
    iou = (
        steps.final[0].intersection(turned_l(angle_deg)).area / steps.final[0].union(turned_l(angle_deg)).area
    )
    assert iou > 0.96


def test_round_outlines_are_not_regularized() -> None:
    tank = traced_shape(shapely.Point(60, 60).buffer(20))
    steps = paper_outlines(tank, REGULAR)
    assert len(steps.directions[0]) == 0
    assert steps.final[0].equals(steps.simplified[0])
    assert steps.final[0].equals(steps.regularized[0])


def test_a_courtyard_stays_and_a_pinhole_goes() -> None:
    mask = np.zeros((80, 80), np.uint8)
    mask[10:70, 10:70] = 1
    mask[30:50, 25:55] = 0
    mask[60, 60] = 0
    steps = paper_outlines(traced(mask), REGULAR)
    assert steps.final[0].equals(shapely.box(10, 10, 70, 70) - shapely.box(25, 30, 55, 50))
    assert steps.iou_raw[0] == pytest.approx(2999 / 3000)


def test_what_fails_goes_back_step_by_step_to_the_raw_outline() -> None:
    houses = town(5)
    limits = thresholds(measure(houses))
    strict = paper_outlines(houses, limits, PaperOptions(area_change_max=0.0))
    loose = paper_outlines(houses, limits, PaperOptions(area_change_max=0.02))
    assert set(strict.rolled_back) >= {0, 4}
    assert {1, 2, 3} & set(loose.rolled_back)
    raw = strict.rolled_back == 4
    assert all(one.equals(other) for one, other in zip(strict.final[raw], houses[raw], strict=True))
    assert (strict.iou_raw[raw] == 1).all()
    change = np.abs(shapely.area(loose.final) / shapely.area(houses) - 1)
    assert change.max() <= 0.02 + 1e-12


def test_a_step_back_halves_the_tolerance() -> None:
    houses = town(5)
    limits = thresholds(measure(houses))
    options = PaperOptions(area_change_max=0.02)
    steps = paper_outlines(houses, limits, options)
    compared = 0
    for k in np.flatnonzero((steps.rolled_back == 1) | (steps.rolled_back == 2)):
        outlines = contours(houses[k : k + 1])
        how = choose(outlines, steps.kind[k : k + 1], options)
        tolerance = how.tolerance_px / 2.0 ** steps.rolled_back[k]
        simple = simplify_contours(outlines, how.simplifier, tolerance)
        directions = principal_directions(outlines, options)
        if not is_organic(directions, options)[0]:
            corners, rings = project_edges(outlines, simple, directions, tolerance)
        else:
            corners, rings = simple.corners, simple.rings
        exterior = corners[: rings[1]] + outlines.origin[0]
        np.testing.assert_array_equal(shapely.get_coordinates(steps.final[k].exterior)[:-1], exterior)
        compared += 1
    assert compared > 3


def test_the_step_before_the_last_leaves_the_edges_as_simplified() -> None:
    houses = town(5)
    options = PaperOptions(area_change_max=0.005)
    steps = paper_outlines(houses, thresholds(measure(houses)), options)
    back = np.flatnonzero(steps.rolled_back == 3)
    assert len(back) > 0
    for k in back:
        outlines = contours(houses[k : k + 1])
        how = choose(outlines, steps.kind[k : k + 1], options)
        simple = simplify_contours(outlines, how.simplifier, how.tolerance_px / 4)
        exterior = simple.corners[: simple.rings[1]] + outlines.origin[0]
        np.testing.assert_array_equal(shapely.get_coordinates(steps.final[k].exterior)[:-1], exterior)


def test_an_interior_without_its_exterior_is_nothing() -> None:
    outlines = contours(np.array([shapely.box(0, 0, 9, 9) - shapely.box(2, 2, 5, 5)], object))
    interior = outlines.corners[outlines.corner_rings[1] :]
    assert paper_chain._polygons(interior, np.array([0, 0, 4]), outlines)[0].is_empty


def test_checks_refuse_crossings_and_what_has_no_area_or_too_little() -> None:
    raw = np.full(5, shapely.box(0, 0, 10, 10), object)
    shaped = np.array(
        [
            shapely.box(0, 0, 10, 10),
            shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]),
            shapely.Polygon(),
            shapely.box(0, 0, 10, 7),
            shapely.box(0, 0, 10, 8),
        ],
        object,
    )
    assert passes_checks(shaped, raw, OPTIONS).tolist() == [True, False, False, False, True]


def test_a_pixel_stays_a_pixel() -> None:
    steps = paper_outlines(traced(np.ones((1, 1), np.uint8)), REGULAR)
    assert steps.final[0].equals(shapely.box(0, 0, 1, 1))
    assert steps.tolerance_px.tolist() == [0]


def test_nothing_has_no_steps() -> None:
    steps = paper_outlines(np.empty(0, object), REGULAR)
    assert [len(part) for part in (steps.measures, steps.final, steps.directions, steps.iou_raw)] == [0] * 4
