"""Scores of a layer of changes: which buildings were added, removed and changed, and how.

The rows of both layers are matched one to one by intersection over union, whatever they say; what they say
is then compared. A row that says something else than the four statuses is no answer: in the prediction it
finds nothing, and in the truth it takes the predicted row on the same ground out of the count, since nobody
knows whether that is right.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from buildmap.errors import InputError
from buildmap.metrics.attributed import Attributed
from buildmap.metrics.confusion import EmptyRule, ratio
from buildmap.vector.matching import Matches, find_overlaps, match
from buildmap.vector.store import PolygonStore

STATUSES = ("added", "removed", "changed", "unchanged")
"""What is scored, in the order of all tables."""
KINDS = ("split", "merged", "enlarged", "reduced", "reshaped")
"""How a changed building changed."""
STATUS: Literal["status"] = "status"
KIND: Literal["kind"] = "kind"
"""Names of the columns."""
_CHANGES = 3
"""So many of the statuses, the first, are a change."""
OTHER, UNMATCHED = "other", "unmatched"
"""The last two rows and columns of a table: neither of the labels, and no partner on the other side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSide:
    """A layer of changes."""

    store: PolygonStore
    """n polygons."""
    status: NDArray[np.int8]
    """(n,) index into `STATUSES`; -1 = none of them."""
    kind: NDArray[np.int8] | None
    """(n,) index into `KINDS`; -1 = none of them; None where the layer has no such column."""
    counted: NDArray[np.bool_]
    """(n,) True = on the ground that counts."""
    others: dict[str, int]
    """Rows that count and have none of the statuses, by what they say instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCounts:
    """What became of the rows of one pair of layers, or of several."""

    statuses: NDArray[np.int64]
    """(statuses + 2, statuses + 2) rows by true status, then predicted; at last `OTHER`, `UNMATCHED`."""
    kinds: NDArray[np.int64] | None
    """(kinds + 2, kinds + 2) the same by kind; None where a layer has no such column."""
    set_aside: int
    """Predicted rows with a status that lie where the truth has none."""
    others: tuple[dict[str, int], dict[str, int]]
    """Rows without a status, by what they say instead: of the prediction, and of the truth."""

    def __add__(self, other: "ChangeCounts") -> "ChangeCounts":
        told = tuple(dict(Counter(a) + Counter(b)) for a, b in zip(self.others, other.others, strict=True))
        return ChangeCounts(
            statuses=self.statuses + other.statuses,
            kinds=None if self.kinds is None or other.kinds is None else self.kinds + other.kinds,
            set_aside=self.set_aside + other.set_aside,
            others=(told[0], told[1]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores:
    """How well the rows of one status, or kind, were found."""

    true: int
    """Rows of the truth."""
    predicted: int
    """Rows of the prediction."""
    tp: int
    """Matched, and the same on both sides."""
    fp: int
    """Predicted, but without a match, or something else in truth."""
    fn: int
    """True, but without a match, or predicted as something else."""
    precision: float
    """Share of the predicted that are right; NaN where the rule leaves it undefined."""
    recall: float
    """Share of the true that were found; likewise."""
    f1: float
    """Harmonic mean of precision and recall; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeScores:
    """Everything that is said of one pair of layers, or of several taken together."""

    statuses: dict[str, LabelScores]
    """By status."""
    change: LabelScores
    """Added, removed and changed together: a change on both sides, be it another."""
    kinds: dict[str, LabelScores] | None
    """By kind; None where a layer has no such column."""
    confusion: dict[str, dict[str, int]]
    """Rows by true status, then by predicted; `unmatched` are those without a partner, and `other` are
    predicted rows that have none of the statuses."""
    kind_confusion: dict[str, dict[str, int]] | None
    """The same by kind, `other` being rows without one."""
    set_aside: int
    """Predicted rows with a status that lie where the truth has none; neither right nor wrong."""
    not_scored: dict[str, dict[str, int]]
    """Rows without a status, by what they say instead, of the `prediction` and the `truth`."""


def side_of(layer: Attributed, counted: NDArray[np.bool_]) -> ChangeSide:
    """Understand a layer of changes.

    Args:
        layer: With a column `status`, and maybe `kind`.
        counted: (n,) True = on the ground that counts.

    Raises:
        InputError: If there are rows, but not one has a status that is known.
    """
    said = layer.columns[STATUS].tolist()
    status = _codes(said, STATUSES)
    if len(said) and not (status >= 0).any():
        values = ", ".join(f"{name} ({rows})" for name, rows in _count(said).most_common(5))
        raise InputError(
            f"{layer.path}: no row has a status to be scored; the column '{STATUS}' holds {values}",
            hint=f"needed are {', '.join(STATUSES)}",
        )
    kinds = layer.columns.get(KIND)
    told = (name for name, code, counts in zip(said, status, counted, strict=True) if counts and code < 0)
    return ChangeSide(
        store=layer.store,
        status=status,
        kind=None if kinds is None else _codes(kinds.tolist(), KINDS),
        counted=counted,
        others=dict(sorted(_count(told).items())),
    )


