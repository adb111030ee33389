"""GeoParquet, streamed, against geopandas."""

import json
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS
from shapely.geometry import box

from buildmap.errors import InputError, MissingInput, ResourceError
from buildmap.vector.batches import stream_batches
from buildmap.vector.geoparquet import is_geoparquet
from buildmap.vector.reader import (
    Repairs,
    column_names,
    layer_names,
    read_footprints,
    read_in_batches,
    read_unrepaired,
)
from buildmap.vector.writing.parquet import GeoParquet
from tests.scenes import UTM


def houses(count: int = 9) -> gpd.GeoDataFrame:
    shapes = [box(400_000 + 20 * n, 5_000_000, 400_010 + 20 * n, 5_000_010) for n in range(count)]
    columns = {"floors": range(count), "kind": ["house", None, "hut"] * (count // 3)}
    layer = gpd.GeoDataFrame(columns, geometry=shapes, crs=UTM)
    layer["use"] = layer["kind"].astype("category")
    return layer


def write(path: Path, geo: object, columns: dict[str, object]) -> Path:
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)} if geo is not None else None), path)
    return path


def geo(**said: object) -> dict[str, object]:
    return {"primary_column": "shape", "columns": {"shape": {"encoding": "WKB"} | said}}


SHAPE = {"shape": [box(12, 50, 13, 51).wkb]}


@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize("name", ["shape", "floor plan", "ü"])
def test_rows_come_as_geopandas_reads_them_whatever_the_geometry_is_called(
    tmp_path: Path, rows: int, name: str
) -> None:
    path = tmp_path / "houses.parquet"
    layer = houses().rename_geometry(name)
    layer.to_parquet(path, row_group_size=5)
    batches = list(stream_batches(path, crs="EPSG:4326", columns=["use", "floors", "kind"], rows=rows))
    read = gpd.read_parquet(path).to_crs(4326)
    polygons = np.concatenate([batch.polygons for batch in batches])
    assert shapely.equals_exact(polygons, read.geometry.to_numpy(), 1e-12).all()
    for column in ("floors", "kind", "use"):
        found = [value for batch in batches for value in batch.columns[column].tolist()]
        assert found == read[column].astype(object).where(read[column].notna(), None).tolist()
    assert len(batches) >= 9 // rows


def test_what_is_written_here_is_read_again(tmp_path: Path) -> None:
    layer, path = houses(3), tmp_path / "houses.parquet"
    sink = GeoParquet(path, crs=UTM)
    sink.append("houses", shapely.to_wkb(layer.geometry.to_numpy()), {"floors": layer["floors"].to_numpy()})
    sink.finish({"houses": 3})
    (batch,) = stream_batches(path, crs=None, columns=["floors"])
    assert batch.crs == CRS(UTM)
    assert batch.columns["floors"].tolist() == [0, 1, 2]
    assert shapely.equals(batch.polygons, layer.geometry.to_numpy()).all()


def test_without_a_word_on_the_crs_it_is_that_of_the_format_and_null_is_none(tmp_path: Path) -> None:
    (batch,) = stream_batches(write(tmp_path / "a.parquet", geo(), SHAPE), crs=None)
    assert batch.crs == CRS("OGC:CRS84")
    nowhere = write(tmp_path / "b.geoparquet", geo(crs=None), SHAPE)
    (batch,) = stream_batches(nowhere, crs=None)
    assert batch.crs is None
    with pytest.raises(InputError, match="no CRS"):
        stream_batches(nowhere, crs=UTM)


@pytest.mark.parametrize(
    ("said", "columns", "message"),
    [
        (None, SHAPE, "no 'geo' in its metadata"),
        ({}, SHAPE, "is not understood"),
        ([1], SHAPE, "is not understood"),
        ({"primary_column": "shape", "columns": {"shape": []}}, SHAPE, "is not understood"),
        (geo(encoding="polygon"), SHAPE, "'shape' is said to be polygon"),
        (geo(), {"other": [1]}, "no column with WKB"),
        (geo(crs="EPSG:banana"), SHAPE, "is not a CRS"),
    ],
)
def test_parquet_that_is_no_geoparquet_is_refused(
    tmp_path: Path, said: object, columns: dict[str, object], message: str
) -> None:
    path = write(tmp_path / "odd.parquet", said, columns)
    with pytest.raises(InputError, match=message):
        stream_batches(path, crs=None)


