import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from buildmap.metrics.bits import EMPTY, FULL, count_bits, grown, grown_round, pack

Mask = NDArray[np.bool_]
SHAPES = {"height": st.integers(1, 40), "width": st.integers(1, 300), "seed": st.integers(0, 2**32 - 1)}


def specks(seed: int, height: int, width: int) -> Mask:
    rng = np.random.default_rng(seed)
    return rng.random((height, width)) < rng.choice([0, 0.001, 0.02, 0.5])


def unpacked(plane: NDArray[np.uint64], width: int) -> Mask:
    """Look at bits one by one; those beyond the last column are not there."""
    cols = np.arange(width)
    return (plane[:, cols // 64] >> (cols % 64).astype(np.uint64)) & np.uint64(1) != 0


@given(**SHAPES)
def test_packing_sets_the_bits_of_the_mask_and_no_others(height: int, width: int, seed: int) -> None:
    mask = specks(seed, height, width)
    plane = pack(mask)
    assert plane.shape == (height, -(-width // 64))
    assert (unpacked(plane, width) == mask).all()
    assert not unpacked(plane, plane.shape[1] * 64)[:, width:].any()


@given(**SHAPES)
def test_all_bits_are_counted(height: int, width: int, seed: int) -> None:
    mask = specks(seed, height, width)
    assert count_bits(pack(mask)) == mask.sum()
    assert count_bits(~pack(mask)) == pack(mask).size * 64 - mask.sum()


@given(**SHAPES, radius=st.integers(0, 20) | st.integers(0, 150))
def test_growing_sets_what_a_square_reaches(height: int, width: int, seed: int, radius: int) -> None:
    mask = specks(seed, height, width)
    wanted = ndimage.maximum_filter(mask, 2 * radius + 1, mode="constant", cval=False)
    assert (unpacked(grown(pack(mask), radius, EMPTY), width) == wanted).all()


@given(**SHAPES, radius=st.integers(0, 20) | st.integers(0, 150))
def test_growing_reaches_in_from_a_full_outside(height: int, width: int, seed: int, radius: int) -> None:
    ground = specks(seed, height, width)
    wanted = ndimage.maximum_filter(ground, 2 * radius + 1, mode="constant", cval=True)
    assert (unpacked(grown(~pack(~ground), radius, FULL), width) == wanted).all()


@given(**SHAPES, radius=st.integers(0, 20) | st.integers(0, 70))
def test_growing_round_sets_what_a_disk_reaches(height: int, width: int, seed: int, radius: int) -> None:
    mask = specks(seed, height, width)
    wanted = ndimage.distance_transform_edt(~mask) <= radius if mask.any() else mask
    assert (unpacked(grown_round(pack(mask), radius), width) == wanted).all()


@pytest.mark.parametrize("radius", [*range(20), 40, 63, 64, 65, 70])
def test_a_square_by_the_border_is_cut_and_has_no_gap(radius: int) -> None:
    for row, col in [(0, 0), (57, 55), (59, 74), (4, 6), (30, 73), (58, 64)]:
        mask = np.zeros((60, 75), bool)
        mask[row, col] = True
        wanted = np.zeros_like(mask)
        wanted[max(row - radius, 0) : row + radius + 1, max(col - radius, 0) : col + radius + 1] = True
        assert (unpacked(grown(pack(mask), radius, EMPTY), 75) == wanted).all()


@pytest.mark.parametrize("width", [63, 64, 65, 128])
def test_a_bit_crosses_from_word_to_word(width: int) -> None:
    mask = np.zeros((1, width), bool)
    mask[0, 62] = True
    assert np.flatnonzero(unpacked(grown(pack(mask), 2, EMPTY), width)).tolist() == list(
        range(60, min(65, width))
    )
