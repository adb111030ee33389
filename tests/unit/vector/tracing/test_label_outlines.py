import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio import features
from scipy import ndimage
from shapely.geometry import Polygon, shape

from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.tracing.outlines import OutlineTracer
from tests.unit.vector.tracing.test_flood import flooded_by_heap


def grown(rng: np.random.Generator, rows: int, cols: int, seeds: int) -> NDArray[np.int32]:
    """Grow random seeds over a random component: labels that are connected, with ragged walls."""
    score = rng.integers(0, 255, (rows, cols)).astype(np.uint8)
    parts, _ = ndimage.label(rng.random((rows, cols)) < rng.choice([0.6, 0.75, 0.9, 1]))
    component = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    labels = np.zeros((rows, cols), np.int32)
    places = rng.permutation(np.argwhere(component))[:seeds]
    labels[tuple(places.T)] = np.arange(1, len(places) + 1)
    return flooded_by_heap(labels, score, component)


def oracle(labels: NDArray[np.int32]) -> dict[int, Polygon]:
    found = features.shapes(labels, mask=labels > 0, connectivity=4)
    return {int(label): shape(geometry) for geometry, label in found}


def drawn(picture: str) -> NDArray[np.int32]:
    return np.array([[int(digit) for digit in line] for line in picture.split()], np.int32)


def test_outlines_are_those_of_rasterio_but_for_the_corners_where_three_meet() -> None:
    rng = np.random.default_rng(7)
    more = 0
    for _ in range(80):
        labels = grown(rng, *rng.integers(1, 25, 2), seeds=int(rng.integers(1, 12)))
        polygons, numbers = label_outlines(labels, left=0, top=0)
        expected = oracle(labels)
        assert numbers.tolist() == sorted(expected)
        for polygon, number in zip(polygons, numbers.tolist(), strict=True):
            plain = shapely.simplify(polygon, 0)
            assert polygon.is_valid
            assert shapely.equals_exact(plain.normalize(), expected[number].normalize())
            more += shapely.get_num_coordinates(polygon) - shapely.get_num_coordinates(expected[number])
    assert more > 100


def test_outlines_are_a_valid_coverage_and_those_of_rasterio_are_not() -> None:
    rng = np.random.default_rng(8)
    invalid = 0
    for _ in range(60):
        labels = grown(rng, *rng.integers(3, 30, 2), seeds=8)
        assert shapely.coverage_is_valid(label_outlines(labels, left=0, top=0)[0])
        invalid += not shapely.coverage_is_valid(np.array(list(oracle(labels).values()), object))
    assert invalid > 30


def test_one_label_has_the_outline_that_streams_by() -> None:
    rng = np.random.default_rng(9)
    for _ in range(40):
        labels = grown(rng, *rng.integers(1, 25, 2), seeds=1)
        tracer = OutlineTracer(labels.shape[1], lowest=1)
        traced = [*tracer.push(labels.astype(np.uint8)).polygons, *tracer.finish().polygons]
        assert [p.wkb for p in label_outlines(labels, left=0, top=0)[0]] == [p.wkb for p in traced]


def test_labels_together_are_the_component() -> None:
    rng = np.random.default_rng(10)
    for _ in range(40):
        labels = grown(rng, 20, 24, seeds=6)
        (whole,) = label_outlines((labels > 0).astype(np.int32), left=0, top=0)[0]
        polygons, numbers = label_outlines(labels, left=0, top=0)
        assert shapely.union_all(polygons).equals(whole)
        assert shapely.coverage_union_all(polygons).area == whole.area
        assert (shapely.area(polygons) == np.bincount(labels.ravel())[numbers]).all()


def test_a_corner_of_a_neighbour_is_a_corner_on_a_straight_wall() -> None:
    (one, two, three), _ = label_outlines(drawn("1122  3333"), left=0, top=0)
    assert list(three.exterior.coords) == [(0, 1), (0, 2), (4, 2), (4, 1), (2, 1), (0, 1)]
    assert list(one.exterior.coords) == [(0, 0), (0, 1), (2, 1), (2, 0), (0, 0)]
    assert list(two.exterior.coords) == [(2, 0), (2, 1), (4, 1), (4, 0), (2, 0)]


def test_where_a_wall_comes_out_both_have_a_corner() -> None:
    (one, two), _ = label_outlines(drawn("12  12"), left=0, top=0)
    assert list(one.exterior.coords) == [(0, 0), (0, 2), (1, 2), (1, 0), (0, 0)]
    assert list(two.exterior.coords) == [(1, 0), (1, 2), (2, 2), (2, 0), (1, 0)]


def test_a_courtyard_that_touches_the_outside_at_a_corner_is_an_interior() -> None:
    (polygon,), _ = label_outlines(drawn("1111  1011  1101  1110"), left=0, top=0)
    assert polygon.is_valid
    assert [list(ring.coords) for ring in polygon.interiors] == [
        [(1, 1), (2, 1), (2, 2), (1, 2), (1, 1)],
        [(2, 2), (3, 2), (3, 3), (2, 3), (2, 2)],
    ]
    assert polygon.area == 13


def test_polygons_lie_where_the_picture_lies_in_the_raster() -> None:
    (polygon,), numbers = label_outlines(drawn("00  05"), left=100, top=2000)
    assert polygon.equals(shapely.box(101, 2001, 102, 2002))
    assert numbers.tolist() == [5]


def test_no_labels_give_no_polygons() -> None:
    polygons, numbers = label_outlines(np.zeros((3, 4), np.int32), left=0, top=0)
    assert len(polygons) == len(numbers) == 0


@pytest.mark.parametrize(
    "picture",
    [
        "101",
        "10  01",
        "11100  11100  00011",
        "01100  10011  10010  01100",
        "11111  10001  10101  10001  11111",
    ],
)
def test_a_label_in_pieces_is_a_mistake_of_the_caller(picture: str) -> None:
    with pytest.raises(ValueError, match="not 4-connected"):
        label_outlines(drawn(picture), left=0, top=0)
