"""The page of a run: whole in itself, escaped, and without what was not measured."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from buildmap.training.overlays import Overlay
from buildmap.training.report import RunReport, render
from tests.unit.metrics.test_report import EVIL, Page, check_reading
from tests.unit.training.epochs import records, without_validation
from tests.unit.training.fakes import PRESET
from tests.unit.training.test_run_tables import NORTH, SOUTH

NAMED = replace(PRESET, paper="A paper, 2023", gmac_512=33.26, training_data="Two towns", license="CC0-1.0")


def overlay(seed: int, source: str = "north", side: int = 32) -> Overlay:
    picture = np.random.default_rng(seed).integers(0, 255, (side, side, 3)).astype(np.uint8)
    return Overlay(source=source, rank="worst", iou=0.321, picture=picture)


def report(**parts: object) -> RunReport:
    found = records(4)
    given: dict[str, object] = {
        "preset": NAMED,
        "command": "buildmap train data m.safetensors",
        "version": "1.2.3",
        "device": "cpu",
        "parameters": 24_180_000,
        "records": found,
        "kept": found[2],
        "sources": (NORTH, SOUTH),
        "overlays": (overlay(0), overlay(1, "south")),
    }
    return RunReport(**(given | parts))


def facts(page: Page) -> dict[str, str]:
    texts = [text for text in page.texts if text]
    start = texts.index("Network")
    return dict(zip(texts[start:-1:2], texts[start + 1 :: 2], strict=False))


@pytest.fixture(scope="module")
def html() -> str:
    return render(report())


@pytest.fixture
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes a second to draw."""
    monkeypatch.setattr("buildmap.training.report.curve_panels", lambda *_, **__: ())


def test_nothing_on_the_page_leads_out_of_it(html: str) -> None:
    page = Page(html)
    assert len(page.targets) > 8
    for target in page.targets:
        assert target.startswith(("#", "data:image/png;base64,"))
    assert {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags) == set()


def test_every_link_has_its_place_and_no_place_is_there_twice(html: str) -> None:
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids) > 20
    assert {target[1:] for target in page.targets if target.startswith("#")} <= set(page.ids)
    assert page.open == []


def test_the_page_says_what_was_trained(html: str) -> None:
    page = Page(html)
    assert page.headings == ["What was trained", "Curves", "Scores", "Data", "Samples", "Preset"]
    told = facts(page)
    assert told["Network"] == "lite, 24,180,000 parameters, 33.26 GMAC for 512 x 512 pixels"
    assert told["Epochs"] == "4; the weights of epoch 3 were kept"
    assert told["Steps"] == "20 of 4 chips of 16 px"
    assert told["Time"] == "6 min 0 s"
    assert told["Speed"] == "40 chips per second; the network waited for chips 5.0% of the time"
    assert told["Device"] == "cpu, float32"
    assert told["Skipped steps"] == "none"
    assert {"A paper, 2023", "Two towns", "CC0-1.0", "buildmap train data m.safetensors"} <= set(page.texts)
    assert {"0.600", "0.750", "0.812", "0.417"} <= set(page.texts)  # of the kept epoch


@pytest.mark.usefixtures("_no_curves")
@pytest.mark.parametrize(
    ("seconds", "shown"), [(2.46, "2.5 s"), (61, "1 min 1 s"), (3599.6, "1 h 0 min"), (90_061, "25 h 1 min")]
)
def test_time_is_told_in_units_that_people_use(seconds: float, shown: str) -> None:
    found = (replace(records(1)[0], seconds=seconds),)
    assert facts(Page(render(report(records=found, kept=found[0]))))["Time"] == shown


@pytest.mark.usefixtures("_no_curves")
def test_an_interrupted_run_and_skipped_steps_are_told() -> None:
    found = tuple(replace(one, skipped_steps=7, went_back=1) for one in records(2))
    told = facts(Page(render(report(records=found, kept=found[1]))))
    assert told["Epochs"] == "2 of 4; the weights of epoch 2 were kept"
    assert told["Skipped steps"] == (
        "14, whose loss or gradient was not finite; 2 times back to the last good weights"
    )


@pytest.mark.usefixtures("_no_curves")
def test_notes_are_facts() -> None:
    page = Page(render(report(notes=(("Audit", "3 missing and 2 phantom buildings in audit.gpkg"),))))
    assert facts(page)["Audit"] == "3 missing and 2 phantom buildings in audit.gpkg"


