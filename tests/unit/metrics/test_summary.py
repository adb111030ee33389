"""The summary as the object that scripts read."""

import json
from dataclasses import fields

from buildmap.cli.console import _plain
from buildmap.metrics.summary import SCHEMA_VERSION, EvaluateSummary, Scores
from tests.unit.metrics.summaries import full_summary, make_summary, only_pixels, undefined_scores


def test_every_field_is_in_the_json_and_comes_back_as_it_was() -> None:
    summary = full_summary()
    table = json.loads(json.dumps(_plain(summary), allow_nan=False))
    assert list(table) == [field.name for field in fields(EvaluateSummary)]
    assert list(table["total"]) == [field.name for field in fields(Scores)]
    assert table["schema_version"] == SCHEMA_VERSION == 2
    assert table["pairs"][1]["prediction"] == "maps/south.tif"
    assert table["pairs"][0]["alignment"]["offset_px"] == [0.25, -0.5]
    assert table["total"]["outlines"]["polis_m"]["p90"] == 1.7234
    assert table["macro"]["skip"]["iou"] == summary.macro["skip"].iou
    assert table["intervals"]["iou"]["low"] == summary.intervals["iou"].low


def test_what_was_not_measured_or_is_undefined_is_null() -> None:
    assert json.loads(json.dumps(_plain(make_summary(of=only_pixels()))))["total"]["outlines"] is None
    undefined = json.loads(json.dumps(_plain(make_summary(of=undefined_scores())), allow_nan=False))
    assert undefined["total"]["objects"]["at_50"]["f1"] is None
