"""SCOT: how well buildings are tracked through a series of dates, and their first appearance is found.

Van Etten, Hogan, Manso, Shermeyer, Weir, Lewis: "The Multi-Temporal Urban Development SpaceNet Dataset"
(CVPR 2021). Buildings of each date are matched one to one; a match that tells another story than the last
one of either building is a mismatch. The tracking score is the F1 of all matches, mismatches not counting
as found; the change score is the F1 of buildings that were not there on any date before. SCOT is their
weighted harmonic mean.

The published code (CosmiQ/solaris, `solaris/eval/scot.py`) has faults that are avoided here:

- It takes the dates from the rows of the truth twice, where it means those of the proposal too. A date on
  which the truth has no building is thereby no date: whatever is invented then costs nothing, and where it
  is the first, the buildings of the next one are not new. Here the dates are given; an empty one counts.
- Where nothing is new in the truth, and nothing in the prediction, its change score is 0, and so is SCOT,
  for a perfect prediction too; with no building at all it divides by zero. Here nothing to find, and
  nothing found, is 1.
- It adds up the intersection over union of rows with the same id. Here they are the parts of one building.
- The F1 among its statistics is that of the last date. Here it is that of all.

Else the numbers are the same, which the tests hold against a plain transcription. The paper's IoU of "0.25
or more" is kept; the code asks for more than that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from buildmap.errors import InputError
from buildmap.metrics.attributed import Attributed
from buildmap.metrics.confusion import ratio
from buildmap.vector.matching import Matches, Overlaps, find_overlaps
from buildmap.vector.store import PolygonStore

IOU_MIN = 0.25
"""SpaceNet 7's, whose pixels are 4 m wide."""
BETA = 2.0
"""SCOT's: tracking weighs more than change."""
_BASE_REWARD = 100.0
"""Of a pair, beside its intersection over union: as many pairs as can be come first, as published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The buildings of one date."""

    predicted: NDArray[np.str_]
    """(n,) ids, ascending, each once."""
    true: NDArray[np.str_]
    """(m,) the same."""
    matches: Matches
    """Pairs of the two, one to one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found of something."""

    tp: int
    """Found."""
    fp: int
    """Invented."""
    fn: int
    """Missed."""
    f1: float = field(init=False)
    """Harmonic mean of precision and recall; 1 where there is nothing, and nothing was found."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "f1", ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn, "one"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scot:
    """SCOT of one series, and what it is made of."""

    score: float
    """SCOT, 0..1."""
    buildings: Found
    """Of all dates, whatever their ids."""
    mismatches: int
    """Matches that contradict the last one of either building."""
    tracking: Found
    """The same, a mismatch being one invented and one missed; its F1 is the tracking score."""
    change: Found
    """Buildings that were not there on any date before; its F1 is the change score."""


def standing(layer: Attributed, column: str) -> tuple[PolygonStore, NDArray[np.str_]]:
    """Give the buildings that stand on the date of a layer, and the id of each as text.

    In a layer that `change` wrote, rows that are `removed` are no buildings any more.

    Args:
        layer: With a column of ids, and maybe `status`.
        column: Of ids.

    Raises:
        InputError: If a building has no id.
    """
    statuses = layer.columns.get("status")
    stand = np.arange(len(layer.store))
    if statuses is not None:
        stand = np.flatnonzero(np.array([status != "removed" for status in statuses.tolist()], np.bool_))
    ids = [_as_id(value) for value in layer.columns[column][stand].tolist()]
    if without := ids.count(""):
        raise InputError(
            f"{layer.path}: {without} of {len(ids)} buildings have no '{column}'",
            hint="--id-column names the column of ids",
        )
    return layer.store.select(stand), np.array(ids, np.str_)


def sight(
    predicted: tuple[PolygonStore, NDArray[np.str_]],
    true: tuple[PolygonStore, NDArray[np.str_]],
    *,
    iou_min: float = IOU_MIN,
) -> Sighting:
    """Match the buildings of one date: as many pairs as can be, and of these the best.

    Polygons with the same id are one building.

    Args:
        predicted: n polygons, and (n,) the id of each.
        true: m polygons in the same coordinates, and (m,) the id of each.
        iou_min: Lowest intersection over union of a pair.
    """
    left, left_part = np.unique(predicted[1], return_inverse=True)
    right, right_part = np.unique(true[1], return_inverse=True)
    parts = find_overlaps(predicted[0], true[0])
    pairs, pair_of = np.unique(
        left_part[parts.left] * len(right) + right_part[parts.right], return_inverse=True
    )
    overlaps = Overlaps(
        left=pairs // max(len(right), 1),
        right=pairs % max(len(right), 1),
        shared=_add_up(parts.shared, pair_of, len(pairs)),
        left_area=_add_up(parts.left_area, left_part, len(left)),
        right_area=_add_up(parts.right_area, right_part, len(right)),
    )
    return Sighting(predicted=left, true=right, matches=match_most(overlaps, iou_min=iou_min))


def match_most(overlaps: Overlaps, *, iou_min: float) -> Matches:
    """Match footprints so that the pairs are as many as can be, and of these the sum of IoU is the highest.

    Below an intersection over union of 0.5 a footprint can fit two others; buildings that compete with each
    other are few, so each such group is an assignment problem of its own.

    Args:
        overlaps: Of two layers.
        iou_min: Lowest intersection over union of a pair, above 0.

    Returns:
        The pairs, by their left footprints.
    """
    iou = overlaps.iou
    able = np.flatnonzero(iou >= iou_min)
    left, right, iou = overlaps.left[able], overlaps.right[able], iou[able]
    lefts, rights = len(overlaps.left_area), len(overlaps.right_area)
    links = coo_array((np.ones(len(able), np.bool_), (left, lefts + right)), shape=(lefts + rights,) * 2)
    group = connected_components(links, directed=False)[1][left] if len(able) else left
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    alone = ends - starts == 1
    chosen = [order[starts[alone]]]
    for start, end in zip(starts[~alone].tolist(), ends[~alone].tolist(), strict=True):
        pairs = order[start:end]
        chosen.append(_assign(left[pairs], right[pairs], iou[pairs], pairs))
    kept = np.sort(np.concatenate(chosen))
    return Matches(left=left[kept], right=right[kept], iou=iou[kept])


def scot(dates: Sequence[Sighting]) -> Scot:
    """Score a series.

    Args:
        dates: In the order of time, two at least.

    Raises:
        ValueError: If there is no second date.
    """
    if len(dates) < 2:
        raise ValueError("a series has two dates at least")
    buildings = _sum([found_on(date) for date in dates])
    wrong = _mismatches(dates)
    tracking = Found(tp=buildings.tp - wrong, fp=buildings.fp + wrong, fn=buildings.fn + wrong)
    change = _new_buildings(dates)
    return Scot(
        score=_harmonic(change.f1, tracking.f1),
        buildings=buildings,
        mismatches=wrong,
        tracking=tracking,
        change=change,
    )


def found_on(date: Sighting) -> Found:
    """Count the buildings of one date."""
    tp = len(date.matches.left)
    return Found(tp=tp, fp=len(date.predicted) - tp, fn=len(date.true) - tp)


def _as_id(value: object) -> str:
    """Write an id; the same number is the same id, whatever type a file has it in."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _add_up(areas: NDArray[np.float64], owner: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Add up what belongs to each of so many owners."""
    return np.bincount(owner, weights=areas, minlength=count).astype(np.float64)


