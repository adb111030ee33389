"""Batches are as large as memory allows, and shrink when it does not."""

import logging
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from buildmap.inference.batches import Batches, OutOfMemory, largest_batch, out_of_memory
from tests.networks import make_card


def network_for(most: int, seen: list[int]) -> Callable[[NDArray[np.generic]], NDArray[np.float32]]:
    """Make a network that has room for `most` windows at once."""

    def run(images: NDArray[np.generic]) -> NDArray[np.float32]:
        seen.append(len(images))
        if len(images) > most:
            raise out_of_memory("cuda:0", "CUDA out of memory")
        return images[:, 0].astype(np.float32) + 1

    return run


IMAGES = np.arange(9 * 3 * 2 * 2).reshape(9, 3, 2, 2)


def test_memory_running_out_halves_the_batch_says_so_once_and_changes_no_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[int] = []
    batches = Batches(8)
    with caplog.at_level(logging.WARNING, "buildmap"):
        found = batches.run(network_for(3, seen), IMAGES)
    np.testing.assert_array_equal(found, IMAGES[:, 0] + 1)
    assert seen == [8, 4, 2, 2, 2, 2, 1]
    assert batches.size == 2
    assert [record.args[1] for record in caplog.records if isinstance(record.args, tuple)] == [4, 2]
    caplog.clear()
    batches.run(network_for(3, seen), IMAGES)
    assert not caplog.records


def test_a_single_window_that_does_not_fit_is_an_error_with_a_hint() -> None:
    with pytest.raises(OutOfMemory, match="out of memory on cuda:0") as caught:
        Batches(4).run(network_for(0, []), IMAGES)
    assert "--device cpu" in str(caught.value.hint)
    assert caught.value.exit_code == 69


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def run(_images: NDArray[np.generic]) -> NDArray[np.float32]:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        Batches(4).run(run, IMAGES)


@pytest.mark.parametrize(
    ("room", "lanes", "expected"),
    [(100, 2, (2, 32)), (100, 1, (1, 64)), (2, 2, (2, 1)), (1, 2, (1, 1)), (10**9, 2, (2, 64))],
)
def test_the_batch_doubles_until_all_lanes_together_fill_the_memory(
    room: int, lanes: int, expected: tuple[int, int]
) -> None:
    def run(windows: int) -> None:
        if windows > room:
            raise out_of_memory("cuda:0", "full")

    assert largest_batch(run, make_card(window_px=512), lanes=lanes) == expected
    assert largest_batch(run, make_card(window_px=128, scale=4), lanes=lanes) == expected


def test_no_batch_is_found_where_not_even_one_window_fits() -> None:
    def run(_windows: int) -> None:
        raise out_of_memory("cuda:0", "full")

    with pytest.raises(OutOfMemory):
        largest_batch(run, make_card(), lanes=2)
