"""From cases to rows: what is told of each building, which outline and which id it keeps."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.changes import history as says
from buildmap.changes.columns import NO_ROW, ChangeBatch
from buildmap.changes.evidence import Evidence
from buildmap.changes.history import Confirming, agree, extend
from buildmap.changes.inventory import Known, know, name_buildings
from buildmap.changes.links import Linked, find_components, rank_components
from buildmap.changes.verdicts import (
    ENLARGED,
    GONE,
    KINDS,
    MERGED,
    NEW,
    REDUCED,
    RESHAPED,
    SAME,
    SPLIT,
    Verdicts,
)
from buildmap.vector.measures import centroids, local_maps

_LETTERS = {
    SAME: says.SEEN,
    ENLARGED: says.ENLARGED,
    REDUCED: says.REDUCED,
    RESHAPED: says.RESHAPED,
    SPLIT: says.SPLIT,
    MERGED: says.MERGED,
    GONE: says.UNSEEN,
    NEW: says.SEEN,
}
_LOOKED = 0.5
"""A date has looked at a building if it had data on this share of its ground."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What rows depend on besides the buildings."""

    crs: CRS
    """Of the outlines."""
    confirming: Confirming
    """How many dates must agree."""
    evidence_before: Evidence
    """Where the first date had data."""
    evidence_after: Evidence
    """Where the second had."""
    date_before: str | None
    """Of the first, where its layer does not say."""
    date_after: str | None
    """Of the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """Buildings of both dates with all that is known of them, and their cases."""

    linked: Linked
    verdicts: Verdicts
    telling: Telling
    known: Known
    before: NDArray[np.object_]
    after: NDArray[np.object_]
    area_before_m2: NDArray[np.float64]
    area_after_m2: NDArray[np.float64]
    evidence: NDArray[np.float64]
    """(c,) of a case seen on one date only, NaN of others."""
    history: NDArray[np.object_]
    """(n,) with what this date says."""
    lead_before: NDArray[np.int64]
    """(c,) the building whose id lives on, -1 where there is none."""
    lead_after: NDArray[np.int64]
    """(c,) the largest, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Which rows to write, (r,) each."""

    case: NDArray[np.int64]
    before: NDArray[np.int64]
    """Building that the row tells of; -1 = none."""
    after: NDArray[np.int64]
    status: NDArray[np.object_]


def tell(linked: Linked, verdicts: Verdicts, telling: Telling) -> ChangeBatch:
    """Make rows of some buildings of two dates, in an order that does not depend on the strips.

    Args:
        linked: The buildings; those after with columns `dx` and `dy`, by which they were moved back.
        verdicts: What became of them.
        telling: Dates, and what they have seen.
    """
    scene = _scene(linked, verdicts, telling)
    rows = _in_order(_choose_rows(scene, _statuses(scene)), linked)
    return _write(scene, rows)


def _scene(linked: Linked, verdicts: Verdicts, telling: Telling) -> _Scene:
    before, after = linked.before.store.take(slice(None)), linked.after.store.take(slice(None))
    known = know(linked.before, before, date=telling.date_before)
    kind = verdicts.kind[verdicts.case_of_before]
    gone = np.flatnonzero(kind == GONE)
    new = np.flatnonzero(verdicts.kind[verdicts.case_of_after] == NEW)
    evidence = np.full(len(verdicts.kind), np.nan)
    evidence[verdicts.case_of_before[gone]] = telling.evidence_after.share(before[gone])
    evidence[verdicts.case_of_after[new]] = telling.evidence_before.share(after[new])
    letters = np.array([_LETTERS[one] for one in range(len(KINDS))], np.object_)[kind]
    letters[~known.is_present & (kind != GONE)] = says.SEEN
    letters[evidence[verdicts.case_of_before] < _LOOKED] = ""
    area_before_m2, area_after_m2 = (
        shapely.area(outlines) * local_maps(centroids(outlines), telling.crs).m2_per_unit2
        for outlines in (before, after)
    )
    cases = len(verdicts.kind)
    return _Scene(
        linked=linked,
        verdicts=verdicts,
        telling=telling,
        known=known,
        before=before,
        after=after,
        area_before_m2=area_before_m2,
        area_after_m2=area_after_m2,
        evidence=evidence,
        history=extend(known.history, letters, telling.confirming),
        lead_before=_leads(verdicts.case_of_before, ~known.is_present, area_before_m2, cases),
        lead_after=_leads(verdicts.case_of_after, np.zeros(len(after), np.bool_), area_after_m2, cases),
    )


def _leads(
    case: NDArray[np.int64], last: NDArray[np.bool_], area_m2: NDArray[np.float64], cases: int
) -> NDArray[np.int64]:
    """Give the building that leads each case: the largest of those that are not `last`."""
    leads = np.full(cases, -1)
    order = np.lexsort((-area_m2, last))[::-1]
    leads[case[order]] = order  # the first of the order is written last, and stays
    return leads


def _statuses(scene: _Scene) -> NDArray[np.object_]:
    """Say what is told of each case, (c,); None where nothing is."""
    kind, lead = scene.verdicts.kind, scene.lead_before
    confirming = scene.telling.confirming
    status = np.full(len(kind), "unchanged", np.object_)
    looked = ~(scene.evidence < _LOOKED)
    is_new = kind == NEW
    status[is_new] = "added" if confirming.dates == 1 else "appearing"
    history = np.full(len(kind), "", np.object_)
    history[lead >= 0] = scene.history[lead[lead >= 0]]
    present = np.ones(len(kind), np.bool_)
    present[lead >= 0] = scene.known.is_present[lead[lead >= 0]]
    letter = np.array([_LETTERS[one] for one in range(len(KINDS))], np.object_)[kind]
    agreed = agree(history, letter, confirming)
    seen_enough = agree(history, np.full(len(kind), says.SEEN, np.object_), confirming)
    differs = np.isin(kind, (ENLARGED, REDUCED, RESHAPED, SPLIT, MERGED))
    status[differs] = np.where(agreed[differs], "changed", "changing")
    gone = kind == GONE
    status[gone] = np.where(agreed[gone], "removed", "missing")
    status[(gone | is_new) & ~looked] = "unobserved"
    status[~present] = np.where(seen_enough[~present], "added", "appearing")
    status[~present & gone & looked & agreed] = None
    return status


def _choose_rows(scene: _Scene, status: NDArray[np.object_]) -> _Rows:
    """Give each case its rows: one, or one for each part of what is split or waits to be merged."""
    kind = scene.verdicts.kind
    parts = (kind == SPLIT) & (status == "changed")
    waiting = (kind == MERGED) & np.isin(status, ("changing", "appearing"))
    single = np.flatnonzero(~parts & ~waiting & (status != None))  # noqa: E711  # by element
    of_parts = np.flatnonzero(parts[scene.verdicts.case_of_after])
    of_waiting = np.flatnonzero(waiting[scene.verdicts.case_of_before])
    part_case = scene.verdicts.case_of_after[of_parts]
    waiting_case = scene.verdicts.case_of_before[of_waiting]
    waiting_status = np.where(scene.known.is_present[of_waiting], "changing", "appearing")
    return _Rows(
        case=np.concatenate([single, part_case, waiting_case]),
        before=np.concatenate([scene.lead_before[single], scene.lead_before[part_case], of_waiting]),
        after=np.concatenate([scene.lead_after[single], of_parts, scene.lead_after[waiting_case]]),
        status=np.concatenate([status[single], status[part_case], waiting_status.astype(np.object_)]),
    )


def _in_order(rows: _Rows, linked: Linked) -> _Rows:
    """Sort rows as components are, see `Linker`, then by their numbers; those without one come last."""
    of_before, of_after = components = find_components(linked.overlaps)
    rank, _ = rank_components(linked.before, linked.after, components)
    component = np.where(rows.before >= 0, _at(of_before, rows.before), _at(of_after, rows.after))
    row_before, row_after = (
        np.where(places >= 0, _at(side.row, places), np.iinfo(np.int64).max)
        for side, places in ((linked.before, rows.before), (linked.after, rows.after))
    )
    order = np.lexsort((row_after, row_before, rank[component]))
    return _Rows(
        case=rows.case[order],
        before=rows.before[order],
        after=rows.after[order],
        status=rows.status[order],
    )


def _at(values: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Look up; -1 where the place is."""
    return np.append(values, -1)[places]


