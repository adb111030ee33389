import csv
import io

import numpy as np
import pytest

from buildmap.metrics.change import KINDS, STATUSES, ChangeCounts, ChangeScores, change_scores
from buildmap.metrics.change_summary import (
    SCHEMA_VERSION,
    ChangePair,
    ChangeSummary,
    ScotSummary,
    SeriesDate,
    SeriesScores,
    change_rows,
    scot_rows,
    to_csv,
)
from buildmap.metrics.tracks import Found, Scot


def scores(*, kinds: bool = True) -> ChangeScores:
    statuses = np.arange(36).reshape(6, 6)
    statuses[1], statuses[:, 1] = 0, 0
    counts = ChangeCounts(
        statuses=statuses, kinds=np.eye(7, dtype=np.int64) if kinds else None, set_aside=2, others=({}, {})
    )
    return change_scores(counts, "skip")


def changes(*, kinds: bool = True) -> ChangeSummary:
    pair = ChangePair(prediction="a/p.gpkg", truth="t.gpkg", crs=None, scores=scores(kinds=kinds))
    return ChangeSummary(
        schema_version=SCHEMA_VERSION,
        measure="change",
        iou_min=0.5,
        empty_rule="skip",
        pairs=(pair, pair),
        total=scores(kinds=kinds),
        seconds=1.0,
    )


def series() -> ScotSummary:
    dates = tuple(
        SeriesDate(
            name=name, prediction=f"p/{name}.gpkg", truth=f"t/{name}.gpkg", found=Found(tp=tp, fp=1, fn=0)
        )
        for name, tp in (("may", 3), ("june", 4))
    )
    found = Scot(
        score=0.625,
        buildings=Found(tp=7, fp=2, fn=0),
        mismatches=1,
        tracking=Found(tp=6, fp=3, fn=1),
        change=Found(tp=1, fp=1, fn=2),
    )
    area = SeriesScores(name="ulm", dates=dates, scot=found)
    return ScotSummary(
        schema_version=SCHEMA_VERSION,
        measure="scot",
        iou_min=0.25,
        beta=2.0,
        score=0.625,
        areas=(area,),
        seconds=1.0,
    )


def test_every_label_of_every_pair_and_of_all_has_a_line() -> None:
    lines = change_rows(changes())
    labels = (
        [("status", name) for name in STATUSES] + [("change", "any")] + [("kind", name) for name in KINDS]
    )
    assert [(line["scope"], line["of"], line["label"]) for line in lines] == [
        (scope, *label) for scope in ("pair", "pair", "total") for label in labels
    ]
    assert lines[0]["prediction"] == "a/p.gpkg" and lines[-1]["prediction"] is None
    added = changes().total.statuses["added"]
    assert (lines[-10]["tp"], lines[-10]["fp"], lines[-10]["f1"]) == (added.tp, added.fp, added.f1)
    assert [line["of"] for line in change_rows(changes(kinds=False))].count("kind") == 0


def test_the_table_reads_back_with_nothing_for_what_is_undefined() -> None:
    read = list(csv.DictReader(io.StringIO(to_csv(change_rows(changes())))))
    removed, changed = read[1], read[2]
    assert (removed["label"], removed["true"], removed["precision"], removed["f1"]) == (
        "removed",
        "0",
        "",
        "",
    )
    assert float(changed["recall"]) == changes().total.statuses["changed"].recall
    assert len(read) == 30


def test_dates_areas_and_their_mean_have_a_line_each() -> None:
    lines = scot_rows(series())
    assert [(line["scope"], line["area"], line["date"]) for line in lines] == [
        ("date", "ulm", "may"),
        ("date", "ulm", "june"),
        ("area", "ulm", None),
        ("mean", None, None),
    ]
    assert [line["tp"] for line in lines] == [3, 4, 7, None]
    assert lines[1]["f1"] == pytest.approx(8 / 9)
    area = lines[2]
    assert (area["mismatches"], area["tracking"], area["change"]) == (1, pytest.approx(12 / 16), 0.4)
    assert (area["change_tp"], area["change_fp"], area["change_fn"]) == (1, 1, 2)
    assert [line["scot"] for line in lines] == [None, None, 0.625, 0.625]
    assert len({tuple(line) for line in lines}) == 1
