"""Suspects against whole-array labels, whatever bands the rows come in."""

from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from shapely.geometry import box

from buildmap.training.survey import Band
from buildmap.training.suspects import MissingBuildings, PhantomBuildings, Suspects, cross_entropy
from tests.scenes import blocks_mask

NORTH_UP = Affine(0.5, 0, 100, 0, -0.5, 900)
NOTHING = np.empty(0, np.object_)
SQUARE = np.ones((3, 3), np.bool_)


def cut(whole: Band, heights: list[int]) -> Iterator[Band]:
    first = 0
    for height in [*heights, 10_000]:
        rows = slice(first, first + height)
        if len(whole.known[rows]):
            yield Band(
                first_row=first,
                probability=whole.probability[rows],
                building=whole.building[rows],
                known=whole.known[rows],
            )
        first += height


def scene(seed: int) -> Band:
    rng = np.random.default_rng(seed)
    roofs, mapped = (blocks_mask(rng, 60, 70, 14) > 0 for _ in range(2))
    probability = np.clip(roofs * 0.7 + rng.uniform(0, 0.3, roofs.shape), 0, 1).astype(np.float32)
    known = np.ones(roofs.shape, np.bool_)
    known[:, rng.integers(60, 70) :] = False
    probability[~known] = 0
    return Band(first_row=0, probability=probability, building=mapped & known, known=known)


def run(finder: MissingBuildings | PhantomBuildings, bands: Iterator[Band]) -> list[Suspects]:
    return [part for band in bands for part in finder.push(band)] + finder.finish()


def flat(parts: list[Suspects]) -> list[tuple[str, float, float]]:
    return sorted(
        (shapely.normalize(polygon).wkt, round(probability, 9), round(loss, 9))
        for part in parts
        for polygon, probability, loss in zip(part.polygons, part.mean_probability, part.loss, strict=True)
    )


def check_against_labels(parts: list[Suspects], mask: NDArray[np.bool_], whole: Band) -> None:
    """Compare with 4-connected labels of the mask."""
    labels, count = ndimage.label(mask)
    found = {}
    for part in parts:
        for number, polygon in enumerate(part.polygons):
            pixels = rasterize([polygon], out_shape=mask.shape, transform=NORTH_UP, dtype="uint8") > 0
            found[int(labels[pixels][0])] = pixels
            np.testing.assert_array_equal(pixels, labels == labels[pixels][0])
            np.testing.assert_allclose(
                part.mean_probability[number], whole.probability[pixels].mean(), atol=2e-3
            )
            loss = cross_entropy(whole.probability, whole.building)[pixels].mean()
            np.testing.assert_allclose(part.loss[number], loss, atol=0.03)
    assert sorted(found) == list(range(1, count + 1))


@given(
    seed=st.integers(0, 500), heights=st.lists(st.integers(1, 25), max_size=5), tolerance=st.integers(0, 4)
)
def test_missing_buildings_do_not_depend_on_the_bands(seed: int, heights: list[int], tolerance: int) -> None:
    def found(cuts: list[int]) -> list[tuple[str, float, float]]:
        finder = MissingBuildings(70, NORTH_UP, threshold=0.6, tolerance_px=tolerance)
        return flat(run(finder, cut(scene(seed), cuts)))

    assert found(heights) == found([])


@pytest.mark.parametrize("mapped_from", [16, 17])
def test_rows_far_below_decide_what_is_missing(mapped_from: int) -> None:
    probability = np.zeros((30, 20), np.float32)
    probability[10:12, 8:10] = probability[12:25, 4:14] = 1  # a narrow annex on a house
    building = np.zeros((30, 20), np.bool_)
    building[mapped_from:25, 4:14] = True  # two of its rows, or three, are farther than the tolerance
    whole = Band(first_row=0, probability=probability, building=building, known=np.ones_like(building))
    finder = MissingBuildings(20, NORTH_UP, threshold=0.5, tolerance_px=2)
    found = run(finder, cut(whole, [1] * 30))
    expected = 0 if mapped_from == 16 else 4 + 10 * 5
    assert sum(polygon.area * 4 for part in found for polygon in part.polygons) == expected


@given(seed=st.integers(0, 500), heights=st.lists(st.integers(1, 25), max_size=5))
def test_without_tolerance_every_unmapped_component_is_missing(seed: int, heights: list[int]) -> None:
    whole = scene(seed)
    parts = run(MissingBuildings(70, NORTH_UP, threshold=0.6, tolerance_px=0), cut(whole, heights))
    assert all(part.missing.all() for part in parts)
    check_against_labels(parts, (whole.probability >= 0.6) & ~whole.building & whole.known, whole)


