"""Several layers in one file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from buildmap.errors import InputError, OutputError, StorageError
from buildmap.vector.writing import layers as module
from buildmap.vector.writing.layers import GeoPackage, Layer, write_layers
from tests.scenes import UTM


def squares(count: int, **columns: np.ndarray) -> Layer:
    left = np.arange(count) * 10.0
    return Layer(polygons=np.asarray(shapely.box(left, 0, left + 5, 5)), columns=dict(columns))


def test_layers_come_back_with_their_polygons_columns_and_crs(tmp_path: Path) -> None:
    path = tmp_path / "errors.gpkg"
    false = squares(3, area_m2=np.array([25.0, 24.5, np.nan]), confidence=np.array([0.9, 0.5, 0.7]))
    merged = squares(2, truths=np.array([2, 5]), name=np.array(["a", "ü"], np.object_))
    write_layers(path, {"false": false, "merged": merged}, crs=UTM)
    assert pyogrio.list_layers(path)[:, 0].tolist() == ["false", "merged"]
    frame = pyogrio.read_dataframe(path, layer="false")
    np.testing.assert_array_equal(frame.area_m2, false.columns["area_m2"])
    np.testing.assert_array_equal(frame.confidence, false.columns["confidence"])
    assert shapely.equals(frame.geometry.to_numpy(), false.polygons).all()
    assert frame.crs.to_epsg() == 32633
    frame = pyogrio.read_dataframe(path, layer="merged")
    assert (frame.truths.tolist(), frame.name.tolist()) == ([2, 5], ["a", "ü"])
    assert [left.name for left in tmp_path.iterdir()] == ["errors.gpkg"]


def test_an_empty_layer_has_its_columns_and_its_type(tmp_path: Path) -> None:
    path = tmp_path / "errors.gpkg"
    nothing = squares(0, area_m2=np.empty(0), truths=np.empty(0, np.int64), name=np.empty(0, np.object_))
    write_layers(path, {"missed": squares(1), "split": nothing}, crs=UTM)
    info = pyogrio.read_info(path, layer="split", force_feature_count=True)
    assert (info["features"], info["geometry_type"], info["crs"]) == (0, "Polygon", UTM)
    assert info["fields"].tolist() == ["area_m2", "truths", "name"]
    assert info["dtypes"].tolist() == ["float64", "int64", "object"]


def test_a_large_layer_is_written_part_by_part_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", 4)
    path = tmp_path / "errors.gpkg"
    write_layers(path, {"false": squares(11, number=np.arange(11)), "missed": squares(4)}, crs=UTM)
    assert pyogrio.read_dataframe(path, layer="false").number.tolist() == list(range(11))
    assert pyogrio.read_info(path, layer="missed", force_feature_count=True)["features"] == 4
    assert len(pyogrio.read_dataframe(path, layer="false", bbox=(51, 1, 52, 2))) == 1
    assert pyogrio.read_info(path, layer="false")["capabilities"]["fast_spatial_filter"]


def test_polygons_that_did_not_arrive_are_noticed(tmp_path: Path) -> None:
    package = GeoPackage(tmp_path / "out.gpkg", crs=UTM)
    package.append("false", np.asarray(shapely.to_wkb(squares(2).polygons), np.object_), {})
    with pytest.raises(StorageError, match="2 of 3 footprints arrived in layer 'false'"):
        package.finish({"false": 3})
    with pytest.raises(StorageError, match="missed"):
        package.finish({"missed": 1})
    assert not (tmp_path / "out.gpkg").exists()


def test_a_table_has_rows_without_geometry_beside_the_layers(tmp_path: Path) -> None:
    package = GeoPackage(tmp_path / "out.gpkg", crs=UTM)
    package.append("false", np.asarray(shapely.to_wkb(squares(2).polygons), np.object_), {})
    for first in (0, 2):
        package.append_table("notes", {"number": np.arange(first, first + 2)})
    package.finish({"false": 2})
    assert pyogrio.list_layers(tmp_path / "out.gpkg").tolist() == [["false", "Polygon"], ["notes", None]]
    assert pyogrio.read_dataframe(tmp_path / "out.gpkg", layer="notes").number.tolist() == [0, 1, 2, 3]


def test_layers_that_a_killed_run_has_left_are_not_in_the_file(tmp_path: Path) -> None:
    killed = GeoPackage(tmp_path / "out.gpkg", crs=UTM)
    for layer in ("false", "missed"):
        killed.append(layer, np.asarray(shapely.to_wkb(squares(5).polygons), np.object_), {})
    write_layers(tmp_path / "out.gpkg", {"false": squares(2)}, crs=UTM)
    assert pyogrio.list_layers(tmp_path / "out.gpkg")[:, 0].tolist() == ["false"]


@pytest.mark.parametrize("indexed", [True, False])
def test_layers_are_indexed_unless_not_wanted(tmp_path: Path, *, indexed: bool) -> None:
    package = GeoPackage(tmp_path / "out.gpkg", crs=UTM, indexed=indexed)
    for _ in range(2):
        package.append("false", np.asarray(shapely.to_wkb(squares(2).polygons), np.object_), {})
    package.finish({"false": 4})
    info = pyogrio.read_info(tmp_path / "out.gpkg", layer="false")
    assert info["capabilities"]["fast_spatial_filter"] is indexed


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    script = f"""
import resource, signal, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from buildmap.errors import StorageError
from buildmap.vector.writing.layers import write_layers
from tests.unit.vector.writing.test_layers import UTM, squares
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    layers = {{"false": squares(10), "missed": squares(20_000)}}
    write_layers(Path({str(tmp_path / "out.gpkg")!r}), layers, crs=UTM)
except StorageError as error:
    sys.exit(error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 74, done.stderr
    assert not (tmp_path / "out.gpkg").exists()


def test_columns_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 polygons, column truths is \(3,\)"):
        squares(2, truths=np.arange(3))


@pytest.mark.parametrize("name", ["", "gpkg_contents", "RTREE_x"])
def test_names_that_geopackage_keeps_for_itself_are_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(OutputError, match="cannot have a layer"):
        write_layers(tmp_path / "out.gpkg", {"false": squares(1), name: squares(1)}, crs=UTM)
    assert list(tmp_path.iterdir()) == []


def test_no_layers_no_crs_and_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no layers"):
        write_layers(tmp_path / "out.gpkg", {}, crs=UTM)
    with pytest.raises(InputError, match="without a CRS"):
        write_layers(tmp_path / "out.gpkg", {"false": squares(1)}, crs=None)
    with pytest.raises(OutputError, match=r"only as \.gpkg"):
        write_layers(tmp_path / "out.geojson", {"false": squares(1)}, crs=UTM)
