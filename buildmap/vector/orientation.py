"""Which way a building faces: the direction most of its walls share, or stand at right angles to."""

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.ragged import Ragged, owners

RIGHT_ANGLE_DEG = 90.0
_AGREEMENT_MIN = 0.3


def main_direction_deg(outlines: Ragged) -> NDArray[np.float64]:
    """Give the main direction of the walls of each exterior, from the x axis towards y.

    Four times its direction turns every wall of a rectangular building into the same angle. The mean of
    these, each counting by the length of its wall, is four times the main direction; its length, 0..1,
    says how much the walls agree, and below 0.3 a building is round and faces nowhere: a circle, a
    hexagon or an octagon has 0.

    Args:
        outlines: n polygons; interiors do not matter.

    Returns:
        (n,) degrees from 0 up to 90; NaN where a building is round.
    """
    owner = owners(outlines)
    exterior = outlines.polygons[owner[:-1]]
    start = np.arange(len(exterior))
    is_wall = (start >= outlines.rings[exterior]) & (start < outlines.rings[exterior + 1] - 1)
    walls = np.diff(outlines.corners[:, 0] + 1j * outlines.corners[:, 1])[is_wall]
    lengths = np.abs(walls)
    some = lengths > 0
    turned = walls[some] ** 4 / lengths[some] ** 3
    count = len(outlines.polygons) - 1
    whose = owner[:-1][is_wall]
    sums = np.bincount(whose[some], turned.real, count) + 1j * np.bincount(whose[some], turned.imag, count)
    facing = np.abs(sums) >= _AGREEMENT_MIN * np.bincount(whose, lengths, count)
    facing &= sums != 0
    return np.where(facing, np.degrees(np.angle(sums)) / 4 % RIGHT_ANGLE_DEG, np.nan)


def turn_deg(direction: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the angle between main directions, 0..45 degrees; NaN where there is none.

    Args:
        direction: (n,) degrees.
        other: (n,) degrees.
    """
    turn = np.abs(direction - other) % RIGHT_ANGLE_DEG
    return np.asarray(np.minimum(turn, RIGHT_ANGLE_DEG - turn))
