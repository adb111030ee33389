"""The report as a page: whole in itself, escaped, and without sections for what was not measured."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from buildmap.metrics.headline import headlines
from buildmap.metrics.report import MOST_MAPS, CellMap, Place, Report, render
from buildmap.metrics.summary import EvaluateSummary
from tests.unit.metrics.summaries import full_summary, make_summary, only_pixels

VOID = {"meta", "link", "img", "br", "hr", "input"}
EVIL = "<script>alert(\"1\")</script> & 'x'.tif"


class Page(HTMLParser):
    """Everything a test asks of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.open: list[str] = []
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.headings: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}:
                self.targets.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "style":
                self.targets += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.targets += re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", data)
            return
        self.texts.append(data.strip())
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def report(summary: EvaluateSummary, **parts: object) -> Report:
    rng = np.random.default_rng(0)
    given: dict[str, object] = {
        "summary": summary,
        "title": "Town against cadastre",
        "maps": (CellMap(name="north", cell_m=250, iou=rng.random((6, 9))),),
        "ious": rng.uniform(0.5, 1, 300),
        "polis_m": rng.gamma(2, 0.4, 300),
        "area_errors": rng.normal(0, 0.1, 300),
        "places": tuple(place(seed) for seed in range(6)),
        "version": "1.2.3",
        "command": "buildmap evaluate maps truth",
    }
    return Report(**(given | parts))


def place(seed: int, side: int = 360) -> Place:
    picture = np.random.default_rng(seed).normal(120, 20, (side, side, 3)).clip(0, 255).astype(np.uint8)
    return Place(name=f"tile {seed}", where=f"x {seed}, y 7", wrong_px=12345, iou=0.321, picture=picture)


def bare(summary: EvaluateSummary) -> Report:
    nothing = np.empty(0)
    return report(summary, maps=(), places=(), ious=nothing, polis_m=nothing, area_errors=nothing)


@pytest.fixture(scope="module")
def html() -> str:
    return render(report(full_summary()))


def test_nothing_on_the_page_leads_out_of_it(html: str) -> None:
    page = Page(html)
    assert len(page.targets) > 20
    for target in page.targets:
        assert target.startswith(("#", "data:image/png;base64,"))
    assert {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags) == set()


def test_every_link_has_its_place_and_no_place_is_there_twice(html: str) -> None:
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    assert {target[1:] for target in page.targets if target.startswith("#")} <= set(page.ids)
    assert page.open == []


def test_every_number_of_the_headline_is_on_the_page(html: str) -> None:
    page = Page(html)
    lines = headlines(full_summary())
    assert len(lines) == 7
    for line in lines:
        assert {line.name, line.value, line.meaning} <= set(page.texts)
        assert line.interval in page.texts


def test_a_whole_evaluation_has_all_sections_in_reading_order(html: str) -> None:
    assert Page(html).headings == [
        "What was compared",
        "Pixels",
        "Pairs",
        "Groups",
        "Paired test",
        "Error map",
        "Threshold",
        "Calibration",
        "Boundaries",
        "Buildings",
        "Cells",
        "Outlines",
        "Topology",
        "Worst places",
        "Methods",
    ]


def test_what_was_not_measured_has_no_section() -> None:
    page = Page(render(bare(make_summary(of=only_pixels()))))
    assert page.headings == ["What was compared", "Pixels", "Methods"]
    assert {"svg", "img", "figure"} & set(page.tags) == set()


@pytest.mark.parametrize(
    ("field", "heading"),
    [
        ("calibration", "Calibration"),
        ("sweep", "Threshold"),
        ("boundary", "Boundaries"),
        ("cells", "Cells"),
        ("topology", "Topology"),
    ],
)
def test_a_measure_left_out_takes_its_section_along(field: str, heading: str) -> None:
    summary = full_summary()
    headings = Page(render(bare(summary))).headings
    assert heading in headings
    less = replace(summary, total=replace(summary.total, **{field: None}))
    assert Page(render(bare(less))).headings == [name for name in headings if name != heading]


def test_names_are_text_whatever_they_hold() -> None:
    summary = replace(make_summary(EVIL, "$\\alpha$"), other=EVIL)
    groups = tuple(replace(group, name=EVIL) for group in full_summary().groups)
    evil = report(
        replace(summary, groups=groups),
        title=EVIL,
        maps=(CellMap(name=EVIL, cell_m=250, iou=np.ones((2, 2))),),
        places=(replace(place(0, 8), name=EVIL, where=EVIL),),
        command=f"buildmap evaluate {EVIL}",
    )
    html = render(evil)
    assert "<script" not in html
    page = Page(html)
    assert page.open == []
    assert page.texts.count(EVIL) == 9  # title twice, other map, pair, four groups, map
    assert f"buildmap evaluate {EVIL}" in page.texts


def test_every_figure_is_well_formed(html: str) -> None:
    figures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(figures) == 8
    for figure in figures:
        ElementTree.fromstring(figure)


def test_a_typical_page_is_small(html: str) -> None:
    assert 100_000 < len(html.encode()) < 2_000_000


def test_places_show_their_pictures_with_where_and_how_wrong() -> None:
    flat = np.zeros((40, 60, 3), np.uint8)
    flat[10:20] = (230, 159, 0)
    flat[30:] = (86, 180, 233)
    html = render(replace(bare(make_summary()), places=(replace(place(3), picture=flat),)))
    page = Page(html)
    (url,) = [target for target in page.targets if target.startswith("data:")]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))
    np.testing.assert_array_equal(shown, flat)
    assert "x 3, y 7: 12,345 px wrong, IoU 0.321" in page.texts
    assert "tile 3" in page.texts


def test_only_so_many_maps_are_drawn() -> None:
    one = CellMap(name="cells", cell_m=1, iou=np.ones((1, 1)))
    page = Page(render(replace(bare(make_summary(of=only_pixels())), maps=(one,) * (MOST_MAPS + 3))))
    assert page.tags.count("svg") == MOST_MAPS


def test_distances_that_are_all_unknown_are_no_figure() -> None:
    unknown = np.full(5, np.nan)
    html = render(replace(bare(make_summary(of=only_pixels())), polis_m=unknown, area_errors=unknown))
    assert "Outlines" not in Page(html).headings


def test_the_same_report_gives_the_same_page(html: str) -> None:
    assert render(report(full_summary())) == html
