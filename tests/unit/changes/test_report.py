"""The page about a change: whole in itself, escaped, bounded, and with the right ground in its pictures."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyproj import CRS, Transformer
from shapely import affinity

from buildmap.changes import drawings, wording
from buildmap.changes.density import Density
from buildmap.changes.examples import STATUSES
from buildmap.changes.report import render
from buildmap.errors import InputError, StorageError
from buildmap.raster.reader import RasterReader
from tests.scenes import write_raster
from tests.unit.changes.reports import make_blocks, make_report
from tests.unit.metrics.test_report import EVIL, Page, check_reading

ALL = [status.capitalize() for status in STATUSES]
FEW = make_report().examples[::5]


@pytest.fixture(scope="module")
def html() -> str:
    return render(make_report())


@pytest.fixture
def rasters(tmp_path: Path) -> tuple[Path, Path]:
    """Write a dark one and a bright one over all examples, 300 m wide."""
    dark, bright = np.full((3, 600, 600), 30, np.uint8), np.full((3, 600, 600), 220, np.uint8)
    return write_raster(tmp_path / "a.tif", dark), write_raster(tmp_path / "b.tif", bright)


def pictures(html: str) -> list[Image.Image]:
    texts = re.findall(r'href="data:image/jpeg;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in texts]


def test_nothing_on_the_page_leads_out_of_it(rasters: tuple[Path, Path]) -> None:
    page = Page(render(make_report(image_before=rasters[0], image_after=rasters[1], examples=FEW)))
    assert sum(target.startswith("data:image/jpeg;base64,") for target in page.targets) == 2 * len(FEW)
    for target in page.targets:
        assert target.startswith(("#", "data:image/jpeg;base64,"))
    assert {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags) == set()


def test_every_link_has_its_place_and_no_place_is_there_twice(html: str) -> None:
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    assert {target[1:] for target in page.targets if target.startswith("#")} == set(page.ids)
    assert page.open == []


def test_words_come_first_then_the_table_of_statuses_and_the_examples_last(html: str) -> None:
    page = Page(html)
    assert page.headings == ["What was compared", "Statuses", "Where", "Shift", *ALL, "How it was made"]
    assert any(text.startswith("Of 12,310 buildings before, 41 are gone") for text in page.texts)
    assert any(text.startswith("6 buildings could not be judged") for text in page.texts)


def test_what_is_not_there_has_no_section() -> None:
    nothing = Density(len(STATUSES)).overview
    page = Page(render(make_report(examples=(), overview=nothing, shifts=None)))
    assert page.headings == ["What was compared", "Statuses", "How it was made"]
    assert {"svg", "img", "figure"} & set(page.tags) == set()


def test_no_block_and_no_shift_are_the_same_to_a_reader() -> None:
    assert "Shift" not in Page(render(make_report(shifts=make_blocks(0)))).headings


def test_every_example_is_named_with_its_numbers_and_its_place(html: str) -> None:
    page, report = Page(html), make_report()
    assert len(report.examples) == 2 * len(STATUSES)
    to_degrees = Transformer.from_crs(report.crs, "OGC:CRS84", always_xy=True)
    for example in report.examples:
        lon, lat = to_degrees.transform(*example.polygon.centroid.coords[0])
        place = page.texts.index(example.building_id, page.texts.index("How it was made") + 1)
        assert page.texts[place + 1].endswith(f"; {lat:.5f}, {lon:.5f}")
    assert "Was not there before. 2 of 52, spread over the ground." in " ".join(page.texts)


def test_without_rasters_an_example_is_one_drawing(html: str) -> None:
    assert html.count('role="img" aria-label="Outlines of') == len(make_report().examples)
    assert pictures(html) == []
    assert "no data" not in Page(html).texts


def test_with_rasters_an_example_is_shown_at_both_dates(rasters: tuple[Path, Path]) -> None:
    html = render(make_report(image_before=rasters[0], image_after=rasters[1]))
    shown = pictures(html)
    assert [image.size for image in shown] == [(220, 220)] * (2 * len(make_report().examples))
    means = [float(np.asarray(image).mean()) for image in shown]
    assert max(means[::2]) < 35
    assert min(means[1::2]) > 215
    texts = Page(html).texts
    assert (texts.count("before, 2024-05-01"), texts.count("after"), texts.count("no data")) == (16, 16, 8)
    assert html.count('class="panels dates"') == len(STATUSES)


def test_with_one_raster_only_that_date_is_shown(rasters: tuple[Path, Path]) -> None:
    html = render(make_report(image_after=rasters[1]))
    assert len(pictures(html)) == len(make_report().examples)
    texts = Page(html).texts
    assert "after" in texts
    assert "before, 2024-05-01" not in texts
    assert html.count('class="panels narrow"') == len(STATUSES)


def test_the_second_date_is_shown_where_it_lies(tmp_path: Path) -> None:
    report = make_report()
    example = next(one for one in report.examples if one.status == "changed")
    shift = (12.0, -7.0)
    house = affinity.translate(example.after, *shift).bounds
    pixels = np.full((3, 600, 600), 30, np.uint8)
    rows = slice(round((5e6 - house[3]) * 2), round((5e6 - house[1]) * 2))
    pixels[:, rows, round((house[0] - 4e5) * 2) : round((house[2] - 4e5) * 2)] = 230
    raster = write_raster(tmp_path / "b.tif", pixels)
    html = render(replace(report, examples=(replace(example, shift=shift),), image_after=raster))
    (picture,) = pictures(html)
    bright = np.argwhere(np.asarray(picture)[..., 0] > 130)
    np.testing.assert_allclose(bright.mean(axis=0), 110, atol=3)
    assert render(replace(report, examples=(replace(example, shift=(0.0, 0.0)),), image_after=raster)) != html


def test_an_example_fills_a_third_of_its_picture_or_lies_in_thirty_metres() -> None:
    largest = max(make_report().examples, key=lambda one: one.polygon.area)
    house = largest.polygon.bounds
    near = replace(largest, before=None, after=largest.polygon)
    far = replace(near, polygon=affinity.scale(near.polygon, 20, 20))
    for example, unit_m, side in ((near, 1.0, 30), (near, 0.5, 60), (far, 1.0, 60 * (house[2] - house[0]))):
        html = render(make_report(examples=(example,), unit_m=unit_m))
        (path,) = re.findall(r'<path d="([^"]+)" stroke="#e69f00"', html)
        across = [float(value) for value in re.findall(r"[ML](-?[\d.]+)", path)]
        assert max(across) - min(across) == pytest.approx(220 * (house[2] - house[0]) / side, abs=0.2)


@pytest.mark.parametrize("unit_m", [1.0, 0.5])
def test_figures_are_in_metres_and_in_the_colours_of_their_dates(unit_m: float) -> None:
    report = make_report(unit_m=unit_m)
    html = render(report)
    for status, color in (("added", "two"), ("removed", "one"), ("changed", "ink")):
        sort = STATUSES.index(status)
        drawn = drawings.density_map(report.overview, sort, unit_m=unit_m, color=f"var(--{color})")
        caption = f"{status.capitalize()}; the largest disc is 2 in a cell of {50 * unit_m:g} m."
        assert f'aria-label="{caption}">\n{drawn}' in html
    assert drawings.shift_map(make_blocks(), unit_m=unit_m) in html
    assert f"At most {15 * unit_m:.2f} m, much enlarged" in html
    assert f"<td>{5 * unit_m:.2f}</td>" in html
    for name, color in (("before, dashed", "#56b4e9"), ("after, solid", "#e69f00")):
        assert f'background: {color}"></i>{name}' in html


def test_where_a_raster_has_no_data_the_page_says_so(rasters: tuple[Path, Path]) -> None:
    report = make_report()
    away = replace(report.examples[0], shift=(5000.0, 0))
    html = render(replace(report, examples=(away,), image_before=rasters[0], image_after=rasters[1]))
    assert "after, no data here" in Page(html).texts
    assert len(pictures(html)) == 1


def test_a_place_that_cannot_be_read_costs_one_picture(
    rasters: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = RasterReader.read, []

    def broken(self: RasterReader, *args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise StorageError("bad block")
        return read(self, *args, **options)

    monkeypatch.setattr(RasterReader, "read", broken)
    html = render(make_report(image_before=rasters[0], examples=FEW))
    assert Page(html).texts.count("before, 2024-05-01, cannot be read here") == 1
    assert len(pictures(html)) == len(FEW) - 1


def test_a_raster_that_lies_nowhere_is_refused(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "a.tif", np.ones((1, 9, 9), np.uint8), crs=None)
    with pytest.raises(InputError, match="where it lies"):
        render(make_report(image_before=raster))


def test_names_from_outside_are_text_and_no_markup() -> None:
    report = make_report(title=EVIL, command=EVIL, notes=((EVIL, EVIL),))
    report = replace(
        report,
        before=replace(report.before, name=EVIL, date=EVIL),
        examples=tuple(replace(example, building_id=EVIL, kind=EVIL) for example in report.examples),
        counts=(*report.counts, replace(report.counts[2], kind=EVIL)),
    )
    html = render(report)
    page = Page(html)
    assert "<script" not in html
    assert '"1"' not in html
    assert page.texts.count(EVIL) == 5 + len(report.examples)
    assert page.open == []


def test_a_name_that_is_no_unicode_becomes_question_marks() -> None:
    html = render(make_report(command="change caf\udce9.gpkg"))
    assert "change caf?.gpkg" in Page(html).texts
    html.encode("utf-8")


def test_the_page_stays_small_whatever_the_country() -> None:
    rng = np.random.default_rng(0)
    density = Density(len(STATUSES))
    density.add(rng.uniform(0, 1e6, (200_000, 2)), rng.integers(0, len(STATUSES), 200_000))
    report = make_report(overview=density.overview, shifts=make_blocks(5000))
    huge = tuple(replace(example, building_id="x" * 100_000) for example in report.examples)
    assert len(render(replace(report, examples=huge))) < 600_000


def test_the_same_report_is_the_same_page(rasters: tuple[Path, Path]) -> None:
    report = make_report(image_before=rasters[0], image_after=rasters[1], examples=FEW)
    assert render(report) == render(report)


def test_ground_without_a_place_on_the_earth_is_named_by_its_coordinates() -> None:
    site = CRS.from_wkt(
        'LOCAL_CS["site",LOCAL_DATUM["site",32767],UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'
    )
    texts = Page(render(make_report(crs=site))).texts
    assert sum(bool(re.search(r"; x 400\d+(\.\d+)?, y 4999\d+(\.\d+)?$", text)) for text in texts) == 16


def test_every_figure_and_drawing_says_what_it_is(html: str) -> None:
    labels = re.findall(r'role="img" aria-label="([^"]*)"', html)
    assert len(labels) == len(set(labels)) == html.count("<svg")
    assert all(labels)


def test_a_page_can_be_read_aloud(html: str, rasters: tuple[Path, Path]) -> None:
    check_reading(html)
    check_reading(render(make_report(image_before=rasters[0], image_after=rasters[1], examples=FEW)))


def test_the_answer_comes_before_the_numbers(html: str) -> None:
    texts = Page(html).texts
    told = wording.verdict(make_report())
    assert len(told) == 3
    assert [texts.index(sentence) < texts.index("Added") for sentence in told] == [True] * 3


def test_shifts_that_nobody_knows_are_no_figure() -> None:
    blocks = make_blocks()
    unknown = replace(blocks, source=np.full(len(blocks.source), "none", np.object_))
    page = Page(render(make_report(shifts=unknown)))
    assert "Shift" not in page.headings
    assert any(text.startswith("No shift between the dates could be told") for text in page.texts)
