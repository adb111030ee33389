import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio import features
from scipy import ndimage
from shapely import affinity
from shapely.geometry import LinearRing, Polygon, box, shape
from skimage.measure import find_contours

from buildmap.vector.ragged import to_ragged
from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.tracing.outlines import OutlineTracer
from buildmap.vector.tracing.subpixel import move_edges, subpixel
from tests.unit.vector.tracing.test_flood import blurred

HALF = 127.0


def traced(values: NDArray[np.uint8], threshold: float = 0.5) -> NDArray[np.object_]:
    tracer = OutlineTracer(values.shape[1], lowest=int(np.ceil(round(threshold * 254, 6))))
    return np.concatenate([tracer.push(values).polygons, tracer.finish().polygons])


def moved(values: NDArray[np.uint8], threshold: float = 0.5) -> NDArray[np.object_]:
    return subpixel(traced(values, threshold), values, left=0, top=0, threshold=threshold)


def corners(polygon: Polygon) -> set[tuple[float, float]]:
    return {(round(x, 9), round(y, 9)) for x, y in shapely.get_coordinates(polygon)}


def test_corners_and_rings_are_those_of_marching_squares() -> None:
    rng = np.random.default_rng(11)
    corners_seen = rings_seen = 0
    for _ in range(60):
        values = np.pad(blurred(rng, 30, 30, rng.choice([1.2, 2])), 2)
        threshold = rng.choice([101.5, 127.5, 150.25]) / 254
        contours = find_contours(values.astype(float), threshold * 254, fully_connected="low")
        expected = [[(round(x, 9), round(y, 9)) for y, x in contour + 0.5] for contour in contours]
        found = moved(values, threshold)
        assert set.union(*map(corners, found)) == {corner for ring in expected for corner in ring}
        corners_seen += sum(map(len, expected))
        if not any(map(_meets_itself, traced(values, threshold))):
            rings = shapely.get_rings(found)
            assert sorted(map(_area, rings)) == sorted(map(_area, map(LinearRing, contours)))
            rings_seen += len(rings)
    assert corners_seen > 5000
    assert rings_seen > 100


def _area(ring: LinearRing) -> float:
    return round(Polygon(ring).area, 6)


def _meets_itself(polygon: Polygon) -> bool:
    points = [point for ring in (polygon.exterior, *polygon.interiors) for point in ring.coords[:-1]]
    return len(set(points)) < len(points)


def test_a_ramp_is_cut_where_it_crosses_the_threshold() -> None:
    for crossing in (10.0, 10.2, 10.4, 10.6, 10.9):
        row = np.clip(HALF + (crossing - (np.arange(20) + 0.5)) * 40, 0, 254)
        values = np.tile(np.round(row).astype(np.uint8), (8, 1))
        (polygon,) = moved(values)
        assert shapely.hausdorff_distance(polygon, box(0, 0, crossing, 8)) < 0.02
        assert abs(polygon.area - 8 * crossing) < 0.1


def test_the_area_of_a_blurred_disc_is_nearer_to_the_truth_than_that_of_its_pixels() -> None:
    y, x = np.mgrid[:64, :64] + 0.5
    worst_edge, worst = 0.0, 0.0
    for radius in (9.3, 14.8, 20.1):
        for centre in (32.0, 32.3, 31.6):
            distance = np.hypot(x - centre, y - 31.8)
            values = np.round(254 / (1 + np.exp((distance - radius) / 0.8))).astype(np.uint8)
            (edge,) = traced(values)
            (fine,) = moved(values)
            area = np.pi * radius**2
            worst_edge = max(worst_edge, abs(edge.area - area) / area)
            worst = max(worst, abs(fine.area - area) / area)
            truth = shapely.Point(centre, 31.8).buffer(radius, 128)
            assert shapely.hausdorff_distance(fine, truth) < 0.1 < shapely.hausdorff_distance(edge, truth)
    assert worst < 0.005 < worst_edge


def test_a_slanted_house_comes_nearer_to_its_walls() -> None:
    house = affinity.rotate(box(14.3, 17.2, 44.6, 40.9), 23)
    fine_raster = features.rasterize([house], out_shape=(640, 640), transform=Affine.scale(0.1))
    share = fine_raster.reshape(64, 10, 64, 10).mean((1, 3))
    values = np.round(254 * ndimage.gaussian_filter(share, 1)).astype(np.uint8)
    (edge,) = traced(values)
    (fine,) = moved(values)
    missed = [shapely.symmetric_difference(house, outline).area for outline in (edge, fine)]
    assert missed[1] < 0.4 * missed[0]


def test_no_corner_moves_more_than_half_a_pixel() -> None:
    rng = np.random.default_rng(12)
    for _ in range(20):
        values = blurred(rng, 25, 25, 0.8)
        for edge, fine in zip(traced(values), moved(values), strict=True):
            distance = shapely.distance(shapely.points(shapely.get_coordinates(fine)), edge.boundary)
            assert distance.max() <= 0.5


def test_edges_at_the_border_of_the_raster_stay_and_keep_its_corners() -> None:
    values = np.full((5, 6), 254, np.uint8)
    (polygon,) = moved(values)
    assert polygon.equals(box(0, 0, 6, 5))


def test_at_the_border_a_corner_goes_along_with_the_wall() -> None:
    values = np.full((8, 6), 254, np.uint8)
    values[5], values[6:] = 147, 107
    (polygon,) = moved(values)
    assert shapely.equals_exact(shapely.simplify(polygon, 0).normalize(), box(0, 0, 6, 6).normalize())
    values[5] = 167
    (polygon,) = moved(values)
    assert polygon.bounds == (0, 0, 6, 5.5 + 40 / 60)
    assert polygon.area == pytest.approx(6 * (5.5 + 40 / 60))