def _write(scene: _Scene, rows: _Rows) -> ChangeBatch:
    verdicts, known, date = scene.verdicts, scene.known, scene.telling.date_after
    case, has_before, has_after = rows.case, rows.before >= 0, rows.after >= 0
    kind = verdicts.kind[case]
    changed, added = rows.status == "changed", rows.status == "added"
    takes_after = has_after & (~has_before | changed | (added & (kind != SPLIT)))
    before, after = (
        _looked_up(outlines, places)
        for outlines, places in ((scene.before, rows.before), (scene.after, rows.after))
    )
    polygons = np.where(takes_after, after, before)
    is_part = changed & (kind == SPLIT)
    is_own = has_before & ~(is_part & (rows.after != scene.lead_after[case]))
    new_name = np.flatnonzero(~is_own)
    building_id = _looked_up(known.building_id, rows.before)
    previous = _objects_where(is_part, building_id)
    building_id[new_name] = name_buildings(polygons[new_name])
    united = np.flatnonzero(changed & (kind == MERGED))
    previous[united] = _member_ids(scene, case[united])
    history = _looked_up(scene.history, rows.before)
    history[changed | added | ~has_before] = says.SEEN
    first_seen, last_seen = (_looked_up(dates, rows.before) for dates in (known.first_seen, known.last_seen))
    first_seen[~is_own] = date
    last_seen[has_after] = date
    is_waiting = (kind == MERGED) & ~changed & ~added
    metres = local_maps(centroids(after[has_after]), scene.telling.crs).metres
    dx, dy = (_filled(scene.linked.after.columns[name], rows.after) for name in ("dx", "dy"))
    shift_m = np.full(len(case), np.nan)
    east_x, north_x, east_y, north_y = metres.T
    some_dx, some_dy = dx[has_after], dy[has_after]
    shift_m[has_after] = np.hypot(some_dx * east_x + some_dy * east_y, some_dx * north_x + some_dy * north_y)
    names = np.array(
        [name if SAME < number < GONE else None for number, name in enumerate(KINDS)], np.object_
    )
    differs = np.isin(rows.status, ("changed", "changing"))
    return ChangeBatch(
        polygons=polygons,
        building_id=building_id,
        status=rows.status,
        kind=_objects_where(differs, names[kind]),
        area_before_m2=_area_m2(scene.area_before_m2, verdicts.case_of_before, case, rows.before, is_waiting),
        area_after_m2=_area_m2(scene.area_after_m2, verdicts.case_of_after, case, rows.after, is_part),
        iou=verdicts.iou[case],
        shift_m=shift_m,
        evidence=scene.evidence[case],
        previous_ids=previous,
        history=history,
        first_seen=first_seen,
        last_seen=last_seen,
        row_before=_rows_of(scene.linked.before.row, rows.before),
        row_after=_rows_of(scene.linked.after.row, rows.after),
        before=before,
        after=after,
        dx=dx,
        dy=dy,
    )


