import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio import features
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as label_components
from shapely.geometry import Polygon, box, shape

from buildmap.vector import outlines
from buildmap.vector.outlines import Outlines, OutlineTracer

Heights = list[int]


@pytest.fixture(autouse=True)
def _collect_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "_COLLECT_FROM_CORNERS", 8)


def trace(values: NDArray[np.uint8], heights: Heights, *, lowest: int = 1) -> Outlines:
    tracer = OutlineTracer(values.shape[1], lowest=lowest)
    batches, row, turn = [], 0, 0
    while row < len(values):
        height = heights[turn % len(heights)]
        batches.append(tracer.push(values[row : row + height]))
        row, turn = row + height, turn + 1
    batches.append(tracer.finish())
    return Outlines(
        polygons=np.concatenate([batch.polygons for batch in batches]),
        pixels=np.concatenate([batch.pixels for batch in batches]),
        total=np.concatenate([batch.total for batch in batches]),
    )


def noise(rng: np.random.Generator) -> NDArray[np.uint8]:
    smoothness = rng.choice([0, 0.7, 1.5, 3])
    field = gaussian_filter(rng.standard_normal(rng.integers(1, 50, 2)), smoothness)
    return (field > rng.choice([-0.1, 0, 0.1])).astype(np.uint8)


def oracle(mask: NDArray[np.uint8]) -> list[Polygon]:
    return [shape(geometry) for geometry, _ in features.shapes(mask, mask=mask > 0, connectivity=4)]


def drawn(picture: str) -> NDArray[np.uint8]:
    return np.array([[symbol == "#" for symbol in line] for line in picture.split()], np.uint8)


def test_noise_gives_the_same_polygons_as_rasterio() -> None:
    rng = np.random.default_rng(0)
    for _ in range(120):
        mask = noise(rng)
        ours = trace(mask, list(rng.integers(1, 20, 4))).polygons
        assert shapely.is_valid(ours).all()
        theirs = np.array(oracle(mask), object)
        assert len(ours) == len(theirs)
        ours, theirs = (found[np.lexsort(shapely.bounds(found).reshape(-1, 4).T)] for found in (ours, theirs))
        tied = {tuple(bounds) for bounds in shapely.bounds(ours).reshape(-1, 4)}
        if len(tied) == len(ours):
            assert shapely.equals(ours, theirs).all()
        else:
            assert {p.normalize().wkb for p in ours} == {p.normalize().wkb for p in theirs}


def test_strip_heights_change_nothing_at_all() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        values = noise(rng) * rng.integers(1, 255, dtype=np.uint8)
        whole = trace(values, [len(values)])
        for heights in ([1], [2, 3], list(rng.integers(1, 15, 5))):
            cut = trace(values, heights)
            assert [p.wkb for p in cut.polygons] == [p.wkb for p in whole.polygons]
            assert cut.pixels.tolist() == whole.pixels.tolist()
            assert cut.total.tolist() == whole.total.tolist()


def test_pixels_and_totals_are_those_of_the_component() -> None:
    rng = np.random.default_rng(2)
    values = np.where(noise(rng) > 0, rng.integers(1, 255, (1, 1)), 0).astype(np.uint8)
    values = np.tile(values, (2, 3)) + rng.integers(0, 1, dtype=np.uint8)
    labels, count = label_components(values)
    found = trace(values, [3])
    expected = sorted((int((labels == k).sum()), int(values[labels == k].sum())) for k in range(1, count + 1))
    assert sorted(zip(found.pixels.tolist(), found.total.tolist(), strict=True)) == expected
    assert (shapely.area(found.polygons) == found.pixels).all()


def test_rasterizing_the_polygons_gives_the_mask_back() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        mask = noise(rng)
        polygons = trace(mask, [7]).polygons
        burned = (
            features.rasterize(polygons, out_shape=mask.shape, default_value=1) if len(polygons) else mask * 0
        )
        assert (burned == mask).all()


def test_an_island_in_the_courtyard_of_an_island_is_a_building_of_its_own() -> None:
    mask = np.zeros((11, 11), np.uint8)
    for inset in range(6):
        mask[inset : 11 - inset, inset : 11 - inset] = inset % 2 == 0
    found = trace(mask, [2])
    assert [p.equals(q) for p, q in zip(found.polygons, expected_nest(), strict=True)] == [True] * 3


def expected_nest() -> list[Polygon]:
    return [
        box(4, 4, 7, 7) - box(5, 5, 6, 6),
        box(2, 2, 9, 9) - box(3, 3, 8, 8),
        box(0, 0, 11, 11) - box(1, 1, 10, 10),
    ]


def test_a_ring_that_meets_itself_is_split_into_an_exterior_and_an_interior() -> None:
    mask = drawn("####  #.##  ##.#  ###.")
    found = trace(mask, [1])
    (polygon,) = found.polygons
    assert polygon.is_valid
    assert polygon.equals(shapely.union_all([box(c, r, c + 1, r + 1) for r, c in np.argwhere(mask)]))


def test_diagonal_neighbours_are_two_buildings() -> None:
    assert len(trace(drawn("#.  .#"), [1]).polygons) == 2
    assert len(trace(drawn(".#  #."), [1]).polygons) == 2


def test_buildings_are_sorted_by_last_row_then_by_first_corner() -> None:
    mask = drawn("#..##  #.#..  ..#.#")
    corners = [p.bounds[:2] for p in trace(mask, [1]).polygons]
    assert corners == [(3, 0), (0, 0), (2, 1), (4, 2)]


def test_every_ring_starts_at_its_topmost_leftmost_corner() -> None:
    rng = np.random.default_rng(4)
    for polygon in trace(noise(rng), [5]).polygons:
        for ring in (polygon.exterior, *polygon.interiors):
            points = [(row, col) for col, row in ring.coords]
            assert points[0] == min(points)


def test_no_data_is_never_a_building() -> None:
    values = np.full((3, 5), 255, np.uint8)
    values[1, 1:4] = [254, 255, 10]
    found = trace(values, [2], lowest=0)
    assert found.pixels.tolist() == [1, 1]
    assert found.total.tolist() == [254, 10]


def test_the_lowest_value_is_a_building_and_the_one_below_is_not() -> None:
    values = np.array([[126, 127, 128]], np.uint8)
    assert trace(values, [1], lowest=127).polygons[0].equals(box(1, 0, 3, 1))


def test_a_strip_of_another_width_or_type_is_a_mistake_of_the_caller() -> None:
    tracer = OutlineTracer(4, lowest=1)
    with pytest.raises(ValueError, match="not uint8"):
        tracer.push(np.zeros((2, 5), np.uint8))
    with pytest.raises(ValueError, match="not uint8"):
        tracer.push(np.zeros((2, 4), np.float32))  # type: ignore[arg-type]
