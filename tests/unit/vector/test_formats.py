"""Names say what is wanted."""

from pathlib import Path

import pytest

from buildmap.errors import OutputError
from buildmap.vector.formats import check_format, is_vector


def test_layers_are_told_from_rasters_by_name() -> None:
    assert all(is_vector(Path(name)) for name in ("a.gpkg", "A.GPKG", "a.fgb", "a.geojson", "a.shp"))
    assert not any(is_vector(Path(name)) for name in ("a.tif", "a.vrt", "a", "gpkg"))


def test_only_geopackage_can_be_written() -> None:
    check_format(Path("a.GPKG"))
    with pytest.raises(OutputError, match=r"as '\.fgb', only as \.gpkg") as caught:
        check_format(Path("a.fgb"))
    assert caught.value.hint == "write a .gpkg, then: ogr2ogr 'a.fgb' 'a.gpkg'"
