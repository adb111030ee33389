"""Figures of a change: what is drawn lies where it should, and there is never too much of it."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from buildmap.changes import drawings
from buildmap.changes.density import Density, Overview
from buildmap.changes.shifts import ShiftBlocks

SVG = "{http://www.w3.org/2000/svg}"
BOX = (1000.0, 2000.0, 1220.0, 2220.0)
"""One metre a pixel."""


def elements(svg: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(f"{SVG}{name}"))


def lines_of(svg: str, color: str) -> list[NDArray[np.float64]]:
    """Give the lines of all paths of a colour."""
    paths = [path.get("d", "") for path in elements(svg, "path") if path.get("stroke") == color]
    return [
        np.array([[float(value) for value in point.split()] for point in part.strip("Z").split("L")])
        for path in paths
        for part in path.split("M")[1:]
    ]


def blocks(
    rows: int, cols: int, *, dx: float | NDArray[np.float64] = 2.0, dy: float = 0.0, source: str = "own"
) -> ShiftBlocks:
    row, col = np.divmod(np.arange(rows * cols), cols)
    corner = np.stack([col + 7, -row - 3], axis=1) * 100.0
    count = rows * cols
    return ShiftBlocks(
        box=np.concatenate([corner, corner + 100], axis=1),
        dx=np.broadcast_to(np.asarray(dx, np.float64), count).copy(),
        dy=np.full(count, dy),
        pairs=np.full(count, 30),
        spread=np.full(count, 0.2),
        source=np.full(count, source),
    )


def counted(xy: list[tuple[float, float]], sort: list[int], sorts: int = 2) -> Overview:
    density = Density(sorts)
    density.add(np.array(xy), np.array(sort))
    return density.overview


def test_outlines_lie_where_the_ground_is() -> None:
    before, after = shapely.box(1010, 2200, 1030, 2210), shapely.box(1100, 2020, 1150, 2040)
    svg = drawings.outlines(BOX, before, after, picture=None)
    (dashed,) = lines_of(svg, drawings.BEFORE_COLOR)
    (solid,) = lines_of(svg, drawings.AFTER_COLOR)
    assert {tuple(point) for point in dashed} == {(10, 10), (30, 10), (30, 20), (10, 20)}
    assert {tuple(point) for point in solid} == {(100, 180), (150, 180), (150, 200), (100, 200)}


def test_only_the_first_date_is_dashed() -> None:
    square = shapely.box(1010, 2010, 1100, 2100)
    paths = elements(drawings.outlines(BOX, square, square, picture=None), "path")
    dashes = {path.get("stroke"): path.get("stroke-dasharray") is not None for path in paths}
    assert dashes == {drawings.BEFORE_COLOR: True, drawings.AFTER_COLOR: False, "#000000": False}


def test_holes_and_parts_are_drawn_too() -> None:
    ring = shapely.box(1010, 2010, 1100, 2100) - shapely.box(1040, 2040, 1060, 2060)
    two = shapely.MultiPolygon([ring, shapely.box(1150, 2010, 1200, 2100)])
    assert len(lines_of(drawings.outlines(BOX, two, None, picture=None), drawings.BEFORE_COLOR)) == 3


def test_a_date_without_the_building_has_no_line() -> None:
    svg = drawings.outlines(BOX, None, shapely.box(1010, 2010, 1100, 2100), picture=None)
    assert lines_of(svg, drawings.BEFORE_COLOR) == []
    assert len(elements(svg, "path")) == 2


def test_an_outline_of_very_many_points_becomes_a_short_text() -> None:
    disc = shapely.Point(1110, 2110).buffer(80, quad_segs=50_000)
    assert len(drawings.outlines(BOX, disc, disc, picture=None)) < 10_000


def test_the_corners_of_a_small_house_are_kept_however_near_it_is_shown() -> None:
    house = shapely.box(1001, 2001, 1009, 2009) - shapely.box(1007, 2007, 1010, 2010)
    (line,) = lines_of(drawings.outlines((1000, 2000, 1022, 2022), house, None, picture=None), "#56b4e9")
    assert {tuple(point) for point in line} == {
        (10, 210),
        (90, 210),
        (90, 150),
        (70, 150),
        (70, 130),
        (10, 130),
    }


def test_what_lies_far_outside_of_the_picture_is_not_written() -> None:
    svg = drawings.outlines(BOX, shapely.box(0, 0, 9e6, 2100), None, picture=None)
    (line,) = lines_of(svg, drawings.BEFORE_COLOR)
    assert np.abs(line - 110).max() <= 110 * 1.1 + 0.1
    assert set(line[:, 1]) == {120.0, 231.0}


def test_a_picture_lies_beneath_the_outlines() -> None:
    svg = drawings.outlines(
        BOX, shapely.box(1010, 2010, 1100, 2100), None, picture="data:image/png;base64,AA"
    )
    names = [element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg)]
    assert names == ["image", "g"]
    assert elements(svg, "image")[0].get("href") == "data:image/png;base64,AA"


def test_a_frame_is_a_square_around_all_shapes() -> None:
    frame = drawings.frame_of([shapely.box(0, 0, 10, 4), None, shapely.box(10, 0, 20, 4)], times=3, least=5)
    assert frame == (-20, -28, 40, 32)
    assert drawings.frame_of([shapely.box(0, 0, 1, 1)], times=3, least=30) == (-14.5, -14.5, 15.5, 15.5)


def test_the_largest_disc_stands_for_the_most_and_fills_its_cell() -> None:
    xy = [(25, 25)] * 400 + [(425, 25)] * 100 + [(25, 425)] * 900 + [(225, 25)]
    overview = counted(xy, [0] * 500 + [1] * 900 + [0])
    svg = drawings.density_map(overview, 0, unit_m=1, color="red")
    discs = [[float(disc.get(name, "")) for name in ("cx", "cy", "r")] for disc in elements(svg, "circle")]
    ground = [float(value) for value in re.findall(r"[M h](-?[\d.]+)", elements(svg, "path")[0].get("d", ""))]
    left, top, side = np.array(ground).reshape(-1, 4)[:, :3].T
    assert len(left) == 4  # that of the other sort, too
    np.testing.assert_allclose(side, 400 / 9, atol=0.1)
    assert left.min() == pytest.approx(400 - left.max() - side[0], abs=0.1)
    placed = sorted(discs)
    np.testing.assert_allclose([disc[0] for disc in placed], np.sort(left)[1:] + side[0] / 2, atol=0.1)
    np.testing.assert_allclose([disc[1] for disc in placed], top.max() + side[0] / 2, atol=0.1)
    np.testing.assert_allclose([disc[2] / side[0] for disc in placed], [0.48, 0.1, 0.24], atol=0.01)
    assert drawings.densest_cell(overview, 0, unit_m=0.3048) == (400, 50 * 0.3048)


@pytest.mark.parametrize(("rows", "side"), [(1, 400 / 6), (35, 440 / 35)])
def test_a_map_is_neither_wider_nor_higher_than_the_page_allows(rows: int, side: float) -> None:
    overview = counted([(25, 25 + 50 * row) for row in range(rows)], [0] * rows)
    svg = drawings.density_map(overview, 0, unit_m=1, color="red")
    ((left, width),) = set(re.findall(r"M([\d.]+) [\d.]+h([\d.]+)v", elements(svg, "path")[0].get("d", "")))
    assert float(width) == pytest.approx(side, abs=0.06)
    assert float(left) == pytest.approx((400 - side) / 2, abs=0.06)  # in the middle
    height = ElementTree.fromstring(svg).get("viewBox", "").split()[3]
    assert float(height) == pytest.approx(rows * side + 26, abs=0.01)


def test_north_is_up_on_a_map() -> None:
    overview = counted([(25, 25), (425, 825)], [0, 0])
    discs = elements(drawings.density_map(overview, 0, unit_m=1, color="red"), "circle")
    (x1, y1), (x2, y2) = sorted((float(disc.get("cx", "")), float(disc.get("cy", ""))) for disc in discs)
    assert x1 < x2
    assert y1 > y2
    assert (x2 - x1) / (y1 - y2) == pytest.approx(0.5, rel=0.01)


def test_a_map_of_a_country_is_no_longer_than_that_of_a_county() -> None:
    rng = np.random.default_rng(0)
    density = Density(2)
    density.add(rng.uniform(0, 1e6, (100_000, 2)), rng.integers(0, 2, 100_000))
    svg = drawings.density_map(density.overview, 1, unit_m=1, color="red")
    assert 500 < len(elements(svg, "circle")) <= 36 * 36
    assert len(svg) < 120_000
    most, cell_m = drawings.densest_cell(density.overview, 1, unit_m=1)
    assert cell_m >= 1e6 / 36
    assert most < 100_000


@pytest.mark.parametrize(
    ("side", "unit_m", "text"),
    [(2000, 1, "500 m"), (4000, 1, "1 km"), (90_000, 1, "20 km"), (90_000, 0.3048, "5 km")],
)
def test_the_scale_bar_is_as_long_as_it_says(side: float, unit_m: float, text: str) -> None:
    overview = counted([(0, 0), (side - 1, side - 1)], [0, 0])
    svg = drawings.density_map(overview, 0, unit_m=unit_m, color="red")
    assert elements(svg, "text")[0].text == text
    (bar,) = (path.get("d", "") for path in elements(svg, "path") if path.get("stroke") == "var(--ink)")
    found = re.search(r"h([\d.]+)", bar)
    assert found is not None
    discs = sorted(float(disc.get("cx", "")) for disc in elements(svg, "circle"))
    _, cell_m = drawings.densest_cell(overview, 0, unit_m=unit_m)
    cells = round((side * unit_m) / cell_m) - 1
    per_m = (discs[-1] - discs[0]) / (cells * cell_m)
    length_m = float(text.split(maxsplit=1)[0]) * (1000 if text.endswith("km") else 1)
    assert float(found[1]) / per_m == pytest.approx(length_m, rel=0.06)


def test_an_arrow_has_a_head_of_two_lines_back_from_its_tip() -> None:
    shaft, head = lines_of(drawings.shift_map(blocks(1, 1, dx=3, dy=4), unit_m=1), "var(--two)")
    back, sides = shaft[0] - shaft[1], head[[0, 2]] - head[1]
    np.testing.assert_array_equal(head[1], shaft[1])
    np.testing.assert_allclose(sides.sum(axis=0), 0.6 * 0.87 * back, atol=0.3)
    np.testing.assert_allclose(np.linalg.norm(sides, axis=1), 0.3 * np.linalg.norm(back), atol=0.3)


def arrows(svg: str, color: str) -> list[NDArray[np.float64]]:
    """Give the shafts of arrows, from tail to tip."""
    return [line[:2] for line in lines_of(svg, color)[::2]]


def test_an_arrow_points_where_the_second_date_lies() -> None:
    two = blocks(2, 1, dx=np.array([3.0, 0]), dy=4)
    north, south = sorted(arrows(drawings.shift_map(two, unit_m=1), "var(--two)"), key=lambda one: one[0, 1])
    assert south[0, 0] == south[1, 0]
    (dx, dy) = north[1] - north[0]
    assert dx / -dy == pytest.approx(3 / 4, rel=0.02)
    assert dx > 0


def test_arrows_are_as_long_as_the_shifts_compared_with_each_other() -> None:
    shafts = arrows(drawings.shift_map(blocks(1, 4, dx=np.array([0.4, 0.1, 0.2, 0])), unit_m=1), "var(--two)")
    lengths = [float(shaft[1, 0] - shaft[0, 0]) for shaft in shafts]
    np.testing.assert_allclose(np.array(lengths) / lengths[0], [1, 0.25, 0.5, 0], atol=0.01)
    gap = shafts[1].mean(axis=0) - shafts[0].mean(axis=0)
    assert 0.8 * gap[0] < lengths[0] < gap[0]


def test_what_a_block_did_not_tell_itself_is_pale() -> None:
    svg = drawings.shift_map(blocks(1, 3, source="neighbours"), unit_m=1)
    assert len(arrows(svg, "var(--quiet)")) == 3
    assert arrows(svg, "var(--two)") == []


def test_many_blocks_share_an_arrow_that_is_their_mean_by_pairs() -> None:
    col = np.arange(60 * 60) % 60
    field = blocks(60, 60, dx=np.where(col < 30, 1.0, np.where(col % 3, 0.0, 3.0)))
    svg = drawings.shift_map(replace(field, pairs=np.where(col % 3, 0, 10_000)), unit_m=1)
    shafts = arrows(svg, "var(--two)")
    assert len(shafts) == 400
    lengths = {round(float(shaft[1, 0] - shaft[0, 0]), 0) for shaft in shafts}
    assert len(lengths) == 2
    assert max(lengths) / min(lengths) == pytest.approx(3, rel=0.1)
    assert elements(svg, "text")[0].text == "2 km"


@pytest.mark.parametrize(("count", "drawn"), [(20, 20), (21, 11)])
def test_no_row_has_more_than_twenty_arrows(count: int, drawn: int) -> None:
    assert len(arrows(drawings.shift_map(blocks(1, count), unit_m=1), "var(--two)")) == drawn


def test_no_shift_at_all_is_drawn_as_points() -> None:
    (shaft,) = arrows(drawings.shift_map(blocks(1, 1, dx=0), unit_m=1), "var(--two)")
    np.testing.assert_array_equal(shaft[0], shaft[1])
