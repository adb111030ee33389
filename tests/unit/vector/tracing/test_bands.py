"""Bands traced each on its own and put together give what one pass over the whole raster gives."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from rasterio import features
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.ndimage import label as label_components
from shapely.geometry import shape

from buildmap.vector.tracing import bands
from buildmap.vector.tracing.bands import Seam, crop_band, trace_band
from buildmap.vector.tracing.outlines import Outlines, OutlineTracer, join_outlines
from buildmap.vector.tracing.trace import NODATA

Crop = Callable[[int, int, int, int], NDArray[np.uint8]]
See = Callable[[Outlines, Crop], None]


def cut_at(values: NDArray[np.uint8], heights: list[int]) -> list[tuple[int, int]]:
    """Give the first row and the end of bands of these heights, in turn."""
    ends = [0]
    while ends[-1] < len(values):
        ends.append(min(ends[-1] + heights[(len(ends) - 1) % len(heights)], len(values)))
    return list(pairwise(ends))


def in_bands(
    values: NDArray[np.uint8],
    heights: list[int],
    *,
    lowest: int = 1,
    see: See = lambda _outlines, _crop: None,
) -> Outlines:
    """Trace band by band; `see` is shown everything as it comes, with what gives the values around it."""
    seam, found = Seam(values.shape[1]), []
    for first, end in cut_at(values, heights):
        rows = values[first:end]
        traced = trace_band(rows, first, above=first > 0, below=end < len(values), lowest=lowest)
        see(traced.finished, lambda *box, rows=rows, first=first: crop_band(rows, first, box))
        put_together = seam.push(traced.cut, first, end - first)
        see(put_together, seam.crop)
        found += [traced.finished, put_together]
    last = seam.finish()
    see(last, seam.crop)
    return join_outlines([*found, last])


def in_one_pass(values: NDArray[np.uint8], *, lowest: int = 1) -> Outlines:
    tracer = OutlineTracer(values.shape[1], lowest=lowest)
    return join_outlines([tracer.push(values), tracer.finish()])


def told(outlines: Outlines) -> list[tuple[bytes, int, int, int]]:
    """Give all that is known of each component, in the order of one pass."""
    top_left = shapely.get_coordinates(shapely.get_point(shapely.get_exterior_ring(outlines.polygons), 0))
    last_row = shapely.bounds(outlines.polygons).reshape(-1, 4)[:, 3]
    ordered = outlines.take(np.lexsort((*top_left.T, last_row)))
    wkb = [bytes(polygon.wkb) for polygon in ordered.polygons]
    return list(zip(wkb, ordered.pixels.tolist(), ordered.total.tolist(), ordered.peak.tolist(), strict=True))


def blobs(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw smooth or rough values, with some no data."""
    field = gaussian_filter(rng.standard_normal(rng.integers(1, 60, 2)), rng.choice([0, 0.7, 1.5, 3]))
    values = np.clip(127 + 100 * field / (field.std() + 1e-9), 0, 254).astype(np.uint8)
    values[rng.random(values.shape) < rng.choice([0, 0, 0.02])] = NODATA
    return values


MASKS = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 200, NODATA])
)
HEIGHTS = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(values=MASKS, heights=HEIGHTS)
def test_bands_of_any_height_give_what_one_pass_gives(values: np.ndarray, heights: list[int]) -> None:
    assert told(in_bands(values, heights)) == told(in_one_pass(values))


def test_bands_of_noise_give_the_polygons_of_rasterio() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        values = blobs(rng)
        found = in_bands(values, list(rng.integers(1, 25, 3)), lowest=127)
        mask = ((values >= 127) & (values != NODATA)).astype(np.uint8)
        expected = [
            shape(geometry).normalize().wkb
            for geometry, _ in features.shapes(mask, mask=mask > 0, connectivity=4)
        ]
        assert sorted(polygon.normalize().wkb for polygon in found.polygons) == sorted(expected)
        assert told(found) == told(in_one_pass(values, lowest=127))


def test_pixels_total_and_peak_are_those_of_the_component() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        values = blobs(rng)
        inside = (values >= 127) & (values != NODATA)
        labels, count = label_components(inside)
        found = in_bands(values, [5], lowest=127)
        expected = [
            (int(one.size), int(one.sum()), int(one.max()))
            for one in (values[labels == k] for k in range(1, count + 1))
        ]
        ours = zip(found.pixels.tolist(), found.total.tolist(), found.peak.tolist(), strict=True)
        assert sorted(ours) == sorted(expected)


def drawn(picture: str) -> NDArray[np.uint8]:
    return np.array([[symbol == "#" for symbol in line] for line in picture.split()], np.uint8)


@pytest.mark.parametrize(
    "values",
    [
        drawn("#.#.#.#. #.#.#.#. ###.###. ..#.#... ###.###. #.....#. #######."),
        drawn("###### #....# #.##.# #.##.# #....# ######"),
        drawn("##.. ##.. ..## ..## ##.. ##.."),
        drawn("#.#. .#.# #.#. .#.#"),
        np.ones((40, 3), np.uint8),
        np.full((9, 4), NODATA, np.uint8),
    ],
    ids=[
        "snake",
        "island in a courtyard",
        "diagonal on the border",
        "chequered",
        "over all bands",
        "nothing",
    ],
)
@pytest.mark.parametrize("height", [1, 2, 3, 4])
def test_pictures_are_put_together_exactly(values: NDArray[np.uint8], height: int) -> None:
    assert told(in_bands(values, [height])) == told(in_one_pass(values))


