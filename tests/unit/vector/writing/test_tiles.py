"""An archive without tiles, which GDAL reads."""

from pathlib import Path

import pyogrio

from buildmap.vector.writing.tiles import empty_archive


def test_gdal_finds_the_layer_and_its_columns_and_nothing_in_it(tmp_path: Path) -> None:
    path = tmp_path / "none.pmtiles"
    path.write_bytes(empty_archive("houses", {"id": "int64", "name": "object", "flat": "bool"}))
    info = pyogrio.read_info(path, layer="houses", force_feature_count=True)
    assert info["features"] == 0
    assert info["crs"] == "EPSG:3857"
    assert info["fields"].tolist() == ["mvt_id", "id", "name", "flat"]
    assert info["dtypes"].tolist()[1:] == ["float64", "object", "bool"]


def test_the_same_layer_gives_the_same_bytes() -> None:
    assert empty_archive("a", {"id": "int64"}) == empty_archive("a", {"id": "int64"})
    assert empty_archive("a", {"id": "int64"}) != empty_archive("b", {"id": "int64"})
