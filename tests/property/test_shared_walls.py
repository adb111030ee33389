import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from buildmap.vector.drawn import Drawn, join
from buildmap.vector.matching import overlaps_within
from buildmap.vector.neighbours import Neighbours
from buildmap.vector.store import PolygonStore
from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.walls.coverage import fit_groups
from buildmap.vector.walls.faces import Fit
from buildmap.vector.walls.touching import touching_groups
from tests.unit.vector.walls.test_touching import parts_of

LABELS = arrays(np.int32, (7, 8), elements=st.integers(0, 3))


def simplify_2(outlines: np.ndarray) -> np.ndarray:
    return np.asarray(shapely.simplify(outlines, 2.0))


def simplify_8(outlines: np.ndarray) -> np.ndarray:
    return np.asarray(shapely.simplify(outlines, 8.0))


def hull(outlines: np.ndarray) -> np.ndarray:
    """Cover courtyards and nooks, so that many a wall ends nowhere near."""
    return np.asarray(shapely.convex_hull(outlines))


def shifted(outlines: np.ndarray) -> np.ndarray:
    """Lose small footprints, and keep large ones."""
    return np.asarray(shapely.transform(outlines, lambda xy: xy + np.array([4.0, 2.5])))


FITS = st.sampled_from([lambda outlines: outlines, simplify_2, simplify_8, hull, shifted])


def assert_is_whole(members: np.ndarray) -> None:
    """There is neither overlap nor gap, nor anything invalid."""
    assert shapely.is_valid(members).all()
    assert shapely.coverage_is_valid(members)
    assert overlaps_within(PolygonStore.gather([members])).shared.max(initial=0.0) < 1e-6
    assert shapely.area(shapely.union_all(members)) == pytest.approx(shapely.area(members).sum())


@settings(max_examples=150, deadline=None)
@given(values=LABELS, size=st.integers(1, 12), fit=FITS)
def test_no_group_gets_overlaps_or_gaps(values: np.ndarray, size: int, fit: Fit) -> None:
    labels = parts_of(values).repeat(size, axis=0).repeat(size, axis=1)
    houses, _ = label_outlines(labels, left=0, top=0)
    group = touching_groups(houses)
    fitted = fit_groups(houses, group, fit)
    assert (fitted.iou_raw > 0.3).all()
    for one in range(group.max(initial=-1) + 1):
        assert_is_whole(fitted.polygons[group == one])


@settings(max_examples=60, deadline=None)
@given(values=LABELS, grown=st.floats(1.0, 1.6), cuts=st.sets(st.integers(0, 20)))
def test_neighbours_never_overlap_keep_their_walls_and_do_not_depend_on_batches(
    values: np.ndarray, grown: float, cuts: set[int]
) -> None:
    drawn = drawn_too_large(parts_of(values).repeat(6, axis=0).repeat(6, axis=1), grown)
    assume(len(drawn))
    whole, parted = Neighbours(), Neighbours()
    whole.push(drawn)
    component = drawn.order[:, 0]
    batch = np.searchsorted(np.sort(list(cuts)), component, side="right") if cuts else component * 0
    for number in np.unique(batch):
        parted.push(drawn.take(batch == number))
    found, again = whole.finish(), parted.finish()
    assert found is not None and again is not None
    assert shapely.to_wkb(found.polygons).tolist() == shapely.to_wkb(again.polygons).tolist()
    assert found.method.tolist() == again.method.tolist()
    assert shapely.is_valid(found.polygons).all()
    overlaps = overlaps_within(PolygonStore.gather([found.polygons]))
    assert overlaps.shared.max(initial=0.0) < 1e-3
    for one in np.unique(found.order[:, 0]):
        assert_is_whole(found.polygons[found.order[:, 0] == one])


def drawn_too_large(labels: np.ndarray, grown: float) -> Drawn:
    """Draw groups of houses so much too large, about their middle, that they meet."""
    raw, _ = label_outlines(labels, left=0, top=0)
    group = touching_groups(raw)
    raw, group = raw[np.argsort(group, kind="stable")], np.sort(group)
    fitted = raw.copy()
    for one in np.unique(group):
        members = group == one
        middle = shapely.get_coordinates(shapely.centroid(shapely.union_all(raw[members])))[0]
        fitted[members] = shapely.transform(raw[members], lambda xy, at=middle: (xy - at) * grown + at)
    count = len(raw)
    return Drawn(
        polygons=fitted,
        raw=raw,
        order=np.column_stack([group, group * 0, group * 0, np.arange(count), np.arange(count)]),
        confidence=np.ones(count),
        edge_certainty=np.ones(count),
        method=np.full(count, "adaptive"),
        iou_raw=np.ones(count),
        pixel_m=np.ones(count),
        max_shift_m=np.zeros(count),
    )


def test_batches_are_joined_in_their_order() -> None:
    drawn = drawn_too_large(parts_of(np.eye(3, dtype=np.int32)), 1.0)
    neighbours = Neighbours(1)
    first = neighbours.push(drawn)
    rest = neighbours.finish()
    assert rest is not None
    assert shapely.equals(join([first, rest]).polygons, drawn.polygons).all()
