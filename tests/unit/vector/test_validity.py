import numpy as np
from shapely.geometry import MultiPolygon, Point, Polygon, box

from buildmap.vector.validity import roll_back


def test_only_what_a_change_has_spoiled_is_taken_back() -> None:
    original, better = box(0, 0, 2, 2), box(0, 0, 2, 3)
    bowtie = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    two = MultiPolygon([box(0, 0, 1, 1), box(5, 5, 6, 6)])
    changed = np.array([better, bowtie, Polygon(), two, Point(0, 0), None], object)
    kept = roll_back(changed, np.array([original] * 6, object))
    assert [polygon is better for polygon in kept] == [True] + [False] * 5
    assert all(polygon.equals(original) for polygon in kept[1:])
