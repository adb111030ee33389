from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildmap.data.chips import ValidMap
from buildmap.data.hardness import Hardness
from buildmap.data.sources import TrainingSource, open_sources
from buildmap.raster.windows import Window
from tests.unit.data.material import make_preset, write_pair


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainingSource]:
    folder = tmp_path_factory.mktemp("data")
    write_pair(folder, "a")
    (opened,) = open_sources(folder, make_preset())
    yield opened
    opened.close()


def make_map(source: TrainingSource, left: int, rows: int, cols: int, cell_px: int = 4) -> ValidMap:
    """Give ground that is valid everywhere, of whole cells, from a column on."""
    window = Window(col_off=left, row_off=0, width=cols * cell_px, height=rows * cell_px)
    return ValidMap(source=source, window=window, cells=np.ones((rows, cols), np.bool_), cell_px=cell_px)


def _note(hardness: Hardness, *noted: tuple[tuple[int, int, int, int, int], float]) -> None:
    places, losses = zip(*noted, strict=True)
    hardness.note(np.array(places, np.int64), np.array(losses, np.float32))


def test_all_ground_is_alike_at_first_and_none_is_hard(source: TrainingSource) -> None:
    hardness = Hardness([make_map(source, 0, 8, 12), make_map(source, 48, 4, 4)], cell_px=8)
    hardness.end_epoch()
    assert {name: cells.tolist() for name, cells in hardness.state.items()} == {
        "0": [[1.0] * 6] * 4,
        "1": [[1.0] * 2] * 2,
    }
    assert not any(cells.any() for cells in hardness.hardest())


def test_a_chip_pulls_the_cells_it_lies_on_towards_its_share_of_the_mean_loss(source: TrainingSource) -> None:
    hardness = Hardness([make_map(source, 40, 4, 6)], cell_px=8)
    _note(hardness, ((0, 40, 0, 16, 8), 3.0), ((0, 56, 8, 8, 8), 1.0))
    assert (hardness.state["0"] == 1).all(), "not before the epoch's end"
    hardness.end_epoch()
    assert hardness.state["0"].tolist() == [[1.125, 1.125, 1], [1, 1, 0.875]]
    _note(hardness, ((0, 40, 0, 8, 8), 0.25), ((0, 56, 8, 8, 8), 0.25))
    hardness.end_epoch()
    assert hardness.state["0"].tolist() == [[1.09375, 1.125, 1], [1, 1, 0.90625]]


def spans(length: int) -> st.SearchStrategy[tuple[int, int]]:
    """Give ends of intervals of 4 and more, none in the middle of a cell: there both answers are right."""
    edges = [at for at in range(length + 1) if at % 4 != 2]
    pairs = [(start, end) for start in edges for end in edges if end - start >= 4]
    return st.sampled_from(pairs)


@given(st.lists(st.tuples(spans(24), spans(16), st.floats(0.1, 9)), min_size=1, max_size=12))
def test_running_losses_agree_with_a_loop_over_cells(
    source: TrainingSource, chips: list[tuple[tuple[int, int], tuple[int, int], float]]
) -> None:
    hardness = Hardness([make_map(source, 0, 2, 2), make_map(source, 40, 4, 6)], cell_px=4)
    _note(
        hardness,
        *(((1, 40 + left, top, end - left, low - top), loss) for (left, end), (top, low), loss in chips),
    )
    hardness.end_epoch()
    mean = np.mean([np.float32(loss) for *_, loss in chips], dtype=np.float64)
    expected = np.ones((4, 6))
    for (left, end), (top, low), loss in chips:
        for row, col in np.ndindex(4, 6):
            down = min(4 * row + 4, low) - max(4 * row, top)
            across = min(4 * col + 4, end) - max(4 * col, left)
            if down > 2 and across > 2:
                expected[row, col] += 0.25 * (loss / mean - expected[row, col])
    np.testing.assert_allclose(hardness.state["1"], expected, rtol=1e-5)
    assert (hardness.state["0"] == 1).all()


def test_a_chip_smaller_than_a_cell_moves_the_cell_it_lies_in(source: TrainingSource) -> None:
    hardness = Hardness([make_map(source, 0, 4, 4)], cell_px=8)
    _note(hardness, ((0, 12, 12, 2, 2), 3.0), ((0, 0, 4, 2, 2), 1.0))
    hardness.end_epoch()
    assert hardness.state["0"].tolist() == [[0.875, 1], [1, 1.125]]


