"""What HR-Mamba says of its outlines, section 2.6 and 4: each statement held against the code."""

import time

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from buildmap.vector.paper.chain import paper_outlines
from buildmap.vector.paper.choice import SIMPLIFIERS
from buildmap.vector.paper.kinds import MeasureSketches, kinds, thresholds, thresholds_of_sketches
from buildmap.vector.paper.measures import ContourMeasures, measure
from buildmap.vector.paper.options import PaperOptions
from tests.unit.vector.traced import traced, traced_shape, turned_l

TILE_PX = 500
PAPER_SECONDS = 0.058


def tile(seed: int) -> NDArray[np.object_]:
    """Trace a tile of some forty houses at all angles, with rough edges."""
    rng = np.random.default_rng(seed)
    cols, rows = np.meshgrid(np.arange(TILE_PX) + 0.5, np.arange(TILE_PX) + 0.5)
    surface = np.zeros((TILE_PX, TILE_PX))
    for x in range(40, TILE_PX, 70):
        for y in range(40, TILE_PX, 70):
            angle, half, other = rng.uniform(0, np.pi), rng.uniform(12, 24), rng.uniform(8, 18)
            along = (cols - x) * np.cos(angle) + (rows - y) * np.sin(angle)
            across = (rows - y) * np.cos(angle) - (cols - x) * np.sin(angle)
            surface[(np.abs(along) < half) & (np.abs(across) < other)] = 1
    noise = gaussian_filter(rng.normal(size=surface.shape), 2)
    probability = gaussian_filter(surface, 1.5) + 0.15 * noise / noise.std()
    houses = traced((probability > 0.5).astype(np.uint8))
    return houses[shapely.area(houses) > 20]


@pytest.fixture(scope="module")
def houses() -> NDArray[np.object_]:
    return np.concatenate([tile(seed) for seed in range(4)])


def test_thresholds_come_from_the_contours_of_the_image_itself(houses: NDArray[np.object_]) -> None:
    measures = measure(houses)
    limits = thresholds(
        measures, PaperOptions(curvature_quantile=0.5, ratio_quantile=0.6, noise_quantile=0.9)
    )
    low = (
        measures.curvature <= limits.curvature,
        measures.ratio <= limits.ratio,
        measures.noise <= limits.noise,
    )
    assert [one.mean() for one in low] == pytest.approx([0.5, 0.6, 0.9], abs=1 / len(houses))
    twice = thresholds(measure(shapely.transform(houses, lambda c: 2 * c)))
    assert twice.ratio == pytest.approx(thresholds(measures).ratio / 2, rel=0.15)


def test_the_three_classes_are_told_by_three_thresholds(houses: NDArray[np.object_]) -> None:
    measures = measure(houses)
    limits = thresholds(measures)
    noisy = measures.noise > limits.noise
    low = (measures.curvature <= limits.curvature) & (measures.ratio <= limits.ratio)
    kind = kinds(measures, limits)
    np.testing.assert_array_equal(kind == "noisy", noisy)
    np.testing.assert_array_equal(kind == "regular", ~noisy & low)
    np.testing.assert_array_equal(kind == "complex", ~noisy & ~low)
    assert {"regular", "complex", "noisy"} == set(kind)


def test_a_country_counted_in_parts_has_the_classes_of_the_whole(houses: NDArray[np.object_]) -> None:
    measures = measure(houses)
    parts = [
        ContourMeasures(
            curvature=measures.curvature[k::5], ratio=measures.ratio[k::5], noise=measures.noise[k::5]
        )
        for k in range(5)
    ]
    sketches = MeasureSketches.of(parts[0])
    for part in parts[:0:-1]:
        sketches += MeasureSketches.of(part)
    same = kinds(measures, thresholds(measures)) == kinds(measures, thresholds_of_sketches(sketches))
    assert same.mean() > 0.97


def test_each_class_has_the_simplifier_that_the_paper_names() -> None:
    assert SIMPLIFIERS == {
        "regular": "douglas-peucker",
        "complex": "visvalingam-whyatt",
        "noisy": "curvature-sampling",
    }


def test_outlines_are_compact_regular_and_topologically_valid(houses: NDArray[np.object_]) -> None:
    steps = paper_outlines(houses, thresholds(measure(houses)))
    assert shapely.is_valid(steps.final).all()
    corners = [shapely.get_num_coordinates(part).mean() for part in (houses, steps.simplified, steps.final)]
    assert corners[2] < corners[1] < 0.2 * corners[0]
    regular = [k for k, angles in enumerate(steps.directions) if len(angles) and not steps.rolled_back[k]]
    assert len(regular) > 0.9 * len(houses)
    for k in regular:
        edges = np.diff(shapely.get_coordinates(steps.final[k].exterior), axis=0)
        long = edges[np.hypot(*edges.T) > 1]
        turn = np.degrees(np.arctan2(long[:, 1], long[:, 0]))[:, None] - steps.directions[k]
        off = np.abs((turn + 90) % 180 - 90).min(axis=1)
        # a step between parallel walls stands at right angles to them, whatever the directions
        step = np.abs((turn + 180) % 180 - 90).min(axis=1)
        assert np.minimum(off, step).max() < 0.2


def test_more_principal_directions_are_found_where_there_are_more() -> None:
    limits = thresholds(measure(traced_shape(turned_l(0))))
    cut = shapely.Polygon([(20, 20), (100, 20), (100, 60), (60, 100), (20, 100)])
    steps = paper_outlines(np.concatenate([traced_shape(turned_l(20)), traced_shape(cut)]), limits)
    assert [len(one) for one in steps.directions] == [2, 3]


def test_circular_structures_skip_the_regularization() -> None:
    tank = traced_shape(shapely.Point(60, 60).buffer(25))
    steps = paper_outlines(tank, thresholds(measure(tank)))
    forced = paper_outlines(tank, thresholds(measure(tank)), PaperOptions(roundness_max=0, consensus_min=0))
    assert len(steps.directions[0]) == 0 < len(forced.directions[0])
    true = shapely.Point(60, 60).buffer(25)
    assert steps.final[0].intersection(true).area / steps.final[0].union(true).area > 0.93


def test_post_processing_corrects_more_than_it_spoils() -> None:
    limits = thresholds(measure(np.concatenate([traced_shape(turned_l(angle)) for angle in range(0, 90, 9)])))
    gains = []
    for angle in range(0, 90, 9):
        raw, true = traced_shape(turned_l(angle)), turned_l(angle)
        final = paper_outlines(raw, limits).final[0]
        gains.append(
            final.intersection(true).area / final.union(true).area
            - raw[0].intersection(true).area / raw[0].union(true).area
        )
    assert np.mean(gains) > 0


def test_a_tile_takes_less_time_than_the_paper_needs(houses: NDArray[np.object_]) -> None:
    limits = thresholds(measure(houses))
    paper_outlines(houses[:3], limits)  # compiled, or read from the disk
    started = time.process_time()
    paper_outlines(houses, limits)
    assert (time.process_time() - started) / 4 < PAPER_SECONDS
