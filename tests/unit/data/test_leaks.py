import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS

from buildmap.data.leaks import OwnedWindow, connected_groups, shared_m2, to_other_grid
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM

UTM_CRS = CRS.from_string(UTM)


def _grid(transform: Affine = ORIGIN, width: int = 400, height: int = 300, crs: CRS | None = UTM_CRS) -> Grid:
    return Grid(width=width, height=height, transform=transform, crs=crs)


def _window(col_off: int, row_off: int, width: int, height: int) -> Window:
    return Window(col_off=col_off, row_off=row_off, width=width, height=height)


def _in_crs(epsg: int, size: float, width: int = 400, height: int = 300) -> Grid:
    """Give a grid in another CRS whose middle is that of the plain grid."""
    to_other = Transformer.from_crs(UTM, f"EPSG:{epsg}", always_xy=True)
    x, y = to_other.transform(*(ORIGIN @ (200, 150)))
    transform = Affine(size, 0, x - width / 2 * size, 0, -size, y + height / 2 * size)
    return _grid(transform, width, height, CRS.from_epsg(epsg))


def _ring(grid: Grid, window: Window) -> shapely.Polygon:
    """Outline a window densely in the coordinates of the plain grid's CRS."""
    outline = shapely.segmentize(
        shapely.box(
            window.col_off, window.row_off, window.col_off + window.width, window.row_off + window.height
        ),
        1.0,
    )
    corners = np.array([grid.transform @ (c, r) for c, r in outline.exterior.coords])
    to_utm = Transformer.from_crs(grid.crs.to_wkt(), UTM, always_xy=True)  # type: ignore[union-attr]
    return shapely.Polygon(np.stack(to_utm.transform(*corners.T), axis=1))


def test_windows_of_two_gsds_share_what_lies_in_both() -> None:
    grids = [_grid(), _grid(ORIGIN @ Affine.scale(0.25), 1600, 1200)]
    shared = shared_m2(
        grids,
        [OwnedWindow(owner=0, window=_window(0, 0, 100, 300))],
        [OwnedWindow(owner=1, window=_window(360, 0, 1240, 1200))],
    )
    assert shared == {(0, 1): pytest.approx(10 * 300 * 0.25, rel=1e-3)}


@pytest.mark.parametrize(("epsg", "size"), [(3857, 0.7), (4326, 4e-6), (32632, 0.4), (3035, 0.5)])
def test_the_overlap_across_crs_is_that_of_the_outlines(epsg: int, size: float) -> None:
    grids = [_grid(), _in_crs(epsg, size)]
    windows = _window(150, 20, 200, 130), _window(60, 70, 200, 200)
    shared = shared_m2(
        grids, [OwnedWindow(owner=0, window=windows[0])], [OwnedWindow(owner=1, window=windows[1])]
    )
    outlines = [_ring(grid, window) for grid, window in zip(grids, windows, strict=True)]
    expected = outlines[0].intersection(outlines[1]).area
    assert expected > 500
    assert shared[0, 1] == pytest.approx(expected, rel=5e-3)


def test_a_rotated_raster_is_where_it_is() -> None:
    turned = _grid(
        ORIGIN @ Affine.translation(200, 150) @ Affine.rotation(45) @ Affine.translation(-50, -50), 100, 100
    )
    corner = OwnedWindow(owner=0, window=_window(130, 80, 20, 20))
    middle = OwnedWindow(owner=0, window=_window(190, 140, 20, 20))
    whole = [OwnedWindow(owner=1, window=turned.window)]
    grazed = OwnedWindow(owner=0, window=_window(235, 185, 30, 30))  # by a corner, 0.7 pixels deep
    assert shared_m2([_grid(), turned], [grazed], whole) == {}
    assert shared_m2([_grid(), turned], [corner], whole) == {}
    assert shared_m2([_grid(), turned], [middle], whole)[0, 1] == pytest.approx(100, rel=1e-3)


def test_edges_that_touch_and_slivers_below_a_pixel_share_nothing() -> None:
    west = OwnedWindow(owner=0, window=_window(0, 0, 200, 300))

    def east(shift_px: float) -> dict[tuple[int, int], float]:
        other = _grid(ORIGIN @ Affine.translation(200 + shift_px, 0))
        return shared_m2([_grid(), other], [west], [OwnedWindow(owner=1, window=other.window)])

    assert east(0) == east(-0.9) == east(3) == {}
    assert east(-1)[0, 1] == pytest.approx(300 * 0.25, rel=1e-3)
    coarse = _grid(ORIGIN @ Affine.translation(199, 0) @ Affine.scale(4), 100, 75)
    assert shared_m2([_grid(), coarse], [west], [OwnedWindow(owner=1, window=coarse.window)]) == {}


def test_a_raster_shares_nothing_with_itself_nor_with_one_without_a_place() -> None:
    grids = [_grid(), _grid(crs=None), _grid(Affine.identity())]
    windows = [OwnedWindow(owner=n, window=grid.window) for n, grid in enumerate(grids)]
    assert [grid.is_placed for grid in grids] == [True, False, False]
    assert shared_m2(grids, windows, windows) == {}
    assert shared_m2(grids, [], windows) == {}


def test_overlaps_of_many_windows_are_summed_by_raster() -> None:
    grids = [_grid(), _grid(ORIGIN @ Affine.scale(0.5), 800, 600)]
    train = [
        OwnedWindow(owner=0, window=_window(0, 0, 10, 10)),
        OwnedWindow(owner=0, window=_window(50, 0, 10, 10)),
    ]
    kept = [OwnedWindow(owner=1, window=_window(0, 0, 120, 4))]
    assert shared_m2(grids, train, kept)[0, 1] == pytest.approx(2 * 10 * 2 * 0.25, rel=1e-3)


def test_rasters_gather_through_those_between_them() -> None:
    grids = [_grid(ORIGIN @ Affine.translation(col, 0)) for col in (0, 900, 300, 5000, 600, 5399)]
    grids.append(_grid(crs=None))
    windows = [grid.window for grid in grids]
    groups = connected_groups(grids, windows, [0, 1, 2, 3, 4, 5])
    assert sorted(groups) == [[0, 1, 2, 4], [3, 5]]
    assert sorted(connected_groups(grids, windows, [0, 1, 3])) == [[0], [1], [3]]


def test_the_way_between_grids_and_back_ends_where_it_began() -> None:
    source, target = _grid(), _in_crs(4326, 4e-6)
    cols, rows = np.array([0.0, 17.5, 400.0]), np.array([0.0, 33.0, 300.0])
    there = to_other_grid(cols, rows, source=source, target=target)
    back = to_other_grid(*there, source=target, target=source)
    assert back[0] == pytest.approx(cols, abs=1e-4)
    assert back[1] == pytest.approx(rows, abs=1e-4)
    middle = to_other_grid(np.array([200.0]), np.array([150.0]), source=source, target=target)
    assert (middle[0][0], middle[1][0]) == pytest.approx((200, 150), abs=1e-3)


def test_of_thousands_of_neighbours_only_those_that_overlap_share_ground() -> None:
    grids = [
        _grid(ORIGIN @ Affine.translation(col * 400, row * 300)) for col in range(50) for row in range(40)
    ]
    train = [OwnedWindow(owner=n, window=grid.window) for n, grid in enumerate(grids)]
    extra = _grid(ORIGIN @ Affine.translation(350, 250), 100, 100)
    shared = shared_m2([*grids, extra], train, [*train, OwnedWindow(owner=2000, window=extra.window)])
    assert len(shared) == 4
    assert sum(shared.values()) == pytest.approx(100 * 100 * 0.25, rel=1e-3)
