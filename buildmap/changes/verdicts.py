"""What became of each building: linked buildings of two dates are explained, the best explanation first.

A pair explains one building before and one after; a split one before and several after, each mostly on the
ground of the first; a merger the reverse. What an explanation is worth is the IoU of the ground before and
the ground after that it brings together. Greedily the best ones are taken whose buildings are still free.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.matching import Overlaps

SAME, ENLARGED, REDUCED, RESHAPED, SPLIT, MERGED, GONE, NEW = range(8)
"""What became of a building, or where it came from."""
KINDS = ("same", "enlarged", "reduced", "reshaped", "split", "merged", "gone", "new")
"""Their names."""

_DIGITS = 9  # beyond lies noise, which would decide between equal explanations


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """When buildings of two dates are one."""

    iou_min: float = 0.3
    """A pair, split or merger brings together ground of at least this IoU."""
    area_change: float = 0.25
    """A building is enlarged when its area has grown by this share; reduced, the other way round."""
    reshaped_iou: float = 0.5
    """Of much the same area, but below this IoU, a building has another shape."""
    inside: float = 0.8
    """Of two of which one lies in the other with this share of its area, half the lowest IoU is enough."""
    part: float = 0.5
    """Part of a building is what lies on its ground with this share of its own area."""
    gain: float = 0.05
    """By so much of IoU a split or a merger has to be better than a pair."""

    def __post_init__(self) -> None:
        if not 0 < self.iou_min <= 1:
            raise ValueError(f"iou_min {self.iou_min} is not in 0..1")
        if not self.area_change > 0:
            raise ValueError(f"area_change {self.area_change} is not above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Cases; every building is in exactly one."""

    kind: NDArray[np.int64]
    """(c,) `SAME` ... `NEW`."""
    iou: NDArray[np.float64]
    """(c,) of the ground before and after; NaN where there is only one of them."""
    case_of_before: NDArray[np.int64]
    """(n,) case of each building before."""
    case_of_after: NDArray[np.int64]
    """(m,) case of each building after."""


class _Explanations(NamedTuple):
    """Ways to explain some buildings."""

    kind: NDArray[np.int64]
    """(e,) what they would be."""
    iou: NDArray[np.float64]
    """(e,) of the ground before and after."""
    members: NDArray[np.int64]
    """(k,) buildings: n before, then m after, numbered through."""
    starts: NDArray[np.int64]
    """(e + 1,) where the members of each begin."""


def judge(overlaps: Overlaps, rules: Judging) -> Verdicts:
    """Say what became of n buildings, and where m came from.

    Args:
        overlaps: Of the n before (left) and the m after (right) that are linked.
        rules: When buildings are one.
    """
    count, later = len(overlaps.left_area), len(overlaps.right_area)
    known = _joined(
        _pairs(overlaps, rules),
        _groups(overlaps, SPLIT, rules),
        _groups(overlaps, MERGED, rules),
    )
    worth = np.round(known.iou - rules.gain * np.isin(known.kind, (SPLIT, MERGED)), _DIGITS)
    case = _choose(known.members, known.starts, np.argsort(-worth, kind="stable"), count + later)
    chosen, number = np.unique(case[case >= 0], return_inverse=True)
    case[case >= 0] = number
    alone = np.flatnonzero(case < 0)
    case[alone] = len(chosen) + np.arange(len(alone))
    return Verdicts(
        kind=np.concatenate([known.kind[chosen], np.where(alone < count, GONE, NEW)]),
        iou=np.concatenate([known.iou[chosen], np.full(len(alone), np.nan)]),
        case_of_before=case[:count],
        case_of_after=case[count:],
    )


def _pairs(overlaps: Overlaps, rules: Judging) -> _Explanations:
    """Explain one building by another."""
    before, after = overlaps.left_area[overlaps.left], overlaps.right_area[overlaps.right]
    iou = overlaps.iou
    is_inside = np.round(overlaps.shared / np.minimum(before, after), _DIGITS) >= rules.inside
    able = np.flatnonzero((iou >= rules.iou_min) | (is_inside & (iou >= rules.iou_min / 2)))
    members = np.stack([overlaps.left[able], len(overlaps.left_area) + overlaps.right[able]], axis=1)
    grown = np.round(after[able] / before[able], _DIGITS)
    kind = np.where(iou[able] < rules.reshaped_iou, RESHAPED, SAME)
    kind[grown > 1 + rules.area_change] = ENLARGED
    kind[grown < 1 / (1 + rules.area_change)] = REDUCED
    return _Explanations(kind, iou[able], members.ravel(), 2 * np.arange(len(able) + 1))


def _groups(overlaps: Overlaps, kind: int, rules: Judging) -> _Explanations:
    """Explain one building by its parts on the other date."""
    count = len(overlaps.left_area)
    whole_area, part_area = overlaps.left_area, overlaps.right_area
    whole, part = overlaps.left, overlaps.right
    whole_start, part_start = 0, count
    if kind == MERGED:
        whole_area, part_area, whole, part = part_area, whole_area, part, whole
        whole_start, part_start = count, 0
    inside = np.flatnonzero(np.round(overlaps.shared / part_area[part], _DIGITS) >= rules.part)
    inside = inside[np.argsort(whole[inside], kind="stable")]
    owners, first, parts = np.unique(whole[inside], return_index=True, return_counts=True)
    number = np.repeat(np.arange(len(owners)), parts)
    shared = np.bincount(number, overlaps.shared[inside], len(owners))
    apart = whole_area[owners] + np.bincount(number, part_area[part[inside]], len(owners)) - shared
    iou = np.minimum(np.round(np.divide(shared, apart), _DIGITS), 1)
    able = (parts > 1) & (iou >= rules.iou_min)
    members = np.insert(part_start + part[inside], first, whole_start + owners)
    sizes = parts + 1
    starts = np.concatenate([[0], np.cumsum(sizes[able])])
    return _Explanations(np.full(int(able.sum()), kind), iou[able], members[np.repeat(able, sizes)], starts)


def _joined(*several: _Explanations) -> _Explanations:
    starts, found = [np.zeros(1, np.int64)], 0
    for one in several:
        starts.append(one.starts[1:] + found)
        found += len(one.members)
    return _Explanations(
        np.concatenate([one.kind for one in several]),
        np.concatenate([one.iou for one in several]),
        np.concatenate([one.members for one in several]),
        np.concatenate(starts),
    )


@compiled
def _choose(
    members: NDArray[np.int64], starts: NDArray[np.int64], order: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Take explanations whose buildings are all free, in order; give the one of each building, or -1."""
    case = np.full(count, -1, np.int64)
    for explanation in order:
        whose = members[starts[explanation] : starts[explanation + 1]]
        if (case[whose] < 0).all():
            case[whose] = explanation
    return case
