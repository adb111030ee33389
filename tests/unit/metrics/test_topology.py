from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from buildmap.metrics.topology import (
    GeometryFaults,
    Topology,
    geometry_faults,
    layer_topology,
    neighbour_overlaps,
    topology,
)
from buildmap.vector.matching import Overlaps, overlaps_within
from buildmap.vector.reader import read_footprints
from buildmap.vector.store import PolygonStore
from tests.scenes import write_layer

BOWTIE = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
TOUCHING_ITSELF = Polygon([(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)])
HOLE_OUTSIDE = Polygon([(0, 0), (1, 0), (1, 1), (0, 1)], [[(5, 5), (6, 5), (6, 6), (5, 6)]])
SOUND = box(0, 0, 1, 1)


def faults_of(*geometries: object) -> GeometryFaults:
    return geometry_faults(np.array(geometries, object))


def overlaps_of(polygons: list[Polygon], pairs: list[tuple[int, int]]) -> Overlaps:
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    area = np.array([polygon.area for polygon in polygons])
    shared = [polygons[i].intersection(polygons[j]).area for i, j in pairs]
    return Overlaps(left=left, right=right, shared=np.array(shared, float), left_area=area, right_area=area)


def test_sound_polygons_have_no_faults() -> None:
    court = box(0, 0, 9, 9) - box(1, 1, 2, 2)
    expected = GeometryFaults(polygons=3, invalid=0, self_intersections=0)
    assert faults_of(SOUND, court, MultiPolygon([SOUND, box(5, 5, 6, 6)])) == expected


def test_a_bowtie_crosses_itself() -> None:
    assert shapely.is_valid_reason(BOWTIE).startswith("Self-intersection")
    assert faults_of(BOWTIE, SOUND) == GeometryFaults(polygons=2, invalid=1, self_intersections=1)


def test_a_ring_that_touches_itself_intersects_itself() -> None:
    ring = Polygon([(0, 0), (4, 0), (4, 4), (2, 2), (3, 1), (1, 1), (2, 2), (0, 4)])
    assert shapely.is_valid_reason(ring).startswith("Ring Self-intersection")
    assert faults_of(ring) == GeometryFaults(polygons=1, invalid=1, self_intersections=1)


def test_other_faults_are_no_self_intersections() -> None:
    with np.errstate(invalid="ignore"):
        without_a_place = shapely.from_wkt("POLYGON ((0 0, nan 0, 1 1, 0 0))")
    for polygon in (HOLE_OUTSIDE, without_a_place):
        assert faults_of(polygon) == GeometryFaults(polygons=1, invalid=1, self_intersections=0)


def test_parts_of_a_multipolygon_that_overlap_are_one_self_intersection() -> None:
    twice = MultiPolygon([box(0, 0, 2, 2), box(1, 1, 3, 3)])
    assert faults_of(twice) == GeometryFaults(polygons=1, invalid=1, self_intersections=1)


def test_what_is_no_polygon_does_not_count() -> None:
    others = None, Point(0, 0), LineString([(0, 0), (1, 1)]), Polygon(), GeometryCollection()
    assert faults_of(*others) == GeometryFaults()
    assert geometry_faults(np.empty(0, object)) == GeometryFaults()


def test_faults_of_batches_add_up_to_those_of_the_layer() -> None:
    layer = [SOUND, BOWTIE, None, HOLE_OUTSIDE, TOUCHING_ITSELF, Point(0, 0), SOUND, BOWTIE]
    parts = [faults_of(*layer[k : k + 3]) for k in range(0, len(layer), 3)]
    assert sum(parts, GeometryFaults()) == faults_of(*layer)
    assert faults_of(*layer).self_intersections == 3


def test_a_square_drawn_twice_overlaps_with_all_its_area() -> None:
    polygons = [box(0, 0, 4, 5), box(0, 0, 4, 5), box(10, 0, 11, 1)]
    assert neighbour_overlaps(overlaps_of(polygons, [(0, 1)]), np.full(3, 2.0)) == (1, 40)


def test_each_pair_is_measured_where_it_lies() -> None:
    polygons = [box(0, 0, 2, 2), box(1, 0, 3, 2), box(10, 0, 12, 2), box(11, 0, 13, 2)]
    overlaps = overlaps_of(polygons, [(0, 1), (2, 3)])
    assert neighbour_overlaps(overlaps, np.array([1.0, 1.0, 3.0, 3.0])) == (2, 8)


