import numpy as np
import pytest

from buildmap.changes.shifts import ShiftBlocks, ShiftField
from buildmap.changes.summary import ChangeSummary, shift_layer, summarize_shift

BLOCKS = ShiftBlocks(
    box=np.array([[0, 100, 100, 200], [0, 0, 100, 100], [100, 0, 200, 100], [100, 100, 200, 200]], float),
    dx=np.array([3.0, 6.0, 90.0, -12.0]),
    dy=np.array([4.0, 8.0, 0.0, 16.0]),
    pairs=np.array([20, 30, 0, 40]),
    spread=np.array([0.5, 0.25, np.nan, 1.0]),
    source=np.array(["own", "own", "all", "own"]),
)
FIELD = ShiftField(blocks=BLOCKS, block=100.0, overall=(4.0, -5.0))


def test_a_shift_is_told_in_metres_by_the_blocks_that_know() -> None:
    told = summarize_shift(FIELD, 0.5)
    assert (told.dx_m, told.dy_m) == (2.0, -2.5)
    assert (told.median_m, told.max_m) == (5.0, 10.0)
    assert told.blocks == {"own": 3, "neighbours": 0, "all": 1, "none": 0}


@pytest.mark.parametrize(("blocks", "shift_m"), [(0, 0.0), (1, 5.0)])
def test_one_block_tells_its_shift_and_none_tells_nothing(blocks: int, shift_m: float) -> None:
    some = ShiftBlocks(**{name: getattr(BLOCKS, name)[:blocks] for name in ShiftBlocks.__slots__})
    told = summarize_shift(ShiftField(blocks=some, block=100.0, overall=(0.0, 0.0)), 1.0)
    assert (told.median_m, told.max_m, sum(told.blocks.values())) == (shift_m, shift_m, blocks)


def test_blocks_are_drawn_with_their_shifts_in_metres() -> None:
    layer = shift_layer(BLOCKS, 0.5)
    assert [shape.bounds for shape in layer.polygons] == [tuple(box) for box in BLOCKS.box.tolist()]
    expected = {
        "dx_m": [1.5, 3, 45, -6],
        "dy_m": [2, 4, 0, 8],
        "shift_m": [2.5, 5, 45, 10],
        "pairs": [20, 30, 0, 40],
        "spread_m": [0.25, 0.125, np.nan, 0.5],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(layer.columns[name], values)
    assert layer.columns["source"].tolist() == ["own", "own", "all", "own"]


@pytest.mark.parametrize(
    ("statuses", "changes"),
    [
        ({"unchanged": 3, "missing": 2}, False),
        ({"removed": 1}, True),
        ({"changed": 1}, True),
        ({"added": 1}, True),
    ],
)
def test_only_what_is_confirmed_is_a_change(statuses: dict[str, int], changes: bool) -> None:
    counts = {"added": 0, "removed": 0, "changed": 0, **statuses}
    rest = {"output": "", "layer": "", "crs": "", "before": 0, "after": 0, "kinds": {}, "repaired": 0}
    areas = {"area_added_m2": 0.0, "area_removed_m2": 0.0, "dropped": 0, "seconds": 0.0}
    summary = ChangeSummary(**rest, **areas, statuses=counts, shift=summarize_shift(FIELD, 1.0))  # type: ignore[arg-type]
    assert summary.has_changes is changes
