import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry import Polygon, box

from buildmap.errors import BuildmapError, InputError, OutputError, StorageError
from buildmap.provenance import Provenance
from buildmap.publish import staged
from buildmap.vector.footprint import FootprintBatch
from buildmap.vector.writing import writer as module
from buildmap.vector.writing.formats import FLATGEOBUF
from buildmap.vector.writing.writer import FootprintWriter
from tests.scenes import UTM


def batch(first_id: int, count: int, **given: NDArray[np.generic]) -> FootprintBatch:
    ids = np.arange(first_id, first_id + count, dtype=np.int64)
    values = {
        **{
            field.name: np.full(count, "some" if module._COLUMNS.get(field.name) is np.object_ else 0.5)
            for field in fields(FootprintBatch)
        },
        "polygons": np.asarray(shapely.box(ids * 10, 0, ids * 10 + 5, 5)),
        "footprint_id": ids,
        "area_m2": np.full(count, 25.0),
        "perimeter_m": np.full(count, 20.0),
        "confidence": np.full(count, 0.75),
    }
    return FootprintBatch(**values | given)


def test_batches_come_back_in_order_with_columns_crs_and_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HELD_BYTES", 500)
    path = tmp_path / "out.gpkg"
    with FootprintWriter(path, crs=UTM, layer="houses") as writer:
        for first in (1, 11, 21, 31):
            writer.write(batch(first, 10))
    assert writer.count == 40
    frame = pyogrio.read_dataframe(path, layer="houses")
    assert frame.footprint_id.tolist() == list(range(1, 41))
    assert frame.geometry.iloc[4].equals(box(50, 0, 55, 5))
    assert frame[["area_m2", "perimeter_m", "confidence"]].iloc[0].tolist() == [25.0, 20.0, 0.75]
    assert frame.crs.to_epsg() == 32633
    info = pyogrio.read_info(path, layer="houses")
    assert info["geometry_type"] == "Polygon"
    assert info["capabilities"]["fast_spatial_filter"]
    assert len(pyogrio.read_dataframe(path, layer="houses", bbox=(351, 1, 352, 2))) == 1


def test_nothing_found_gives_a_valid_empty_layer(tmp_path: Path) -> None:
    path = tmp_path / "none.gpkg"
    with FootprintWriter(path, crs=UTM):
        pass
    info = pyogrio.read_info(path, layer="footprints", force_feature_count=True)
    assert info["features"] == 0
    assert info["fields"].tolist() == [*module._COLUMNS]
    assert info["dtypes"].tolist() == [np.dtype(kind).name for kind in module._COLUMNS.values()]
    assert info["geometry_type"] == "Polygon"
    assert info["crs"] == UTM


def test_provenance_is_stored_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    provenance = Provenance(verb="vectorize", source="a.tif", source_fingerprint="00")
    with FootprintWriter(path, crs=UTM, provenance=provenance) as writer:
        writer.write(batch(1, 1))
    stored = pyogrio.read_info(path, layer="footprints")["layer_metadata"]["BUILDMAP"]
    assert json.loads(stored)["source"] == "a.tif"
    assert [left.name for left in tmp_path.iterdir()] == ["out.gpkg"]  # reading leaves nothing beside it


@pytest.mark.parametrize(
    "name", ["a!b.gpkg", "a;b.gpkg", "sp ace.gpkg", "建物.gpkg", "new\nline.gpkg", "-'x\".gpkg"]
)
def test_odd_names_are_written_as_they_are(tmp_path: Path, name: str) -> None:
    with (
        staged(tmp_path / name, overwrite=False) as folder,
        FootprintWriter(folder / name, crs=UTM) as writer,
    ):
        writer.write(batch(1, 3))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    plain = (tmp_path / name).rename(tmp_path / "plain.gpkg")
    assert pyogrio.read_info(plain, layer="footprints")["features"] == 3


def test_an_error_midway_leaves_the_old_output_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HELD_BYTES", 1)
    path = tmp_path / "out.gpkg"
    path.write_bytes(b"old")

    def run() -> None:
        with staged(path, overwrite=True) as folder, FootprintWriter(folder / path.name, crs=UTM) as writer:
            writer.write(batch(1, 10))
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["out.geojson", "out.shp", "out"])
def test_formats_that_cannot_grow_are_refused_with_the_way_round(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"only as \.gpkg") as refusal:
        FootprintWriter(tmp_path / name, crs=UTM)
    assert "ogr2ogr" in str(refusal.value.hint)