@given(seed=st.integers(0, 500))
def test_with_a_tolerance_only_what_is_away_from_the_map_and_wide_is_missing(seed: int) -> None:
    whole = scene(seed)
    unmapped = (whole.probability >= 0.6) & ~whole.building & whole.known
    away = unmapped & ~ndimage.binary_dilation(whole.building, np.ones((5, 5)))
    wide = ndimage.binary_opening(away, SQUARE)
    expected = unmapped & ndimage.binary_dilation(wide, np.ones((5, 5)))
    parts = run(MissingBuildings(70, NORTH_UP, threshold=0.6, tolerance_px=2), cut(whole, [7, 20]))
    check_against_labels(parts, expected, whole)


@given(seed=st.integers(0, 500), heights=st.lists(st.integers(1, 25), max_size=5))
def test_components_of_a_mask_are_judged_by_their_pixels(seed: int, heights: list[int]) -> None:
    whole = scene(seed)
    parts = run(PhantomBuildings(70, NORTH_UP, NOTHING), cut(whole, heights))
    assert not any(part.missing.any() for part in parts)
    check_against_labels(parts, whole.building, whole)


@given(heights=st.lists(st.integers(1, 25), max_size=5))
def test_footprints_are_judged_by_their_pixels_and_the_rest_of_the_mask_by_components(
    heights: list[int],
) -> None:
    whole = scene(3)
    building = np.zeros_like(whole.building)
    building[10:30, 10:30] = building[40:50, 40:60] = True
    whole = Band(first_row=0, probability=whole.probability, building=building, known=whole.known)
    footprints = np.array([_box(10, 10, 30, 20), _box(10, 20, 30, 30)], np.object_)  # share a wall
    parts = run(PhantomBuildings(70, NORTH_UP, footprints), cut(whole, heights))
    polygons = [polygon for part in parts for polygon in part.polygons]
    means = [mean for part in parts for mean in part.mean_probability]
    losses = [loss for part in parts for loss in part.loss]
    areas = [(10, 30, 10, 20), (10, 30, 20, 30), (40, 50, 40, 60)]
    assert [polygon.area for polygon in polygons[1:]] == [50, 50]
    for (top, bottom, left, right), mean, loss in zip(
        areas, means[1:] + means[:1], losses[1:] + losses[:1], strict=True
    ):
        pixels = whole.probability[top:bottom, left:right]
        np.testing.assert_allclose(mean, pixels.mean(), atol=2e-3)
        np.testing.assert_allclose(loss, -np.log(pixels).mean(), atol=0.03)


def _box(top: int, left: int, bottom: int, right: int) -> shapely.Polygon:
    (x_min, y_max), (x_max, y_min) = NORTH_UP @ (left, top), NORTH_UP @ (right, bottom)
    return box(x_min, y_min, x_max, y_max)


@pytest.mark.parametrize(("known_cols", "judged"), [(20, 1), (16, 1), (14, 0), (0, 0)])
def test_a_footprint_of_which_most_is_unknown_is_not_judged(known_cols: int, judged: int) -> None:
    known = np.zeros((20, 40), np.bool_)
    known[:, :known_cols] = True
    building = np.zeros((20, 40), np.bool_)
    building[5:15, 10:20] = True
    band = Band(
        first_row=0, probability=np.zeros((20, 40), np.float32), building=building & known, known=known
    )
    finder = PhantomBuildings(40, NORTH_UP, np.array([_box(5, 10, 15, 20)], np.object_))
    parts = run(finder, iter([band]))
    assert sum(map(len, parts)) == judged


def test_of_two_footprints_at_one_place_one_is_judged() -> None:
    building = np.zeros((20, 20), np.bool_)
    building[5:15, 5:15] = True
    band = Band(
        first_row=0,
        probability=np.zeros((20, 20), np.float32),
        building=building,
        known=np.ones((20, 20), np.bool_),
    )
    twice = np.array([_box(5, 5, 15, 15)] * 2, np.object_)
    assert sum(map(len, run(PhantomBuildings(20, NORTH_UP, twice), iter([band])))) == 1


def test_the_score_says_how_sure_the_network_is_that_the_map_is_wrong() -> None:
    suspects = Suspects(
        polygons=np.array([box(0, 0, 1, 1)] * 2, np.object_),
        missing=np.array([True, False]),
        mean_probability=np.array([0.9, 0.3]),
        loss=np.array([2.0, 1.0]),
    )
    np.testing.assert_allclose(suspects.score, [0.9, 0.7])
    assert suspects.take(np.array([False, True])).mean_probability.tolist() == [0.3]


@given(st.lists(st.floats(0, 1, width=32), min_size=1), st.booleans())
def test_cross_entropy_is_minus_the_log_of_the_truth_s_probability(
    values: list[float], building: bool
) -> None:
    probability = np.array(values, np.float32)
    exact = np.array(values, np.float64)
    of_truth = np.maximum(exact if building else 1 - exact, 1e-6)
    loss = cross_entropy(probability, np.full(len(values), building))
    np.testing.assert_allclose(
        loss, -np.log(of_truth), rtol=1e-5, atol=0.1 if of_truth.min() < 1e-5 else 1e-4
    )
    assert loss.dtype == np.float32