def _looked_up(values: NDArray[np.object_], places: NDArray[np.int64]) -> NDArray[np.object_]:
    """Look up; None where the place is -1."""
    return np.append(values, np.array([None], np.object_))[places]


def _objects_where(keep: NDArray[np.bool_], values: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give None where one is not kept."""
    kept = values.copy()
    kept[~keep] = None
    return kept


def _filled(values: NDArray[np.generic], places: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.append(values.astype(np.float64), np.nan)[places]


def _rows_of(numbers: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(numbers, NO_ROW)[places]


def _area_m2(
    area_m2: NDArray[np.float64],
    case_of: NDArray[np.int64],
    case: NDArray[np.int64],
    places: NDArray[np.int64],
    is_own: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Give the area of all buildings of a row's case, or of its own; NaN where it has none."""
    total = np.bincount(case_of, area_m2, case.max(initial=-1) + 1)[case]
    own = np.append(area_m2, np.nan)[places]
    return np.where(is_own | np.isnan(own), own, total)


def _member_ids(scene: _Scene, cases: NDArray[np.int64]) -> list[str]:
    """Write the ids of the believed buildings before of some cases, the largest first."""
    of_case: dict[int, list[str]] = {case: [] for case in cases.tolist()}
    order = np.argsort(-scene.area_before_m2, kind="stable")
    for place in order[np.isin(scene.verdicts.case_of_before[order], cases) & scene.known.is_present[order]]:
        of_case[int(scene.verdicts.case_of_before[place])].append(scene.known.building_id[place])
    return [",".join(of_case[case]) for case in cases.tolist()]
