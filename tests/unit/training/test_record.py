"""Lines of metrics, and which epoch is kept."""

import json
from dataclasses import replace

import pytest

from buildmap.training.record import EpochRecord, best_record, from_line, to_line

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
