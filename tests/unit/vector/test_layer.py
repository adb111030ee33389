"""A layer is looked up before it is read, and what GDAL says of it is said in plain words."""

from pathlib import Path

import pyogrio
import pytest
from shapely.geometry import Point, box

from buildmap.errors import InputError
from buildmap.vector.layer import clear_errors, find_layer, layer_kinds, target_crs
from tests.scenes import UTM, write_layer


def test_a_layer_tells_what_is_known_of_it_before_it_is_read(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "a.gpkg", [box(0, 0, 1, 1), box(2, 0, 3, 1)])
    source = find_layer(path, crs="EPSG:4326")
    info = pyogrio.read_info(path)
    assert (source.path, source.layer, source.count) == (path, info["layer_name"], 2)
    assert source.columns == tuple(info["fields"])
    assert source.crs is not None and source.crs == UTM
    assert source.target is not None and source.target == "EPSG:4326"
    assert layer_kinds(path, source.name) == {info["layer_name"]: info["geometry_type"]}


def test_a_layer_without_polygons_is_refused_naming_what_it_has(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "points.gpkg", [Point(0, 0)])
    with pytest.raises(InputError, match=r"no layer with polygons \(points: Point\)"):
        find_layer(path, crs=None)


def test_a_crs_that_was_asked_for_needs_one_in_the_file() -> None:
    assert target_crs(Path("a.csv"), None, None) is None
    with pytest.raises(InputError, match=r"a\.csv has no CRS"):
        target_crs(Path("a.csv"), None, UTM)


def test_what_gdal_says_names_the_file_as_the_user_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "text.gpkg"
    path.write_text("no layer")
    with (
        pytest.raises(InputError, match=f"^{path} cannot be read as a vector file: (?!.*might help)"),
        clear_errors(path, str(path), "text"),
    ):
        pyogrio.read_info(path)
