"""What every format promises, and that it keeps it."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely

from buildmap.errors import InputError, StorageError
from buildmap.vector.crs import as_crs
from buildmap.vector.writing import geojson, parquet
from buildmap.vector.writing.converted import ConvertedLayer
from buildmap.vector.writing.formats import FLATGEOBUF, FORMATS, GEOJSON_SEQ, GPKG, PARQUET, PMTILES, Format
from buildmap.vector.writing.geojson import GeoJSONSequence
from buildmap.vector.writing.layers import GeoPackage
from buildmap.vector.writing.parquet import GeoParquet
from buildmap.vector.writing.sinks import LayerSink, sink_for
from tests.scenes import UTM

needs_pyarrow = pytest.mark.skipif(not find_spec("pyarrow"), reason="needs pyarrow")
KINDS = [pytest.param(kind, id=kind.name, marks=needs_pyarrow if kind == PARQUET else ()) for kind in FORMATS]
WHOLE = [each for each in KINDS if each.values[0] != PMTILES]
"""Formats from which polygons come back as they were."""


def target(kind: Format) -> str:
    return kind.only_crs or UTM


def squares(first: int, count: int, kind: Format) -> np.ndarray:
    """Squares of 8 m, in metres or about as large in degrees."""
    index = np.arange(first, first + count)
    size = 1.0 if kind.only_crs is None else 1e-5
    left, bottom = (500_000, 5_000_000) if kind.only_crs is None else (15.0, 45.0)
    return np.asarray(
        shapely.box(left, bottom + index * 16 * size, left + 8 * size, bottom + (16 * index + 8) * size)
    )


def columns(first: int, count: int) -> dict[str, np.ndarray]:
    index = np.arange(first, first + count)
    return {
        "id": index.astype(np.int64),
        "share": index / 7,
        "name": np.array([f'ü"{number}\\' for number in index], np.object_),
        "flat": index % 2 == 0,
    }


def append(sink: LayerSink, kind: Format, first: int, count: int, **options: dict[str, str]) -> None:
    wkb = np.asarray(shapely.to_wkb(squares(first, count, kind)), np.object_)
    sink.append("houses", wkb, columns(first, count), **options)


def read(path: Path, kind: Format) -> gpd.GeoDataFrame:
    if kind == PARQUET:
        return gpd.read_parquet(path)
    if kind == GEOJSON_SEQ:
        return pyogrio.read_dataframe(path)
    return pyogrio.read_dataframe(path, layer="houses")


@pytest.mark.parametrize("kind", WHOLE)
def test_polygons_columns_and_crs_come_back_from_every_part(tmp_path: Path, kind: Format) -> None:
    path = tmp_path / f"out{kind.suffixes[0]}"
    sink = sink_for(path, kind, crs=target(kind))
    for first, count in ((0, 3), (3, 0), (3, 8)):
        append(sink, kind, first, count)
    sink.finish({"houses": 11})
    frame = read(path, kind).sort_values("id")
    for name, values in columns(0, 11).items():
        assert frame[name].tolist() == values.tolist(), name
    given = squares(0, 11, kind)
    assert shapely.equals_exact(shapely.normalize(frame.geometry), shapely.normalize(given), 1e-9).all()
    assert as_crs(frame.crs).equals(as_crs(target(kind)), ignore_axis_order=True)
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", WHOLE)
def test_an_empty_layer_has_its_columns_and_its_crs(tmp_path: Path, kind: Format) -> None:
    path = tmp_path / f"out{kind.suffixes[0]}"
    sink = sink_for(path, kind, crs=target(kind))
    append(sink, kind, 0, 0)
    sink.finish({"houses": 0})
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
    if kind == GEOJSON_SEQ:
        assert path.read_bytes() == b""
        return
    frame = read(path, kind)
    assert len(frame) == 0
    assert [*frame.columns] == [*columns(0, 0), "geometry"]
    assert frame.crs.to_epsg() == 32633
    kinds = {name: dtype.kind for name, dtype in frame.dtypes.items()}
    assert (kinds["id"], kinds["share"], kinds["flat"]) == ("i", "f", "b")


@pytest.mark.parametrize("kind", KINDS)
def test_polygons_that_did_not_arrive_are_noticed(tmp_path: Path, kind: Format) -> None:
    path = tmp_path / f"out{kind.suffixes[0]}"
    sink = sink_for(path, kind, crs=target(kind))
    append(sink, kind, 0, 2)
    with pytest.raises(StorageError, match="of 9 footprints arrived"):
        sink.finish({"houses": 9})
    assert not path.exists()


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("killed_late", [False, True])
def test_what_a_killed_run_has_left_is_no_part_of_the_next(
    tmp_path: Path, kind: Format, *, killed_late: bool
) -> None:
    path = tmp_path / f"out{kind.suffixes[0]}"
    killed = sink_for(path, kind, crs=target(kind))
    append(killed, kind, 0, 50)
    if killed_late:
        with pytest.raises(StorageError):
            killed.finish({"houses": 51})
    sink = sink_for(path, kind, crs=target(kind))
    append(sink, kind, 7, 3)
    sink.finish({"houses": 3})
    assert sorted(read(path, kind).id) == [7, 8, 9]


@pytest.mark.parametrize("kind", [each for each in KINDS if each.values[0] != GPKG])
def test_a_second_layer_is_refused_where_there_is_room_for_one(tmp_path: Path, kind: Format) -> None:
    sink = sink_for(tmp_path / "out", kind, crs=target(kind))
    append(sink, kind, 0, 1)
    with pytest.raises(ValueError, match="second layer 'gaps' after 'houses'"):
        sink.append("gaps", np.empty(0, np.object_), {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_without_crs_is_refused(tmp_path: Path, kind: Format) -> None:
    with pytest.raises(InputError, match="without a CRS"):
        sink_for(tmp_path / "out", kind, crs=None)


@pytest.mark.parametrize("kind", [each for each in WHOLE if each.values[0] != GEOJSON_SEQ])
def test_what_made_it_is_stored_with_the_layer(tmp_path: Path, kind: Format) -> None:
    path = tmp_path / f"out{kind.suffixes[0]}"
    sink = sink_for(path, kind, crs=target(kind))
    append(sink, kind, 0, 1, metadata={"BUILDMAP": '{"verb": "vectorize"}'})
    append(sink, kind, 1, 1)
    sink.finish({"houses": 2})
    if kind == PARQUET:
        stored = import_module("pyarrow.parquet").read_metadata(path).metadata[b"BUILDMAP"]
    else:
        stored = pyogrio.read_info(path, layer="houses")["layer_metadata"]["BUILDMAP"]
    assert json.loads(stored) == {"verb": "vectorize"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_a_storage_error(tmp_path: Path, kind: Format) -> None:
    script = f"""