def test_overlays_are_pictures_in_the_page(html: str) -> None:
    urls = [target for target in Page(html).targets if target.startswith("data:")]
    assert len(urls) == 2
    with Image.open(io.BytesIO(base64.b64decode(urls[1].partition(",")[2]))) as picture:
        shown = np.asarray(picture.convert("RGB")).astype(int)
    assert shown.shape == (32, 32, 3)
    assert np.abs(shown - overlay(1).picture).mean() < 20  # few colours are left of noise


@pytest.mark.usefixtures("_no_curves")
def test_large_overlays_are_shrunk() -> None:
    (url,) = [t for t in Page(render(report(overlays=(overlay(0, side=1024),)))).targets if "data:" in t]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        assert picture.size == (512, 512)


@pytest.mark.usefixtures("_no_curves")
def test_names_are_text_and_no_markup() -> None:
    evil = report(
        preset=replace(NAMED, title=EVIL, paper=EVIL, training_data=EVIL),
        command=EVIL,
        sources=(replace(NORTH, name=EVIL), SOUTH),
        overlays=(overlay(0, EVIL),),
        notes=((EVIL, EVIL),),
    )
    html = render(evil)
    page = Page(html)
    assert "script" not in page.tags
    assert "<script>" not in html
    assert page.texts.count(EVIL) >= 7


def test_without_validation_ground_there_are_neither_scores_nor_samples() -> None:
    found = tuple(without_validation(one) for one in records(2))
    page = Page(render(report(records=found, kept=found[1], overlays=())))
    assert page.headings == ["What was trained", "Curves", "Data", "Preset"]
    assert "Validation IoU" not in page.texts


def test_equal_reports_give_equal_pages(html: str) -> None:
    assert render(report()) == html


def test_the_page_follows_the_colours_and_the_width_of_the_reader(html: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    svg = html[html.index("<svg") : html.rindex("</svg>")]
    assert "var(--one)" in svg and "var(--ink)" in svg
    assert "#0072b2" not in svg and "#1b2026" not in svg


def test_the_preset_is_there_to_copy(html: str) -> None:
    (text,) = [text for text in Page(html).texts if text.startswith("title = ")]
    assert 'paper = "A paper, 2023"' in text and "[training]" in text


@pytest.mark.usefixtures("_no_curves")
def test_maps_are_shown_where_there_are_any(tmp_path: Path) -> None:
    assert 'id="maps"' not in render(report())
    Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "maps.png")
    html = render(report(maps=tmp_path / "maps.png"))
    shown = html.partition('<section id="maps">')[2].partition('src="data:image/png;base64,')[2]
    with Image.open(io.BytesIO(base64.b64decode(shown.partition('"')[0]))) as picture:
        assert (picture.size, picture.getpixel((0, 0))) == ((3, 2), (255, 0, 0))
    assert '<a href="#maps">' in html


def test_a_page_can_be_read_aloud(html: str) -> None:
    check_reading(html)


@pytest.mark.usefixtures("_no_curves")
@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (2, "It was best in epoch 2; 2 more made it no better."),
        (3, "It was best in epoch 3; one more made it no better."),
        (4, "It was best in the last epoch: more epochs may make it better."),
    ],
)
def test_the_answer_says_how_good_it_is_and_whether_more_would_help(kept: int, told: str) -> None:
    found = records(4)
    texts = Page(render(report(records=found, kept=found[kept - 1]))).texts
    share = round(100 * (60 + 30) / (60 + 20 + 30 + 15))  # of the building ground of both sources
    right = round(100 * (60 + 30) / (60 + 20 + 30 + 5))
    sentence = (
        f"On validation ground it finds {share} % of the ground of buildings, and {right} % of what it calls "
        "building is building."
    )
    assert texts.index(sentence) < texts.index(told) < texts.index("Validation IoU")


@pytest.mark.usefixtures("_no_curves")
@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({}, "There was no validation ground, so nobody knows how good it is."),
        (
            {"a": (0, 0, 0, 9)},
            "Neither the network nor the annotations have a building on the validation ground.",
        ),
        (
            {"a": (0, 0, 5, 9)},
            "On validation ground it finds 0 % of the ground of buildings, and it finds nothing.",
        ),
        ({"a": (0, 5, 0, 9)}, "On validation ground 0 % of what it calls building is building."),
    ],
)
def test_the_answer_knows_what_is_not_there(counts: dict[str, tuple[int, ...]], told: str) -> None:
    found = tuple(replace(one, counts_by_source=counts) for one in records(1))
    assert told in Page(render(report(records=found, kept=found[0]))).texts