@pytest.mark.parametrize(("name", "driver"), [("out.fgb", "FlatGeobuf"), ("out.geojsonl", "GeoJSONSeq")])
def test_the_suffix_chooses_the_format(tmp_path: Path, name: str, driver: str) -> None:
    with FootprintWriter(tmp_path / name, crs=UTM) as writer:
        writer.write(batch(1, 3))
    info = pyogrio.read_info(tmp_path / name, force_feature_count=True)
    assert (info["driver"], info["features"]) == (driver, 3)
    assert info["fields"].tolist() == [*module._COLUMNS]


def test_a_format_that_is_named_overrules_the_suffix(tmp_path: Path) -> None:
    with FootprintWriter(tmp_path / "out.gpkg", crs=UTM, kind=FLATGEOBUF) as writer:
        writer.write(batch(1, 3))
    assert (tmp_path / "out.gpkg").read_bytes()[:3] == b"fgb"


def test_footprints_move_into_the_target_crs_and_what_has_no_place_there_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    three = batch(1, 3)
    pole = Polygon([(10, 89), (20, 89), (20, 91), (10, 91)])
    three = replace(three, polygons=np.array([box(15, 45, 16, 46), pole, box(17, 45, 18, 46)], np.object_))
    with FootprintWriter(path, crs="EPSG:4326", target_crs="EPSG:3857") as writer:
        writer.write(three)
    assert (writer.count, writer.dropped) == (2, 1)
    frame = pyogrio.read_dataframe(path, layer="footprints")
    assert frame.footprint_id.tolist() == [1, 3]
    assert frame.crs.to_epsg() == 3857
    to_mercator = Transformer.from_crs(4326, 3857, always_xy=True)
    np.testing.assert_allclose(frame.geometry.iloc[1].bounds[:2], to_mercator.transform(17, 45))