def test_the_same_losses_in_multiples_are_as_hard(source: TrainingSource) -> None:
    states = []
    for scale in (1.0, 64.0):
        hardness = Hardness([make_map(source, 0, 4, 4)], cell_px=4)
        _note(hardness, ((0, 0, 0, 8, 8), 3 * scale), ((0, 8, 8, 8, 8), scale))
        hardness.end_epoch()
        states.append(hardness.state["0"])
    assert np.array_equal(*states)


def test_losses_that_are_no_numbers_change_nothing(source: TrainingSource) -> None:
    hardness = Hardness([make_map(source, 0, 4, 4)], cell_px=4)
    _note(hardness, ((0, 0, 0, 8, 8), np.nan), ((0, 0, 0, 16, 16), np.inf))
    hardness.end_epoch()
    assert (hardness.state["0"] == 1).all()
    _note(hardness, ((0, 0, 0, 4, 4), np.nan), ((0, 0, 0, 4, 4), 3.0), ((0, 8, 8, 4, 4), 1.0))
    hardness.end_epoch()
    assert hardness.state["0"][0, 0] == 1.125


def test_the_hardest_quarter_of_all_ground_is_hard_unless_it_is_easier_than_the_mean(
    source: TrainingSource,
) -> None:
    hardness = Hardness([make_map(source, 0, 4, 4), make_map(source, 16, 4, 4)], cell_px=4)
    running = np.full((4, 4), 0.9, np.float32)
    running[0] = [1.5, 1.4, 1.3, 1.2]
    hardness.restore({"0": running, "1": running + np.float32(0.05)})
    found = hardness.hardest()
    assert [np.argwhere(cells).tolist() for cells in found] == [[[0, c] for c in range(4)]] * 2
    running[1:] = [1.1, 1.1, 1.1, 1.1]
    hardness.restore({"0": running, "1": running - 1})
    assert np.flatnonzero(hardness.hardest()[0]).tolist() == list(range(8)), "8 of 32, none of the other map"


def test_hard_ground_is_valid_ground_and_only_that_is_counted(source: TrainingSource) -> None:
    valid = make_map(source, 0, 4, 8)
    cells = valid.cells.copy()
    cells[:, 2:] = False
    cells[0, 0] = False
    hardness = Hardness([replace(valid, cells=cells)], cell_px=8)
    hardness.restore({"0": np.array([[1.5, 9, 9, 9], [1.4, 9, 9, 9]], np.float32)})
    (found,) = hardness.hardest()
    assert np.argwhere(found).tolist() == [[0, 1], [1, 0], [1, 1]]


def test_cells_at_the_edge_may_reach_beyond_the_map(source: TrainingSource) -> None:
    hardness = Hardness([make_map(source, 0, 5, 3)], cell_px=8)
    assert hardness.state["0"].shape == (3, 2)
    _note(hardness, ((0, 8, 16, 4, 4), 3.0), ((0, 0, 0, 8, 8), 1.0))
    hardness.end_epoch()
    assert hardness.state["0"].tolist() == [[0.875, 1], [1, 1], [1, 1.125]]
    assert np.argwhere(hardness.hardest()[0]).tolist() == [[4, 2]]


def test_what_is_restored_goes_on_as_the_original(source: TrainingSource) -> None:
    one, other = (Hardness([make_map(source, 0, 8, 8)], cell_px=4) for _ in range(2))
    rng = np.random.default_rng(0)
    for epoch in range(4):
        places = np.stack([np.zeros(5), *(rng.integers(0, 16, (2, 5))), *np.full((2, 5), 16)], axis=1)
        losses = rng.random(5).astype(np.float32)
        one.note(places.astype(np.int64), losses)
        if epoch >= 2:
            other.note(places.astype(np.int64), losses)
        one.end_epoch()
        other.end_epoch()
        if epoch == 1:
            other.note(places.astype(np.int64), losses)  # to be forgotten
            other.restore(one.state)
    assert np.array_equal(one.state["0"], other.state["0"])
    assert np.ptp(one.state["0"]) > 0


def test_a_state_of_other_ground_is_refused(source: TrainingSource) -> None:
    hardness = Hardness([make_map(source, 0, 4, 4)], cell_px=4)
    for state in ({}, {"0": np.ones((4, 5))}, {"0": np.ones((4, 4)), "1": np.ones((4, 4))}):
        with pytest.raises(ValueError, match="other ground"):
            hardness.restore({name: cells.astype(np.float32) for name, cells in state.items()})


def test_a_state_is_a_copy(source: TrainingSource) -> None:
    hardness = Hardness([make_map(source, 0, 4, 4)], cell_px=4)
    kept = hardness.state
    hardness.restore(kept)
    _note(hardness, ((0, 0, 0, 8, 8), 3.0), ((0, 8, 8, 8, 8), 1.0))
    hardness.end_epoch()
    assert (kept["0"] == 1).all()
