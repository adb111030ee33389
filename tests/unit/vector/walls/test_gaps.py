import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.features import rasterize
from scipy import ndimage

from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.walls.gaps import without_gaps
from tests.unit.vector.walls.test_touching import parts_of


def closed(labels: np.ndarray) -> np.ndarray:
    """Give the labels without gaps, as drawn."""
    houses, _ = label_outlines(labels.astype(np.int32), left=7, top=-3)
    found = without_gaps(houses)
    assert found is not None
    polygons, union = found
    assert shapely.coverage_is_valid(polygons)
    assert shapely.equals(union, shapely.union_all(polygons))
    shapes = [
        (shapely.transform(polygon, lambda xy: xy - [7, -3]), number + 1)
        for number, polygon in enumerate(polygons)
    ]
    return np.asarray(rasterize(shapes, labels.shape, dtype=np.int32))


def groove(width: int, depth: int = 12) -> np.ndarray:
    """Draw two houses that touch at the bottom, with a groove between them above."""
    labels = np.zeros((20, 30 + width), np.int32)
    labels[:, :15] = 1
    labels[:, 15:] = 2
    labels[:depth, 15 : 15 + width] = 0
    return labels


@pytest.mark.parametrize("width", [1, 2, 4, 6])
def test_a_narrow_groove_is_filled_half_from_each_side(width: int) -> None:
    found = closed(groove(width))
    assert (found > 0).all()
    assert (found[:8] == 1).sum(axis=1).tolist() == [15 + (width + 1) // 2] * 8


def test_a_wide_gap_is_ground() -> None:
    labels = groove(7)
    found = closed(labels)
    assert (found[:8] == labels[:8]).all()
    assert ((found > 0) & (labels == 0)).sum() <= 12  # in the two corners below


def test_a_notch_in_one_house_is_its_own() -> None:
    labels = groove(3)
    labels[:12, 4:6] = 0
    found = closed(labels)
    assert (found[:12, 4:6] == 0).all()
    assert (found[:12, 15:18] > 0).all()


@pytest.mark.parametrize(("side", "filled"), [(12, True), (14, False)])
def test_a_hole_between_houses_is_filled_unless_it_is_a_courtyard(side: int, filled: bool) -> None:
    labels = np.ones((40, 40), np.int32)
    labels[:, 20:] = 2
    labels[10 : 10 + side, 20 - side // 2 : 20 + side // 2] = 0
    assert (closed(labels) > 0).all() == filled


def test_a_hole_in_one_house_is_its_own() -> None:
    labels = groove(1)
    labels[15:18, 5:8] = 0
    assert (closed(labels)[15:18, 5:8] == 0).all()


def test_outlines_off_the_pixels_are_left_alone() -> None:
    houses = np.array([shapely.box(0, 0, 9, 9), shapely.box(9, 0, 18.5, 9)], dtype=object)
    assert without_gaps(houses) is None
    slanted = np.array([shapely.Polygon([(0, 0), (9, 0), (0, 9)]), shapely.box(9, 0, 18, 9)], dtype=object)
    assert without_gaps(slanted) is None


def test_houses_apart_are_left_alone() -> None:
    assert without_gaps(np.array([shapely.box(0, 0, 5, 5), shapely.box(20, 0, 25, 5)], dtype=object)) is None


@pytest.mark.parametrize("right", [11, 14, 20])
def test_houses_that_overlap_are_left_alone(right: int) -> None:
    houses = [shapely.box(0, 0, 10, 9), shapely.box(8, 0, right, 9), shapely.box(20, 0, 22, 9)]
    assert without_gaps(np.array(houses, dtype=object)) is None


def test_a_box_too_large_is_left_alone() -> None:
    houses = np.array([shapely.box(0, 0, 1, 5000), shapely.box(1, 4999, 5000, 5000)], dtype=object)
    assert without_gaps(houses) is None


@settings(max_examples=100, deadline=None)
@given(values=arrays(np.int32, (9, 11), elements=st.sampled_from([0, 0, 1, 2])))
def test_no_house_loses_ground(values: np.ndarray) -> None:
    labels = parts_of(values)
    together, _ = ndimage.label(labels)
    labels = parts_of(np.where(together == 1, labels, 0))
    if labels.any():
        found = closed(labels)
        assert (found[labels > 0] == labels[labels > 0]).all()
