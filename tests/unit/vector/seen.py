"""What windows saw, and the rule of merging by brute force over the whole set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from buildmap.vector.instance_rules import Candidates, Merging

Saw = tuple[shapely.Polygon, float, int, tuple[int, int, int, int], bool]
Found = tuple[bytes, float, int, str]


def candidates_of(seen: Sequence[Saw]) -> Candidates:
    polygons, score, class_id, window, cut = zip(*seen, strict=True) if seen else ([], [], [], [], [])
    column = np.empty(len(seen), object)
    column[:] = polygons
    return Candidates(
        polygons=column,
        score=np.array(score, float),
        class_id=np.array(class_id, np.int64),
        method=np.full(len(seen), "along", object),
        iou_raw=np.full(len(seen), 0.9),
        window=np.array(window, np.int64).reshape(-1, 4),
        is_cut=np.array(cut, bool),
    )


def found_of(candidates: Candidates) -> list[Found]:
    """List outlines, scores, classes and methods."""
    outlines = shapely.to_wkb(shapely.normalize(candidates.polygons)).tolist()
    columns = candidates.score.tolist(), candidates.class_id.tolist(), candidates.method.tolist()
    return list(zip(outlines, *columns, strict=True))


@dataclass(frozen=True)
class _Object:
    polygon: shapely.Polygon
    score: float
    class_id: int
    window: tuple[int, int, int, int] | None
    is_cut: bool

    @property
    def key(self) -> tuple[object, ...]:
        size = self.polygon.area, self.score
        values = size if self.is_cut else size[::-1]
        window = self.window or (-1, -1, -1, -1)
        return self.is_cut, -values[0], -values[1], self.class_id, window, self.polygon.wkb

    def differs(self, other: "_Object") -> bool:
        return self.window is None or other.window is None or self.window != other.window


def _iou(one: shapely.Geometry, other: shapely.Geometry) -> float:
    shared, either = one.intersection(other).area, one.union(other).area
    return round(shared / either, 9) if either else 0.0


def _match(first: _Object, second: _Object, rules: Merging) -> bool:
    if not first.differs(second):
        return False
    if _iou(first.polygon, second.polygon) >= rules.iou_min:
        return True
    if second.is_cut and not first.is_cut and second.polygon.area > first.polygon.area:
        return False
    smaller = min(first.polygon.area, second.polygon.area)
    return round(first.polygon.intersection(second.polygon).area / smaller, 9) >= rules.containment_min


def _shows_more(first: _Object, second: _Object) -> bool:
    if not (first.is_cut and second.is_cut):
        return False
    assert first.window is not None
    return not shapely.box(*first.window).covers(second.polygon)


def _are_parts(one: _Object, other: _Object, rules: Merging) -> bool:
    if not (one.is_cut and other.is_cut and one.window and other.window and one.differs(other)):
        return False
    common = shapely.box(*one.window).intersection(shapely.box(*other.window))
    if not common.area:
        return False
    return _iou(_on(one.polygon, common), _on(other.polygon, common)) >= rules.agreement_min


def _on(polygon: shapely.Polygon, ground: shapely.Polygon) -> shapely.Geometry:
    parts = shapely.get_parts(polygon.intersection(ground))
    return shapely.union_all([part for part in parts if part.area])


def _greedy(objects: list[_Object], rules: Merging, *, all_matches: bool) -> list[_Object]:
    kept: list[_Object] = []
    for candidate in sorted(objects, key=lambda each: each.key):
        beaten = any(
            _match(better, candidate, rules) and (all_matches or not _shows_more(better, candidate))
            for better in kept
        )
        if not beaten:
            kept.append(candidate)
    return kept


def _united(objects: list[_Object], rules: Merging) -> list[_Object]:
    groups: list[list[_Object]] = []
    for one in objects:
        linked = [group for group in groups if any(_are_parts(one, other, rules) for other in group)]
        groups = [group for group in groups if group not in linked]
        groups.append(sum(linked, [one]))
    united = []
    for group in groups:
        group.sort(key=lambda each: each.key)
        best = group[0]
        if len(group) > 1:
            whole = shapely.union_all([each.polygon for each in group]).simplify(0.0)
            best = _Object(whole, best.score, best.class_id, None, is_cut=True)
        united.append(best)
    return united


def merge_all(seen: Sequence[Saw], rules: Merging) -> list[Found]:
    """Merge the whole set at once, all pairs compared, and sort what is found."""
    objects = _greedy([_Object(*each) for each in seen], rules, all_matches=False)
    objects = _greedy(_united(objects, rules), rules, all_matches=True)
    return sorted(
        (
            shapely.normalize(each.polygon).wkb,
            each.score,
            each.class_id,
            "along" if each.window else "united",
        )
        for each in objects
    )
