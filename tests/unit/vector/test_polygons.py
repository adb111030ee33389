import numpy as np
import pytest
import shapely
from affine import Affine
from shapely.affinity import affine_transform
from shapely.geometry import box

from buildmap.vector.polygons import to_map

PIXELS = np.array([box(0, 0, 10, 6) - box(2, 2, 4, 4), box(20, 1, 21, 2)], object)


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000),
        Affine(0.5, 0, 400_000, 0, 0.5, 5_000_000),
        Affine(-0.5, 0, 400_000, 0, -0.5, 5_000_000),
        Affine(0.43, 0.125, 400_000, 0.25, -0.21, 5_000_000),
    ],
    ids=["north-up", "south-up", "east-left", "rotated and sheared"],
)
def test_corners_move_by_the_transform_and_exteriors_run_counter_clockwise(transform: Affine) -> None:
    placed = to_map(PIXELS, transform)
    assert shapely.is_valid(placed).all()
    for before, after in zip(PIXELS, placed, strict=True):
        a, b, c, d, e, f, *_ = transform
        assert after.normalize().equals_exact(affine_transform(before, [a, b, d, e, c, f]).normalize(), 1e-9)
        assert after.exterior.is_ccw
        assert not any(ring.is_ccw for ring in after.interiors)
        assert after.area == pytest.approx(before.area * abs(transform.determinant))


def test_nothing_stays_nothing() -> None:
    assert len(to_map(np.empty(0, object), Affine.identity())) == 0
