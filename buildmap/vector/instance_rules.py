"""The written rule by which objects of windows that overlap become one set.

1. *Order.* Whole objects come before cut ones, which touch a border of their window that is none of the
   raster. Whole ones go by score, then area; cut ones by area, then score, as the more was seen the better.
   Ties go by class, window and coordinates, so that no order of arrival matters.
2. *Match.* Two objects of different windows match where their IoU, or the share of the smaller one that lies
   in the other, is high enough; but a cut object matches a smaller whole one by its IoU alone, as a building
   is not lost to a dormer on it. Classes play no part: a building is one building.
3. *Suppress.* In that order, what matches an object that stays goes. Where both are cut, only what shows
   nothing beyond the window of the other goes yet.
4. *Join.* Two cut objects of different windows that agree on the ground that both windows see are parts of
   one building: they are united, without corners on straight walls; score and class are the first one's.
5. *Suppress again*, now any match. What was united counts as cut, and is of no window: it may match all.

Every step looks at pairs only, and is settled in the components that the pairs make; so the result is a
function of the set of objects.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from buildmap.vector.overlap_area import common_area

NOWHERE = -1
"""Stands in the place of the window of an object that was united."""
UNITED = "united"
"""Method of an object that was united."""
_DIGITS = 9  # beyond lies noise, which would decide at the thresholds
_NOISE = 1e-9
"""Share of the smaller polygon: polygons that only touch share less, by the rounding of coordinates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """When objects of different windows are one."""

    iou_min: float = 0.5
    """Lowest IoU of a match, above 0."""
    containment_min: float = 0.7
    """Lowest share of the smaller that lies in the other of a match, above 0."""
    agreement_min: float = 0.5
    """Lowest IoU, on the ground that both windows see, of two parts of one building; not above `iou_min`."""
    margin_px: float = 8.0
    """How far outside the core the centre of an object may lie: windows see it a little differently, and
    with 0 one on the border of two cores may have its centre beyond it for both."""
    border_px: float = 1.0
    """An object that comes so near to the border of its window is cut."""

    def __post_init__(self) -> None:
        for name in ("iou_min", "containment_min", "agreement_min"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not within 0..1")
        if self.agreement_min > self.iou_min:
            raise ValueError(f"agreement_min {self.agreement_min} is above iou_min {self.iou_min}")
        if not (self.margin_px >= 0 and self.border_px >= 0):
            raise ValueError(f"margin_px {self.margin_px} or border_px {self.border_px} is below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Objects that windows saw, in pixel corners of the raster."""

    polygons: NDArray[np.object_]
    """(n,) valid, each within its window."""
    score: NDArray[np.float64]
    """(n,) confidence of the detection, 0..1."""
    class_id: NDArray[np.int64]
    """(n,) class."""
    method: NDArray[np.object_]
    """(n,) str: how it was drawn; UNITED for one united."""
    iou_raw: NDArray[np.float64]
    """(n,) IoU with the outline of its mask, 0..1; NaN for one united."""
    window: NDArray[np.int64]
    """(n, 4) left, top, right and bottom of the image that each was seen in; NOWHERE for one united."""
    is_cut: NDArray[np.bool_]
    """(n,) True = touches a border of its window that is none of the raster, or was united."""

    def __len__(self) -> int:
        return len(self.polygons)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "Candidates":
        """Give some of them, by number or by mask, in that order."""
        return Candidates(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def gather(*parts: Candidates) -> Candidates:
    """Put candidates behind each other."""
    names = [field.name for field in fields(Candidates)]
    return Candidates(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def no_candidates() -> Candidates:
    """Give a set of none."""
    return Candidates(
        polygons=np.empty(0, np.object_),
        score=np.empty(0),
        class_id=np.empty(0, np.int64),
        method=np.empty(0, np.object_),
        iou_raw=np.empty(0),
        window=np.empty((0, 4), np.int64),
        is_cut=np.empty(0, np.bool_),
    )


class Pairs(NamedTuple):
    """Pairs of candidates; the one that comes first by the rule is `first`."""

    first: NDArray[np.int64]
    """(k,) number of a candidate."""
    second: NDArray[np.int64]
    """(k,) number of another."""

    def take(self, chosen: NDArray[np.bool_]) -> "Pairs":
        """Give some of them."""
        return Pairs(self.first[chosen], self.second[chosen])


def rank(candidates: Candidates) -> NDArray[np.int64]:
    """Give the place of each candidate, (n,), in the order of the rule."""
    area = shapely.area(candidates.polygons)
    _, outline = np.unique(shapely.to_wkb(candidates.polygons), return_inverse=True)
    primary = np.where(candidates.is_cut, area, candidates.score)
    secondary = np.where(candidates.is_cut, candidates.score, area)
    window = tuple(candidates.window.T[::-1])
    order = np.lexsort((outline, *window, candidates.class_id, -secondary, -primary, candidates.is_cut))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def near_pairs(candidates: Candidates, fresh: int) -> Pairs:
    """Find pairs of different windows whose boxes touch.

    Args:
        candidates: All.
        fresh: At least one of a pair is among so many at the end.
    """
    new = np.arange(len(candidates) - fresh, len(candidates))
    which, other = shapely.STRtree(candidates.polygons).query(candidates.polygons[new])
    one = new[which]
    once = other < one
    one, other = one[once], other[once]
    of_two = (candidates.window[one] != candidates.window[other]).any(axis=1)
    of_two |= candidates.window[one, 0] == NOWHERE
    one, other = one[of_two], other[of_two]
    place = rank(candidates)
    is_first = place[one] < place[other]
    return Pairs(np.where(is_first, one, other), np.where(is_first, other, one))


def find_matches(candidates: Candidates, fresh: int, rules: Merging) -> Pairs:
    """Find pairs, of the last `fresh` with any, of which only one can stay."""
    pairs = near_pairs(candidates, fresh)
    area, shared = shapely.area(candidates.polygons), _shared(candidates, pairs)
    first, second = area[pairs.first], area[pairs.second]
    contained = np.round(shared / np.minimum(first, second), _DIGITS) >= rules.containment_min
    lone_cut = candidates.is_cut[pairs.first] != candidates.is_cut[pairs.second]
    contained &= ~lone_cut | (second <= first)
    return pairs.take(contained | (_iou(shared, first, second) >= rules.iou_min))


def find_first_matches(candidates: Candidates, fresh: int, rules: Merging) -> Pairs:
    """Find matches, but not those of two cut objects of which the second shows more of the building."""
    pairs = find_matches(candidates, fresh, rules)
    room = candidates.window[pairs.first]
    box = shapely.bounds(candidates.polygons[pairs.second]).reshape(-1, 4)
    within = (box[:, :2] >= room[:, :2]).all(axis=1) & (box[:, 2:] <= room[:, 2:]).all(axis=1)
    return pairs.take(within | ~candidates.is_cut[pairs.first] | ~candidates.is_cut[pairs.second])


def find_parts(candidates: Candidates, fresh: int, rules: Merging) -> Pairs:
    """Find pairs, of the last `fresh` with any, that are parts of one building."""
    pairs = near_pairs(candidates, fresh)
    pairs = pairs.take(candidates.is_cut[pairs.first] & candidates.is_cut[pairs.second])
    shared = _shared(candidates, pairs)
    pairs, shared = pairs.take(shared > 0), shared[shared > 0]
    one, other = candidates.window[pairs.first], candidates.window[pairs.second]
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    common = shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1])
    seen = [shapely.area(shapely.intersection(candidates.polygons[numbers], common)) for numbers in pairs]
    return pairs.take(_iou(shared, *seen) >= rules.agreement_min)


def suppress(candidates: Candidates, pairs: Pairs) -> Candidates:
    """Keep, in the order of the rule, what matches nothing that was kept before."""
    place = rank(candidates)
    order = np.lexsort((place[pairs.second], place[pairs.first]))
    kept = np.ones(len(candidates), np.bool_)
    for first, second in zip(pairs.first[order], pairs.second[order], strict=True):
        if kept[first]:
            kept[second] = False
    return candidates.take(kept)


def unite(candidates: Candidates, pairs: Pairs) -> Candidates:
    """Make one object of all that are parts of one building."""
    group = components(len(candidates), pairs)
    by_group = np.lexsort((rank(candidates), group))
    starts = np.flatnonzero(np.append(True, np.diff(group[by_group]) != 0)[: len(by_group)])
    united = candidates.take(by_group[starts])
    counts = np.diff(np.append(starts, len(by_group)))
    for number in np.flatnonzero(counts > 1):
        parts = by_group[starts[number] : starts[number] + counts[number]]
        united.polygons[number] = shapely.simplify(shapely.union_all(candidates.polygons[parts]), 0.0)
        united.window[number], united.method[number], united.iou_raw[number] = NOWHERE, UNITED, np.nan
    return united


def components(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Number the components that pairs make of `count` objects, (count,)."""
    links = coo_array((np.ones(len(pairs.first), np.bool_), (pairs.first, pairs.second)), (count, count))
    _, component = connected_components(links, directed=False)
    return np.asarray(component, np.int64)


def _shared(candidates: Candidates, pairs: Pairs) -> NDArray[np.float64]:
    """Give the area that pairs share, (k,), 0 where only noise is left of it."""
    one, other = candidates.polygons[pairs.first], candidates.polygons[pairs.second]
    shared = common_area(one, other)
    return np.where(shared > _NOISE * np.minimum(shapely.area(one), shapely.area(other)), shared, 0.0)


def _iou(
    shared: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(np.round(shared / (one + other - shared), _DIGITS))