def test_a_file_that_is_missing_or_no_parquet_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="does not exist"):
        stream_batches(tmp_path / "none.parquet", crs=None)
    text = tmp_path / "text.parquet"
    text.write_text("not a table", encoding="utf-8")
    with pytest.raises(InputError, match=r"text.parquet cannot be read as GeoParquet"):
        stream_batches(text, crs=None)
    path = tmp_path / "houses.parquet"
    houses(900).to_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:30_000] = b"\xa5" * 29_996
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"houses.parquet cannot be read to its end"):
        list(stream_batches(path, crs=None))


def test_there_are_no_layers_in_it_and_a_missing_column_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", geo(), SHAPE | {"floors": [1]})
    with pytest.raises(InputError, match="has no layers, 'old' was asked for"):
        stream_batches(path, crs=None, layer="old")
    with pytest.raises(InputError, match="no column 'flors': it has floors") as missing:
        stream_batches(path, crs=None, columns=["flors"])
    assert missing.value.hint == "did you mean 'floors'?"


def test_no_rows_are_one_batch_with_the_types_of_the_columns(tmp_path: Path) -> None:
    none = {"shape": pa.array([], pa.binary()), "floors": pa.array([], pa.int16())}
    (batch,) = stream_batches(write(tmp_path / "none.parquet", geo(), none), crs=None, columns=["floors"])
    assert (len(batch.polygons), batch.columns["floors"].dtype) == (0, np.int16)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", geo(), SHAPE)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ResourceError, match="pyarrow is not installed") as missing:
        stream_batches(path, crs=None)
    assert missing.value.hint == "pip install 'buildmap[parquet]'"


def test_it_is_known_by_its_name() -> None:
    assert [is_geoparquet(Path(name)) for name in ("a.parquet", "b.GeoParquet", "c.gpkg")] == [
        True,
        True,
        False,
    ]


def test_it_is_read_as_the_same_layer_in_any_other_format(tmp_path: Path) -> None:
    layer = houses()
    layer.loc[2, "geometry"] = None
    layer.loc[4, "geometry"] = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    layer[["floors", "kind", "geometry"]].to_file(tmp_path / "a.gpkg")
    layer.to_parquet(tmp_path / "a.parquet")
    one, other = (read_footprints(tmp_path / name, crs="EPSG:4326") for name in ("a.gpkg", "a.parquet"))
    assert other.repairs == one.repairs == Repairs(null=1, mended=1)
    assert shapely.equals_exact(one.polygons, other.polygons).all()
    assert other.crs == one.crs
    raw = np.concatenate(list(read_unrepaired(tmp_path / "a.parquet", rows=4)))
    assert [shape is None for shape in raw] == layer.geometry.isna().tolist()
    assert raw[4].equals_exact(layer.geometry[4], 0)


@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_only_what_touches_a_box_is_read_and_counted(tmp_path: Path, rows: int, crs: str) -> None:
    layer = houses()
    layer.loc[0, "geometry"] = None
    with np.errstate(invalid="ignore"):
        layer.loc[1, "geometry"] = shapely.Polygon([(0, 0), (np.nan, 1), (1, 1)])
    path = tmp_path / "a.parquet"
    layer.to_parquet(path)
    left, bottom, right, top = layer.geometry[[4, 5]].to_crs(crs).total_bounds.tolist()
    batches = list(
        read_in_batches(path, crs=crs, bbox=(left, bottom, right, top), columns=["floors"], rows=rows)
    )
    assert np.concatenate([batch.columns["floors"] for batch in batches]).tolist() == [4, 5]
    assert sum((batch.repairs for batch in batches), Repairs()) == Repairs()


def test_its_columns_are_named_and_it_has_no_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    houses().to_parquet(path, write_covering_bbox=True)
    assert column_names(path) == ("floors", "kind", "use")
    assert layer_names(path) == ()
    with pytest.raises(MissingInput, match="does not exist"):
        layer_names(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no column 'flors'"):
        read_in_batches(path, crs=None, columns=["flors"])