def test_what_touches_no_inner_border_is_finished_in_its_band_and_all_else_is_cut() -> None:
    values = drawn("#.#.. ..... .#..# #...#")
    first = trace_band(values, 10, above=False, below=True, lowest=1)
    assert shapely.bounds(first.finished.polygons).tolist() == [
        [0, 10, 1, 11],
        [2, 10, 3, 11],
        [1, 12, 2, 13],
    ]
    assert np.column_stack(first.cut.runs[:3]).tolist() == [[12, 4, 5], [13, 0, 1], [13, 4, 5]]
    second = trace_band(values, 10, above=True, below=False, lowest=1)
    assert np.column_stack(second.cut.runs[:3]).tolist() == [[10, 0, 1], [10, 2, 3]]
    alone = trace_band(values, 10, above=False, below=False, lowest=1)
    assert len(alone.finished) == 5
    assert [len(part) for part in (*alone.cut.runs, alone.cut.spans.values)] == [0] * 6


def check_values(values: NDArray[np.uint8], *, lowest: int) -> tuple[See, list[int]]:
    """Compare the values around each component with those of the raster, where they have to be known."""
    labels, _ = label_components((values >= lowest) & (values != NODATA))
    seen: list[int] = []

    def see(outlines: Outlines, crop: Crop) -> None:
        for polygon in outlines.polygons:
            col, row = map(int, polygon.exterior.coords[0])
            component = labels == labels[row, col]
            known = binary_dilation(component, np.ones((3, 3)))
            left, top, right, bottom = (int(bound) for bound in polygon.bounds)
            around = crop(left - 1, top - 1, right + 1, bottom + 1)
            padded, mask = np.pad(values, 1, constant_values=NODATA), np.pad(known, 1, constant_values=True)
            box = np.s_[top : bottom + 2, left : right + 2]
            np.testing.assert_array_equal(around[mask[box]], padded[box][mask[box]])
            seen.append(len(polygon.interiors))

    return see, seen


@settings(max_examples=150, deadline=None)
@given(values=MASKS, heights=HEIGHTS)
def test_the_values_around_every_component_are_known(values: np.ndarray, heights: list[int]) -> None:
    see, seen = check_values(values, lowest=1)
    found = in_bands(values, heights, see=see)
    assert len(seen) == len(found)


def test_the_values_in_and_around_large_components_are_known() -> None:
    rng = np.random.default_rng(2)
    holes = 0
    for _ in range(40):
        values = blobs(rng)
        see, seen = check_values(values, lowest=110)
        in_bands(values, list(rng.integers(1, 20, 3)), lowest=110, see=see)
        holes += sum(seen)
    assert holes > 100


def test_of_components_that_are_too_large_the_outline_is_kept_and_not_the_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bands, "KNOWN_PX", 30)
    values = np.zeros((60, 30), np.uint8)
    values[3:57, 4:10] = 200
    values[28:33, 20:24] = 100
    assert told(in_bands(values, [10])) == told(in_one_pass(values))
    traced = trace_band(values[10:20], 10, above=True, below=True, lowest=1)
    assert set(traced.cut.spans.row.tolist()) == {10, 19}
    assert traced.cut.runs.total.tolist() == [1200] * 10
    see, seen = check_values(values[:, 12:], lowest=1)
    in_bands(values[:, 12:], [10], see=see)
    assert seen == [0]


def held_values(values: NDArray[np.uint8]) -> list[int]:
    """Count the values that are held after each band of 20 rows."""
    seam, held = Seam(values.shape[1]), []
    for first, end in cut_at(values, [20]):
        below = end < len(values)
        seam.push(
            trace_band(values[first:end], first, above=first > 0, below=below, lowest=1).cut,
            first,
            end - first,
        )
        held.append(len(seam._spans.values))
    return held


def test_values_are_dropped_once_nothing_open_needs_them() -> None:
    values = np.zeros((400, 50), np.uint8)
    values[::7, 10:40] = 9
    assert max(held_values(values)) <= 4 * 50
    values[:, 3:5] = 9
    held = held_values(values)
    assert held[-1] > 10 * held[0]  # what is open all the way needs its own


def test_bands_out_of_turn_are_a_mistake_of_the_caller() -> None:
    seam = Seam(3)
    pieces = trace_band(np.ones((4, 3), np.uint8), 4, above=True, below=True, lowest=1).cut
    with pytest.raises(ValueError, match="the next band begins at row 0, not 4"):
        seam.push(pieces, 4, 4)
    with pytest.raises(ValueError, match=r"runs lie in rows 4\.\.7, not 0\.\.3"):
        seam.push(pieces, 0, 4)


def test_a_crop_of_a_band_is_the_raster_where_it_is_in_the_band_and_no_data_elsewhere() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert crop_band(values, 7, (-1, 6, 2, 9)).tolist() == [[255, 255, 255], [255, 0, 1], [255, 4, 5]]
    assert crop_band(values, 7, (3, 9, 6, 11)).tolist() == [[11, 255, 255], [255, 255, 255]]
    assert (crop_band(values, 7, (4, 7, 6, 9)) == NODATA).all()
