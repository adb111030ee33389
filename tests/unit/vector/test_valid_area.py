import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio import features
from scipy.ndimage import gaussian_filter
from shapely.geometry import box, shape

from buildmap.vector.valid_area import ValidArea

IDENTITY = Affine.identity()


def traced(
    valid: NDArray[np.bool_], heights: list[int], *, cell_px: int, transform: Affine = IDENTITY
) -> NDArray[np.object_]:
    area = ValidArea(valid.shape[1], transform=transform, cell_px=cell_px)
    batches, row, turn = [], 0, 0
    while row < len(valid):
        height = heights[turn % len(heights)]
        area.push(valid[row : row + height])
        batches.append(area.take())
        row, turn = row + height, turn + 1
    area.finish()
    return np.concatenate([*batches, area.take()])


def oracle(valid: NDArray[np.bool_], cell_px: int) -> list[bytes]:
    """Decide on every cell by itself, paint it at full size, and have rasterio trace the picture."""
    painted = np.zeros(valid.shape, np.uint8)
    for top in range(0, valid.shape[0], cell_px):
        for left in range(0, valid.shape[1], cell_px):
            cell = np.s_[top : top + cell_px, left : left + cell_px]
            painted[cell] = valid[cell].mean() >= 0.5
    found = features.shapes(painted, mask=painted > 0, connectivity=4)
    return sorted(shape(geometry).normalize().wkb for geometry, _ in found)


def patchy(seed: int, height: int, width: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal((height, width)), rng.choice([0, 1.5, 4]))
    return np.asarray(field > rng.choice([-0.1, 0, 0.1]) * field.std())


@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    heights=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    cell_px=st.sampled_from([1, 3, 8, 16]),
)
def test_cells_half_of_which_are_valid_become_polygons_whatever_the_strips(
    seed: int, height: int, width: int, heights: list[int], cell_px: int
) -> None:
    valid = patchy(seed, height, width)
    polygons = traced(valid, heights, cell_px=cell_px)
    assert sorted(polygon.normalize().wkb for polygon in polygons) == oracle(valid, cell_px)
    assert [p.wkb for p in polygons] == [p.wkb for p in traced(valid, [height], cell_px=cell_px)]
    assert shapely.is_valid(polygons).all()


def test_a_cell_is_valid_from_one_half_on() -> None:
    valid = np.zeros((4, 8), np.bool_)
    valid[:2, :4] = True  # 8 of 16 pixels
    valid[:2, 4:] = True
    valid[0, 7] = False  # 7 of 16
    assert [p.bounds for p in traced(valid, [3], cell_px=4)] == [(0, 0, 4, 4)]


def test_the_last_cells_are_as_large_as_the_raster_still_is() -> None:
    valid = np.ones((10, 7), np.bool_)
    valid[8:, 4:] = False
    (polygon,) = traced(valid, [4], cell_px=4)
    assert polygon.equals(box(0, 0, 7, 10) - box(4, 8, 7, 10))


def test_polygons_lie_on_the_map_with_exteriors_counter_clockwise() -> None:
    valid = np.ones((12, 12), np.bool_)
    valid[4:8, 4:8] = False
    turned = Affine.translation(500, 900) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    (polygon,) = traced(valid, [5], cell_px=4, transform=turned)
    assert polygon.exterior.is_ccw
    assert not polygon.interiors[0].is_ccw
    assert polygon.area == pytest.approx((144 - 16) / 4)
    corners = [turned @ corner for corner in [(0, 0), (12, 0), (12, 12), (0, 12)]]
    assert shapely.hausdorff_distance(polygon.exterior, shapely.Polygon(corners).exterior) < 1e-9


def test_what_has_ended_is_given_before_the_rest_has_been_seen() -> None:
    area = ValidArea(64, transform=IDENTITY, cell_px=2)
    checks = np.indices((8, 32)).sum(axis=0) % 2 == 0
    fine = np.kron(checks, np.ones((2, 2), np.bool_)).astype(np.bool_)
    given = 0
    for _ in range(400):  # so many corners that the tracer collects
        area.push(fine)
        given += len(area.take())
    assert 400 * 128 / 2 < given < 400 * 128


def test_strips_that_are_watched_pass_unchanged() -> None:
    values = np.full((40, 20), 255, np.uint8)
    values[:, :10] = np.arange(200).reshape(40, 5).repeat(2, axis=1)
    area = ValidArea(20, transform=IDENTITY, cell_px=5)
    passed = list(area.watch([values[:17], values[17:]]))
    np.testing.assert_array_equal(np.concatenate(passed), values)
    assert [p.bounds for p in area.take()] == [(0, 0, 10, 40)]
    assert len(area.take()) == 0


@pytest.mark.parametrize("rows", [np.ones((2, 5), np.bool_), np.ones((2, 6), np.uint8), np.ones(6, np.bool_)])
def test_rows_of_another_width_or_type_are_refused(rows: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match=r"not bool \(rows, 6\)"):
        ValidArea(6, transform=IDENTITY).push(rows)  # type: ignore[arg-type]
