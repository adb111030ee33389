from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS
from scipy import ndimage

from buildmap.data import missing
from buildmap.data.annotations import FootprintTruth, MaskTruth
from buildmap.data.missing import (
    Dropped,
    Fates,
    LearningTruth,
    choose_polygons,
    drop_components,
    uniform,
)
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM, blocks_mask, write_raster
from tests.unit.data.material import houses, to_mask, to_polygons

ROWS, COLS = 200, 300
CRS_UTM = CRS.from_string(UTM)
GRID = Grid(width=COLS, height=ROWS, transform=ORIGIN, crs=CRS_UTM)


@pytest.fixture
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "_STRIP_PX", 1)  # 64 rows, of which a mask of 200 has four


def _polygons(count: int = 400, seed: int = 0) -> np.ndarray:
    return np.array(to_polygons(houses(np.random.default_rng(seed), 4000, 4000, count)), object)


def _drop(mask: np.ndarray, share: float, seed: int = 0, name: str = "m") -> tuple[np.ndarray, int, int]:
    """Give the dropped pixels of a whole mask, the number of its components, and of those dropped."""

    def read(window: Window) -> np.ndarray:
        return mask[window.row_off : window.row_off + window.height] > 0

    pixels, places, dropped = drop_components(read, shape=mask.shape, share=share, seed=seed, name=name)
    rows, cols = mask.shape
    drawn = pixels.read(Window(col_off=0, row_off=0, width=cols, height=rows))
    pixels.close()
    return drawn, len(places), int(dropped.sum())


