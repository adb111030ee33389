"""The words around the tables."""

from dataclasses import replace

import pytest

from buildmap.metrics.headline import facts, headlines, methods
from buildmap.metrics.statistics import Interval
from buildmap.metrics.summary import Alignment
from tests.unit.metrics.summaries import full_summary, make_pair, make_summary, only_pixels


def told(summary: object) -> dict[str, str]:
    return dict(facts(summary, command="buildmap evaluate a b", version="1.2.3"))


def test_the_numbers_to_begin_with_are_those_of_all_pairs_with_their_intervals() -> None:
    summary = full_summary()
    lines = {line.name: line for line in headlines(summary)}
    assert lines["Pixel IoU"].value == f"{summary.total.pixels.iou:.3f}"
    low, high = summary.intervals["iou"].low, summary.intervals["iou"].high
    assert lines["Pixel IoU"].interval == f"{low:.3f} to {high:.3f}"
    assert lines["Building recall"].value == f"{summary.total.objects.at_50.recall:.3f}"
    assert lines["Building precision"].value == f"{summary.total.objects.at_50.precision:.3f}"
    assert (lines["Boundary IoU"].value, lines["Boundary IoU"].interval) == ("0.612", "")
    assert "1.2 m (4 px)" in lines["Boundary IoU"].meaning
    assert lines["Outline error"].value == "0.83 m"


def test_the_interval_of_the_outline_error_is_in_metres() -> None:
    summary = replace(full_summary(), intervals={"polis_m": Interval(low=0.8, high=0.912)})
    lines = {line.name: line for line in headlines(summary)}
    assert lines["Outline error"].interval == "0.80 to 0.91 m"
    assert lines["Pixel IoU"].interval == ""


def test_what_was_not_measured_is_no_headline() -> None:
    assert [line.name for line in headlines(make_summary(of=only_pixels()))] == ["Pixel IoU", "Pixel F1"]


def test_one_pair_is_told_in_full() -> None:
    assert told(make_summary("a.tif")) == {
        "Prediction": "maps/a.tif",
        "Truth": "truth/a.tif",
        "CRS": "EPSG:32633",
        "GSD": "0.3 m",
        "Grids": "the prediction was resampled; offset +0.25 px in x, -0.50 px in y; "
        "its pixels are 1.67 times as large",
        "True buildings": "3,386",
        "Threshold": "probability 0.5 and more is building",
        "Match": "two footprints are the same building from IoU 0.5",
        "Empty images": "epsilon: 0.0001 is added above and below every fraction, so nothing in nothing "
        "scores 1 (Sci-Net)",
        "Command": "buildmap evaluate a b",
        "Made by": "buildmap 1.2.3, in 12.3 s",
    }


@pytest.mark.parametrize(
    ("alignment", "words"),
    [
        (Alignment(same_grid=True, offset_px=(0, 0), gsd_ratio=1), "the same"),
        (Alignment(same_grid=False, offset_px=None, gsd_ratio=None), "the prediction was resampled"),
    ],
)
def test_grids_are_told_as_far_as_they_are_known(alignment: Alignment, words: str) -> None:
    pair = replace(make_pair(), alignment=alignment)
    assert told(replace(make_summary(), pairs=(pair,)))["Grids"] == words


def test_a_layer_without_crs_has_no_grid_to_tell_of() -> None:
    pair = replace(make_pair(), alignment=None, crs=None, gsd_m=None)
    assert told(replace(make_summary(), pairs=(pair,))).keys() & {"Grids", "CRS", "GSD"} == set()


def test_many_pairs_are_counted_and_the_resampled_ones_too() -> None:
    summary = full_summary()
    same = replace(summary.pairs[0], alignment=Alignment(same_grid=True, offset_px=(0, 0), gsd_ratio=1))
    found = told(replace(summary, pairs=(same, *summary.pairs[1:])))
    assert (found["Pairs"], found["Resampled"]) == ("3", "2 predictions, to the grid of their truth")
    assert found["Other map"] == "maps_before"
    assert "Prediction" not in found
    assert "Resampled" not in told(replace(summary, pairs=(same, same)))


def test_methods_are_told_of_what_was_measured_only() -> None:
    few = " ".join(methods(make_summary(of=only_pixels())))
    many = " ".join(methods(full_summary()))
    for word in ("bootstrap", "Boundary IoU", "Calibration", "COCO", "PoLiS", "Wilcoxon"):
        assert word in many
        assert word not in few


def test_an_interval_that_nobody_knows_is_not_shown() -> None:
    unknown = Interval(low=float("nan"), high=float("nan"))
    lines = headlines(replace(full_summary(), intervals={"iou": unknown, "polis_m": unknown}))
    assert {line.interval for line in lines} == {""}
