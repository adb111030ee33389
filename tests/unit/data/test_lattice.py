import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS

from buildmap.data.lattice import split_together
from buildmap.data.leaks import OwnedWindow, shared_m2
from buildmap.data.split import Ground
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM

UTM_CRS = CRS.from_string(UTM)
CHIP_PX = 32


def _grid(transform: Affine, width: int, height: int, epsg: int | None = None) -> Grid:
    crs = UTM_CRS if epsg is None else CRS.from_epsg(epsg)
    return Grid(width=width, height=height, transform=transform, crs=crs)


def _zooms(width: int = 800, height: int = 600) -> list[Grid]:
    """Give the same ground at three GSDs."""
    return [_grid(ORIGIN @ Affine.scale(1 / n), width * n, height * n) for n in (1, 2, 4)]


def _split(grids: list[Grid], *, share: float = 0.2, seed: int = 0, chip_px: int = CHIP_PX) -> list[Ground]:
    return split_together(
        grids,
        [grid.window for grid in grids],
        chip_px=chip_px,
        share=share,
        seed=seed,
        name="a",
        valid_shares=[None] * len(grids),
    )


def _area(windows: tuple[Window, ...]) -> int:
    return sum(window.width * window.height for window in windows)


def _leak_m2(grids: list[Grid], grounds: list[Ground]) -> float:
    train = [OwnedWindow(owner=n, window=w) for n, ground in enumerate(grounds) for w in ground.train]
    kept = [OwnedWindow(owner=n, window=w) for n, ground in enumerate(grounds) for w in ground.validation]
    return sum(shared_m2(grids, train, kept).values())


def _paint(ground: Ground, height: int, width: int) -> np.ndarray:
    painted = np.zeros((height, width), np.int64)
    for value, windows in ((1, ground.train), (2, ground.validation)):
        for w in windows:
            painted[w.row_off : w.row_off + w.height, w.col_off : w.col_off + w.width] += value
    return painted


def test_the_same_ground_at_three_gsds_is_split_alike_without_loss() -> None:
    grounds = _split(_zooms())
    coarse = _paint(grounds[0], 600, 800)
    assert set(np.unique(coarse)) == {1, 2}
    for factor, ground in ((2, grounds[1]), (4, grounds[2])):
        assert np.array_equal(
            _paint(ground, 600 * factor, 800 * factor), coarse.repeat(factor, 0).repeat(factor, 1)
        )
    assert (coarse == 2).mean() == pytest.approx(0.2, abs=0.03)


def test_cells_are_four_chips_of_the_coarsest_raster_wide() -> None:
    grounds = _split([_grid(ORIGIN, 1280, 640), _grid(ORIGIN @ Affine.scale(0.5), 2560, 1280)])
    assert _area(grounds[0].validation) == 10 * 128 * 128
    for window in grounds[0].train + grounds[0].validation:
        assert not any(side % 128 for side in (window.col_off, window.row_off, window.width, window.height))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("epsg", "size"), [(3857, 0.75), (4326, 3e-6), (32632, 0.9), (3035, 0.3)])
def test_rasters_of_other_crs_agree_on_the_ground(epsg: int, size: float, seed: int) -> None:
    x, y = Transformer.from_crs(UTM, f"EPSG:{epsg}", always_xy=True).transform(*(ORIGIN @ (400, 300)))
    other = _grid(Affine(size, 0, x - 400 * size, 0, -size, y + 300 * size), 800, 600, epsg)
    grids = [_grid(ORIGIN, 800, 600), other]
    grounds = _split(grids, seed=seed)
    assert _leak_m2(grids, grounds) == 0
    assert sum(_area(ground.validation) for ground in grounds) > 0.05 * 800 * 600
    for ground in grounds:
        assert _area(ground.train) + _area(ground.validation) > 0.7 * 800 * 600
        assert _paint(ground, 600, 800).max() <= 2  # disjoint


@settings(max_examples=30, deadline=None)
@given(
    shift=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
    scale=st.floats(0.3, 3),
    turn=st.sampled_from([0.0, 0.0, 1.5, 30.0, 90.0, 180.0]),
    seed=st.integers(0, 100),
    share=st.floats(0.05, 0.6),
)
def test_no_ground_leaks_however_rasters_lie_on_each_other(
    shift: tuple[float, float], scale: float, turn: float, seed: int, share: float
) -> None:
    placed = ORIGIN @ Affine.translation(*shift) @ Affine.rotation(turn) @ Affine.scale(scale)
    grids = [_grid(ORIGIN, 500, 400), _grid(placed, 450, 380)]
    grounds = _split(grids, seed=seed, share=share)
    assert _leak_m2(grids, grounds) == 0
    assert any(ground.validation for ground in grounds)
    assert any(ground.train for ground in grounds)
    for ground, grid in zip(grounds, grids, strict=True):
        assert _paint(ground, grid.height, grid.width).max() <= 2


def test_a_raster_that_lies_between_the_pixels_of_another_loses_but_the_pixels_on_the_border() -> None:
    between = _grid(ORIGIN @ Affine.translation(100.5, 60.5), 600, 500)
    grids = [_grid(ORIGIN, 800, 600), between]
    for seed in range(3):
        grounds = _split(grids, seed=seed)
        assert _leak_m2(grids, grounds) == 0
        assert (_paint(grounds[1], 500, 600) > 0).mean() > 0.93


def test_small_ground_still_gets_both_uses() -> None:
    grounds = _split(_zooms(70, 50), chip_px=64)
    for ground in grounds:
        assert ground.train and ground.validation
    assert _area(grounds[0].train) > _area(grounds[0].validation)


def test_strips_too_narrow_to_learn_from_are_for_neither_use() -> None:
    shifted = _grid(ORIGIN @ Affine.translation(123, 45), 800, 600)
    for seed in range(5):
        for ground in _split([_grid(ORIGIN, 800, 600), shifted], seed=seed):
            windows = ground.train + ground.validation
            assert min(min(window.width, window.height) for window in windows) >= CHIP_PX // 4


def test_cells_for_validation_follow_from_seed_and_not_from_the_order_of_rasters() -> None:
    grids = _zooms()
    first, again, other = _split(grids), _split(grids[::-1])[::-1], _split(grids, seed=1)
    assert first == again
    assert first != other


def test_a_share_of_nothing_leaves_all_for_training() -> None:
    grids = _zooms()
    assert _split(grids, share=0) == [Ground(train=(grid.window,), validation=()) for grid in grids]


def test_validation_gets_its_share_of_the_valid_ground() -> None:
    grids = _zooms(1280, 1280)

    def valid_share(window: Window) -> float:
        """Tell that only the left tenth is valid."""
        return max(min(128 - window.col_off, window.width), 0) / window.width

    for seed in range(5):
        grounds = split_together(
            grids,
            [grid.window for grid in grids],
            chip_px=CHIP_PX,
            share=0.2,
            seed=seed,
            name="a",
            valid_shares=[valid_share, None, None],
        )
        kept = _paint(grounds[0], 1280, 1280)[:, :128] == 2
        assert kept.mean() == pytest.approx(0.2, abs=0.03)


def test_ground_that_the_coarsest_raster_does_not_show_is_split_too() -> None:
    grids = [_grid(ORIGIN @ Affine.scale(2), 200, 200), _grid(ORIGIN @ Affine.translation(300, 0), 3000, 400)]
    kept = sum(_area(_split(grids, seed=seed)[1].validation) for seed in range(10))
    assert kept / 10 / (3000 * 400) == pytest.approx(0.2, abs=0.06)