def test_numbers_from_keys_are_spread_evenly_and_do_not_hang_together() -> None:
    keys = np.arange(100_000)
    drawn = uniform(0, keys, keys // 7)
    assert np.histogram(drawn, bins=20, range=(0, 1))[0] == pytest.approx(np.full(20, 5000), rel=0.06)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(drawn, uniform(1, keys, keys // 7))[0, 1]) < 0.02
    assert np.array_equal(drawn[5:9], uniform(0, keys[5:9], keys[5:9] // 7))


def test_numbers_depend_on_every_key_and_on_their_order() -> None:
    one, two = np.array([1]), np.array([2])
    drawn = {
        float(uniform(*keys)[0])
        for keys in ((0, one, two), (0, two, one), (1, one, two), (0, one), (-1, one))
    }
    assert len(drawn) == 5


@given(share=st.floats(0, 0.99), more=st.floats(0, 0.99), seed=st.integers(-5, 2**70))
def test_a_larger_share_drops_what_a_smaller_one_does_and_more(share: float, more: float, seed: int) -> None:
    polygons = _polygons(60)
    less, most = (
        choose_polygons(polygons, CRS_UTM, share=part, seed=seed, name="a") for part in sorted((share, more))
    )
    assert (most | ~less).all()


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_about_the_share_of_all_buildings_is_dropped(share: float) -> None:
    dropped = choose_polygons(_polygons(2000), CRS_UTM, share=share, seed=3, name="a")
    assert dropped.mean() == pytest.approx(share, abs=0.04)


def test_the_fate_of_a_building_does_not_depend_on_the_others_read_with_it() -> None:
    polygons = _polygons()
    order = np.random.default_rng(1).permutation(len(polygons))[:150]
    whole = choose_polygons(polygons, CRS_UTM, share=0.5, seed=3, name="a")
    part = choose_polygons(polygons[order], CRS_UTM, share=0.5, seed=3, name="b")
    assert np.array_equal(whole[order], part)
    assert not np.array_equal(whole, choose_polygons(polygons, CRS_UTM, share=0.5, seed=4, name="a"))


def test_a_building_has_one_fate_in_all_crs_and_however_its_ring_begins() -> None:
    polygons = _polygons()
    degrees = Transformer.from_crs(UTM, "EPSG:3857", always_xy=True)
    moved = shapely.transform(polygons, degrees.transform, interleaved=False)
    turned = np.array([shapely.Polygon(np.roll(np.array(p.exterior.coords)[:-1], 2, axis=0)) for p in moved])
    whole = choose_polygons(polygons, CRS_UTM, share=0.5, seed=3, name="a")
    other = choose_polygons(turned, CRS.from_epsg(3857), share=0.5, seed=3, name="a")
    assert np.array_equal(whole, other)


def test_the_same_place_on_two_pictures_is_two_buildings() -> None:
    polygons = _polygons()
    fates = [choose_polygons(polygons, None, share=0.5, seed=3, name=name) for name in ("a", "b", "a")]
    assert np.array_equal(fates[0], fates[2])
    assert 0.3 < (fates[0] == fates[1]).mean() < 0.7


@pytest.mark.usefixtures("small_strips")
@pytest.mark.parametrize("seed", range(5))
def test_components_of_a_mask_go_whole_or_stay_whole(seed: int) -> None:
    mask = blocks_mask(np.random.default_rng(seed), ROWS, COLS, 250)
    mask[:, 10] = 1  # across all seams
    mask[100:, 12] = mask[199, 12:40] = mask[100:, 40] = 1  # two arms that meet at the bottom
    drawn, count, dropped = _drop(mask, 0.5)
    labels, expected = ndimage.label(mask)
    assert count == expected
    shares = ndimage.mean(drawn, labels, np.arange(1, expected + 1))
    assert set(shares.tolist()) == {0.0, 1.0}
    assert int(shares.sum()) == dropped
    assert not drawn[mask == 0].any()


def test_strips_of_any_height_drop_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = blocks_mask(np.random.default_rng(0), ROWS, COLS, 250)
    expected, _, _ = _drop(mask, 0.5)
    monkeypatch.setattr(missing, "_STRIP_PX", 1)
    assert np.array_equal(_drop(mask, 0.5)[0], expected)
    assert expected.any()


def test_components_dropped_are_nested_and_follow_from_seed_and_name() -> None:
    mask = to_mask(houses(np.random.default_rng(0), ROWS, COLS, 60), ROWS, COLS)
    some, most = _drop(mask, 0.3)[0], _drop(mask, 0.9)[0]
    assert (most | ~some).all()
    assert 0 < some.sum() < most.sum() < mask.sum()
    assert not np.array_equal(_drop(mask, 0.5)[0], _drop(mask, 0.5, seed=1)[0])
    assert not np.array_equal(_drop(mask, 0.5)[0], _drop(mask, 0.5, name="n")[0])


def test_pixels_that_meet_at_a_corner_are_two_buildings() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[10, 10] = mask[11, 11] = 1
    assert _drop(mask, 0.5)[1] == 2


def test_a_mask_without_buildings_drops_none() -> None:
    drawn, count, dropped = _drop(np.zeros((100, 70), np.uint8), 0.9)
    assert (count, dropped, int(drawn.sum())) == (0, 0, 0)


@pytest.mark.usefixtures("small_strips")
def test_dropped_pixels_read_the_same_through_any_window() -> None:
    mask = blocks_mask(np.random.default_rng(0), ROWS, COLS, 250)
    pixels, _, _ = drop_components(
        lambda window: mask[window.row_off : window.row_off + window.height] > 0,
        shape=mask.shape,
        share=0.5,
        seed=0,
        name="m",
    )
    whole = pixels.read(Window(col_off=0, row_off=0, width=COLS, height=ROWS))
    part = pixels.read(Window(col_off=33, row_off=50, width=90, height=101))
    pixels.close()
    assert np.array_equal(part, whole[50:151, 33:123])


def test_dropped_buildings_of_a_mask_raster_become_known_ground(tmp_path: Path) -> None:
    mask = to_mask(houses(np.random.default_rng(0), ROWS, COLS, 60), ROWS, COLS)
    truth = MaskTruth(write_raster(tmp_path / "m.tif", mask * 7), native=GRID, grid=GRID)
    removed, places, dropped = drop_components(
        truth.read_building, shape=truth.shape, share=0.5, seed=0, name="m"
    )
    thinned = truth.without(removed)
    drawn, before = (t.draw(GRID.window, out_shape=(ROWS, COLS)) for t in (thinned, truth))
    thinned.close()
    assert np.array_equal(before.building, mask > 0)
    assert drawn.known.all()
    assert (drawn.building <= before.building).all()
    assert ndimage.label(drawn.building)[1] == (~dropped).sum()
    assert drawn.building[tuple(places.T)].tolist() == (~dropped).tolist()


def test_places_on_a_mask_are_found_on_the_grid_of_its_image(tmp_path: Path) -> None:
    finer = ORIGIN @ Affine.scale(0.5)
    path = write_raster(tmp_path / "m.tif", np.ones((2 * ROWS, 2 * COLS), np.uint8), transform=finer)
    truth = MaskTruth(path, native=GRID, grid=GRID)
    cols, rows = truth.to_grid(np.array([[10, 21], [399, 599]]))
    truth.close()
    assert cols == pytest.approx([10.75, 299.75])
    assert rows == pytest.approx([5.25, 199.75])
    x, y = Transformer.from_crs(UTM, "EPSG:3857", always_xy=True).transform(*(ORIGIN @ (150, 100)))
    mercator = Affine(1, 0, x - 10.5, 0, -1, y + 20.5)
    path = write_raster(tmp_path / "n.tif", np.ones((40, 40), np.uint8), transform=mercator, crs="EPSG:3857")
    truth = MaskTruth(path, native=GRID, grid=GRID)
    cols, rows = truth.to_grid(np.array([[20, 10]]))
    truth.close()
    assert (cols[0], rows[0]) == pytest.approx((150, 100), abs=1e-3)


def test_only_buildings_on_the_ground_are_counted() -> None:
    fates = Fates(
        cols=np.array([5.0, 10.0, 15.0, 25.0, 25.0]),
        rows=np.array([5.0, 5.0, 5.0, 5.0, 15.0]),
        dropped=np.array([True, True, False, True, False]),
    )
    left, right = (Window(col_off=col, row_off=0, width=10, height=10) for col in (0, 20))
    assert fates.count((left, right)) == Dropped(buildings=2, of=2)
    assert fates.count(()) == Dropped(buildings=0, of=0)
    assert fates.count((left,)) + fates.count((right,)) == fates.count((left, right))


def test_validation_ground_keeps_all_buildings_and_training_ground_none_that_is_dropped() -> None:
    windows = houses(np.random.default_rng(0), ROWS, COLS, 80)
    polygons = np.array(to_polygons(windows), object)
    kept = (
        Window(col_off=100, row_off=50, width=80, height=60),
        Window(col_off=180, row_off=0, width=120, height=50),
    )
    truth = LearningTruth(FootprintTruth(polygons[:20], GRID), FootprintTruth(polygons, GRID), kept)
    whole, thinned = (to_mask(part, ROWS, COLS) > 0 for part in (windows, windows[:20]))
    validation = np.zeros((ROWS, COLS), bool)
    validation[50:110, 100:180] = validation[:50, 180:] = True
    expected = np.where(validation, whole, thinned)
    drawn = truth.draw(GRID.window, out_shape=(ROWS, COLS))
    assert np.array_equal(drawn.building, expected)
    assert drawn.known.all()
    for window in (*kept, Window(col_off=0, row_off=0, width=100, height=ROWS)):
        rows = slice(window.row_off, window.row_off + window.height)
        cols = slice(window.col_off, window.col_off + window.width)
        part = truth.draw(window, out_shape=(window.height, window.width))
        assert np.array_equal(part.building, expected[rows, cols])
    halved = truth.draw(kept[0], out_shape=(30, 40))
    assert np.array_equal(
        halved.building, FootprintTruth(polygons, GRID).draw(kept[0], out_shape=(30, 40)).building
    )