def test_edges_beside_no_data_stay() -> None:
    values = np.full((6, 6), 255, np.uint8)
    values[2:4, 2:5] = 140
    (polygon,) = moved(values)
    assert polygon.equals(box(2, 2, 5, 4))


def test_edges_of_pixels_without_data_stay() -> None:
    values = np.full((6, 6), 20, np.uint8)
    values[2:4, 2:5] = 255
    edge = np.array([box(2, 2, 5, 4)], object)
    (polygon,) = subpixel(edge, values, left=0, top=0, threshold=0.5)
    assert polygon.equals(edge[0])


def test_diagonal_neighbours_part() -> None:
    values = np.zeros((6, 6), np.uint8)
    values[1:3, 1:3] = values[3:5, 3:5] = 254
    one, two = moved(values)
    assert not one.intersects(two)
    assert {one.area, two.area} == {4 - 4 / 8}


def test_a_lonely_pixel_keeps_an_area() -> None:
    values = np.zeros((3, 3), np.uint8)
    values[1, 1] = 127
    (polygon,) = moved(values)
    assert polygon.is_valid
    assert 0 < polygon.area < 0.0001
    values[1, 1] = 254
    assert moved(values)[0].equals(Polygon([(1.5, 1), (2, 1.5), (1.5, 2), (1, 1.5)]))


def test_a_wall_between_two_buildings_stays_and_ends_where_their_sides_do() -> None:
    values = np.zeros((6, 8), np.uint8)
    values[0:4], values[4] = 254, 27
    values[4, 4:] = 77
    labels = np.zeros(values.shape, np.int32)
    labels[0:4, :4], labels[0:4, 4:] = 1, 2
    edges, _ = label_outlines(labels, left=0, top=0)
    one, two = subpixel(edges, values, left=0, top=0, threshold=0.5)
    assert shapely.coverage_is_valid([one, two])
    crossings = 3.5 + HALF / (254 - 27), 3.5 + HALF / (254 - 77)
    assert shapely.intersection(one, two).length == pytest.approx(np.mean(crossings))
    assert one.bounds == pytest.approx((0, 0, 4, np.mean(crossings)))
    assert two.bounds == pytest.approx((4, 0, 8, crossings[1]))


def test_where_three_buildings_meet_the_corner_stays() -> None:
    labels = np.zeros((6, 8), np.int32)
    labels[1:3, 1:7], labels[3:5, 1:4], labels[3:5, 4:7] = 1, 2, 3
    values = np.where(labels > 0, 200, 90).astype(np.uint8)
    edges, _ = label_outlines(labels, left=0, top=0)
    found = subpixel(edges, values, left=0, top=0, threshold=0.5)
    assert shapely.coverage_is_valid(found)
    assert all((4, 3) in corners(polygon) for polygon in found)


def test_a_picture_of_a_part_of_the_raster_gives_the_same() -> None:
    rng = np.random.default_rng(13)
    values = blurred(rng, 40, 40, 1.5)
    for edge, fine in zip(traced(values), moved(values), strict=True):
        left, top, right, bottom = (int(side) for side in edge.bounds)
        left, top = max(left - 1, 0), max(top - 1, 0)
        part = values[top : bottom + 1, left : right + 1]
        (again,) = subpixel(np.array([edge], object), part, left=left, top=top, threshold=0.5)
        assert again.wkb == fine.wkb


def test_the_direction_of_rings_does_not_matter() -> None:
    rng = np.random.default_rng(14)
    values = blurred(rng, 20, 20, 1.5)
    edges = traced(values)
    turned = subpixel(shapely.reverse(edges), values, left=0, top=0, threshold=0.5)
    assert shapely.equals_exact(shapely.normalize(turned), shapely.normalize(moved(values))).all()


def test_flat_arrays_as_the_tracer_gives_them_need_no_turning() -> None:
    rng = np.random.default_rng(18)
    values = blurred(rng, 30, 30, 1.5)
    edges = traced(values)
    flat = move_edges(to_ragged(edges), values, left=0, top=0, threshold=0.5)
    expected = to_ragged(moved(values))
    for ours, theirs in zip(flat, expected, strict=True):
        assert ours.tolist() == theirs.tolist()


def test_nothing_gives_nothing() -> None:
    none = np.empty(0, np.object_)
    assert len(subpixel(none, np.zeros((2, 2), np.uint8), left=0, top=0, threshold=0.5)) == 0


@pytest.mark.parametrize(
    "polygon",
    [box(0.5, 0, 2, 2), Polygon([(0, 0), (2, 2), (0, 2)]), Polygon([(0, 0), (0, 2), (0, 2), (2, 2), (2, 0)])],
)
def test_other_polygons_are_a_mistake_of_the_caller(polygon: Polygon) -> None:
    with pytest.raises(ValueError, match="edges of pixels"):
        subpixel(np.array([polygon], object), np.zeros((3, 3), np.uint8), left=0, top=0, threshold=0.5)


def test_rasterio_agrees_on_the_pixels() -> None:
    rng = np.random.default_rng(15)
    values = blurred(rng, 30, 30, 1.5)
    inner = features.rasterize([shape(p) for p in moved(values)], out_shape=values.shape)
    assert (inner == (values >= HALF)).all()
