from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS
from shapely.geometry import LineString, Point, Polygon, box

from buildmap.data.map_layers import MapFeatures
from buildmap.data.map_picture import MapPicture
from buildmap.preset.maps import MapRule, MapStyle
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from buildmap.vector.reader import Repairs

UTM = CRS.from_epsg(32633)
TEN_M = Affine(10, 0, 400_000, 0, -10, 5_000_000)
TURNED = Affine.translation(400_000.3, 5_000_000.7) @ Affine.rotation(30) @ Affine.scale(10, -10)
GROUND, GREEN, ROAD, STREAM, RED = (0, 0, 255), (0, 200, 0), (250, 250, 250), (10, 20, 30), (255, 0, 0)
STYLE = MapStyle(
    rules=(
        MapRule(name="green", color=GREEN, attribute="landuse"),
        MapRule(name="road", color=ROAD, attribute="highway", draw="line", width_m=8),
        MapRule(name="stream", color=STREAM, attribute="waterway", draw="line", width_px=2),
        MapRule(name="building", color=RED, attribute="building"),
    ),
    background=GROUND,
)
ON_GREEN, ON_ROAD, ON_STREAM, ON_BUILDING = range(4)


def _grid(transform: Affine = TEN_M, width: int = 40, height: int = 30, crs: CRS = UTM) -> Grid:
    return Grid(width=width, height=height, transform=transform, crs=crs)


def _features(*drawn: tuple[int, object]) -> MapFeatures:
    """Give shapes with the rules that draw them, bottom to top."""
    ordered = sorted(drawn, key=lambda pair: pair[0])
    return MapFeatures(
        shapes=np.array([shape for _, shape in ordered], object),
        rules=np.array([rule for rule, _ in ordered], np.int64),
        repairs=Repairs(),
    )


def _draw(picture: MapPicture, window: Window, scale: int) -> NDArray[np.uint8]:
    return picture.draw(window, out_shape=(window.height * scale, window.width * scale))


def _share(picture: NDArray[np.uint8], color: tuple[int, ...]) -> NDArray[np.float64]:
    """Give how much of every pixel of a picture on the plain ground has a colour, 0..1 (rows, cols)."""
    part = int(np.argmax(np.abs(np.subtract(color, GROUND))))
    return (picture[part].astype(float) - GROUND[part]) / (color[part] - GROUND[part])


def _cover(shape: object, grid: Grid, window: Window, scale: int) -> NDArray[np.float64]:
    """Give how much of every pixel of a picture a shape covers, by cutting it with each."""
    to_picture = Affine.scale(scale) @ Affine.translation(-window.col_off, -window.row_off) @ ~grid.transform
    a, b, c, d, e, f, *_ = to_picture
    moved = shapely.affinity.affine_transform(shape, [a, b, d, e, c, f])
    cells = [
        box(col, row, col + 1, row + 1)
        for row in range(window.height * scale)
        for col in range(window.width * scale)
    ]
    areas = shapely.area(shapely.intersection(moved, np.array(cells)))
    return areas.reshape(window.height * scale, window.width * scale)


def _scene(grid: Grid, rng: np.random.Generator, count: int = 40) -> MapFeatures:
    """Draw discs with holes, crooked lines and houses over a grid and beyond its border."""
    drawn: list[tuple[int, object]] = []
    for number in range(count):
        x, y = grid.transform @ (rng.uniform(-3, grid.width + 3), rng.uniform(-3, grid.height + 3))
        if number % 4 == ON_GREEN:
            disc = Point(x, y).buffer(rng.uniform(20, 90), quad_segs=200)
            drawn.append((ON_GREEN, disc.difference(Point(x, y).buffer(15))))
        elif number % 4 == ON_BUILDING:
            house = box(x, y, x + rng.uniform(5, 30), y + rng.uniform(5, 30))
            drawn.append((ON_BUILDING, shapely.affinity.rotate(house, rng.uniform(0, 90))))
        else:
            steps = rng.normal(0, 20, (rng.integers(2, 90), 2)).cumsum(axis=0)
            drawn.append((number % 4, LineString(np.add(steps, (x, y)))))
    return _features(*drawn)


@pytest.mark.parametrize("transform", [TEN_M, TURNED])
@pytest.mark.parametrize("samples", [4, 16])
def test_a_pixel_has_the_mean_colour_of_what_covers_it(transform: Affine, samples: int) -> None:
    grid, window = _grid(transform), Window(col_off=3, row_off=2, width=8, height=6)
    x, y = grid.transform @ (7.1, 5.3)
    house = shapely.affinity.rotate(box(x - 17, y - 11, x + 19, y + 12), 17)
    shape = house.difference(Point(x, y).buffer(6))
    picture = MapPicture(_features((ON_BUILDING, shape)), replace(STYLE, samples=samples), grid)
    share = _share(_draw(picture, window, 4), RED)
    expected = _cover(shape, grid, window, 4)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_allclose(share, expected, atol=1 / samples, rtol=0)
    assert share.sum() == pytest.approx(expected.sum(), rel=0.02 / samples**0.5)


