"""What readers of GeoParquet find, and what is said where pyarrow is missing."""

import json
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS
from shapely.geometry import box

from buildmap.errors import ResourceError
from buildmap.vector.writing import parquet as module
from buildmap.vector.writing.parquet import GeoParquet
from tests.scenes import UTM

needs_pyarrow = pytest.mark.skipif(not find_spec("pyarrow"), reason="needs pyarrow")


def write(path: Path, count: int) -> np.ndarray:
    left = np.arange(count) * 10.0
    squares = np.asarray(shapely.box(left, 0, left + 5, 7))
    sink = GeoParquet(path, crs=UTM)
    sink.append("houses", np.asarray(shapely.to_wkb(squares), np.object_), {"id": np.arange(count)})
    sink.finish({"houses": count})
    return squares


@needs_pyarrow
def test_the_file_says_of_itself_what_geoparquet_wants(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, 11)
    geo = json.loads(import_module("pyarrow.parquet").read_metadata(path).metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], column["encoding"], column["geometry_types"]) == ("1.1.0", "WKB", ["Polygon"])
    assert column["bbox"] == [0, 0, 105, 7]
    assert CRS.from_json_dict(column["crs"]) == CRS(UTM)
    assert column["covering"]["bbox"] == {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}


@needs_pyarrow
def test_every_row_has_its_box_and_readers_find_rows_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS_IN_A_GROUP", 4)
    path = tmp_path / "a.parquet"
    squares = write(path, 11)
    reader = import_module("pyarrow.parquet")
    metadata = reader.read_metadata(path)
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [4, 4, 3]
    boxes = reader.read_table(path)["bbox"].to_pylist()
    np.testing.assert_array_equal([[*each.values()] for each in boxes], shapely.bounds(squares))
    found = gpd.read_parquet(path, bbox=(51, 1, 62, 2))
    assert found.id.tolist() == [5, 6]
    assert found.geometry.iloc[0].equals(box(50, 0, 55, 7))


@needs_pyarrow
def test_an_empty_file_has_no_box_to_tell_of(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, 0)
    geo = json.loads(import_module("pyarrow.parquet").read_metadata(path).metadata[b"geo"])
    assert "bbox" not in geo["columns"]["geometry"]


def test_without_pyarrow_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ResourceError, match="pyarrow is not installed") as caught:
        GeoParquet(tmp_path / "a.parquet", crs=UTM)
    assert caught.value.hint == "pip install 'buildmap[parquet]'"
    assert caught.value.exit_code == 69
