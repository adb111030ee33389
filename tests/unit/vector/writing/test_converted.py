"""Formats that cannot grow are written from a spool, which nobody sees."""

import os
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from buildmap.errors import StorageError
from buildmap.vector.writing import converted as module
from buildmap.vector.writing.converted import ConvertedLayer
from buildmap.vector.writing.formats import FLATGEOBUF, PMTILES, Format
from buildmap.vector.writing.tiles import empty_archive
from tests.scenes import UTM


def append(sink: ConvertedLayer, count: int) -> np.ndarray:
    index = np.arange(count)
    squares = np.asarray(shapely.box(5e5 + index * 200, 5e6, 5e5 + index * 200 + 20, 5e6 + 20))
    sink.append("houses", np.asarray(shapely.to_wkb(squares), np.object_), {"id": index})
    return squares


@pytest.mark.parametrize(("most", "indexed"), [(30, True), (29, False)])
def test_only_a_flatgeobuf_that_is_not_too_large_has_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, *, indexed: bool
) -> None:
    monkeypatch.setattr(module, "_MOST_INDEXED", most)
    path = tmp_path / "out.fgb"
    sink = ConvertedLayer(path, crs=UTM, kind=FLATGEOBUF)
    append(sink, 30)
    sink.finish({"houses": 30})
    assert pyogrio.read_info(path)["capabilities"]["fast_spatial_filter"] is indexed
    frame = pyogrio.read_dataframe(path)
    assert sorted(frame.id) == [*range(30)]
    assert (frame.id.tolist() == [*range(30)]) is not indexed  # an index sorts by place
    near = (5e5 + 1001, 5e6, 5e5 + 1002, 5e6 + 1)
    assert pyogrio.read_dataframe(path, bbox=near).id.tolist() == [5]


@pytest.mark.parametrize(("missing", "told"), [(10, "parsing feature"), (3000, "not all of 300 footprints")])
def test_a_flatgeobuf_whose_end_is_missing_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int, told: str
) -> None:
    write = pyogrio.raw.write_arrow

    def write_in_part(rows: object, path: Path, **options: object) -> None:
        write(rows, path, **options)
        os.truncate(path, path.stat().st_size - missing)

    monkeypatch.setattr(pyogrio.raw, "write_arrow", write_in_part)
    sink = ConvertedLayer(tmp_path / "out.fgb", crs=UTM, kind=FLATGEOBUF)
    append(sink, 300)
    with pytest.raises(StorageError, match=rf"cannot write .*out.fgb: .*{told}"):
        sink.finish({"houses": 300})
    assert not (tmp_path / "out.fgb").exists()


def test_tiles_show_every_polygon_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "out.pmtiles"
    sink = ConvertedLayer(path, crs=UTM, kind=PMTILES)
    squares = append(sink, 30)
    sink.finish({"houses": 30})
    assert [left.name for left in tmp_path.iterdir()] == ["out.pmtiles"]
    info = pyogrio.read_info(path, layer="houses")
    assert info["crs"] == "EPSG:3857"
    drawn = pyogrio.read_dataframe(path, layer="houses").to_crs(UTM).dissolve("id", as_index=False)
    assert drawn.id.tolist() == [*range(30)]
    overlap = shapely.area(shapely.intersection(drawn.geometry.to_numpy(), squares))
    assert (overlap / shapely.area(shapely.union(drawn.geometry.to_numpy(), squares)) > 0.95).all()


def test_tiles_that_do_not_show_every_polygon_are_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_nothing(_rows: object, path: Path, **_options: object) -> None:
        path.write_bytes(empty_archive("houses", {}))

    monkeypatch.setattr(pyogrio.raw, "write_arrow", write_nothing)
    sink = ConvertedLayer(tmp_path / "out.pmtiles", crs=UTM, kind=PMTILES)
    append(sink, 30)
    with pytest.raises(StorageError, match="not all of 30 footprints arrived"):
        sink.finish({"houses": 30})
    assert not (tmp_path / "out.pmtiles").exists()


def test_tiles_without_a_polygon_still_have_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "out.pmtiles"
    sink = ConvertedLayer(path, crs=UTM, kind=PMTILES)
    append(sink, 0)
    sink.finish({"houses": 0})
    info = pyogrio.read_info(path, layer="houses", force_feature_count=True)
    assert (info["features"], info["fields"].tolist()) == (0, ["mvt_id", "id"])


def test_any_format_of_gdal_needs_no_more_than_its_name(tmp_path: Path) -> None:
    path = tmp_path / "out.sqlite"
    sink = ConvertedLayer(path, crs=UTM, kind=Format(name="SQLite", suffixes=(".sqlite",)))
    append(sink, 30)
    sink.finish({"houses": 30})
    info = pyogrio.read_info(path, layer="houses", force_feature_count=True)
    assert (info["driver"], info["features"]) == ("SQLite", 30)
    assert [file.name for file in tmp_path.iterdir()] == ["out.sqlite"]
