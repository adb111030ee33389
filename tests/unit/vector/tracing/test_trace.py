import numpy as np

from buildmap.vector.tracing.trace import CORNERS, END, LABELS, ROW, fits, new_trace, with_room


def test_a_trace_begins_empty_above_the_row_it_is_told() -> None:
    trace = new_trace(5, first_row=70)
    assert trace.fill.tolist() == [0, 0, 0, 70]
    assert trace.ends_above[0] == END
    assert len(trace.inside) == 8
    assert len(new_trace(8).inside) == 16  # a byte behind the last pixel ends its run


def test_there_is_room_for_the_corners_and_labels_of_any_row() -> None:
    trace = new_trace(50)
    room = len(trace.col)
    assert fits(room - 104, trace.col, 50)
    assert not fits(room - 103, trace.col, 50)


def test_room_grows_where_it_is_needed_and_keeps_what_is_there() -> None:
    trace = new_trace(50)
    room = len(trace.col)
    trace.col[:], trace.parent[:] = np.arange(room), np.arange(room)
    trace.fill[CORNERS] = room - 10
    wider = with_room(trace, 50)
    assert {len(getattr(wider, name)) for name in ("col", "row", "following", "label", "twin")} == {2 * room}
    assert wider.parent is trace.parent
    np.testing.assert_array_equal(wider.col[:room], np.arange(room))
    trace.fill[:] = [0, room - 10, 0, 3]
    deeper = with_room(trace, 50)
    grown = ("parent", "pixels", "total", "peak", "last")
    assert {len(getattr(deeper, name)) for name in grown} == {2 * room}
    assert deeper.col is trace.col
    assert deeper.fill[LABELS] == room - 10 and deeper.fill[ROW] == 3
