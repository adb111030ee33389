import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from buildmap.vector.matching import overlaps_within
from buildmap.vector.store import PolygonStore
from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.walls.coverage import fit_groups
from buildmap.vector.walls.touching import touching_groups
from tests.unit.vector.walls.test_touching import parts_of


@settings(max_examples=80, deadline=None)
@given(
    values=arrays(np.int32, (7, 8), elements=st.integers(0, 3)),
    size=st.integers(1, 12),
    tolerance=st.sampled_from([0.0, 2.0, 8.0]),
)
def test_no_group_gets_overlaps_or_gaps(values: np.ndarray, size: int, tolerance: float) -> None:
    labels = parts_of(values).repeat(size, axis=0).repeat(size, axis=1)
    houses, _ = label_outlines(labels, left=0, top=0)
    group = touching_groups(houses)
    fitted = fit_groups(houses, group, lambda outlines: np.asarray(shapely.simplify(outlines, tolerance)))
    assert shapely.is_valid(fitted.polygons).all()
    assert (fitted.iou_raw > 0.4).all()
    for one in range(group.max(initial=-1) + 1):
        members = fitted.polygons[group == one]
        assert shapely.coverage_is_valid(members)
        shared = overlaps_within(PolygonStore.gather([members])).shared
        assert shared.max(initial=0.0) < 1e-6
        area = shapely.area(members).sum()
        assert shapely.area(shapely.union_all(members)) == pytest.approx(area)
