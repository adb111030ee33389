import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from rasterio.crs import CRS
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from buildmap.errors import InputError, MissingInput
from buildmap.vector.reader import Repairs, read_footprints
from tests.scenes import UTM, write_layer

BOWTIE = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


def test_every_kind_of_bad_geometry_is_repaired_or_dropped_and_counted(tmp_path: Path) -> None:
    with np.errstate(invalid="ignore"):
        not_finite = Polygon([(0, 0), (np.nan, 1), (1, 1)])
    rows = [
        box(0, 0, 1, 1),
        None,
        Polygon(),
        BOWTIE,
        shapely.force_3d(box(5, 5, 6, 6), 7.0),
        Point(1, 1),
        LineString([(0, 0), (1, 1)]),
        MultiPolygon([box(10, 0, 11, 1), box(12, 0, 13, 1)]),
        GeometryCollection([Point(0, 0), box(20, 0, 21, 1)]),
        not_finite,
        Polygon([(0, 0), (1, 0), (2, 0)]),
    ]
    path = tmp_path / "mixed.gpkg"
    gpd.GeoDataFrame(geometry=rows, crs=UTM).to_file(path, geometry_type="Unknown")
    read = read_footprints(path, crs=None)
    assert read.repairs == Repairs(null=1, empty=1, mended=1, flattened=1, not_polygonal=3, not_finite=1)
    assert read.repairs.dropped == 6
    assert shapely.is_valid(read.polygons).all()
    assert set(shapely.get_type_id(read.polygons)) == {3}
    assert not shapely.has_z(read.polygons).any()
    assert shapely.area(read.polygons).sum() == pytest.approx(1 + 2 + 1 + 2 + 1)


def test_polygons_come_in_the_crs_asked_for(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "one.gpkg", [box(400_000, 5_000_000, 400_010, 5_000_010)])
    there = read_footprints(path, crs="EPSG:4326")
    expected = gpd.read_file(path).to_crs("EPSG:4326").geometry[0]
    assert there.crs is not None and there.crs.to_epsg() == 4326
    assert there.polygons[0].normalize().equals_exact(expected.normalize(), 1e-12)


def test_bbox_is_in_the_target_crs_and_keeps_what_touches_it(tmp_path: Path) -> None:
    near, far = box(400_000, 5_000_000, 400_010, 5_000_010), box(401_000, 5_000_000, 401_010, 5_000_010)
    path = write_layer(
        tmp_path / "two.geojson", list(gpd.GeoSeries([near, far], crs=UTM).to_crs(4326)), crs="EPSG:4326"
    )
    read = read_footprints(path, crs=UTM, bbox=(399_990, 4_999_990, 400_005, 5_000_005))
    assert len(read.polygons) == 1
    assert read.polygons[0].centroid.distance(near.centroid) < 0.01


def test_a_crs_of_rasterio_is_understood(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "one.gpkg", [box(0, 0, 1, 1)])
    assert len(read_footprints(path, crs=CRS.from_epsg(32633)).polygons) == 1


def test_an_unclosed_ring_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "open.geojson"
    ring = [[0, 0], [1, 0], [1, 1], [0, 1]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8")
    assert read_footprints(path, crs=None).polygons[0].equals(box(0, 0, 1, 1))


@pytest.mark.parametrize(
    "name", ["a!b.gpkg", "with space.gpkg", "ü 建物.gpkg", "what?.gpkg", "new\nline.gpkg", "-a'b.gpkg"]
)
def test_odd_file_names_are_read(tmp_path: Path, name: str) -> None:
    write_layer(tmp_path / "plain.gpkg", [box(0, 0, 1, 1)]).rename(tmp_path / name)
    assert len(read_footprints(tmp_path / name, crs=None).polygons) == 1


def test_an_empty_layer_gives_no_polygons_but_its_crs(tmp_path: Path) -> None:
    path = tmp_path / "none.gpkg"
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(path, geometry_type="Polygon")
    read = read_footprints(path, crs=None, bbox=(0, 0, 1, 1))
    assert len(read.polygons) == 0
    assert read.crs is not None and read.crs.to_epsg() == 32633


def test_a_missing_file_is_told_from_one_that_is_no_vector_file(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="does not exist"):
        read_footprints(tmp_path / "none.gpkg", crs=None)
    text = tmp_path / "text.gpkg"
    text.write_text("not a database", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        read_footprints(text, crs=None)
    (tmp_path / "void.gpkg").touch()
    with pytest.raises(InputError, match="0 bytes"):
        read_footprints(tmp_path / "void.gpkg", crs=None)
    with pytest.raises(InputError, match="folder"):
        read_footprints(tmp_path, crs=None)


def test_layers_are_named_when_the_wrong_one_or_none_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "layers.gpkg"
    one = gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=UTM)
    one.to_file(path, layer="old")
    one.to_file(path, layer="new")
    with pytest.raises(InputError, match="2 layers") as several:
        read_footprints(path, crs=None)
    assert several.value.hint == "choose one of: old, new"
    with pytest.raises(InputError, match="no layer 'odl'") as wrong:
        read_footprints(path, crs=None, layer="odl")
    assert "old, new" in str(wrong.value.hint)
    assert len(read_footprints(path, crs=None, layer="old").polygons) == 1


def test_points_alone_are_refused(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "points.gpkg", [Point(0, 0)])
    with pytest.raises(InputError, match="no layer with polygons"):
        read_footprints(path, crs=None)


def test_a_file_without_crs_is_refused_only_when_a_crs_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "nocrs.shp"
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)]).to_file(path)
    assert read_footprints(path, crs=None).crs is None
    with pytest.raises(InputError, match="no CRS"):
        read_footprints(path, crs=UTM)
