import numpy as np
import pytest
from affine import Affine

from buildmap.data.split import common, overlap, scale_window, split_generator, split_ground
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window


def _grid(width: int, height: int) -> Grid:
    return Grid(width=width, height=height, transform=Affine.identity(), crs=None)


def _window(col_off: int, row_off: int, width: int, height: int) -> Window:
    return Window(col_off=col_off, row_off=row_off, width=width, height=height)


def _area(windows: tuple[Window, ...]) -> int:
    return sum(window.width * window.height for window in windows)


def test_a_native_window_becomes_the_working_pixels_inside_it() -> None:
    native, working = _grid(100, 60), _grid(40, 30)
    assert scale_window((10, 10, 50, 20), native, working) == _window(4, 5, 20, 10)
    assert scale_window((11, 11, 50, 20), native, working) == _window(5, 6, 19, 9)


def test_no_window_means_all() -> None:
    assert scale_window(None, _grid(100, 60), _grid(40, 30)) == _window(0, 0, 40, 30)


@pytest.mark.parametrize("window_px", [(60, 0, 50, 10), (0, 51, 10, 10), (-1, 0, 5, 5), (0, 0, 0, 5)])
def test_a_window_beyond_the_raster_is_refused(window_px: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="is not inside its 100 x 60 pixels"):
        scale_window(window_px, _grid(100, 60), _grid(40, 30))


def test_a_window_without_a_whole_working_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="smaller than one pixel"):
        scale_window((1, 1, 2, 2), _grid(100, 100), _grid(10, 10))


def test_large_ground_is_shared_in_blocks_of_about_four_chips() -> None:
    ground = split_ground(_window(0, 0, 1280, 640), chip_px=32, share=0.2, rng=np.random.default_rng(0))
    assert _area(ground.validation) == 10 * 128 * 128
    assert all(w.width % 128 == 0 and w.height % 128 == 0 for w in ground.train + ground.validation)
    assert len(ground.validation) > 1


def test_small_ground_is_cut_once_so_that_training_ground_stays_whole() -> None:
    for seed in range(4):
        ground = split_ground(
            _window(10, 20, 200, 100), chip_px=64, share=0.2, rng=np.random.default_rng(seed)
        )
        assert [(w.width, w.height) for w in ground.train] == [(160, 100)]
        assert [(w.width, w.height) for w in ground.validation] == [(40, 100)]


def test_tall_ground_is_cut_across_its_length() -> None:
    ground = split_ground(_window(0, 0, 50, 200), chip_px=64, share=0.25, rng=np.random.default_rng(0))
    assert [(w.width, w.height) for w in ground.validation] == [(50, 50)]


def test_a_share_of_nothing_leaves_all_for_training() -> None:
    whole = _window(0, 0, 2000, 2000)
    ground = split_ground(whole, chip_px=32, share=0, rng=np.random.default_rng(0))
    assert (ground.train, ground.validation) == ((whole,), ())


def test_blocks_follow_from_seed_and_name_only() -> None:
    def split(seed: int, name: str) -> tuple[Window, ...]:
        rng = split_generator(seed, name)
        return split_ground(_window(0, 0, 1280, 1280), chip_px=32, share=0.2, rng=rng).validation

    assert split(1, "a") == split(1, "a")
    assert split(1, "a") != split(2, "a")
    assert split(1, "a") != split(1, "b")


def test_windows_that_only_meet_do_not_overlap() -> None:
    assert not overlap(_window(0, 0, 10, 10), _window(10, 0, 10, 10))
    assert not overlap(_window(0, 10, 10, 10), _window(0, 0, 10, 10))
    assert overlap(_window(0, 0, 10, 10), _window(9, 9, 10, 10))


@pytest.mark.parametrize("side", [300, 1280])
def test_ground_for_the_test_is_taken_from_training_and_leaves_validation_as_it_was(side: int) -> None:
    whole = _window(7, 9, side, side // 2)
    two, three = (
        split_ground(whole, chip_px=32, share=0.1, rng=np.random.default_rng(3), test_share=share)
        for share in (0.0, 0.1)
    )
    assert two.test == () and two.kept == two.validation
    assert three.validation == two.validation
    assert _area(three.test) == pytest.approx(_area(three.validation), rel=0.1)
    assert _area(three.train) + _area(three.kept) == side * (side // 2)
    assert not any(overlap(one, other) for one in three.train for other in three.kept)
    assert not any(overlap(one, other) for one in three.validation for other in three.test)


def test_what_two_sets_of_rectangles_share_is_what_both_paint() -> None:
    rng = np.random.default_rng(0)
    painted = np.zeros((3, 60, 80), np.bool_)
    sets: list[list[Window]] = [[], []]
    for number, windows in enumerate(sets):
        for _ in range(4):
            left, top = int(rng.integers(0, 50)), int(rng.integers(0, 40))
            windows.append(_window(left, top, int(rng.integers(5, 30)), int(rng.integers(5, 20))))
            w = windows[-1]
            painted[number, w.row_off : w.row_off + w.height, w.col_off : w.col_off + w.width] = True
    found = common(*sets)
    for w in found:
        assert not painted[2, w.row_off : w.row_off + w.height, w.col_off : w.col_off + w.width].any()
        painted[2, w.row_off : w.row_off + w.height, w.col_off : w.col_off + w.width] = True
    assert painted[2].any()
    assert np.array_equal(painted[2], painted[0] & painted[1])
    assert common(sets[0], []) == common([], []) == ()
