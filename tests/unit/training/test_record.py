"""Lines of metrics, and which epoch is kept."""

import json
import math
from dataclasses import replace

import pytest

from buildmap.training.record import EpochRecord, Metric, best_record, from_line, is_exhausted, to_line

RECORD = EpochRecord(
    epoch=1,
    train_loss=0.5,
    validation_loss=None,
    iou=0.25,
    iou_by_source={"images/ü": 0.25},
    learning_rate=0.001,
    skipped_steps=0,
    seconds=1.5,
    chips_per_s=40.0,
    read_wait_share=0.01,
    counts_by_source={"images/ü": (1, 2, 1, 5)},
)


def with_ious(*ious: float | None) -> list[EpochRecord]:
    return [replace(RECORD, epoch=number, iou=iou) for number, iou in enumerate(ious, 1)]


def test_a_line_holds_the_record() -> None:
    line = to_line(RECORD)
    assert "\n" not in line
    assert json.loads(line)["iou_by_source"] == {"images/ü": 0.25}
    assert from_line(line) == RECORD


@pytest.mark.parametrize("line", ["{}", '{"epoch": 1, "colour": 2}', "[1]", "gibberish"])
def test_another_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"record|Expecting"):
        from_line(line)


def test_the_highest_iou_is_kept_and_of_equals_the_first() -> None:
    assert best_record(with_ious(0.1, 0.7, 0.3, 0.7)).epoch == 2


def test_without_validation_the_last_epoch_is_kept() -> None:
    assert best_record(with_ious(None, None, None)).epoch == 3


def judged(metric: str, values: list[float | None]) -> list[EpochRecord]:
    field = "validation_loss" if metric == "loss" else metric
    base = [replace(RECORD, epoch=number, iou=0.5) for number in range(1, len(values) + 1)]
    return [replace(record, **{field: value}) for record, value in zip(base, values, strict=True)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("iou", [0.1, 0.3, 0.2], 2),
        ("f1", [0.1, 0.3, 0.2], 2),
        ("balanced_accuracy", [0.1, 0.1, 0.2], 3),
        ("loss", [0.4, 0.2, 0.3, 0.2], 2),
        ("loss", [math.nan, 0.2, 0.3], 2),
        ("f1", [None, 0.0], 2),
    ],
)
def test_the_named_metric_decides_and_a_low_loss_is_a_good_one(
    metric: Metric, values: list[float | None], best: int
) -> None:
    assert best_record(judged(metric, values), metric).epoch == best


@pytest.mark.parametrize(
    ("ious", "patience", "over"),
    [
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.5], 2, True),
        ([0.5, 0.4, 0.6], 2, False),
        ([0.5, 0.4, 0.4, 0.4], None, False),
        ([], 1, False),
        ([None, None, None], 1, False),
    ],
)
def test_patience_ends_when_so_many_epochs_were_no_better(
    ious: list[float | None], patience: int | None, over: bool
) -> None:
    assert is_exhausted(with_ious(*ious), "iou", patience) is over


def test_a_record_of_an_earlier_version_is_read() -> None:
    table = json.loads(to_line(RECORD))
    for name in ("f1", "balanced_accuracy", "counts_by_source", "went_back"):
        del table[name]
    assert from_line(json.dumps(table)) == replace(RECORD, counts_by_source={})
