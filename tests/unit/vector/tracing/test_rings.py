import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.tracing.rings import Rings, close_rings, corners_in_use, follow, forget_finished
from buildmap.vector.tracing.trace import NODATA, Trace, new_trace, with_room


def closed(mask: NDArray[np.uint8]) -> tuple[Trace, Rings]:
    trace = new_trace(mask.shape[1])
    assert follow(trace, mask, 1, 0) == len(mask)
    assert follow(trace, np.full((1, mask.shape[1]), NODATA, np.uint8), 1, 0) == 1
    return trace, close_rings(trace)


def lists(rings: Rings) -> list[list[list[int]]]:
    return [ring.tolist() for ring in np.split(rings.corners, rings.offsets[1:-1])]


def test_a_pixel_has_four_corners_and_runs_down_first() -> None:
    trace, rings = closed(np.array([[0, 0], [0, 7]], np.uint8))
    assert lists(rings) == [[[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]]
    assert trace.pixels[rings.label].tolist() == [1]
    assert trace.total[rings.label].tolist() == [7]
    assert trace.last[rings.label].tolist() == [1]


def test_exterior_and_interior_run_in_opposite_directions() -> None:
    mask = np.ones((3, 3), np.uint8)
    mask[1, 1] = 0
    _, rings = closed(mask)
    assert lists(rings) == [
        [[0, 0], [0, 3], [3, 3], [3, 0], [0, 0]],
        [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]],
    ]
    assert rings.label[0] == rings.label[1]


def test_a_hole_that_pinches_itself_becomes_two_rings() -> None:
    mask = np.ones((4, 4), np.uint8)
    mask[1, 1] = mask[2, 2] = 0
    _, rings = closed(mask)
    assert sorted(lists(rings)) == [
        [[0, 0], [0, 4], [4, 4], [4, 0], [0, 0]],
        [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]],
        [[2, 2], [3, 2], [3, 3], [2, 3], [2, 2]],
    ]


def test_open_outlines_are_kept_and_finished_ones_forgotten() -> None:
    trace = new_trace(5)
    follow(trace, np.array([[1, 0, 1, 0, 0], [0, 0, 1, 0, 1]], np.uint8), 1, 0)
    rings = close_rings(trace)
    assert lists(rings) == [[[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]]]
    forget_finished(trace)
    assert corners_in_use(trace) == 4
    assert len(close_rings(trace).label) == 0


def test_following_stops_without_room_and_goes_on_with_it() -> None:
    rows, cols = np.mgrid[:400, :64]
    mask = ((rows + cols) % 2).astype(np.uint8)
    trace = new_trace(64)
    done, stops = 0, 0
    while (done := follow(trace, mask, 1, done)) < len(mask):
        trace = with_room(trace, 64)
        stops += 1
    assert stops > 2
    follow(with_room(trace, 64), np.full((1, 64), NODATA, np.uint8), 1, 0)
    assert trace.fill[1] == mask.sum()
    assert corners_in_use(trace) == 4 * mask.sum()


def test_every_corner_of_a_mask_full_of_pinches_is_on_exactly_one_ring() -> None:
    rows, cols = np.mgrid[:600, :600]
    mask = ((rows % 2 == 0) | (cols % 2 == 0)).astype(np.uint8)
    mask[1::4, 1::4] = 1
    mask[2::4, 2::4] = 0
    trace = new_trace(600)
    done = 0
    while (done := follow(trace, mask, 1, done)) < len(mask):
        trace = with_room(trace, 600)
    trace = with_room(trace, 600)
    follow(trace, np.full((1, 600), NODATA, np.uint8), 1, 0)
    rings = close_rings(trace)
    assert (np.diff(rings.offsets) >= 5).all()
    assert len(rings.corners) - len(rings.label) == corners_in_use(trace)


def test_without_a_folder_for_compiled_code_it_is_compiled_each_time() -> None:
    code = """
import numpy as np
from numba.core import caching
caching.CacheImpl._locator_classes = []
from buildmap.vector.tracing.rings import corners_in_use
from buildmap.vector.tracing.trace import new_trace
print(corners_in_use(new_trace(3)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
