"""What a search has shown, in rows and as CSV."""

import csv
import statistics
from dataclasses import asdict
from pathlib import Path

import pytest

from buildmap.search.table import best_row, rows_of, write_csv
from tests.unit.search.fakes import trial

IOUS = {"ce": (0.5, 0.6, 0.9), "dice": (0.7, None, 0.65)}
TRIALS = [
    trial({"loss": loss, "training.seed": str(seed), "model.width": "4"}, iou)
    for loss, ious in IOUS.items()
    for seed, iou in enumerate(ious)
]


def test_seeds_are_averaged_and_a_trial_without_a_model_is_a_gap() -> None:
    ce, dice = rows_of(TRIALS, "iou")
    assert ce.settings == {"loss": "ce", "model.width": "4"}
    assert (ce.trials, dice.trials) == (3, 2)
    for row, ious in ((ce, [0.5, 0.6, 0.9]), (dice, [0.7, 0.65])):
        assert row.score == row.iou == pytest.approx(statistics.mean(ious))
        assert row.iou_sd == pytest.approx(statistics.stdev(ious))
        assert row.f1 == pytest.approx(statistics.mean(ious) / 2)
        assert row.f1_sd == pytest.approx(statistics.stdev(ious) / 2)


def test_the_score_is_what_trials_are_compared_by() -> None:
    by_iou, by_accuracy = rows_of(TRIALS, "iou"), rows_of(TRIALS, "balanced_accuracy")
    assert [row.score for row in by_accuracy] == pytest.approx([1 - (row.score or 0) for row in by_iou])
    best = [best_row(rows) for rows in (by_iou, by_accuracy)]
    assert [row.settings["loss"] for row in best if row] == ["dice", "ce"]


def test_a_single_trial_has_no_spread_and_a_diverged_one_no_score() -> None:
    one, none = rows_of([trial({"loss": "ce"}, 0.5), trial({"loss": "dice"}, None)], "iou")
    assert (one.iou, one.iou_sd, one.f1_sd) == (0.5, None, None)
    assert (none.score, none.iou, none.f1, none.trials) == (None, None, None, 0)


def test_what_was_stopped_is_not_the_best() -> None:
    trials = [
        trial({"loss": "ce"}, 0.9, stopped=True, epochs=3),
        trial({"loss": "dice"}, 0.5),
        trial({"loss": "ell"}, 0.5),
        trial({"loss": "lace"}, None),
    ]
    rows = rows_of(trials, "iou")
    assert [(row.stopped, row.epochs) for row in rows] == [(True, 3), (False, 20), (False, 20), (False, 20)]
    assert best_row(rows) is rows[1]
    assert best_row([rows[0], rows[3]]) is rows[0]
    assert best_row(rows[3:]) is None


def test_the_csv_has_a_line_for_each_trial(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")
    write_csv(TRIALS, path)
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["loss"] for line in lines] == [one.settings["loss"] for one in TRIALS]
    for line, one in zip(lines, TRIALS, strict=True):
        for name, value in asdict(one).items():
            if name != "settings":
                assert line[name] == ("" if value is None else str(value))