def test_edges_on_the_lattice_of_samples_are_exact() -> None:
    grid, window = _grid(), Window(col_off=0, row_off=0, width=4, height=3)
    corners = [grid.transform @ (col / 16, row / 16) for col, row in ((5, 3), (42, 31))]
    house = box(*corners[0], *corners[1])
    dark = MapStyle(rules=(MapRule(name="building", color=(240, 0, 0)),), background=(0, 0, 0))
    share = _draw(MapPicture(_features((0, house)), dark, grid), window, 4)[0] / 240
    np.testing.assert_allclose(share, _cover(house, grid, window, 4), atol=1e-6, rtol=0)


def test_the_colours_of_a_plain_scene_are_those_of_the_style_and_the_later_rule_is_on_top() -> None:
    grid, window = _grid(), Window(col_off=0, row_off=0, width=40, height=30)
    scene = _features(
        (ON_BUILDING, box(400_100, 4_999_850, 400_120, 4_999_870)),
        (ON_ROAD, LineString([(400_000, 4_999_860), (400_400, 4_999_860)])),
        (ON_GREEN, box(400_050, 4_999_800, 400_200, 4_999_900)),
    )
    picture = _draw(MapPicture(scene, STYLE, grid), window, 4)

    def at(east: float, south: float) -> tuple[int, ...]:
        return tuple(picture[:, int(south / 2.5), int(east / 2.5)].tolist())

    assert at(10, 10) == GROUND
    assert at(60, 110) == GREEN
    assert at(60, 139) == ROAD, "over the wood"
    assert at(10, 139) == ROAD
    assert at(110, 139) == RED, "over the road"
    assert (picture.dtype, picture.shape) == (np.uint8, (3, 120, 160))


def test_means_are_rounded_to_the_nearest() -> None:
    plain = MapStyle(rules=(MapRule(name="a", color=(255, 0, 7)),), background=(0, 0, 0), samples=2)
    quarter, half = box(400_000, 4_999_995, 400_005, 5_000_000), box(400_010, 4_999_990, 400_015, 5_000_000)
    drawn = _draw(MapPicture(_features((0, quarter), (0, half)), plain, _grid()), _grid().window, 1)
    assert drawn[:, 0, :3].T.tolist() == [[64, 0, 2], [128, 0, 4], [0, 0, 0]]


def test_of_many_features_on_one_another_those_of_the_last_rule_are_seen() -> None:
    rng, grid = np.random.default_rng(4), _grid()
    expected, drawn = np.full((30, 40), -1), []
    for rule in range(50):
        for _ in range(4):
            left, top = int(rng.integers(0, 36)), int(rng.integers(0, 26))
            right, bottom = left + int(rng.integers(2, 12)), top + int(rng.integers(2, 12))
            expected[top:bottom, left:right] = rule
            drawn.append((rule, box(*grid.transform @ (left, bottom), *grid.transform @ (right, top))))
    grays = tuple(MapRule(name=str(rule), color=(rule, rule, rule)) for rule in range(50))
    style = MapStyle(rules=grays, background=(255, 255, 255), samples=1)
    picture = _draw(MapPicture(_features(*drawn), style, grid), grid.window, 1)
    assert len(np.unique(expected)) > 30
    np.testing.assert_array_equal(picture[0], expected.astype(np.uint8))


@pytest.mark.parametrize("scale", [1, 2, 4, 20])
def test_a_line_is_as_wide_as_its_rule_says(scale: int) -> None:
    grid, window = _grid(), Window(col_off=5, row_off=0, width=30, height=30)
    line = LineString([(399_000, 5_000_000 - 123.4), (401_000, 5_000_000 - 176.5)])
    metres = 1 / np.cos(np.arctan2(53.1, 2000)), 10 / scale
    for rule, width_m in ((ON_ROAD, 8), (ON_STREAM, 2 * 10 / scale)):
        picture = MapPicture(_features((rule, line)), STYLE, grid, scale=scale)
        share = _share(_draw(picture, window, scale), STYLE.rules[rule].color)
        widths = share.sum(axis=0) * metres[1] / metres[0]
        assert widths.mean() == pytest.approx(width_m, rel=0.02)
        if scale < 20:
            expected = _cover(line.buffer(width_m / 2), grid, window, scale)
            np.testing.assert_allclose(share, expected, atol=0.26, rtol=0)


