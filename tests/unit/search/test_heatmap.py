"""The picture of a search: every number of the table, once, in its place."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from PIL import Image

from buildmap.search.heatmap import draw, lay_out
from buildmap.search.table import Row, best_row, rows_of
from tests.unit.search.fakes import trial

PAPER = {
    "loss.bce": ["0.4", "0.5", "0.6"],
    "loss.dice": ["0.2", "0.3", "0.4"],
    "loss.boundary_distance": ["0.0", "0.1", "0.2"],
    "training.learning_rate": ["1e-05", "0.0001", "0.001"],
}


def table(grid: dict[str, list[str]], *, without: int | None = None) -> tuple[Row, ...]:
    """Give rows whose scores are random, and known by their seed."""
    rng = np.random.default_rng(0)
    trials = [
        trial(dict(zip(grid, values, strict=True)), None if number == without else float(rng.random()))
        for number, values in enumerate(product(*grid.values()))
    ]
    return rows_of(trials, "iou")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: object, **named: object) -> None:
        figures.append(figure)
        save(figure, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def test_two_keys_span_a_panel_the_third_goes_across_and_the_fourth_down() -> None:
    rows = table(PAPER)
    page = lay_out(rows)
    assert page is not None
    assert (page.vertical, page.horizontal) == ("loss.bce", "loss.dice")
    scores = {tuple(row.settings.values()): row.score for row in rows}
    for down, rate in enumerate(PAPER["training.learning_rate"]):
        for right, boundary in enumerate(PAPER["loss.boundary_distance"]):
            panel = page.panels[down][right]
            assert panel.title == f"loss.boundary_distance = {boundary}\ntraining.learning_rate = {rate}"
            assert panel.scores == [
                [scores[bce, dice, boundary, rate] for dice in PAPER["loss.dice"]]
                for bce in PAPER["loss.bce"]
            ]


@pytest.mark.parametrize("sides", [(3, 3), (2, 3, 2), (2, 1, 2, 2, 2, 2), (1, 2, 1, 3)])
def test_every_number_of_the_table_is_drawn_once(
    tmp_path: Path, drawn: list[Figure], sides: tuple[int, ...]
) -> None:
    grid = {f"key{number}": [f"v{value}" for value in range(side)] for number, side in enumerate(sides)}
    rows = table(grid)
    assert draw(rows, "iou", tmp_path / "h.png")
    images = [
        child for axes in drawn[0].axes for child in axes.get_children() if isinstance(child, AxesImage)
    ]
    values = np.concatenate([np.asarray(image.get_array()).ravel() for image in images])
    assert sorted(values) == sorted(row.score for row in rows if row.score is not None)
    assert len(values) == math.prod(sides)
    texts = [text.get_text() for axes in drawn[0].axes for text in axes.texts]
    assert sorted(texts) == sorted(f"{row.score:.3f}" for row in rows)


def test_the_best_cell_is_marked_where_it_is(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = table(PAPER)
    best = best_row(rows)
    assert best is not None and best.score == max(row.score or 0 for row in rows)
    draw(rows, "iou", tmp_path / "h.png")
    marks = [
        (axes, child) for axes in drawn[0].axes for child in axes.patches if isinstance(child, Rectangle)
    ]
    assert len(marks) == 1
    axes, mark = marks[0]
    column, line = (
        PAPER["loss.dice"].index(best.settings["loss.dice"]),
        PAPER["loss.bce"].index(best.settings["loss.bce"]),
    )
    assert mark.get_xy() == (column - 0.5, line - 0.5)
    assert best.settings["loss.boundary_distance"] in axes.get_title().splitlines()[0]
    assert best.settings["training.learning_rate"] in axes.get_title().splitlines()[1]
    assert f"best, marked: {best.score:.4f}" in drawn[0].get_suptitle()
    assert "Validation IoU" in drawn[0].get_suptitle()


def test_a_trial_without_a_model_is_an_empty_cell_and_a_stopped_one_says_when(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    grid = {"loss.bce": ["0", "1"], "loss.dice": ["0", "1"]}
    scores = (None, 0.5, 0.9, 0.7)
    trials = [
        trial(dict(zip(grid, values, strict=True)), score, stopped=score == 0.9, epochs=3)
        for values, score in zip(product(*grid.values()), scores, strict=True)
    ]
    draw(rows_of(trials, "iou"), "iou", tmp_path / "h.png")
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts == ["no\nmodel", "0.500", "0.900\nepoch 3", "0.700"]
    mark = next(child for child in drawn[0].axes[0].patches if isinstance(child, Rectangle))
    assert mark.get_xy() == (0.5, 0.5)
    assert "stopped" in drawn[0].get_suptitle()


def test_combinations_that_were_not_tried_are_empty() -> None:
    rows = [row for row in table({"a": ["1", "2"], "b": ["1", "2"]}) if row.settings != {"a": "2", "b": "1"}]
    page = lay_out(rows)
    assert page is not None
    panel = page.panels[0][0]
    assert panel.rows[1][0] is None and math.isnan(panel.scores[1][0])
    assert [panel.scores[0], panel.scores[1][1]] == [[rows[0].score, rows[1].score], rows[2].score]


@pytest.mark.parametrize(("values", "style"), [(["1e-05", "0.1"], "-"), (["ce", "bd+dice"], "None")])
def test_a_single_key_is_a_line_and_names_are_points(
    tmp_path: Path, drawn: list[Figure], values: list[str], style: str
) -> None:
    rows = table({"key": values, "other": ["only"], "training.seed": ["0", "1"]})
    rows = (replace(rows[0], stopped=True), rows[1])
    assert draw(rows, "f1", tmp_path / "h.png")
    axes = drawn[0].axes[0]
    assert list(axes.lines[0].get_ydata()) == [row.score for row in rows]
    assert axes.lines[0].get_linestyle() == style
    assert [label.get_text() for label in axes.get_xticklabels()] == values
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("key", "validation F1")
    assert "mean of 2 seeds" in drawn[0].get_suptitle() and "aslant" in drawn[0].get_suptitle()
    assert [text.get_fontstyle() for text in axes.texts] == ["italic", "normal"]


def test_seeds_alone_are_nothing_to_draw(tmp_path: Path) -> None:
    assert not draw(table({"training.seed": ["0", "1"]}), "iou", tmp_path / "h.png")
    assert not draw(table({"loss": ["ce"], "model.width": ["4"]}), "iou", tmp_path / "h.png")
    assert not (tmp_path / "h.png").exists()


@pytest.mark.parametrize(
    "grid",
    [
        {"a": ["x" * 60, ""], "b": ["y" * 60, "z"]},
        {"a": ["x" * 60, ""]},
        {"a": ["1", "2"], "b": list(map(str, range(80)))},
    ],
)
def test_nothing_is_cut_off_and_no_picture_is_too_large(tmp_path: Path, grid: dict[str, list[str]]) -> None:
    draw(table(grid, without=1), "iou", tmp_path / "h.png")
    picture = np.asarray(Image.open(tmp_path / "h.png").convert("L"))
    assert 600 < max(picture.shape) <= 8100
    for edge in (picture[:3], picture[-3:], picture[:, :3], picture[:, -3:]):
        assert edge.min() == 255


def test_no_score_at_all_can_be_drawn(tmp_path: Path) -> None:
    trials = [trial({"a": a, "b": b}, None) for a in "12" for b in "12"]
    assert draw(rows_of(trials, "iou"), "iou", tmp_path / "h.png")
    assert (tmp_path / "h.png").stat().st_size > 1000
