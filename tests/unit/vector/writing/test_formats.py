"""Names say what is wanted."""

from pathlib import Path

import pyogrio
import pytest

from buildmap.errors import OutputError
from buildmap.vector.writing.formats import (
    FORMATS,
    GPKG,
    STREAM,
    check_format,
    file_name,
    format_of,
    is_vector,
)


def test_layers_are_told_from_rasters_by_name() -> None:
    assert all(is_vector(Path(name)) for name in ("a.gpkg", "A.GPKG", "a.fgb", "a.geojson", "a.shp"))
    assert not any(is_vector(Path(name)) for name in ("a.tif", "a.vrt", "a", "gpkg"))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.gpkg", "GPKG"),
        ("A.GPKG", "GPKG"),
        ("a.fgb", "FlatGeobuf"),
        ("a.geojsonl", "GeoJSONSeq"),
        ("a.geojsons", "GeoJSONSeq"),
        ("a.parquet", "Parquet"),
        ("a.geoparquet", "Parquet"),
        ("a.pmtiles", "PMTiles"),
    ],
)
def test_the_suffix_chooses_the_format(file: str, name: str) -> None:
    assert format_of(Path(file)).name == name
    assert is_vector(Path(file))


def test_a_name_of_a_format_overrules_the_suffix_in_any_case() -> None:
    assert format_of(Path("a.gpkg"), "flatgeobuf").name == "FlatGeobuf"


def test_only_a_geopackage_has_room_for_several_layers_and_only_geojson_a_crs_of_its_own() -> None:
    assert [kind.name for kind in FORMATS if kind.several_layers] == ["GPKG"]
    assert [kind.name for kind in FORMATS if kind.only_crs] == ["GeoJSONSeq"]


def test_gdal_writes_every_format_but_parquet() -> None:
    able = {name for name, mode in pyogrio.list_drivers().items() if "w" in mode}
    assert {kind.name for kind in FORMATS} - able == {"Parquet"}


def test_a_format_that_cannot_be_written_is_refused_with_the_way_round() -> None:
    with pytest.raises(OutputError, match=r"as '\.shp', only as \.gpkg, \.fgb, \.geojsonl,") as caught:
        format_of(Path("a.shp"))
    assert caught.value.hint == "write a .gpkg, then: ogr2ogr 'a.shp' 'a.gpkg' footprints"
    with pytest.raises(OutputError, match="as 'ay', only as"):
        format_of(Path("ay"))


def test_down_a_stream_goes_what_can_be_read_from_a_pipe() -> None:
    assert file_name(STREAM, format_of(STREAM)) == "stream.fgb"
    assert file_name(STREAM, format_of(STREAM, "geojsonseq")) == "stream.geojsonl"
    assert file_name(Path("a/b.gpkg"), GPKG) == "b.gpkg"
    for seeking in ("GPKG", "Parquet", "PMTiles"):
        with pytest.raises(OutputError, match=f"{seeking} cannot be streamed") as caught:
            format_of(STREAM, seeking)
        assert caught.value.hint == "stream FlatGeobuf or GeoJSONSeq, or name a file"


def test_a_mistyped_format_is_refused_with_the_right_one() -> None:
    with pytest.raises(OutputError, match="as 'FlatGeobuff', only as GPKG, FlatGeobuf,") as caught:
        format_of(Path("a.fgb"), "FlatGeobuff")
    assert caught.value.hint == "did you mean 'FlatGeobuf'?"


def test_several_layers_go_into_a_geopackage_only() -> None:
    check_format(Path("a.GPKG"))
    with pytest.raises(OutputError, match=r"as '\.fgb', only as \.gpkg$"):
        check_format(Path("a.fgb"))
