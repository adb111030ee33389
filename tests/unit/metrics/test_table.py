"""The summary as one flat table."""

import csv
import io
from dataclasses import replace

import pytest

from buildmap.metrics.table import _METRICS, metrics, pair_name, rows, to_csv
from tests.unit.metrics.summaries import (
    full_summary,
    make_pair,
    make_scores,
    make_summary,
    only_pixels,
    undefined_scores,
)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_there_is_a_line_for_each_pair_and_group_the_total_and_the_mean() -> None:
    lines = rows(full_summary())
    assert [(line["scope"], line["name"], line["pairs"]) for line in lines] == [
        ("pair", "north.tif", 1),
        ("pair", "south.tif", 1),
        ("pair", "west.tif", 1),
        ("gsd", "0.20-0.40 m", 2),
        ("gsd", "0.40-0.60 m", 1),
        ("region", "Old town", 3),
        ("size", "house", 3),
        ("total", "total", 3),
        ("macro", "epsilon", 3),
    ]


def test_every_measure_stands_in_the_column_of_its_name() -> None:
    scores = make_scores()
    line = metrics(scores)
    assert line["tp_px"] == scores.confusion.tp
    assert line["mean_iou"] == scores.pixels.mean_iou
    assert line["best_iou_threshold"] == scores.sweep.best_iou.threshold
    assert line["boundary_precision"] == 0.7834
    assert line["object_recall"] == scores.objects.at_50.recall
    assert (line["ap"], line["ap50"], line["ap75"], line["ar"]) == (0.4321, 0.7215, 0.4567, 0.5132)
    assert (line["merged"], line["split"], line["truths_merged"], line["predictions_split"]) == (
        87,
        41,
        203,
        96,
    )
    assert (line["count_bias"], line["area_rmse_m2"], line["cell_m"]) == (-1.04, 402.9, 250.0)
    assert (line["polis_m"], line["polis_p90_m"], line["polis_published_m"]) == (0.8312, 1.7234, 0.6911)
    assert (line["self_intersections"], line["overlap_m2"]) == (2, 48.6)


def test_no_two_columns_show_the_same_number() -> None:
    values = {
        column: value for column, value in metrics(make_scores()).items() if column not in {"dice", "f1"}
    }
    same = {"outline_pairs", "object_tp", "boundary_width_m", "corner_tolerance_m", "best_f1_threshold"}
    numbers = [value for column, value in values.items() if column not in same]
    assert None not in numbers
    assert len(set(numbers)) == len(numbers)
    assert len(set(_METRICS.values())) == len(_METRICS)


def test_what_was_not_measured_or_is_undefined_is_an_empty_cell() -> None:
    line = read(to_csv(make_summary(of=only_pixels())))[0]
    assert line["iou"] == repr(make_scores().pixels.iou)
    measured = {"tp_px", "fp_px", "fn_px", "tn_px", "iou", "f1", "dice", "precision", "recall"}
    measured |= {"accuracy", "balanced_accuracy", "mean_iou"}
    assert {column for column in _METRICS if line[column] != ""} == measured
    assert read(to_csv(make_summary(of=undefined_scores())))[0]["object_f1"] == ""


def test_intervals_stand_on_the_line_of_the_total_only() -> None:
    summary = full_summary()
    for line in read(to_csv(summary)):
        expected = repr(summary.intervals["object_f1"].high) if line["scope"] == "total" else ""
        assert line["object_f1_high"] == expected
        assert (line["iou_low"] != "") == (line["scope"] == "total")


def test_a_class_of_buildings_has_no_pixel_scores() -> None:
    (line,) = [line for line in rows(full_summary()) if line["scope"] == "size"]
    assert (line["iou"], line["tp_px"], line["object_tp"]) == (None, None, 2726)


def test_the_mean_is_that_of_the_rule_in_use_and_has_pixel_scores_only() -> None:
    summary = full_summary()
    skip = replace(summary.macro["skip"], iou=0.123)
    line = rows(replace(summary, empty_rule="skip", macro=summary.macro | {"skip": skip}))[-1]
    assert (line["scope"], line["name"], line["iou"], line["object_f1"]) == ("macro", "skip", 0.123, None)


def test_the_csv_is_the_table_with_unix_lines_and_full_precision() -> None:
    summary = full_summary()
    text = to_csv(summary)
    assert "\r" not in text
    lines = rows(summary)
    assert text.splitlines()[0].split(",") == list(lines[0])
    for line, written in zip(lines, read(text), strict=True):
        for column, value in line.items():
            assert written[column] == ("" if value is None else str(value))


def test_names_with_commas_quotes_and_lines_come_back() -> None:
    name = 'a,"b"\nc.tif'
    assert read(to_csv(make_summary(name)))[0]["prediction"] == f"maps/{name}"


@pytest.mark.parametrize(
    ("path", "name"), [("maps/a.tif", "a.tif"), ("a.gdb/", "a.gdb"), ("/vsicurl/https://x/b.tif", "b.tif")]
)
def test_a_pair_is_called_as_its_prediction_is(path: str, name: str) -> None:
    assert pair_name(replace(make_pair(), prediction=path)) == name
