"""The report as a page: whole in itself, escaped, and without sections for what was not measured."""

import base64
import io
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from buildmap.metrics.curves import BuildingCurve
from buildmap.metrics.figures import Mark
from buildmap.metrics.headline import headlines
from buildmap.metrics.report import MOST_MAPS, CellMap, Place, Report, render
from buildmap.metrics.sizes import NO_BUILDINGS, SizeCounts
from buildmap.metrics.summary import EvaluateSummary
from buildmap.metrics.verdict import verdict
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
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
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


def check_reading(html: str) -> None:
    """Hold a page against what a screen reader needs, and its style against one place to keep it."""
    page = Page(html)
    assert next(attrs for tag, attrs in page.attributes if tag == "html")["lang"] == "en"
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for tag, attrs in page.attributes:
        if tag == "img":
            assert attrs["alt"]
        if tag == "th":
            assert attrs["scope"] in {"row", "col"}
        if attrs.get("role") in {"img", "region"}:
            assert attrs["aria-label"]
    assert not re.search(r"<th[^>]*></th>", html)
    page_itself = re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)  # figures have styles of their own
    assert set(re.findall(r'style="([a-z-]+)', page_itself)) <= {"background"}


def report(summary: EvaluateSummary, **parts: object) -> Report:
    rng = np.random.default_rng(0)
    given: dict[str, object] = {
        "summary": summary,
        "title": "Town against cadastre",
        "maps": (cell_map(),),
        "ious": rng.uniform(0.5, 1, 300),
        "polis_m": rng.gamma(2, 0.4, 300),
        "area_errors": rng.normal(0, 0.1, 300),
        "sizes": SIZES,
        "curves": (CURVE,),
        "places": tuple(place(seed) for seed in range(6)),
        "version": "1.2.3",
        "command": "buildmap evaluate maps truth",
    }
    return Report(**(given | parts))


def place(seed: int, side: int = 360) -> Place:
    picture = np.random.default_rng(seed).normal(120, 20, (side, side, 3)).clip(0, 255).astype(np.uint8)
    return Place(
        name=f"tile {seed}",
        pair=0,
        cell=(seed, 0),
        where=f"x {seed}, y 7",
        wrong_px=12345,
        wrong_m2=1111.1,
        iou=0.321,
        picture=picture,
        width_m=107.99,
    )


def cell_map(name: str = "north", shape: tuple[int, int] = (6, 9)) -> CellMap:
    rng = np.random.default_rng(0)
    iou, invented, missed = rng.random((3, *shape)) * np.array([1, 0.1, 0.05])[:, None, None]
    return CellMap(
        name=name,
        cell_m=250,
        iou=iou,
        invented=invented,
        missed=missed,
        marks=(Mark(number=1, row=0, col=0),),
    )


def of_sizes(**bins: dict[int, int]) -> SizeCounts:
    whole = {name: [0] * len(NO_BUILDINGS.true) for name in bins}
    for name, numbers in bins.items():
        for bin_number, buildings in numbers.items():
            whole[name][bin_number] = buildings
    return SizeCounts(**{name: tuple(counts) for name, counts in whole.items()})


SIZES = of_sizes(true={6: 71, 7: 13}, found={6: 60}, mapped={5: 17, 6: 62}, right={6: 59})
CURVE = BuildingCurve(
    iou_min=0.5,
    recall=np.array([0.1, 0.5, 0.7]),
    precision=np.array([1.0, 0.9, 0.6]),
    confidence=np.array([0.9, 0.7, 0.5]),
)


def bare(summary: EvaluateSummary) -> Report:
    nothing = np.empty(0)
    parts = {"maps": (), "places": (), "sizes": NO_BUILDINGS, "curves": ()}
    return report(summary, ious=nothing, polis_m=nothing, area_errors=nothing, **parts)


@pytest.fixture(scope="module")
def html() -> str:
    return render(report(full_summary()))


