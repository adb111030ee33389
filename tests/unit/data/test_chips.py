from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from buildmap.data.annotations import Truth
from buildmap.data.chips import (
    ChipGround,
    ValidMap,
    map_buildings,
    map_valid,
    pad,
    place_chip,
    plan_validation,
)
from buildmap.data.sources import TrainingSource, open_sources
from buildmap.data.split import Ground
from buildmap.raster.windows import Window
from tests.scenes import write_raster
from tests.unit.data.material import make_preset, write_pair


@pytest.fixture
def source(tmp_path: Path) -> Iterator[TrainingSource]:
    """A raster of 160 x 200 pixels, valid only in columns 96..143."""
    mask = write_pair(tmp_path, "a")
    image = np.full((3, *mask.shape), 9, np.uint8)
    image[:, :, 96:144] = 100
    write_raster(tmp_path / "images" / "a.tif", image, nodata=9)
    (opened,) = open_sources(tmp_path, make_preset())
    yield opened
    opened.close()


def _window(col_off: int, row_off: int, width: int, height: int) -> Window:
    return Window(col_off=col_off, row_off=row_off, width=width, height=height)


def test_the_map_tells_where_a_rectangle_is_valid(source: TrainingSource) -> None:
    valid = map_valid(source, _window(32, 16, 160, 96), cell_px=16)
    assert valid.cells.shape == (6, 10)
    assert valid.cells.all(axis=0).tolist() == [False] * 4 + [True] * 3 + [False] * 3
    assert valid.valid_px == 48 * 96
    assert valid.share(_window(96, 16, 32, 32), 32) == 1
    assert valid.share(_window(80, 16, 32, 32), 32) == 0.5
    assert valid.share(_window(96, 16, 32, 32), 64) == 0.25


def test_a_raster_without_gaps_is_valid_without_being_read(source: TrainingSource) -> None:
    class Unreadable:
        def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> None:
            raise AssertionError((window, out_shape))

        def close(self) -> None:
            return

    solid = replace(source, all_valid=True, pixels=Unreadable())
    assert map_valid(solid, _window(0, 0, 70, 40), cell_px=16).valid_px == 70 * 40


def test_pixels_are_drawn_from_valid_cells_only(source: TrainingSource) -> None:
    ground = ChipGround(
        [
            map_valid(source, _window(0, 0, 90, 160), cell_px=16),
            map_valid(source, _window(90, 0, 110, 160), cell_px=16),
        ]
    )
    rng = np.random.default_rng(0)
    drawn = [ground.draw(rng) for _ in range(500)]
    cols = np.array([col for _, _, col in drawn])
    assert cols.min() >= 90 and cols.max() < 160
    assert {number for number, _, _ in drawn} == {1}


def test_rectangles_are_drawn_by_their_valid_ground(source: TrainingSource) -> None:
    solid = replace(source, all_valid=True)
    ground = ChipGround(
        [
            map_valid(solid, _window(0, 0, 48, 160), cell_px=16),
            map_valid(solid, _window(48, 0, 144, 160), cell_px=16),
        ]
    )
    rng = np.random.default_rng(0)
    counts = Counter(ground.draw(rng)[0] for _ in range(2000))
    assert counts[1] / 2000 == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize(("balance", "shares"), [(0, (1, 5, 14)), (0.5, (1, 5, 84**0.5)), (1, (1, 5, 6))])
def test_sources_are_balanced_and_rectangles_of_one_keep_their_proportion(
    source: TrainingSource, balance: float, shares: tuple[float, ...]
) -> None:
    solid, other = replace(source, all_valid=True), replace(source, all_valid=True, name="b")
    maps = [
        map_valid(owner, _window(0, 0, width, 160), cell_px=8)
        for owner, width in ((solid, 8), (solid, 40), (other, 112))
    ]
    ground, rng = ChipGround(maps, source_balance=balance), np.random.default_rng(0)
    counts = Counter(ground.draw(rng)[0] for _ in range(4000))
    expected = np.array(shares) / sum(shares)
    assert [counts[number] / 4000 for number in range(3)] == pytest.approx(expected, abs=0.03)


def test_chosen_cells_are_all_alike_and_drawn_at_their_middle(source: TrainingSource) -> None:
    solid = replace(source, all_valid=True)
    maps = [map_valid(solid, _window(left, 0, 64, 32), cell_px=cell) for left, cell in ((0, 16), (64, 8))]
    coarse, fine = (np.zeros(valid.cells.shape, np.bool_) for valid in maps)
    coarse[1, 2] = fine[0, 0] = fine[3, 7] = True
    ground, rng = ChipGround(maps, [coarse, fine], at_middle=True), np.random.default_rng(0)
    counts = Counter(ground.draw(rng) for _ in range(3000))
    assert counts.keys() == {(0, 24, 40), (1, 4, 68), (1, 28, 124)}
    assert counts[0, 24, 40] / 3000 == pytest.approx(256 / 384, abs=0.04), "four times the ground"
    assert counts[1, 4, 68] / 3000 == pytest.approx(64 / 384, abs=0.03)


