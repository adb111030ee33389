"""Layers made to do harm: a GeoPackage with triggers and views, or with blobs that are no geometries."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildmap.errors import BuildmapError, InputError
from buildmap.vector.reader import read_footprints, read_in_batches
from tests.faults.hostile.bytes_of import damaged, outcome
from tests.faults.hostile.listener import listening
from tests.scenes import write_layer

SQUARES = [shapely.box(400_000 + 20 * n, 4_999_980, 400_010 + 20 * n, 4_999_990) for n in range(5)]


def with_sql(path: Path, *statements: str) -> Path:
    """Change a GeoPackage; SQLite is loaded twice, so nothing of it stays open."""
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()
    return path


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_triggers_and_views_of_a_geopackage_change_nothing(tmp_path: Path) -> None:
    path = with_sql(
        write_layer(tmp_path / "a.gpkg", SQUARES),
        "CREATE TABLE harm (x)",
        "CREATE TRIGGER t AFTER UPDATE ON gpkg_contents BEGIN INSERT INTO harm VALUES (1); END",
        "CREATE VIEW trap AS SELECT fid, geom, load_extension('harm.so') AS harm FROM a",
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "
        "VALUES ('trap', 'features', 'trap', 32633)",
        "INSERT INTO gpkg_geometry_columns VALUES ('trap', 'geom', 'POLYGON', 32633, 0, 0)",
    )
    before = path.read_bytes()
    assert len(read_footprints(path, crs=None, layer="a").polygons) == len(SQUARES)
    outcome(lambda: read_footprints(path, crs=None, layer="trap"), BuildmapError)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.gpkg"]


@pytest.mark.parametrize("name", ["it's", 'a"b', "a; DROP TABLE gpkg_contents", "建物", "-q", "%s"])
def test_a_layer_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    quoted = name.replace("'", "''")
    escaped = name.replace('"', '""')
    path = with_sql(
        write_layer(tmp_path / "a.gpkg", SQUARES),
        f'CREATE TABLE "{escaped}" AS SELECT fid, geom FROM a',
        f"UPDATE gpkg_contents SET table_name = '{quoted}', identifier = 'b' WHERE table_name = 'a'",
        f"UPDATE gpkg_geometry_columns SET table_name = '{quoted}'",
        "DELETE FROM gpkg_extensions",
    )
    assert len(read_footprints(path, crs=None, layer=name).polygons) == len(SQUARES)


def test_blobs_that_are_no_geometries_are_counted_or_refused(tmp_path: Path) -> None:
    for number, blob in enumerate((b"", b"GP", b"GP\0\1" + b"\xff" * 40, b"\0" * 100)):
        path = write_layer(tmp_path / f"{number}.gpkg", SQUARES)
        database = sqlite3.connect(path)
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (trigger,) in triggers:
            database.execute(f'DROP TRIGGER "{trigger}"')
        database.execute(f'UPDATE "{number}" SET geom = ? WHERE fid = 2', (blob,))
        database.commit()
        database.close()
        found: list[int] = []

        def read(path: Path = path, found: list[int] = found) -> None:
            footprints = read_footprints(path, crs=None)
            assert footprints.repairs.dropped == 1
            found.append(len(footprints.polygons))

        if outcome(read, BuildmapError) == "value":
            assert found == [len(SQUARES) - 1]


@pytest.mark.filterwarnings("ignore:GPKG:RuntimeWarning")  # GDAL's, raised where Python cannot catch them
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), suffix=st.sampled_from(["gpkg", "fgb", "geojson"]))
def test_a_damaged_layer(tmp_path: Path, data: st.DataObject, suffix: str) -> None:
    good = tmp_path / f"good.{suffix}"
    if not good.exists():
        write_layer(good, SQUARES)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data.draw(damaged(good.read_bytes())))
    outcome(lambda: list(read_in_batches(path, crs=None)), BuildmapError)


def test_a_bomb_of_collections_is_taken_apart(tmp_path: Path) -> None:
    deep = shapely.box(0, 0, 1, 1)
    for _ in range(60):
        deep = shapely.GeometryCollection([deep])
    path = tmp_path / "a.geojson"
    path.write_text(f'{{"type": "Feature", "properties": {{}}, "geometry": {shapely.to_geojson(deep)}}}')
    found: list[int] = []
    ending = outcome(lambda: found.append(len(read_footprints(path, crs=None).polygons)), InputError)
    assert (ending, found) in [("value", [1]), ("InputError", [])]


def collection(member: str) -> str:
    square = shapely.to_geojson(shapely.box(0, 0, 1, 1))
    feature = f'{{"type": "Feature", "properties": {{}}, "geometry": {square}}}'
    return f'{{"type": "FeatureCollection", {member}, "features": [{feature}]}}'


CONNECTING = {
    "crs.geojson": collection('"crs": {"type": "url", "properties": {"url": "PLACE"}}'),
    "link.geojson": collection('"crs": {"type": "link", "properties": {"href": "PLACE", "type": "ogcwkt"}}'),
    "vrt.gpkg": '<OGRVRTDataSource><OGRVRTLayer name="x">'
    "<SrcDataSource>/vsicurl/PLACE.geojson</SrcDataSource>"
    "</OGRVRTLayer></OGRVRTDataSource>",
    "wfs.xml": "<OGRWFSDataSource><URL>PLACE</URL></OGRWFSDataSource>",
}


@pytest.mark.parametrize("name", CONNECTING)
def test_no_layer_makes_a_connection(tmp_path: Path, name: str) -> None:
    with listening(tmp_path) as listener:
        (tmp_path / name).write_text(CONNECTING[name].replace("PLACE", f"{listener.url}/{name}"))
        outcome(lambda: list(read_in_batches(tmp_path / name, crs=None)), BuildmapError)
        assert listener.heard() == []


def test_numbers_no_place_on_earth_has_are_dropped(tmp_path: Path) -> None:
    ring = [[0, 0], [1e308, 0], [1e308, 1e308], [0, 0]]
    polygon = f'{{"type": "Polygon", "coordinates": [{ring}]}}'
    path = tmp_path / "a.geojson"
    path.write_text(f'{{"type": "Feature", "properties": {{}}, "geometry": {polygon}}}')
    found = read_footprints(path, crs="EPSG:32633")
    assert len(found.polygons) == 0
    assert found.repairs.dropped == 1
    assert np.isfinite(shapely.bounds(found.polygons)).all()
