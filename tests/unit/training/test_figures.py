"""Pictures: what they show, and that they are pictures."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from buildmap.metrics.layout import Panel
from buildmap.training.figures import curve_panels, draw_curves
from tests.unit.training.epochs import records, without_validation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ink(path: Path) -> int:
    """Count pixels that are not white."""
    return int((np.asarray(Image.open(path).convert("L")) < 250).sum())


def test_curves_are_drawn_also_where_there_is_nothing_to_draw(tmp_path: Path) -> None:
    nothing = tuple(replace(without_validation(one), train_loss=None) for one in records(3))
    draw_curves(nothing, tmp_path / "none.png")
    draw_curves(records(3), tmp_path / "some.png")
    assert 0 < ink(tmp_path / "none.png") < ink(tmp_path / "some.png")


def lines(panel: Panel) -> dict[str, int]:
    """Count the points of each colour's longest line."""
    root = ElementTree.fromstring(panel.svg.replace("xlink:", ""))
    found: dict[str, int] = {}
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        stroke = re.search(r"stroke: var\((--\w+)\)", path.get("style", ""))
        if stroke and "fill: none" in path.get("style", ""):
            points = len(re.findall(r"[ML]", path.get("d", "")))
            found[stroke[1]] = max(found.get(stroke[1], 0), points)
    return found


def test_every_curve_has_a_point_for_each_epoch() -> None:
    loss, score, rate, waiting = curve_panels(records(60), kept=7)
    for panel in (loss, score):
        assert lines(panel)["--one"] == lines(panel)["--two"] == 60
    assert lines(score)["--quiet"] == 60
    for panel in (rate, waiting):
        assert lines(panel)["--one"] == 60
        assert "--two" not in lines(panel)


def test_curves_of_what_is_not_known_are_left_out() -> None:
    loss, score, *_ = curve_panels([without_validation(one) for one in records(60)])
    assert lines(loss)["--one"] == 60
    assert "--two" not in lines(loss) and "--one" not in lines(score)


def test_the_kept_epoch_is_marked() -> None:
    with_mark, without = curve_panels(records(60), kept=7), curve_panels(records(60))
    for marked, plain in zip(with_mark, without, strict=True):
        dots = "stroke-dasharray: 1,1.65"
        assert marked.svg.count(dots) == plain.svg.count(dots) + 1


def test_a_single_epoch_is_seen() -> None:
    for panel in curve_panels(records(1)):
        assert "<use" in panel.svg  # a marker
        assert panel.svg.startswith("<svg") and "var(--one)" in panel.svg


def test_equal_records_give_equal_panels_and_no_id_is_there_twice() -> None:
    panels = curve_panels(records(5), kept=2)
    assert panels == curve_panels(records(5), kept=2)
    ids = [found for panel in panels for found in re.findall(r'\bid="([^"]+)"', panel.svg)]
    assert len(ids) == len(set(ids)) > 20


@pytest.mark.parametrize("count", [1, 2, 5])
def test_epochs_are_counted_in_whole_numbers(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("buildmap.training.figures._to_svg", lambda figure: drawn.append(figure) or "<svg/>")
    curve_panels(records(count), kept=1)
    for figure in drawn:
        low, high = figure.axes[0].get_xlim()
        ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
        assert ticks and all(tick == round(tick) for tick in ticks)
        assert low < 1 <= count < high
    assert len(drawn) == 4