def count_changes(predicted: ChangeSide, true: ChangeSide, *, iou_min: float) -> ChangeCounts:
    """Match the rows of two layers, and count what they say.

    A pair counts where its true row does, as everywhere. Of pairs with equal intersection over union, those
    that say the same go first: where a building was replaced by one of its shape, the row of the old one
    and that of the new lie on the same ground.

    Args:
        predicted: Found changes.
        true: What has changed, in the same coordinates.
        iou_min: Lowest intersection over union of a pair.
    """
    overlaps = find_overlaps(predicted.store, true.store)
    same_first = np.argsort(predicted.status[overlaps.left] != true.status[overlaps.right], kind="stable")
    overlaps = replace(
        overlaps,
        left=overlaps.left[same_first],
        right=overlaps.right[same_first],
        shared=overlaps.shared[same_first],
    )
    matches = match(overlaps, iou_min=iou_min)
    both_tell = predicted.kind is not None and true.kind is not None
    unknown = true.counted[matches.right] & (true.status[matches.right] < 0)
    return ChangeCounts(
        statuses=_tabulate(matches, predicted, true, STATUS),
        kinds=_tabulate(matches, predicted, true, KIND) if both_tell else None,
        set_aside=int((unknown & (predicted.status[matches.left] >= 0)).sum()),
        others=(predicted.others, true.others),
    )


def change_scores(counts: ChangeCounts, rule: EmptyRule = "epsilon") -> ChangeScores:
    """Compute every score of some counts.

    Args:
        counts: Of one pair of layers, or summed over several.
        rule: For fractions of nothing in nothing.
    """
    any_change = slice(0, _CHANGES)
    kinds = counts.kinds
    return ChangeScores(
        statuses={
            name: _label_scores(counts.statuses, slice(code, code + 1), rule)
            for code, name in enumerate(STATUSES)
        },
        change=_label_scores(counts.statuses, any_change, rule),
        kinds=None
        if kinds is None
        else {name: _label_scores(kinds, slice(code, code + 1), rule) for code, name in enumerate(KINDS)},
        confusion=_named(counts.statuses, STATUSES),
        kind_confusion=None if kinds is None else _named(kinds, KINDS),
        set_aside=counts.set_aside,
        not_scored={"prediction": counts.others[0], "truth": counts.others[1]},
    )


def _codes(said: Sequence[object], labels: tuple[str, ...]) -> NDArray[np.int8]:
    codes: dict[object, int] = {label: code for code, label in enumerate(labels)}
    return np.array([codes.get(value, -1) for value in said], np.int8)


def _count(said: Iterable[object]) -> Counter[str]:
    return Counter("null" if value is None else str(value) for value in said)


def _tabulate(
    matches: Matches, predicted: ChangeSide, true: ChangeSide, what: Literal["status", "kind"]
) -> NDArray[np.int64]:
    """Count rows by what the truth says of them, and then the prediction, where the truth has a status."""
    found, wanted = np.where(predicted.status < 0, -1, getattr(predicted, what)), getattr(true, what)
    size = len(STATUSES if what == STATUS else KINDS)
    known = true.counted & (true.status >= 0)
    table = np.zeros((size + 2, size + 2), np.int64)
    pairs = known[matches.right]
    found, wanted = np.where(found < 0, size, found), np.where(wanted < 0, size, wanted)
    np.add.at(table, (wanted[matches.right[pairs]], found[matches.left[pairs]]), 1)
    invented, missed = predicted.counted.copy(), known.copy()
    invented[matches.left], missed[matches.right] = False, False
    table[size + 1] += np.bincount(found[invented], minlength=size + 2)
    table[:, size + 1] += np.bincount(wanted[missed], minlength=size + 2)
    return table


def _label_scores(table: NDArray[np.int64], labels: slice, rule: EmptyRule) -> LabelScores:
    tp = int(table[labels, labels].sum())
    predicted, true = int(table[:, labels].sum()), int(table[labels].sum())
    return LabelScores(
        true=true,
        predicted=predicted,
        tp=tp,
        fp=predicted - tp,
        fn=true - tp,
        precision=ratio(tp, predicted, rule),
        recall=ratio(tp, true, rule),
        f1=ratio(2 * tp, predicted + true, rule),
    )


def _named(table: NDArray[np.int64], labels: tuple[str, ...]) -> dict[str, dict[str, int]]:
    names = (*labels, OTHER, UNMATCHED)
    return {
        row: dict(zip(names, cells, strict=True)) for row, cells in zip(names, table.tolist(), strict=True)
    }