import resource, signal, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import numpy as np
from buildmap.errors import StorageError
from buildmap.vector.writing.formats import format_of
from buildmap.vector.writing.sinks import sink_for
from tests.unit.vector.writing.test_sinks import append, target
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
path = Path({str(tmp_path)!r}) / ("out" + {kind.suffixes[0]!r})
kind = format_of(path)
sink = sink_for(path, kind, crs=target(kind))
try:
    for first in range(0, 100_000, 10_000):
        append(sink, kind, first, 10_000)
    sink.finish({{"houses": 100_000}})
except StorageError as error:
    sys.exit(error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 74, done.stderr
    assert not (tmp_path / f"out{kind.suffixes[0]}").exists()


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        (GPKG, GeoPackage),
        (FLATGEOBUF, ConvertedLayer),
        (GEOJSON_SEQ, GeoJSONSequence),
        pytest.param(PARQUET, GeoParquet, marks=needs_pyarrow),
        (PMTILES, ConvertedLayer),
    ],
)
def test_every_format_has_its_sink(tmp_path: Path, kind: Format, kept: type) -> None:
    assert type(sink_for(tmp_path / "out", kind, crs=target(kind))) is kept


@pytest.mark.parametrize(
    ("kind", "cut"),
    [
        pytest.param(
            GEOJSON_SEQ, lambda patch: patch.setattr(geojson, "_ROWS_AT_A_TIME", 4), id="GeoJSONSeq"
        ),
        pytest.param(
            PARQUET,
            lambda patch: patch.setattr(parquet, "_ROWS_IN_A_GROUP", 4),
            id="Parquet",
            marks=needs_pyarrow,
        ),
    ],
)
def test_a_large_part_is_written_piece_by_piece_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Format, cut: Callable[[pytest.MonkeyPatch], None]
) -> None:
    cut(monkeypatch)
    path = tmp_path / f"out{kind.suffixes[0]}"
    sink = sink_for(path, kind, crs=target(kind))
    append(sink, kind, 0, 11)
    sink.finish({"houses": 11})
    frame = read(path, kind)
    assert frame.id.tolist() == [*range(11)]
    assert frame.name.tolist() == columns(0, 11)["name"].tolist()
