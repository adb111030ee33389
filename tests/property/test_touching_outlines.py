import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from rasterio import features
from scipy import ndimage
from shapely.geometry import shape

from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.tracing.outlines import OutlineTracer
from buildmap.vector.tracing.split import split
from buildmap.vector.tracing.subpixel import subpixel

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=9)
VALUES = arrays(np.uint8, SHAPES, elements=st.sampled_from([10, 125, 127, 128, 200, 254, 254, 255]))


def pieces(values: np.ndarray) -> np.ndarray:
    """Split every component of a picture at its most certain pixels; labels go on from one to the next."""
    components, count = ndimage.label((values >= 127) & (values < 255))
    labels = np.zeros(values.shape, np.int32)
    for number in range(1, count + 1):
        part = split(values, components == number, seed_value=254, min_seed_px=1)
        labels[part > 0] = part[part > 0] + labels.max()
    return labels


@settings(max_examples=300)
@given(values=VALUES)
def test_any_split_picture_gives_a_valid_coverage_of_the_polygons_of_rasterio(values: np.ndarray) -> None:
    labels = pieces(values)
    polygons, numbers = label_outlines(labels, left=0, top=0)
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    expected = {
        int(label): shape(geometry).normalize().wkb
        for geometry, label in features.shapes(labels, mask=labels > 0, connectivity=4)
    }
    plain = shapely.normalize(shapely.simplify(polygons, 0))
    assert {n: p.wkb for n, p in zip(numbers.tolist(), plain, strict=True)} == expected


@settings(max_examples=500)
@given(values=VALUES)
def test_any_fine_outlines_are_valid_and_stay_a_coverage(values: np.ndarray) -> None:
    for edges in (label_outlines(pieces(values), left=0, top=0)[0], _traced(values)):
        fine = subpixel(edges, values, left=0, top=0, threshold=0.5)
        assert shapely.is_valid(fine).all()
        assert shapely.coverage_is_valid(fine)
        assert not any(
            one.equals(other) for one, other in zip(edges, fine, strict=True) if _may_move(one, values)
        )


@settings(max_examples=200)
@given(values=VALUES)
def test_fine_outlines_stay_a_coverage_where_holes_were_filled(values: np.ndarray) -> None:
    components, count = ndimage.label((values >= 127) & (values < 255))
    for number in range(1, count + 1):
        component = components == number
        whole = ndimage.binary_fill_holes(component)
        known = np.where(whole & ~component, np.uint8(255), values)
        labels = split(np.where(component, values, np.uint8(0)), whole, seed_value=254, min_seed_px=1)
        fine = subpixel(label_outlines(labels, left=0, top=0)[0], known, left=0, top=0, threshold=0.5)
        assert shapely.is_valid(fine).all()
        assert shapely.coverage_is_valid(fine)


def _traced(values: np.ndarray) -> np.ndarray:
    tracer = OutlineTracer(values.shape[1], lowest=127)
    return np.concatenate([tracer.push(values).polygons, tracer.finish().polygons])


def _may_move(edge: shapely.Polygon, values: np.ndarray) -> bool:
    """Tell whether a pixel below the threshold lies beside a polygon, so that it cannot stay as it is."""
    low = [shapely.box(c, r, c + 1, r + 1) for r, c in np.argwhere(values < 127)]
    return any(shapely.intersection(edge, pixel).length > 0.5 for pixel in low)
