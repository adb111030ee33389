"""Masks of one bit a pixel, 64 pixels a word: morphology at the speed of memory.

Bit `col % 64` of word `col // 64` is column `col`. The bits of a row's last word that lie beyond the last
column are the ground outside, as what is above the first row and below the last one is.

Compiled code of other modules does not call these functions: numba's cache would go on using the old one
after a change here.
"""

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled

EMPTY, FULL = np.uint64(0), np.uint64(2**64 - 1)
"""Words of which no bit is set, and every one."""


def pack(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack (rows, cols) to (rows, words); nothing is set outside."""
    rows, cols = mask.shape
    packed = np.zeros((rows, -(-cols // 64) * 8), np.uint8)
    packed[:, : -(-cols // 8)] = np.packbits(mask, axis=1, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


@compiled
def grown(plane: NDArray[np.uint64], radius: int, outside: np.uint64) -> NDArray[np.uint64]:
    """Set what lies within `radius` pixels of a set bit, along rows and along columns.

    Args:
        plane: (rows, words).
        radius: Half the side of the square.
        outside: `FULL` if all is set outside, or `EMPTY`; the bits beyond the last column are to agree.
    """
    made, reached = plane.copy(), 0
    while reached < radius:
        # a square that the border cuts through its middle still meets the one moved inwards
        step = min(reached + 1, radius - reached)
        source = made.copy()
        for row in range(len(made)):
            _spread(source[row], step, outside, made[row])
        source[:] = made
        for row in range(len(made)):
            for other in (row - step, row + step):
                if 0 <= other < len(made):
                    _join(made[row], source[other])
                else:
                    made[row] |= outside
        reached += step
    return made


@compiled
def grown_round(plane: NDArray[np.uint64], radius: int) -> NDArray[np.uint64]:
    """Set what lies within `radius` pixels of a set bit, centre to centre; nothing is set outside.

    A row is widened step by step, from what the disk's last rows reach to what its middle reaches, and
    joined to the rows that far above and below.

    Args:
        plane: (rows, words).
        radius: Of the disk.
    """
    made = np.zeros_like(plane)
    for row in range(len(plane)):
        if not plane[row].any():
            continue
        line, reach = plane[row].copy(), 0
        for away in range(radius, -1, -1):
            while (reach + 1) ** 2 + away**2 <= radius**2:
                _spread(line.copy(), 1, EMPTY, line)
                reach += 1
            for target in (row - away, row + away):
                if 0 <= target < len(made):
                    _join(made[target], line)
    return made


@compiled
def _spread(line: NDArray[np.uint64], step: int, outside: np.uint64, made: NDArray[np.uint64]) -> None:
    """Set in `made`, (words,), what is set in another line `step` columns to the left or to the right."""
    words, count = step // 64, len(line)
    near = np.uint64(step % 64)
    far = np.uint64(63 - step % 64)  # and one more: a word cannot be shifted by 64
    one = np.uint64(1)
    wide = np.full(count + 2 * words + 2, outside)
    wide[words + 1 : words + 1 + count] = line
    left, farther_left = wide[1:], wide[:count]
    right, farther_right = wide[2 * words + 1 :], wide[2 * words + 2 :]
    for word in range(count):
        from_left = (left[word] << near) | ((farther_left[word] >> far) >> one)
        from_right = (right[word] >> near) | ((farther_right[word] << far) << one)
        made[word] |= from_left | from_right


@compiled
def _join(line: NDArray[np.uint64], other: NDArray[np.uint64]) -> None:
    """Set in a line, (words,), what is set in another."""
    for word in range(len(line)):
        line[word] |= other[word]


@compiled
def count_bits(plane: NDArray[np.uint64]) -> int:
    """Count the bits that are set, (rows, words)."""
    pairs, fours, bytes_ = (
        np.uint64(0x5555555555555555),
        np.uint64(0x3333333333333333),
        np.uint64(0x0F0F0F0F0F0F0F0F),
    )
    total = np.uint64(0)
    for row in range(len(plane)):
        line = plane[row]
        for word in range(len(line)):
            bits = line[word]
            bits -= (bits >> np.uint64(1)) & pairs
            bits = (bits & fours) + ((bits >> np.uint64(2)) & fours)
            bits = (bits + (bits >> np.uint64(4))) & bytes_
            total += (bits * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return int(total)