def test_a_line_in_degrees_is_as_wide_on_the_ground_whichever_way_it_runs() -> None:
    to_degrees = Affine(1e-4, 0, 20, 0, -1e-4, 60)
    grid = _grid(to_degrees, 40, 40, CRS.from_epsg(4326))
    across_m, down_m = grid.pixel_size_m() or (0, 0)
    assert down_m > 1.9 * across_m
    middle = grid.transform @ (20.0, 20.0)
    lines = {
        "east": (LineString([(19, middle[1]), (21, middle[1])]), down_m, 0),
        "north": (LineString([(middle[0], 59), (middle[0], 61)]), across_m, 1),
    }
    for line, pixel_m, axis in lines.values():
        picture = _draw(MapPicture(_features((ON_ROAD, line)), STYLE, grid), grid.window, 4)
        widths = _share(picture, ROAD).sum(axis=axis) * pixel_m / 4
        np.testing.assert_allclose(widths, 8, atol=2 * pixel_m / 16)
        across = _share(picture, ROAD).sum(axis=1 - axis)
        assert (across * (np.arange(160) + 0.5)).sum() / across.sum() == pytest.approx(80, abs=0.2)


@pytest.mark.parametrize("transform", [TEN_M, TURNED])
@pytest.mark.parametrize(("scale", "samples"), [(4, 4), (3, 5), (1, 4)])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_window_shows_what_the_whole_picture_shows_there_to_the_bit(
    transform: Affine, scale: int, samples: int, data: st.DataObject
) -> None:
    grid = _grid(transform)
    style = replace(STYLE, samples=samples)
    picture = MapPicture(_scene(grid, np.random.default_rng(data.draw(st.integers(0, 99)))), style, grid)
    whole = _draw(picture, grid.window, scale)
    left, top = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 29))
    width, height = data.draw(st.integers(1, 40 - left)), data.draw(st.integers(1, 30 - top))
    part = _draw(picture, Window(col_off=left, row_off=top, width=width, height=height), scale)
    there = whole[:, top * scale : (top + height) * scale, left * scale : (left + width) * scale]
    np.testing.assert_array_equal(part, there)
    assert len(np.unique(whole.reshape(3, -1), axis=1).T) > 20, "edges are soft"


def test_windows_of_a_picture_larger_than_a_tile_agree_too() -> None:
    grid = _grid(width=180, height=140)
    picture = MapPicture(_scene(grid, np.random.default_rng(5), 150), STYLE, grid)
    whole = _draw(picture, grid.window, 4)
    for left in (0, 97, 130):
        part = _draw(picture, Window(col_off=left, row_off=30, width=50, height=110), 4)
        np.testing.assert_array_equal(part, whole[:, 120:, left * 4 : (left + 50) * 4])


def test_cutting_large_shapes_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = _grid()
    rng = np.random.default_rng(1)
    turns = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    reach = 80 + 40 * np.sin(9 * turns) + rng.uniform(0, 1, 4000)
    lake = Polygon(np.stack([reach * np.cos(turns) + 400_200, reach * np.sin(turns) + 4_999_850], axis=1))
    lake = lake.difference(Point(400_190, 4_999_840).buffer(20, quad_segs=300))
    road = LineString(np.add(rng.normal(0, 4, (500, 2)).cumsum(axis=0), (400_200, 4_999_850)))
    scene = _features((ON_GREEN, lake), (ON_ROAD, road))
    cut = MapPicture(scene, STYLE, grid)
    assert cut.pieces > 20
    monkeypatch.setattr("buildmap.data.map_picture._MOST_CORNERS", 10**6)
    monkeypatch.setattr("buildmap.data.map_picture._MOST_LINE_CORNERS", 10**6)
    whole = MapPicture(scene, STYLE, grid)
    assert whole.pieces == 2
    one, other = (_draw(picture, grid.window, 4).astype(int) for picture in (cut, whole))
    differing = (one != other).any(axis=0)
    assert differing.mean() < 0.002, "edges cut in two are rounded in two"
    assert np.abs(one - other).max() <= np.ceil(250 / 16)


def test_threads_draw_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    grid = _grid()
    picture = MapPicture(_scene(grid, np.random.default_rng(7)), STYLE, grid)
    windows = [
        Window(col_off=col, row_off=row, width=8, height=6) for col in (0, 8, 30) for row in (0, 6, 20)
    ]
    alone = [_draw(picture, window, 4) for window in windows] * 4
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda window: _draw(picture, window, 4), windows * 4))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    assert capfd.readouterr().err == ""


def test_a_window_may_be_drawn_at_any_size() -> None:
    grid, window = _grid(), Window(col_off=4, row_off=4, width=20, height=20)
    picture = MapPicture(_scene(grid, np.random.default_rng(2)), replace(STYLE, samples=8), grid)
    fine = picture.draw(window, out_shape=(240, 240)).astype(float)
    coarse = picture.draw(window, out_shape=(30, 30)).astype(float)
    np.testing.assert_allclose(coarse, fine.reshape(3, 30, 8, 30, 8).mean(axis=(2, 4)), atol=40)
    assert np.abs(coarse - fine.reshape(3, 30, 8, 30, 8).mean(axis=(2, 4))).mean() < 2


def test_a_map_of_nothing_is_background() -> None:
    picture = _draw(MapPicture(_features(), STYLE, _grid()), _grid().window, 1)
    assert (picture == np.array(GROUND)[:, None, None]).all()


def test_a_grid_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="without CRS"):
        MapPicture(_features(), STYLE, replace(_grid(), crs=None))