@pytest.fixture
def _no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes a second to draw."""
    monkeypatch.setattr("buildmap.metrics.figures._finish", lambda *_, **__: "<svg></svg>")


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
        "Pairs",
        "Error map",
        "Worst places",
        "Buildings",
        "Sizes",
        "Pixels",
        "Groups",
        "Paired test",
        "Threshold",
        "Calibration",
        "Boundaries",
        "Cells",
        "Outlines",
        "Topology",
        "Methods",
    ]


def test_what_was_not_measured_has_no_section() -> None:
    page = Page(render(bare(make_summary(of=only_pixels()))))
    assert page.headings == ["What was compared", "Pixels", "Methods"]
    assert {"svg", "img", "figure"} & set(page.tags) == set()


@pytest.mark.usefixtures("_no_drawing")
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


@pytest.mark.usefixtures("_no_drawing")
def test_names_are_text_whatever_they_hold() -> None:
    summary = replace(make_summary(EVIL, "$\\alpha$"), other=EVIL)
    groups = tuple(replace(group, name=EVIL) for group in full_summary().groups)
    evil = report(
        replace(summary, groups=groups),
        title=EVIL,
        maps=(cell_map(EVIL, (2, 2)),),
        places=(replace(place(0, 8), name=EVIL, where=EVIL),),
        command=f"buildmap evaluate {EVIL}",
    )
    html = render(evil)
    assert "<script" not in html
    page = Page(html)
    assert page.open == []
    assert page.texts.count(EVIL) == 10  # title twice, other map, four groups, three maps
    assert f"1. {EVIL}" in page.texts
    assert f"buildmap evaluate {EVIL}" in page.texts


def test_every_figure_is_well_formed(html: str) -> None:
    figures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(figures) == 14
    for figure in figures:
        ElementTree.fromstring(figure)


def test_a_typical_page_is_small(html: str) -> None:
    assert 100_000 < len(html.encode()) < 2_000_000


@pytest.mark.usefixtures("_no_drawing")
def test_places_show_their_pictures_with_where_and_how_wrong() -> None:
    flat = np.zeros((40, 60, 3), np.uint8)
    flat[10:20] = (230, 159, 0)
    flat[30:] = (86, 180, 233)
    html = render(replace(bare(make_summary()), places=(replace(place(3), picture=flat),)))
    page = Page(html)
    (url,) = [target for target in page.targets if target.startswith("data:")]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))
    np.testing.assert_array_equal(shown, flat)
    assert "x 3, y 7: 1,111 m² wrong, IoU 0.321; 108 m wide" in page.texts
    assert "1. tile 3" in page.texts


@pytest.mark.usefixtures("_no_drawing")
def test_places_without_a_crs_are_measured_in_pixels() -> None:
    unknown = replace(place(3, 8), wrong_m2=float("nan"), width_m=float("nan"))
    page = Page(render(replace(bare(make_summary(of=only_pixels())), places=(unknown,))))
    assert "x 3, y 7: 12,345 px wrong, IoU 0.321" in page.texts


@pytest.mark.usefixtures("_no_drawing")
def test_only_so_many_maps_are_drawn() -> None:
    maps = (cell_map("cells", (1, 1)),) * (MOST_MAPS + 3)
    page = Page(render(replace(bare(make_summary(of=only_pixels())), maps=maps)))
    assert page.tags.count("svg") == MOST_MAPS
    assert any(text.endswith(f"The {MOST_MAPS} worst of {MOST_MAPS + 3} maps.") for text in page.texts)


@pytest.mark.usefixtures("_no_drawing")
def test_distances_that_are_all_unknown_are_no_figure() -> None:
    unknown = np.full(5, np.nan)
    html = render(replace(bare(make_summary(of=only_pixels())), polis_m=unknown, area_errors=unknown))
    assert "Outlines" not in Page(html).headings


def test_the_same_report_gives_the_same_page() -> None:
    one = replace(bare(full_summary()), sizes=SIZES)
    assert render(one) == render(one)


def test_a_page_can_be_read_aloud(html: str) -> None:
    check_reading(html)


def test_the_answer_comes_first_and_in_sentences(html: str) -> None:
    page = Page(html)
    told = verdict(full_summary())
    assert len(told) == 3
    places = [page.texts.index(sentence) for sentence in told]
    assert places == sorted(places)
    assert places[-1] < page.texts.index("Pixel IoU")


@pytest.mark.usefixtures("_no_drawing")
def test_sizes_are_a_table_and_two_figures() -> None:
    summary = make_summary(of=only_pixels())
    html = render(replace(bare(summary), sizes=SIZES))
    page = Page(html)
    assert page.headings == ["What was compared", "Sizes", "Pixels", "Methods"]
    rows = dict(re.findall(r'<th scope="row">([^<]+)</th>((?:\s*<td>[^<]*</td>)+)', html))
    shown = {name: re.findall(r"<td>([^<]*)</td>", cells) for name, cells in rows.items() if "m²" in name}
    assert shown == {  # true, found, missed, mapped, invented
        "20 to 50 m²": ["0", "0", "0", "17", "17"],
        "50 to 100 m²": ["71", "60", "11", "62", "3"],
        "100 to 200 m²": ["13", "0", "13", "0", "0"],
    }
    assert page.tags.count("svg") == 2


@pytest.mark.usefixtures("_no_drawing")
def test_without_buildings_of_any_size_there_is_no_such_section() -> None:
    assert "Sizes" not in Page(render(bare(full_summary()))).headings


@pytest.mark.usefixtures("_no_drawing")
def test_a_map_of_few_is_told_with_what_is_wrong_and_one_of_many_only_where() -> None:
    summary = make_summary(of=only_pixels())
    counts = {}
    for several in (4, 5):
        maps = tuple(cell_map(f"map {number}", (2, 2)) for number in range(several))
        counts[several] = Page(render(replace(bare(summary), maps=maps))).tags.count("svg")
    assert counts == {4: 12, 5: 5}


@pytest.mark.usefixtures("_no_drawing")
def test_the_worst_tenth_of_the_cells_is_told() -> None:
    missed = np.zeros((4, 5))
    missed[0, 0], missed[3, 3], missed[1, 1] = 0.3, 0.2, 0.5  # two of twenty cells have 80 % of it
    shown = replace(cell_map("m", (4, 5)), missed=missed, invented=np.zeros((4, 5)))
    texts = Page(render(replace(bare(make_summary(of=only_pixels())), maps=(shown,)))).texts
    assert (
        "Overlooked: building in truth, none on the map. The worst tenth of the cells has 80 % of it."
        in texts
    )
    assert "Wrongly mapped: building on the map, none in truth. Nowhere." in texts


def style(html: str) -> str:
    return html.partition("<style>")[2].partition("</style>")[0]


def luminance(color: str) -> float:
    """Compute relative luminance as WCAG 2 defines it."""
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_text_stands_out_by_day_by_night_and_on_paper(html: str) -> None:
    palettes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", part)) for part in style(html).split(":root")[1:]
    ]
    assert len(palettes) == 3
    for palette in palettes:
        paper = luminance(palette["paper"])
        for name in ("ink", "quiet", "one", "two"):
            dark, bright = sorted((paper, luminance(palette[name])))
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (name, palette)


def test_nothing_is_wider_than_a_telephone(html: str) -> None:
    rules = dict(re.findall(r"^([^@{}\n]+) \{([^{}]*)\}", style(html), re.MULTILINE))
    assert "overflow-x: auto" in rules[".box"]  # what holds tables
    for picture in ("figure svg", "figure img"):
        assert "width: 100%" in rules[picture] and "height: auto" in rules[picture]
    assert "max-width: 100%" in rules["img.wide"]
    for text in ("h1", "figcaption", ".facts dd"):
        assert "overflow-wrap: anywhere" in rules[text]  # long names break
    fixed = [float(side) for side in re.findall(r"[{; ](?:min-)?width: ([\d.]+)rem", style(html))]
    assert fixed and max(fixed) <= 8
    for least in re.findall(r"minmax\(([^,]+(?:\([^)]*\))?),", style(html)):
        assert least.startswith("min(100%")
    tables = len(re.findall("<table>", html))
    assert tables == len(re.findall(r'<div class="box"[^>]*>\s*<table>', html)) > 10
