import json
from dataclasses import asdict
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from rasterio.crs import CRS
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from buildmap.errors import InputError, MissingInput
from buildmap.vector.reader import (
    Repairs,
    column_names,
    layer_names,
    read_footprints,
    read_in_batches,
    read_unrepaired,
)
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


def test_a_valid_sliver_whose_area_rounds_to_none_is_dropped_and_counted(tmp_path: Path) -> None:
    far = 2.0**28  # the products of its sides differ by 1, which is lost in their sum
    thin = Polygon([(0, 0), (far + 1, far), (far, far - 1)])
    assert thin.is_valid
    assert thin.area == 0
    both = MultiPolygon([box(0, 10, 1, 11), thin])
    path = tmp_path / "thin.gpkg"
    gpd.GeoDataFrame(geometry=[thin, BOWTIE, both], crs=UTM).to_file(path, geometry_type="Unknown")
    read = read_footprints(path, crs=None)
    assert read.repairs == Repairs(not_polygonal=1, mended=1)
    assert shapely.area(read.polygons).tolist() == [1, 1, 1]


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


def test_a_file_that_breaks_off_is_told_from_a_bug(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "many.fgb", [box(n, 0, n + 1, 1) for n in range(500)])
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(InputError, match=r"many.fgb cannot be read as a vector file"):
        read_footprints(path, crs=None)


def test_footprints_are_found_where_ground_lies_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "layers.gpkg"
    for number, name in enumerate(("gaps", "houses", "valid")):
        gpd.GeoDataFrame(geometry=[box(number, 0, number + 1, 1)], crs=UTM).to_file(path, layer=name)
    assert layer_names(path) == ("gaps", "houses", "valid")
    assert read_footprints(path, crs=None).polygons[0].bounds == (1, 0, 2, 1)
    assert read_footprints(path, crs=None, layer="valid").polygons[0].bounds == (2, 0, 3, 1)
    gpd.GeoDataFrame(geometry=[box(9, 0, 10, 1)], crs=UTM).to_file(path, layer="sheds")
    with pytest.raises(InputError, match="2 layers") as several:
        read_footprints(path, crs=None)
    assert several.value.hint == "choose one of: houses, sheds"


def test_ground_is_read_where_there_is_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "layers.gpkg"
    gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=UTM).to_file(path, layer="valid")
    assert len(read_footprints(path, crs=None).polygons) == 1
    gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=UTM).to_file(path, layer="gaps")
    with pytest.raises(InputError, match="2 layers"):
        read_footprints(path, crs=None)


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


def mixed_rows() -> list[BaseGeometry | None]:
    """Give 12 rows: some drop out, one is two polygons, one is mended."""
    two = MultiPolygon([box(10, 0, 11, 1), box(12, 0, 13, 1)])
    return [*(box(n, 5, n + 1, 6) for n in range(6)), None, two, BOWTIE, Point(1, 1), two, box(20, 0, 21, 1)]


def write_mixed(path: Path) -> Path:
    columns = {
        "height": np.arange(12) * 1.5,
        "region": [f"r{number // 3}" for number in range(12)],
        "floors": range(12),
    }
    gpd.GeoDataFrame(columns, geometry=mixed_rows(), crs=UTM).to_file(path, geometry_type="Unknown")
    return path


