import numpy as np

from buildmap.vector.tracing.spans import (
    Reach,
    Spans,
    crop_spans,
    join_spans,
    needed_spans,
    no_spans,
    spans_around,
)
from buildmap.vector.tracing.trace import Runs

VALUES = np.arange(40, dtype=np.uint8).reshape(4, 10)


def around(*, above: bool = False, below: bool = False) -> Spans:
    """Cut out what is around two runs in row 101 of the rows 100..103."""
    row, start, stop = (np.array(part, np.int32) for part in ([101, 101], [0, 6], [2, 7]))
    runs = Runs(row, start, stop, np.zeros(2, np.int64), np.zeros(2, np.uint8))
    return spans_around(runs, VALUES, Reach(100, above, below))


def places(spans: Spans) -> list[list[int]]:
    return np.column_stack([spans.row, spans.start, spans.stop]).tolist()


def test_a_pixel_around_each_run_is_kept_with_its_value() -> None:
    spans = around()
    assert places(spans) == [[row, *cols] for row in (100, 101, 102) for cols in ([0, 3], [5, 8])]
    assert spans.values[:6].tolist() == [0, 1, 2, 5, 6, 7]
    assert spans.offsets.tolist() == [0, 3, 6, 9, 12, 15, 18]


def test_rows_next_to_other_bands_are_kept_whole() -> None:
    assert places(around(above=True, below=True)) == [
        [100, 0, 10],
        *([row, *cols] for row in (101, 102) for cols in ([0, 3], [5, 8])),
        [103, 0, 10],
    ]


def test_the_pixels_around_two_runs_are_one_span_where_they_meet() -> None:
    row, start, stop = (np.array(part, np.int32) for part in ([101, 101], [0, 4], [2, 7]))
    runs = Runs(row, start, stop, np.zeros(2, np.int64), np.zeros(2, np.uint8))
    assert places(spans_around(runs, VALUES, Reach(100, False, False))) == [
        [row, 0, 8] for row in (100, 101, 102)
    ]


def test_a_crop_is_no_data_where_nothing_is_kept() -> None:
    assert crop_spans(around(), (1, 101, 7, 104)).tolist() == [
        [11, 12, 255, 255, 15, 16],
        [21, 22, 255, 255, 25, 26],
        [255] * 6,
    ]


def test_only_what_touches_a_box_or_lies_in_the_last_row_is_still_needed() -> None:
    joined = join_spans(no_spans(), around(below=True))
    boxes = np.array([[102, 8, 9]])  # and the pixels around it: rows from 101 on, columns 7 to 9
    needed = needed_spans(joined, boxes, width=10, last_row=103)
    assert places(needed) == [[101, 5, 8], [102, 5, 8], [103, 0, 10]]
    assert needed.values.tolist() == [15, 16, 17, 25, 26, 27, *range(30, 40)]
