"""Figures: well-formed, of the colours of the page, and showing the numbers they are given."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from buildmap.metrics import figures
from buildmap.metrics.curves import BuildingCurve
from buildmap.metrics.places import PREDICTED, TRUE
from buildmap.metrics.sizes import NO_BUILDINGS
from tests.unit.metrics.summaries import make_scores

SVG = "{http://www.w3.org/2000/svg}"
SCORES = make_scores()
CALIBRATION, SWEEP = SCORES.calibration, SCORES.sweep
assert CALIBRATION is not None and SWEEP is not None and SCORES.objects is not None
STEPS = SCORES.objects.by_iou
SIZES = replace(
    NO_BUILDINGS, true=(0, 0, 4, 0, 8, *NO_BUILDINGS.true[5:]), found=(0, 0, 1, 0, 6, *NO_BUILDINGS.true[5:])
)
CURVE = BuildingCurve(
    iou_min=0.5,
    recall=np.array([0.25, 0.5]),
    precision=np.array([1.0, 0.5]),
    confidence=np.array([0.9, 0.4]),
)

ALL = {
    "thresholds": lambda: figures.scores_by_threshold(SWEEP, SWEEP.points[99]),
    "precision": lambda: figures.precision_by_recall(SWEEP, SWEEP.points[99]),
    "reliability": lambda: figures.reliability(CALIBRATION),
    "pixels": lambda: figures.pixels_by_probability(CALIBRATION),
    "histogram": lambda: figures.histogram(np.linspace(0.5, 1, 99), label="IoU", low=0, high=1),
    "buildings": lambda: figures.building_precision_by_recall([CURVE]),
    "steps": lambda: figures.scores_by_iou(STEPS),
    "sizes": lambda: figures.buildings_by_size(SIZES),
    "found": lambda: figures.found_by_size(SIZES),
    "map": lambda: figures.cell_map(np.array([[0.5, np.nan], [1, 0]]), cell_m=250),
}


def cells(svg: str) -> np.ndarray:
    """Give the embedded pixels of a map, (rows, cols, 4); the second image is its legend."""
    url, _ = re.findall(r'href="data:image/png;base64,\s*([^"]+)"', svg)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url))).convert("RGBA"))


@pytest.mark.parametrize("name", ALL)
def test_a_figure_is_one_svg_element_that_scales_with_the_page(name: str) -> None:
    root = ElementTree.fromstring(ALL[name]())
    assert root.tag == f"{SVG}svg"
    assert set(root.attrib) & {"width", "height"} == set()
    assert len(root.attrib["viewBox"].split()) == 4


@pytest.mark.parametrize("name", ALL)
def test_text_and_axes_take_the_colours_of_the_page(name: str) -> None:
    svg = ALL[name]()
    assert "var(--ink)" in svg
    fixed = set(re.findall(r"#[0-9a-f]{6}\b", svg))
    assert fixed <= ({"#000000", "#ffffff"} if name == "map" else set())


@pytest.mark.parametrize("name", ALL)
def test_the_same_numbers_give_the_same_bytes_and_no_id_twice_on_a_page(name: str) -> None:
    one, again, other = (figures.own_ids(ALL[name](), prefix) for prefix in ("a", "a", "b"))
    assert one == again
    ids = re.findall(r'\bid="([^"]+)"', one)
    assert len(set(ids)) == len(ids) > 0
    assert set(ids) & set(re.findall(r'\bid="([^"]+)"', other)) == set()
    used = re.findall(r'href="#([^"]+)"', one) + re.findall(r"url\(#([^)]+)\)", one)
    assert used
    assert set(used) <= set(ids)


@pytest.mark.parametrize("name", ALL)
def test_a_figure_names_no_place_outside(name: str) -> None:
    svg = re.sub(r'xmlns(:\w+)?="[^"]+"', "", ALL[name]())
    assert "http" not in svg


def bars(svg: str) -> int:
    return len(re.findall(r"style=\"fill: var\(--one\)", svg))


def test_a_histogram_counts_what_is_known_and_gathers_the_rest_at_its_ends() -> None:
    values = np.array([-5.0, 0.1, 0.1, 0.9, 7.0, np.nan])
    spread = figures.histogram(values, label="x", low=0, high=1)
    inside = figures.histogram(np.array([0.0, 0.1, 0.1, 0.9, 1.0]), label="x", low=0, high=1)
    other = figures.histogram(np.array([0.0, 0.1, 0.2, 0.9, 1.0]), label="x", low=0, high=1)
    assert figures.own_ids(spread, "a") == figures.own_ids(inside, "a")
    assert figures.own_ids(spread, "a") != figures.own_ids(other, "a")
    assert bars(spread) == 30


def test_a_map_shows_each_cell_at_its_place_and_leaves_unknown_ones_grey() -> None:
    iou = np.linspace(0, 1, 12).reshape(3, 4)
    iou[1, 2] = np.nan
    shown = cells(figures.cell_map(iou, cell_m=100))
    assert shown.shape == (3, 4, 4)
    np.testing.assert_allclose(shown[1, 2], [128, 128, 128, 64], atol=1)
    brightness = shown[..., :3].astype(int) @ [2, 7, 1]
    order = brightness.ravel()[~np.isnan(iou).ravel()]
    assert (np.diff(order) > 0).all()


def test_a_large_map_shows_means_of_squares_of_cells() -> None:
    rng = np.random.default_rng(0)
    iou = np.where(rng.random((50, 601)) < 0.6, np.nan, rng.random((50, 601)))
    mean = np.full((17, 201), np.nan)
    for row in range(17):
        for col in range(201):
            square = iou[3 * row : 3 * row + 3, 3 * col : 3 * col + 3]
            if not np.isnan(square).all():
                mean[row, col] = np.nanmean(square)
    np.testing.assert_array_equal(
        cells(figures.cell_map(iou, cell_m=100)), cells(figures.cell_map(mean, cell_m=300))
    )


def test_bins_without_pixels_are_no_points_of_the_reliability() -> None:
    bins = CALIBRATION.bins
    unseen = replace(bins[4], pixels=0, probability=float("nan"), observed=float("nan"))
    with_unseen, without = (
        figures.own_ids(figures.reliability(replace(CALIBRATION, bins=some)), "a")
        for some in ((*bins[:4], unseen, *bins[5:]), (*bins[:4], *bins[5:]))
    )
    assert with_unseen == without
    assert without != figures.own_ids(figures.reliability(CALIBRATION), "a")


def test_figures_of_nothing_are_drawn_without_a_word() -> None:
    nothing = tuple(replace(part, pixels=0) for part in CALIBRATION.bins)
    empty = replace(CALIBRATION, bins=nothing)
    for svg in (
        figures.reliability(empty),
        figures.pixels_by_probability(empty),
        figures.histogram(np.array([np.nan]), label="x", low=0, high=1),
        figures.cell_map(np.full((2, 2), np.nan), cell_m=1),
    ):
        assert ElementTree.fromstring(svg).tag == f"{SVG}svg"


def paths(svg: str, color: str) -> list[np.ndarray]:
    """Give the corners of the lines and bars of one colour, (n, 2), in points from the upper left."""
    found = []
    for path, look in re.findall(r'<path d="([^"]+)"[^>]*style="([^"]*)"', svg):
        if re.search(rf"(?:stroke|fill): var\(--{color}\)", look):
            found.append(np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), np.float64))
    return found


def test_bars_are_as_high_as_the_share_of_each_size_that_was_found() -> None:
    bars_found = paths(figures.found_by_size(SIZES), "one")
    heights = [np.ptp(bar[:, 1]) for bar in bars_found]
    assert len(heights) == 2  # there is no true building of the size between
    assert heights[0] / heights[1] == pytest.approx((1 / 4) / (6 / 8), rel=1e-3)
    lefts = [bar[:, 0].min() for bar in bars_found]
    width = np.ptp(bars_found[0][:, 0]) / 0.92
    assert (lefts[1] - lefts[0]) / width == pytest.approx(2, rel=1e-3)


def test_steps_are_as_high_as_the_number_of_each_size() -> None:
    svg = figures.buildings_by_size(SIZES)
    true = max(paths(svg, "one"), key=len)
    levels = sorted(set(np.round(true[:, 1].max() - true[:, 1], 3)))
    assert levels[0] == 0 and levels[2] / levels[1] == pytest.approx(2, rel=1e-3)  # 0, 4 and 8 buildings
    assert len(levels) == 3
    mapped = max(paths(svg, "two"), key=len)
    assert np.ptp(mapped[:, 1]) == 0  # none


def test_a_curve_of_buildings_goes_through_its_points() -> None:
    rng = np.random.default_rng(0)
    recall, precision = np.sort(rng.random(9)), rng.random(9)
    curve = replace(CURVE, recall=recall, precision=precision, confidence=np.arange(9.0)[::-1])
    across, down = max(paths(figures.building_precision_by_recall([curve]), "one"), key=len).T
    np.testing.assert_allclose(
        (across - across[0]) / np.ptp(across), (recall - recall[0]) / np.ptp(recall), atol=1e-4
    )
    np.testing.assert_allclose(
        (down.max() - down) / np.ptp(down), (precision - precision.min()) / np.ptp(precision), atol=1e-4
    )


def test_precision_of_hardly_anything_is_no_part_of_the_curve() -> None:
    few = tuple(replace(point, recall=0.0005, precision=1.0) for point in SWEEP.points[:20])
    some = SWEEP.points[20:]
    with_few, without = (
        figures.own_ids(figures.precision_by_recall(replace(SWEEP, points=points), SWEEP.points[99]), "a")
        for points in ((*few, *some), some)
    )
    assert with_few == without
    assert without != figures.own_ids(figures.precision_by_recall(SWEEP, SWEEP.points[99]), "a")


@pytest.mark.parametrize(("draw", "color"), [(figures.invented_map, PREDICTED), (figures.missed_map, TRUE)])
def test_errors_are_the_stronger_the_more_and_in_the_colour_of_their_outlines(
    draw: Callable[..., str], color: tuple[int, int, int]
) -> None:
    shares = np.array([[0.0, 0.05, 0.1], [0.2, np.nan, 0.3]])
    shown = cells(draw(shares, cell_m=100, top=0.2)).astype(int)
    assert shown[1, 1, 3] == 0  # nothing is drawn where nothing was compared
    assert 0 < shown[0, 0, 3] < shown[0, 1, 3] < shown[0, 2, 3] < shown[1, 0, 3] == 255
    np.testing.assert_allclose(shown[1, [0, 2], :3], [color, color], atol=1)


def test_worst_places_are_numbered_on_the_map() -> None:
    iou = np.full((3, 4), 0.5)
    plain, marked = (
        figures.cell_map(iou, cell_m=100, marks=marks)
        for marks in ((), (figures.Mark(1, 0, 0), figures.Mark(12, 2, 3)))
    )
    assert marked.count('id="text_') - plain.count('id="text_') == 2
    rims = [
        np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path), np.float64).mean(axis=0)
        for path in re.findall(r'<path d="([^"]+)"\s*style="fill: #ffffff; stroke: #000000', marked)
    ]
    assert len(rims) == 2
    assert (rims[0] < rims[1]).all()


def test_a_map_has_nothing_white_behind_it() -> None:
    assert "fill: #ffffff" not in figures.cell_map(np.full((3, 4), 0.5), cell_m=100)