@pytest.mark.parametrize("rows", [1, 5, 12, 65_536])
@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_batches_together_are_the_whole_layer(tmp_path: Path, rows: int, suffix: str) -> None:
    path = write_mixed(tmp_path / f"mixed{suffix}")
    whole = read_footprints(path, crs=None)
    batches = list(read_in_batches(path, crs=None, rows=rows))
    assert len(batches) == -(-12 // rows)
    assert np.concatenate([batch.polygons for batch in batches]).tolist() == whole.polygons.tolist()
    assert sum((batch.repairs for batch in batches), Repairs()) == whole.repairs
    assert {batch.crs for batch in batches} == {whole.crs}
    assert whole.repairs == Repairs(null=1, not_polygonal=1, mended=1)


@pytest.mark.parametrize("rows", [1, 5, 65_536])
@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_every_polygon_keeps_the_attributes_of_its_row(tmp_path: Path, rows: int, suffix: str) -> None:
    path = write_mixed(tmp_path / f"mixed{suffix}")
    left_of_row = [
        *((row, row) for row in range(6)),
        (7, 10),
        (7, 12),
        (8, 0),
        (8, 1),
        (10, 10),
        (10, 12),
        (11, 20),
    ]
    expected = [(row, row * 1.5, f"r{row // 3}", left) for row, left in left_of_row]
    batches = list(read_in_batches(path, crs=None, columns=("region", "floors", "height"), rows=rows))
    found = []
    for batch in batches:
        assert set(batch.columns) == {"region", "floors", "height"}
        columns = [batch.columns[name].tolist() for name in ("floors", "height", "region")]
        found += list(zip(*columns, shapely.bounds(batch.polygons)[:, 0].tolist(), strict=True))
    assert sorted(found) == expected


def test_attributes_follow_their_polygons_through_bbox_and_crs(tmp_path: Path) -> None:
    boxes = [box(400_000 + 100 * n, 5_000_000, 400_010 + 100 * n, 5_000_010) for n in range(9)]
    layer = gpd.GeoDataFrame({"floors": range(9)}, geometry=boxes, crs=UTM)
    layer.to_crs(4326).to_file(tmp_path / "degrees.geojson")
    window = (400_150, 5_000_000, 400_450, 5_000_010)
    batches = list(
        read_in_batches(tmp_path / "degrees.geojson", crs=UTM, bbox=window, columns=["floors"], rows=2)
    )
    found = [
        (floors, round(polygon.centroid.x))
        for batch in batches
        for floors, polygon in zip(batch.columns["floors"].tolist(), batch.polygons, strict=True)
    ]
    assert found == [(2, 400_205), (3, 400_305), (4, 400_405)]


def test_of_rows_in_parts_the_near_part_keeps_the_attributes(tmp_path: Path) -> None:
    rows = [MultiPolygon([box(50, n, 51, n + 1), box(n, n, n + 1, n + 1)]) for n in (0, 2, 4)]
    path = tmp_path / "parts.gpkg"
    gpd.GeoDataFrame({"floors": [7, 8, 9]}, geometry=rows, crs=UTM).to_file(path)
    (batch,) = read_in_batches(path, crs=None, bbox=(0, 0, 10, 10), columns=["floors"])
    assert [polygon.bounds[0] for polygon in batch.polygons] == [0, 2, 4]
    assert batch.columns["floors"].tolist() == [7, 8, 9]


def test_an_empty_layer_is_one_batch_with_its_crs_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "none.gpkg"
    empty = gpd.GeoDataFrame({"name": np.array([], object)}, geometry=[], crs=UTM)
    empty.to_file(path, geometry_type="Polygon")
    (batch,) = read_in_batches(path, crs=None, columns=["name"])
    assert len(batch.polygons) == len(batch.columns["name"]) == 0
    assert batch.crs is not None and batch.crs.to_epsg() == 32633


def test_a_missing_column_is_told_at_once_with_those_there_are(tmp_path: Path) -> None:
    path = write_mixed(tmp_path / "mixed.gpkg")
    assert column_names(path) == ("height", "region", "floors")
    with pytest.raises(InputError, match="no column 'regoin': it has height, region, floors") as missing:
        read_in_batches(path, crs=None, columns=["floors", "regoin"])
    assert missing.value.hint == "did you mean 'region'?"
    bare = write_layer(tmp_path / "bare.gpkg", [box(0, 0, 1, 1)])
    assert column_names(bare) == ()
    with pytest.raises(InputError, match="no column 'region': it has none"):
        read_in_batches(bare, crs=None, columns=["region"])
    with pytest.raises(InputError, match="no layer 'odl'"):
        column_names(bare, layer="odl")


def test_repairs_add_up_kind_by_kind() -> None:
    one = Repairs(null=1, empty=2, not_finite=3, not_polygonal=4, flattened=5, mended=6)
    other = Repairs(null=10, empty=20, not_finite=30, not_polygonal=40, flattened=50, mended=60)
    assert asdict(one + other) == {
        "null": 11,
        "empty": 22,
        "not_finite": 33,
        "not_polygonal": 44,
        "flattened": 55,
        "mended": 66,
    }


UNREPAIRED = [
    box(0, 0, 1, 1),
    None,
    BOWTIE,
    MultiPolygon([box(0, 0, 2, 2), box(1, 1, 3, 3)]),
    Polygon(),
    Point(1, 1),
    LineString([(0, 0), (1, 1)]),
    shapely.force_3d(box(5, 5, 6, 6), 7.0),
]


@pytest.mark.parametrize("rows", [1, 3, 8, 65_536])
def test_unrepaired_geometries_come_as_they_are_in_the_file_however_many_at_a_time(
    tmp_path: Path, rows: int
) -> None:
    path = tmp_path / "mixed.gpkg"
    gpd.GeoDataFrame(geometry=UNREPAIRED, crs=UTM).to_file(path, geometry_type="Unknown")
    batches = list(read_unrepaired(path, rows=rows))
    assert [len(batch) for batch in batches] == [min(rows, 8 - start) for start in range(0, 8, rows)]
    for found, row in zip(np.concatenate(batches), UNREPAIRED, strict=True):
        assert (found is None) == (row is None)
        assert row is None or found.wkb == row.wkb


def test_unrepaired_coordinates_may_be_nan(tmp_path: Path) -> None:
    with np.errstate(invalid="ignore"):
        nowhere = Polygon([(0, 0), (np.nan, 1), (1, 1)])
    ((found,),) = read_unrepaired(write_layer(tmp_path / "nan.gpkg", [nowhere]))
    assert np.isnan(shapely.get_coordinates(found)).sum() == 1


def test_unrepaired_a_ring_that_is_not_closed_is_closed_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "open.geojson"
    geometry = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8")
    ((found,),) = read_unrepaired(path)
    assert found.equals(box(0, 0, 1, 1))


def test_of_several_layers_one_is_read_unrepaired(tmp_path: Path) -> None:
    path = tmp_path / "layers.gpkg"
    for name, side in (("old", 1), ("new", 2)):
        gpd.GeoDataFrame(geometry=[box(0, 0, side, side)], crs=UTM).to_file(path, layer=name)
    ((found,),) = read_unrepaired(path, layer="new")
    assert found.area == 4
    with pytest.raises(InputError, match="2 layers"):
        next(read_unrepaired(path))
    with pytest.raises(InputError, match="no layer 'odl'"):
        next(read_unrepaired(path, layer="odl"))


def test_a_missing_or_broken_file_is_told_when_it_is_read_unrepaired(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="does not exist"):
        next(read_unrepaired(tmp_path / "none.gpkg"))
    text = tmp_path / "text.gpkg"
    text.write_text("not a database", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        next(read_unrepaired(text))


def test_an_empty_layer_has_no_geometries_to_leave_unrepaired(tmp_path: Path) -> None:
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(tmp_path / "none.gpkg", geometry_type="Polygon")
    assert list(read_unrepaired(tmp_path / "none.gpkg")) == []
