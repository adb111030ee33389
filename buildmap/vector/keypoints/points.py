"""Keypoints as flat arrays, and the order in which they become corners."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypoints:
    """The corners that a network sees of some objects, in no order."""

    points: NDArray[np.float64]
    """(k, 2) x and y in pixel corners; those of an object stand together."""
    score: NDArray[np.float64]
    """(k,) height of the peak, 0..1; of two that stand for one corner the higher stays."""
    offsets: NDArray[np.int64]
    """(n + 1,) where each object starts in `points`."""

    def __post_init__(self) -> None:
        count = len(self.points)
        if self.points.shape != (count, 2) or self.score.shape != (count,):
            raise ValueError(f"keypoints {self.points.shape} with scores {self.score.shape}")
        rising = len(self.offsets) > 0 and self.offsets[0] == 0 and bool((np.diff(self.offsets) >= 0).all())
        if not rising or self.offsets[-1] != count:
            raise ValueError(f"offsets do not part {count} keypoints")
        if not np.isfinite(self.points).all():
            raise ValueError("a keypoint lies nowhere")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def owner(self) -> NDArray[np.int64]:
        """(k,) the object of each keypoint."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


class Order(NamedTuple):
    """Keypoints in the order of corners; the exterior is the first ring of each polygon."""

    corner: NDArray[np.int64]
    """(c,) index of a keypoint; the first of a ring is not repeated."""
    rings: NDArray[np.int64]
    """(r + 1,) where each ring starts in `corner`; none has fewer than three."""
    polygons: NDArray[np.int64]
    """(n + 1,) where each polygon starts in `rings`; one with too few keypoints has no ring."""