def _assign(
    left: NDArray[np.int64], right: NDArray[np.int64], iou: NDArray[np.float64], pairs: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Choose among pairs that compete."""
    rows, row_of = np.unique(left, return_inverse=True)
    cols, col_of = np.unique(right, return_inverse=True)
    reward = np.zeros((len(rows), len(cols)))
    pair_at = np.full(reward.shape, -1)
    reward[row_of, col_of], pair_at[row_of, col_of] = _BASE_REWARD + iou, pairs
    chosen: NDArray[np.int64] = pair_at[linear_sum_assignment(reward, maximize=True)]
    return chosen[chosen >= 0]


def _mismatches(dates: Sequence[Sighting]) -> int:
    last_of_true: dict[str, str] = {}
    last_of_predicted: dict[str, str] = {}
    wrong = 0
    for date in dates:
        for predicted, true in _pairs(date):
            same = last_of_true.get(true, predicted) == predicted
            wrong += not (same and last_of_predicted.get(predicted, true) == true)
            last_of_true[true], last_of_predicted[predicted] = predicted, true
    return wrong


def _new_buildings(dates: Sequence[Sighting]) -> Found:
    """Count first appearances, from the second date on."""
    seen_predicted, seen_true = set(dates[0].predicted.tolist()), set(dates[0].true.tolist())
    tp = fp = fn = 0
    for date in dates[1:]:
        new_predicted = set(date.predicted.tolist()) - seen_predicted
        new_true = set(date.true.tolist()) - seen_true
        right = sum(predicted in new_predicted and true in new_true for predicted, true in _pairs(date))
        tp, fp, fn = tp + right, fp + len(new_predicted) - right, fn + len(new_true) - right
        seen_predicted |= new_predicted
        seen_true |= new_true
    return Found(tp=tp, fp=fp, fn=fn)


def _pairs(date: Sighting) -> list[tuple[str, str]]:
    predicted, true = date.predicted[date.matches.left], date.true[date.matches.right]
    return list(zip(predicted.tolist(), true.tolist(), strict=True))


def _sum(found: Sequence[Found]) -> Found:
    return Found(
        tp=sum(one.tp for one in found), fp=sum(one.fp for one in found), fn=sum(one.fn for one in found)
    )


def _harmonic(change: float, tracking: float) -> float:
    below = BETA**2 * change + tracking
    return (1 + BETA**2) * change * tracking / below if below > 0 else 0.0
