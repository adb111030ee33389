import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio import features
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as label_components
from shapely.geometry import Polygon, box, shape

from buildmap.vector.tracing import outlines
from buildmap.vector.tracing.outlines import Outlines, OutlineTracer, join_outlines
from buildmap.vector.tracing.trace import Runs

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
    return join_outlines(batches)


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
            assert cut.peak.tolist() == whole.peak.tolist()


def test_pixels_totals_and_peaks_are_those_of_the_component() -> None:
    rng = np.random.default_rng(2)
    mask = gaussian_filter(rng.standard_normal((60, 90)), 1.2) > 0
    values = np.where(mask, rng.integers(1, 255, mask.shape), 0).astype(np.uint8)
    labels, count = label_components(values)
    found = trace(values, [3])
    expected = sorted(
        (int(one.size), int(one.sum()), int(one.max()))
        for one in (values[labels == k] for k in range(1, count + 1))
    )
    ours = zip(found.pixels.tolist(), found.total.tolist(), found.peak.tolist(), strict=True)
    assert sorted(ours) == expected
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


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 17, 64])
def test_runs_of_every_length_and_place_are_found(width: int) -> None:
    runs = [(start, stop) for start in range(width) for stop in range(start + 1, width + 1)]
    values = np.zeros((2 * len(runs), width), np.uint8)
    for row, (start, stop) in enumerate(runs):
        values[2 * row, start:stop] = 200
    found = trace(values, [50], lowest=127)
    assert found.pixels.tolist() == [stop - start for start, stop in runs]
    expected = [[start, 2 * row, stop, 2 * row + 1] for row, (start, stop) in enumerate(runs)]
    assert shapely.bounds(found.polygons).tolist() == expected


def test_every_threshold_tells_every_value_apart() -> None:
    values = np.zeros((256, 2), np.uint8)
    values[:, 0] = np.arange(256)
    for lowest in (0, 1, 127, 128, 254, 255):
        found = trace(np.repeat(values[:, :1], 1, axis=1), [256], lowest=lowest)
        assert found.pixels.sum() == max(255 - lowest, 0)
        if lowest < 255:
            assert shapely.bounds(found.polygons).tolist() == [[0, lowest, 1, 255]]


def test_a_long_run_of_high_values_keeps_its_total() -> None:
    found = trace(np.full((3, 90_000), 254, np.uint8), [1])
    assert (found.total.tolist(), found.peak.tolist()) == ([3 * 90_000 * 254], [254])


def as_runs(values: NDArray[np.uint8], first_row: int) -> Runs:
    """Find the runs of values above 0 the slow way."""
    found = []
    for row, line in enumerate(values):
        edges = np.flatnonzero(np.diff(np.pad(line > 0, 1).astype(int)))
        for start, stop in edges.reshape(-1, 2):
            one = line[start:stop]
            found.append((row + first_row, start, stop, one.sum(dtype=int), one.max()))
    columns = np.array(found, np.int64).reshape(-1, 5).T
    kinds = (np.int32, np.int32, np.int32, np.int64, np.uint8)
    return Runs(*(column.astype(kind) for column, kind in zip(columns, kinds, strict=True)))


def test_runs_give_what_their_pixels_give_also_far_below_the_first_row() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        values = noise(rng) * rng.integers(1, 255, dtype=np.uint8)
        values[rng.random(len(values)) < 0.3] = 0
        by_pixels = OutlineTracer(values.shape[1], lowest=1, first_row=1000)
        expected = join_outlines([by_pixels.push(values), by_pixels.finish()])
        half = len(values) // 2
        tracer = OutlineTracer(values.shape[1], lowest=1)
        batches = [tracer.push_runs(as_runs(values[:0], 0), 1000)]
        batches.append(tracer.push_runs(as_runs(values[:half], 1000), 1000 + half))
        assert tracer.next_row == 1000 + half
        batches.append(tracer.push_runs(as_runs(values[half:], 1000 + half), 1000 + len(values)))
        batches.append(tracer.push_runs(as_runs(values[:0], 0), 10**9))
        found = join_outlines(batches)
        assert len(tracer.finish()) == 0
        assert [p.wkb for p in found.polygons] == [p.wkb for p in expected.polygons]
        assert shapely.bounds(found.polygons).reshape(-1, 4)[:, 1].min(initial=1000) >= 1000
        for name in ("pixels", "total", "peak"):
            assert getattr(found, name).tolist() == getattr(expected, name).tolist()


def test_the_boxes_of_what_is_open_begin_at_its_first_row() -> None:
    values = drawn("##....# ....... .##.#.. ..###.. #......")
    tracer = OutlineTracer(7, lowest=1, first_row=5)
    runs = as_runs(values[:4], 5)
    tracer.push_runs(runs, 9)
    assert tracer.open_boxes().tolist() == [[7, 1, 5]]
    tracer.push_runs(as_runs(values[4:], 9), 10)
    assert tracer.open_boxes().tolist() == [[9, 0, 1]]


def test_taking_some_and_joining_them_again_gives_all() -> None:
    whole = trace(drawn("#.#.# #.#.. ....."), [1])
    again = join_outlines([whole.take(np.array([0])), whole.take(np.array([False, True, True]))])
    assert len(whole) == len(again) == 3
    assert again.pixels.tolist() == whole.pixels.tolist()
    assert again.polygons.tolist() == whole.polygons.tolist()


def test_the_peak_of_what_joins_below_is_that_of_either_arm() -> None:
    for arms in ([5, 0, 200], [200, 0, 5]):
        found = trace(np.array([arms, [7, 7, 7], [0, 0, 0]], np.uint8), [1])
        assert (found.peak.tolist(), found.total.tolist()) == ([200], [226])
