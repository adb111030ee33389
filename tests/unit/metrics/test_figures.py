"""Figures: well-formed, of the colours of the page, and showing the numbers they are given."""

import base64
import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from buildmap.metrics import figures
from tests.unit.metrics.summaries import make_scores

SVG = "{http://www.w3.org/2000/svg}"
SCORES = make_scores()
CALIBRATION, SWEEP = SCORES.calibration, SCORES.sweep
assert CALIBRATION is not None and SWEEP is not None

ALL = {
    "thresholds": lambda: figures.scores_by_threshold(SWEEP, SWEEP.points[99]),
    "precision": lambda: figures.precision_by_recall(SWEEP, SWEEP.points[99]),
    "reliability": lambda: figures.reliability(CALIBRATION),
    "pixels": lambda: figures.pixels_by_probability(CALIBRATION),
    "histogram": lambda: figures.histogram(np.linspace(0.5, 1, 99), label="IoU", low=0, high=1),
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