def _building_pixels(source: TrainingSource, valid: ValidMap, cells: np.ndarray) -> list[bool]:
    """Look at the middle of each of some cells."""
    middle = valid.cell_px // 2
    looks = []
    for row, col in np.argwhere(cells).tolist():
        at = _window(
            valid.window.col_off + col * valid.cell_px + middle,
            valid.window.row_off + row * valid.cell_px + middle,
            1,
            1,
        )
        looks.append(bool(source.annotations.draw(at, out_shape=(1, 1)).building[0, 0]))
    return looks


@pytest.mark.parametrize("cell_px", [1, 3, 5])
def test_building_cells_are_the_valid_ones_whose_middle_is_on_a_building(
    source: TrainingSource, cell_px: int
) -> None:
    valid = map_valid(source, _window(61, 3, 121, 150), cell_px=cell_px)
    cells = map_buildings(valid, look_px=cell_px)
    rows, cols = 150 // cell_px, 121 // cell_px
    whole = np.zeros(cells.shape, np.bool_)
    whole[:rows, :cols] = True
    other = valid.cells & ~cells & whole
    assert cells.sum() > 20 * 5 / cell_px**2
    assert not (cells & ~(valid.cells & whole)).any()
    assert all(_building_pixels(source, valid, cells))
    assert not any(_building_pixels(source, valid, other))


def test_a_large_cell_is_looked_at_in_its_middle_only(source: TrainingSource) -> None:
    class Drawer:
        def draw(self, window: Window, *, out_shape: tuple[int, int]) -> Truth:
            assert (window.height % out_shape[0], window.width % out_shape[1]) == (0, 0)
            building = np.zeros((window.height, window.width), np.bool_)
            building[9:16, 33:40] = True
            shape = out_shape[0], window.height // out_shape[0], out_shape[1], window.width // out_shape[1]
            share = building.reshape(shape).mean(axis=(1, 3))
            return Truth(building=share >= 0.5, known=np.ones(out_shape, np.bool_))

        def close(self) -> None:
            return

    town = replace(source, annotations=Drawer(), all_valid=True)
    valid = map_valid(town, _window(0, 0, 100, 50), cell_px=25)
    assert np.argwhere(map_buildings(valid, look_px=5)).tolist() == [[0, 1]]
    assert not map_buildings(valid, look_px=25).any(), "a cell as a whole is mostly ground"


def test_ground_without_anything_valid_is_none(source: TrainingSource) -> None:
    assert not ChipGround([map_valid(source, _window(0, 0, 90, 160), cell_px=16)])
    assert not ChipGround([])


def test_chips_stay_inside_their_rectangle_and_hold_their_pixel() -> None:
    bounds, rng = _window(10, 20, 100, 50), np.random.default_rng(0)
    for _ in range(300):
        row, col = int(rng.integers(20, 70)), int(rng.integers(10, 110))
        chip = place_chip(bounds, row=row, col=col, side_px=32, rng=rng)
        assert (chip.width, chip.height) == (32, 32)
        assert 10 <= chip.col_off <= col < chip.col_off + 32 <= 110
        assert 20 <= chip.row_off <= row < chip.row_off + 32 <= 70


def test_a_rectangle_smaller_than_a_chip_cuts_it() -> None:
    chip = place_chip(_window(10, 20, 100, 25), row=30, col=109, side_px=32, rng=np.random.default_rng(0))
    assert (chip.row_off, chip.height, chip.width) == (20, 25, 32)
    assert chip.col_off + chip.width <= 110


@pytest.mark.parametrize("chip_px", [16, 33, 64, 150])
def test_validation_chips_own_every_pixel_once(source: TrainingSource, chip_px: int) -> None:
    rectangles = (_window(3, 5, 100, 61), _window(103, 5, 20, 150), _window(130, 0, 64, 64))
    planned = plan_validation(
        replace(source, ground=Ground(train=(), validation=rectangles)), chip_px=chip_px
    )
    seen, expected = np.zeros((160, 200), int), np.zeros((160, 200), int)
    for w in rectangles:
        expected[w.row_off : w.row_off + w.height, w.col_off : w.col_off + w.width] = 1
    for chip in planned:
        w = chip.window
        assert max(w.width, w.height) <= chip_px
        assert expected[w.row_off : w.row_off + w.height, w.col_off : w.col_off + w.width].all()
        seen[
            w.row_off + chip.shared_rows : w.row_off + w.height,
            w.col_off + chip.shared_cols : w.col_off + w.width,
        ] += 1
    assert np.array_equal(seen, expected)


def test_padding_adds_zeros_below_and_on_the_right() -> None:
    padded = pad(np.ones((2, 3, 4), np.float32), 5)
    assert padded.shape == (2, 5, 5)
    assert padded[:, :3, :4].all() and padded.sum() == 24
    whole = np.ones((5, 5), np.bool_)
    assert pad(whole, 5) is whole
