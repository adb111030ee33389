import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from rasterio import features
from shapely.geometry import shape

from buildmap.vector.tracing import outlines
from tests.unit.vector.tracing.test_outlines import trace

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1))


@pytest.fixture(autouse=True, scope="module")
def _collect_often() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines, "_COLLECT_FROM_CORNERS", 0)
        yield


@settings(max_examples=300, deadline=None)
@given(mask=MASKS, heights=st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_any_mask_in_any_strips_gives_the_polygons_of_rasterio(mask: np.ndarray, heights: list[int]) -> None:
    found = trace(mask, heights)
    assert shapely.is_valid(found.polygons).all()
    expected = {
        shape(geometry).normalize().wkb
        for geometry, _ in features.shapes(mask, mask=mask > 0, connectivity=4)
    }
    assert {polygon.normalize().wkb for polygon in found.polygons} == expected
    assert [p.wkb for p in found.polygons] == [p.wkb for p in trace(mask, [len(mask)]).polygons]