def test_gaps_move_with_the_footprints(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    with FootprintWriter(path, crs="EPSG:4326", target_crs=UTM) as writer:
        writer.write_gaps(np.array([box(15, 45, 15.01, 45.01)], np.object_))
    left, bottom, _, _ = pyogrio.read_info(path, layer="gaps", force_total_bounds=True)["total_bounds"]
    assert (left, bottom) == pytest.approx((500_000, 4_982_950), abs=1)


def test_gaps_are_refused_where_there_is_room_for_one_layer(tmp_path: Path) -> None:
    writer = FootprintWriter(tmp_path / "out.fgb", crs=UTM)
    with pytest.raises(OutputError, match="no room for a layer 'gaps'"):
        writer.write_gaps(np.array([box(0, 0, 1, 1)], np.object_))


def test_ground_beside_the_footprints_is_a_layer_of_its_own_also_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HELD_BYTES", 300)
    path = tmp_path / "out.gpkg"
    squares = np.array([box(k, 0, k + 1, 1) for k in range(10)], np.object_)
    with FootprintWriter(path, crs=UTM) as writer:
        writer.write_beside("valid", squares[:0])
        for first in range(0, 10, 2):
            writer.write(batch(first + 1, 2))
            writer.write_beside("valid", squares[first : first + 2])
        writer.write_beside("gaps", squares[:0])
    assert [name for name, _ in pyogrio.list_layers(path)] == ["footprints", "valid", "gaps"]
    assert pyogrio.read_dataframe(path, layer="valid").geometry.tolist() == squares.tolist()
    assert pyogrio.read_info(path, layer="gaps", force_feature_count=True)["features"] == 0
    assert len(pyogrio.read_dataframe(path, layer="footprints")) == 10


def test_long_edges_of_ground_bend_with_the_crs(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    with FootprintWriter(path, crs="EPSG:4326", target_crs=UTM) as writer:
        writer.write_beside("valid", np.array([box(10, 40, 12, 41)], np.object_))
    to_metres = Transformer.from_crs(4326, UTM, always_xy=True)
    (ground,) = pyogrio.read_dataframe(path, layer="valid").geometry
    outline = [to_metres.transform(longitude, 40) for longitude in np.linspace(10, 12, 777)]
    assert shapely.distance(ground.exterior, shapely.points(outline)).max() < 0.05


def test_ground_cannot_be_called_as_the_footprints_are(tmp_path: Path) -> None:
    writer = FootprintWriter(tmp_path / "out.gpkg", crs=UTM, layer="valid")
    with pytest.raises(OutputError, match="the footprints' layer is called 'valid'"):
        writer.write_beside("valid", np.array([box(0, 0, 1, 1)], np.object_))


def test_geojson_is_in_longitude_and_latitude_and_refuses_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "out.geojsonl"
    with FootprintWriter(path, crs=UTM, target_crs="EPSG:4326") as writer:
        writer.write(replace(batch(1, 1), polygons=np.array([box(5e5, 5e6, 5e5 + 9, 5e6 + 9)], np.object_)))
    longitude, latitude = json.loads(path.read_text())["geometry"]["coordinates"][0][0]
    assert (longitude, latitude) == pytest.approx(
        Transformer.from_crs(32633, 4326, always_xy=True).transform(5e5 + 9, 5e6), abs=1e-9
    )
    with pytest.raises(
        OutputError, match=r"GeoJSONSeq is always in OGC:CRS84, not in WGS 84 / UTM"
    ) as caught:
        FootprintWriter(path, crs=UTM, target_crs=UTM)
    assert "--target-crs" in str(caught.value.hint)


@pytest.mark.parametrize("target", [None, "EPSG:3857"])
def test_an_invalid_polygon_does_not_get_out(tmp_path: Path, target: str | None) -> None:
    path = tmp_path / "out.gpkg"
    polygons = batch(1, 3).polygons
    polygons[1] = Polygon([(0, 0), (5, 5), (5, 0), (0, 5)])
    with pytest.raises(
        BuildmapError, match=r"footprint 2 is invalid: Self-intersection\[2.5 2.5\]"
    ) as caught:
        FootprintWriter(path, crs=UTM, target_crs=target).write(replace(batch(1, 3), polygons=polygons))
    assert caught.value.exit_code == 1
    assert "report it" in str(caught.value.hint)


def test_text_comes_back_and_qgis_finds_styles_for_it_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COLUMNS", {"footprint_id": np.int64, "confidence": float, "method": object})
    path = tmp_path / "out.gpkg"
    with FootprintWriter(path, crs=UTM, layer="houses", styled=True) as writer:
        writer.write(batch(1, 2, method=np.array(["adaptive", "raw"])))
        writer.write(batch(3, 1, method=np.array(["simplify"])))
    assert pyogrio.read_dataframe(path, layer="houses").method.tolist() == ["adaptive", "raw", "simplify"]
    assert pyogrio.list_layers(path)[:, 0].tolist() == ["houses", "layer_styles"]
    styles = pyogrio.read_dataframe(path, layer="layer_styles")
    assert styles.f_table_name.tolist() == ["houses", "houses"]
    assert styles.f_geometry_column.tolist() == [pyogrio.read_info(path, layer="houses")["geometry_name"]] * 2
    assert styles.useAsDefault.tolist() == [True, False]
    assert styles.styleQML.str.startswith("<!DOCTYPE qgis").all()


@pytest.mark.parametrize("layer", ["", " ", "gpkg_contents", "sqlite_x", "RTREE_x", "layer_styles"])
def test_names_that_sqlite_keeps_for_itself_are_refused(tmp_path: Path, layer: str) -> None:
    with pytest.raises(OutputError, match="cannot have a layer"):
        FootprintWriter(tmp_path / "out.gpkg", crs=UTM, layer=layer)


def test_a_layer_without_crs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without a CRS"):
        FootprintWriter(tmp_path / "out.gpkg", crs=None)


def test_a_footprint_that_did_not_arrive_is_noticed(tmp_path: Path) -> None:
    writer = FootprintWriter(tmp_path / "out.gpkg", crs=UTM)
    writer.write(batch(1, 2))
    writer.count += 1
    with pytest.raises(StorageError, match="2 of 3 footprints arrived"):
        writer.finish()
    assert not (tmp_path / "out.gpkg").exists()


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    script = f"""
import resource, signal, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from buildmap.errors import StorageError
from buildmap.vector.writing.writer import FootprintWriter
from tests.unit.vector.writing.test_writer import UTM, batch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    with FootprintWriter(Path({str(tmp_path / "out.gpkg")!r}), crs=UTM) as writer:
        writer.write(batch(1, 20_000))
except StorageError as error:
    sys.exit(error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 74, done.stderr
    assert not (tmp_path / "out.gpkg").exists()
