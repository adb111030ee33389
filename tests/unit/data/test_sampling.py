from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.crs import CRS
from scipy import stats

from buildmap.data.annotations import Truth
from buildmap.data.chips import ValidMap
from buildmap.data.sampling import Drawn, Sampler
from buildmap.data.sources import TrainingSource
from buildmap.data.split import Ground
from buildmap.preset import Augment, Sampling
from buildmap.raster.grid import Grid
from buildmap.raster.reader import Image
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM
from tests.unit.data.material import PLAIN, STILL, make_preset, to_mask

CHIP_PX, CELL_PX = 32, 8
SIDE_PX = 640
EVERYWHERE = Window(col_off=0, row_off=0, width=SIDE_PX, height=SIDE_PX)
HOUSES = [Window(col_off=8 * n + 3, row_off=8 * n + 3, width=3, height=3) for n in range(40, 80, 3)]
"""Around the middles of cells, and on nothing else of them; in the lower right quarter."""
HOUSE_MASK = to_mask(HOUSES, SIDE_PX, SIDE_PX) > 0
HARD_COLS = 64


class NoPixels:
    """A raster that nobody may read."""

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        raise AssertionError((window, out_shape))

    def close(self) -> None:
        return


class DrawnMask:
    """Annotations in an array; drawn by the pixels at the middles of those asked for."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self.looks = 0

    def draw(self, window: Window, *, out_shape: tuple[int, int]) -> Truth:
        self.looks += 1
        rows, cols = (
            (first + (np.arange(count) + 0.5) * length / count).astype(int)
            for first, length, count in (
                (window.row_off, window.height, out_shape[0]),
                (window.col_off, window.width, out_shape[1]),
            )
        )
        return Truth(building=self.mask[np.ix_(rows, cols)], known=np.ones(out_shape, np.bool_))

    def close(self) -> None:
        return


def _map(
    window: Window = EVERYWHERE,
    *,
    cells: NDArray[np.bool_] | None = None,
    cell_px: int = CELL_PX,
    gsd_m: float | None = 0.5,
    mask: NDArray[np.bool_] = HOUSE_MASK,
) -> ValidMap:
    """Give ground with houses on it; all valid unless cells are given."""
    grid = Grid(width=SIDE_PX, height=SIDE_PX, transform=ORIGIN, crs=CRS.from_string(UTM))
    source = TrainingSource(
        name="a",
        grid=grid,
        gsd_m=gsd_m,
        ground=Ground(train=(window,), validation=()),
        pixels=NoPixels(),
        annotations=DrawnMask(mask),
        all_valid=True,
        footprints=None,
        repairs=None,
    )
    if cells is None:
        cells = np.ones((-(-window.height // cell_px), -(-window.width // cell_px)), np.bool_)
    return ValidMap(source=source, window=window, cells=cells, cell_px=cell_px)


def _sampler(
    *maps: ValidMap,
    building_share: float = 0.0,
    hard_share: float = 0.0,
    augment: Augment = STILL,
    chip_px: int = CHIP_PX,
    gsd_max_m: float = 0.5,
    source_balance: float = 0.0,
) -> Sampler:
    sampling = Sampling(building_share=building_share, hard_share=hard_share, source_balance=source_balance)
    data = replace(PLAIN, gsd_max_m=gsd_max_m)
    preset = make_preset(data=data, augment=augment, chip_px=chip_px, sampling=sampling)
    return Sampler(maps, preset, look_px=CELL_PX)


def _note_hard_columns(sampler: Sampler) -> None:
    """Note a high loss on the first columns of the map, and a low one on all others."""
    cols = np.arange(0, SIDE_PX, CHIP_PX // 2)
    places = np.array([(0, col, 0, CHIP_PX // 2, SIDE_PX) for col in cols], np.int64)
    sampler.note(places, np.where(cols < HARD_COLS, 4.0, 1.0).astype(np.float32))


def _choose_often(sampler: Sampler, times: int = 4000) -> dict[str, float]:
    """Give how often each class of ground is chosen, by what its pixels are; the class must be pure."""
    rng = np.random.default_rng(0)
    chosen: Counter[int] = Counter()
    grounds, flags = {}, {}
    for _ in range(times):
        ground, shows_building = sampler.choose(rng)
        chosen[id(ground)] += 1
        grounds[id(ground)] = ground
        assert flags.setdefault(id(ground), shows_building) == shows_building
    shares = {}
    for key, ground in grounds.items():
        _, rows, cols = np.array([ground.draw(rng) for _ in range(400)]).T
        if HOUSE_MASK[rows, cols].all():
            name = "building"
        elif (cols < HARD_COLS).all():
            name = "hard"
        else:
            name = "anywhere"
            assert stats.kstest(cols / SIDE_PX, "uniform").pvalue > 0.001
        assert flags[key] == (name == "building")
        shares[name] = chosen[key] / times
    assert len(shares) == len(grounds), "no class is there twice"
    return shares


@pytest.mark.parametrize(
    ("building", "hard"), [(0.3, 0.2), (0.0, 0.25), (0.7, 0.0), (0.6, 0.4), (1.0, 0.0), (0.0, 0.0)]
)
def test_each_class_of_ground_is_chosen_by_its_share(building: float, hard: float) -> None:
    sampler = _sampler(_map(), building_share=building, hard_share=hard)
    _note_hard_columns(sampler)
    sampler.end_epoch()
    asked = {"building": building, "hard": hard, "anywhere": 1 - building - hard}
    expected = {name: share for name, share in asked.items() if share > 1e-9}
    assert _choose_often(sampler) == pytest.approx(expected, abs=0.03)


def test_sources_of_unlike_size_share_every_class_of_ground_alike() -> None:
    everything = np.ones_like(HOUSE_MASK)
    small = _map(Window(col_off=0, row_off=0, width=SIDE_PX, height=160), mask=everything)
    large = _map(mask=everything)
    large = replace(large, source=replace(large.source, name="b"))
    sampler = _sampler(small, large, building_share=0.4, hard_share=0.3, source_balance=1)
    places = [(0, 0, 0, 64, 160), (0, 64, 0, 576, 160), (1, 0, 0, 64, 640), (1, 64, 0, 576, 640)]
    sampler.note(np.array(places, np.int64), np.array([4, 1, 4, 1], np.float32))
    sampler.end_epoch()
    rng, numbers = np.random.default_rng(0), defaultdict[int, list[int]](list)
    for _ in range(3000):
        ground, _ = sampler.choose(rng)
        numbers[id(ground)].append(ground.draw(rng)[0])
    assert [np.mean(drawn) for drawn in numbers.values()] == pytest.approx([0.5] * 3, abs=0.06)


def test_until_the_end_of_an_epoch_no_ground_is_hard() -> None:
    sampler = _sampler(_map(), building_share=0.5, hard_share=0.5)
    _note_hard_columns(sampler)
    assert _choose_often(sampler) == pytest.approx({"building": 0.5, "anywhere": 0.5}, abs=0.03)


def test_the_share_of_buildings_that_are_not_there_goes_anywhere_and_shows_none() -> None:
    sampler = _sampler(_map(mask=np.zeros_like(HOUSE_MASK)), building_share=0.6, hard_share=0.3)
    _note_hard_columns(sampler)
    sampler.end_epoch()
    assert _choose_often(sampler) == pytest.approx({"anywhere": 0.7, "hard": 0.3}, abs=0.03)


def test_annotations_are_looked_at_for_a_share_of_buildings_only() -> None:
    looks = []
    for share in (0.0, 0.1):
        valid = _map()
        _sampler(valid, building_share=share, hard_share=0.5)
        assert isinstance(valid.source.annotations, DrawnMask)
        looks.append(valid.source.annotations.looks)
    assert looks[0] == 0 < looks[1]


def test_there_is_ground_where_any_of_it_is_valid() -> None:
    none = np.zeros((SIDE_PX // CELL_PX, SIDE_PX // CELL_PX), np.bool_)
    assert not _sampler()
    assert not _sampler(_map(cells=none))
    assert _sampler(_map(cells=none), _map())


def _draw(sampler: Sampler, times: int, seed: int = 0) -> list[Drawn]:
    rng = np.random.default_rng(seed)
    return [sampler.draw(sampler.choose(rng)[0], rng) for _ in range(times)]


def test_chips_lie_in_the_rectangle_they_are_numbered_by() -> None:
    windows = [Window(col_off=8, row_off=16, width=96, height=64)]
    windows.append(Window(col_off=400, row_off=300, width=40, height=200))
    drawn = _draw(_sampler(*map(_map, windows)), 300)
    assert {chip.number for chip in drawn} == {0, 1}
    for chip in drawn:
        bounds, window = windows[chip.number], chip.window
        assert (window.width, window.height, chip.side_px) == (32, 32, 32)
        assert bounds.col_off <= window.col_off <= bounds.col_off + bounds.width - 32
        assert bounds.row_off <= window.row_off <= bounds.row_off + bounds.height - 32


def test_a_place_is_the_number_of_the_map_and_the_window() -> None:
    window = Window(col_off=5, row_off=6, width=30, height=20)
    assert Drawn(number=3, window=window, side_px=32).place == (3, 5, 6, 30, 20)


def test_a_chip_of_which_a_quarter_is_valid_is_good_enough() -> None:
    cells = np.zeros((160, 160), np.bool_)
    cells[:, :80] = True
    window = Window(col_off=0, row_off=0, width=160, height=160)
    drawn = _draw(_sampler(_map(window, cells=cells, cell_px=1)), 1000)
    valid_cols = np.clip(80 - np.array([chip.window.col_off for chip in drawn]), 0, 32)
    # A valid pixel lies at any place of its chip; pairs of both that show too little are drawn again.
    starts = np.maximum(np.arange(80)[:, None] - np.arange(32), 0)
    possible = np.minimum(80 - starts, 32)
    possible = possible[possible >= 8]
    assert valid_cols.min() == possible.min()
    assert valid_cols.mean() == pytest.approx(possible.mean(), abs=0.7)
    assert (valid_cols == 32).mean() == pytest.approx((possible == 32).mean(), abs=0.05)


def test_where_little_is_valid_the_best_of_many_chips_is_taken() -> None:
    cells = np.zeros((160, 160), np.bool_)
    cells[60:68, 70:78] = True
    window = Window(col_off=0, row_off=0, width=160, height=160)
    for chip in _draw(_sampler(_map(window, cells=cells, cell_px=1)), 60):
        assert chip.window.col_off <= 70 and chip.window.col_off + 32 >= 78
        assert chip.window.row_off <= 60 and chip.window.row_off + 32 >= 68


@pytest.mark.parametrize(
    ("gsd", "jitter", "gsd_m", "finest_px", "coarsest_px"),
    [
        ("native", 0.0, 0.5, 100, 100),
        ("native", 0.25, 0.5, 80, 125),
        ("random", 0.0, 0.5, 100, 400),
        ("random", 0.25, 0.5, 80, 500),
        ("random", 0.25, 1.0, 80, 250),
        ("random", 0.25, 8.0, 80, 125),
        ("random", 0.25, None, 80, 125),
    ],
)
def test_sides_follow_the_range_of_gsds_log_uniformly(
    gsd: str, jitter: float, gsd_m: float | None, finest_px: int, coarsest_px: int
) -> None:
    augment = replace(STILL, gsd=gsd, gsd_jitter=jitter)
    sampler = _sampler(_map(gsd_m=gsd_m), augment=augment, chip_px=100, gsd_max_m=2.0)
    drawn = _draw(sampler, 2000)
    sides = np.array([chip.side_px for chip in drawn])
    assert all(chip.window.width == chip.window.height == chip.side_px for chip in drawn)
    assert (sides.min(), sides.max()) == pytest.approx((finest_px, coarsest_px), rel=0.01)
    assert finest_px <= sides.min() <= sides.max() <= coarsest_px
    if finest_px < coarsest_px:
        spread = np.random.default_rng(1).uniform(-0.5, 0.5, len(sides))  # undoes the rounding
        steps = np.log((sides + spread) / finest_px) / np.log(coarsest_px / finest_px)
        assert stats.kstest(steps, "uniform").pvalue > 0.001


def test_every_map_has_the_gsds_of_its_own_source() -> None:
    fine, coarse = _map(gsd_m=0.5), _map(gsd_m=1.0)
    sides: dict[int, list[int]] = {0: [], 1: []}
    for chip in _draw(_sampler(fine, coarse, gsd_max_m=2.0), 600):
        sides[chip.number].append(chip.side_px)
    assert max(sides[0]) == pytest.approx(4 * CHIP_PX, rel=0.05)
    assert max(sides[1]) == pytest.approx(2 * CHIP_PX, rel=0.05)


@pytest.mark.parametrize(
    ("width", "height", "jitter", "sides", "cut"),
    [
        (200, 60, 0.0, {100}, (100, 60)),
        (60, 200, 0.25, {80}, (60, 80)),
        (90, 200, 0.25, set(range(80, 91)), None),
        (200, 85, 0.25, set(range(80, 86)), None),
    ],
)
def test_a_small_rectangle_makes_chips_finer_and_then_cuts_them(
    width: int, height: int, jitter: float, sides: set[int], cut: tuple[int, int] | None
) -> None:
    bounds = Window(col_off=0, row_off=0, width=width, height=height)
    augment = replace(STILL, gsd="native", gsd_jitter=jitter)
    drawn = _draw(_sampler(_map(bounds), augment=augment, chip_px=100), 400)
    assert {chip.side_px for chip in drawn} == sides
    for chip in drawn:
        expected = cut or (chip.side_px, chip.side_px)
        assert (chip.window.width, chip.window.height) == expected


def test_hardness_is_kept_in_cells_of_half_a_chip() -> None:
    window = Window(col_off=0, row_off=0, width=128, height=96)
    state = _sampler(_map(window), _map(), hard_share=0.1).hardness
    assert {name: cells.shape for name, cells in state.items()} == {"0": (6, 8), "1": (40, 40)}


def test_without_a_hard_share_there_is_no_hardness_to_keep_or_restore() -> None:
    sampler = _sampler(_map(), building_share=0.5)
    _note_hard_columns(sampler)
    sampler.end_epoch()
    assert sampler.hardness == {}
    sampler.restore({})
    with pytest.raises(ValueError, match="without a hard_share"):
        sampler.restore({"0": np.ones((2, 2), np.float32)})


@pytest.mark.parametrize("state", [{}, {"0": np.ones((2, 2), np.float32)}])
def test_hardness_of_other_maps_is_refused(state: dict[str, NDArray[np.float32]]) -> None:
    sampler = _sampler(_map(), hard_share=0.5)
    with pytest.raises(ValueError, match="other ground"):
        sampler.restore(state)


def test_restored_hardness_decides_at_once_and_as_it_did() -> None:
    first, second = (_sampler(_map(), building_share=0.2, hard_share=0.6) for _ in range(2))
    _note_hard_columns(first)
    first.end_epoch()
    assert _draw(first, 40) != _draw(second, 40)
    second.restore(first.hardness)
    assert _draw(first, 40) == _draw(second, 40)