def test_slivers_are_no_overlaps() -> None:
    large, sliver = [box(0, 0, 1e3, 1e3), box(999.9995, 0, 2e3, 1e3)], [box(0, 0, 1, 1), box(0.995, 0, 2, 1)]
    both = overlaps_of([*large, *sliver], [(0, 1), (2, 3)])
    # 0.5 m2, half a millionth of the smaller; 0.005 m2, five thousandths of it
    assert both.shared == pytest.approx([0.5, 0.005])
    ones = np.ones(4)
    assert neighbour_overlaps(both, ones) == (0, 0)
    assert neighbour_overlaps(both, ones, sliver_share=1e-7)[0] == 1
    assert neighbour_overlaps(both, ones, sliver_m2=1e-3) == (1, pytest.approx(0.005))
    assert neighbour_overlaps(both, 4 * ones) == (1, pytest.approx(0.02))


def test_neighbours_of_a_layer_agree_with_all_pairs_in_shapely() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (80, 2))
    polygons = [
        box(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, rng.uniform(1, 9, (80, 2)), strict=True)
    ]
    shared = [one.intersection(other).area for k, one in enumerate(polygons) for other in polygons[k + 1 :]]
    real = [area for area in shared if area > 0.01]
    overlaps = overlaps_within(PolygonStore.gather([np.array(polygons, object)]))
    assert neighbour_overlaps(overlaps, np.ones(80)) == (len(real), pytest.approx(sum(real)))
    assert len(real) > 20


def test_no_overlaps_share_nothing() -> None:
    assert neighbour_overlaps(overlaps_of([SOUND], []), np.ones(1)) == (0, 0)


def test_the_parts_make_the_whole() -> None:
    faults = GeometryFaults(polygons=9, invalid=3, self_intersections=2)
    assert topology(faults, 4, 5.5) == Topology(
        polygons=9, invalid=3, self_intersections=2, overlaps=4, overlap_m2=5.5
    )


def topology_of(path: Path, crs: str | None) -> Topology:
    polygons = read_footprints(path, crs=crs).polygons
    return layer_topology(path, PolygonStore.gather([polygons]), None if crs is None else CRS(crs))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32633", "EPSG:3857"])
def test_the_faults_of_a_layer_are_those_of_its_file_and_its_overlaps_are_on_the_ground(
    tmp_path: Path, crs: str
) -> None:
    near, far = box(13.7, 45.1, 13.7004, 45.1002), box(13.7001, 45.1001, 13.7006, 45.1003)
    north = [box(25, 70, 25.0008, 70.0004), box(25.0002, 70, 25.0006, 70.0008)]
    bowtie = Polygon([(13.8, 45.1), (13.8002, 45.1002), (13.8002, 45.1), (13.8, 45.1002)])
    layer = [near, far, *north, bowtie, None, Point(13.7, 45.1)]
    gpd.GeoDataFrame(geometry=layer, crs=4326).to_file(tmp_path / "a.gpkg", geometry_type="Unknown")
    found = topology_of(tmp_path / "a.gpkg", crs)
    geod = Geod(ellps="WGS84")
    shared = [near & far, north[0] & north[1]]
    expected = sum(abs(geod.geometry_area_perimeter(part)[0]) for part in shared)
    assert (found.polygons, found.invalid, found.self_intersections, found.overlaps) == (5, 1, 1, 2)
    # at 70 degrees in a zone far from its own, a side that was straight is bent
    assert found.overlap_m2 == pytest.approx(expected, rel=1e-3)


def test_without_a_crs_overlaps_are_in_its_units(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [box(0, 0, 4, 4), box(3, 0, 7, 4), box(7, 0, 9, 9)]
    path.write_text("WKT\n" + "".join(f'"{row.wkt}"\n' for row in rows), encoding="utf-8")
    expected = Topology(polygons=3, invalid=0, self_intersections=0, overlaps=1, overlap_m2=4.0)
    assert topology_of(path, None) == expected


def test_sound_layers_and_empty_ones_have_no_faults(tmp_path: Path) -> None:
    nothing = Topology(polygons=0, invalid=0, self_intersections=0, overlaps=0, overlap_m2=0)
    gpd.GeoDataFrame(geometry=[], crs=4326).to_file(tmp_path / "none.gpkg", geometry_type="Polygon")
    assert topology_of(tmp_path / "none.gpkg", "EPSG:4326") == nothing
    row = [box(13 + n, 45, 14 + n, 46) for n in range(3)]
    touching = write_layer(tmp_path / "row.gpkg", row, crs="EPSG:4326")
    assert topology_of(touching, "EPSG:4326").overlaps == 0
