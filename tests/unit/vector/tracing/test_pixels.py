"""Exact outlines and the pixels they were drawn around."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import features
from scipy.ndimage import label as label_components

from buildmap.vector.ragged import Ragged, to_ragged
from buildmap.vector.tracing.outlines import OutlineTracer
from buildmap.vector.tracing.pixels import NODATA, covered, mean_steps
from tests.scenes import blocks_mask


def outlines_of(mask: np.ndarray) -> np.ndarray:
    tracer = OutlineTracer(mask.shape[1], lowest=1)
    return np.concatenate([tracer.push(mask.astype(np.uint8)).polygons, tracer.finish().polygons])


@given(seed=st.integers(0, 10**6), height=st.integers(1, 30), width=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_outlines_cover_exactly_the_pixels_they_were_traced_around(
    seed: int, height: int, width: int
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.6
    polygons = outlines_of(mask)
    assert (covered(to_ragged(polygons), 0, 0, mask.shape) == mask).all()


def test_a_window_around_one_outline_holds_its_pixels_and_not_those_in_its_hole() -> None:
    mask = np.zeros((12, 15), bool)
    mask[3:9, 4:12] = True
    mask[5:7, 6:9] = False
    one = outlines_of(mask)
    assert (covered(to_ragged(one), 3, 2, (8, 10)) == mask[2:10, 3:13]).all()


def oracle_step(mask: np.ndarray, values: np.ndarray) -> float:
    """Mean difference over all pairs of neighbours of which one is inside."""
    steps = []
    wide = values.astype(float)
    for inside, ahead, one, other in (
        (mask[1:], mask[:-1], wide[1:], wide[:-1]),
        (mask[:, 1:], mask[:, :-1], wide[:, 1:], wide[:, :-1]),
    ):
        edge = (inside != ahead) & (one != NODATA) & (other != NODATA)
        steps.append(np.abs(one - other)[edge])
    return float(np.concatenate(steps).mean())


def test_the_mean_step_is_taken_over_every_pixel_edge_with_known_values_on_both_sides() -> None:
    random = np.random.default_rng(3)
    mask = blocks_mask(random, 40, 30).astype(bool)
    values = np.where(mask, random.integers(130, 255, mask.shape), random.integers(0, 127, mask.shape))
    values[random.random(mask.shape) < 0.05] = NODATA
    values = values.astype(np.uint8)
    outlines = outlines_of(mask)
    labels, count = label_components(mask)
    firsts = shapely.get_coordinates(shapely.get_point(shapely.get_exterior_ring(outlines), 0)).astype(int)
    expected = [oracle_step(labels == labels[row, col], values) for col, row in firsts]
    assert len(expected) == count > 5
    assert mean_steps(to_ragged(outlines), values, 0, 0) == pytest.approx(expected, rel=1e-12)


def test_a_window_elsewhere_changes_nothing_and_what_lies_outside_is_unknown() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:6, 3:8] = True
    values = np.where(mask, 200, 50).astype(np.uint8)
    values[1, :] = 80  # above: a smaller step
    one = to_ragged(outlines_of(mask))
    (whole,) = mean_steps(one, values, 0, 0)
    assert whole == pytest.approx((5 * 120 + (5 + 4 + 4) * 150) / 18)
    assert mean_steps(one, values[1:7, 2:9].copy(), 2, 1) == whole
    assert mean_steps(one, values[2:7, 2:9].copy(), 2, 2) == 150  # the row above is not in the window


def test_without_a_known_edge_the_step_is_unknown() -> None:
    mask = np.ones((3, 3), bool)
    one = to_ragged(outlines_of(mask))
    assert np.isnan(mean_steps(one, np.full((3, 3), 254, np.uint8), 0, 0)).tolist() == [True]


def test_no_outline_covers_nothing() -> None:
    none = Ragged(corners=np.empty((0, 2)), rings=np.zeros(1, np.int64), polygons=np.zeros(1, np.int64))
    assert not covered(none, 0, 0, (4, 5)).any()


def test_what_is_covered_is_what_gdal_burns() -> None:
    mask = blocks_mask(np.random.default_rng(8), 50, 60).astype(bool)
    polygons = outlines_of(mask)
    burned = features.rasterize(polygons[:3], out_shape=mask.shape) == 1
    assert (covered(to_ragged(polygons[:3]), 0, 0, mask.shape) == burned).all()
