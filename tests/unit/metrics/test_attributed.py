from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from pyproj import CRS
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from buildmap.errors import InputError
from buildmap.metrics.attributed import lie_within, read_both
from buildmap.vector.matching import find_overlaps
from buildmap.vector.store import PolygonStore
from tests.scenes import UTM, write_layer

X, Y = 400_000, 5_000_000
STATUS = (("status",), ("status",))


def house(place: float, size: float = 10) -> Polygon:
    return box(X + 20 * place, Y, X + 20 * place + size, Y + size)


def write(
    path: Path, rows: list[tuple[BaseGeometry, str]], *, crs: str | None = UTM, to: str | None = None
) -> Path:
    frame = gpd.GeoDataFrame(
        {"status": [status for _, status in rows], "number": range(len(rows))},
        geometry=[shape for shape, _ in rows],
        crs=crs,
    )
    (frame if to is None else frame.to_crs(to)).to_file(path)
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return write(tmp_path / "truth.gpkg", [(house(0), "added"), (house(1), "removed"), (house(2), "added")])


def test_columns_go_with_their_polygons(truth: Path, tmp_path: Path) -> None:
    rows = [(MultiPolygon([house(0), house(1)]), "a"), (Point(X, Y), "b"), (house(2), "c")]
    predicted, true = read_both(write(tmp_path / "p.gpkg", rows), truth, columns=STATUS)
    assert predicted.columns["status"].tolist() == ["a", "a", "c"]
    assert predicted.store.bounds[:, 0].tolist() == [X, X + 20, X + 40]
    assert true.columns["status"].tolist() == ["added", "removed", "added"]


def test_what_is_too_thin_to_have_an_area_is_left_out_with_its_columns(truth: Path, tmp_path: Path) -> None:
    rows: list[tuple[BaseGeometry, str]] = [(box(0, 0, 1e-170, 1e-170), "a"), (house(0), "b")]
    predicted = read_both(write(tmp_path / "p.gpkg", rows), truth, columns=STATUS)[0]
    assert predicted.columns["status"].tolist() == ["b"]
    assert len(predicted.store) == 1


def test_optional_columns_are_read_where_they_are(truth: Path, tmp_path: Path) -> None:
    plain = write_layer(tmp_path / "p.gpkg", [house(0)])
    predicted, true = read_both(plain, truth, columns=((), ("status",)), optional=("number", "status"))
    assert (set(predicted.columns), set(true.columns)) == (set(), {"status", "number"})
    assert true.columns["number"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32632"])
def test_the_prediction_comes_in_the_crs_of_the_truth(truth: Path, tmp_path: Path, crs: str) -> None:
    moved = write(tmp_path / "p.gpkg", [(house(0.1), "a"), (house(1), "b")], to=crs)
    predicted, true = read_both(moved, truth, columns=STATUS)
    assert predicted.crs == true.crs == CRS(UTM)
    assert find_overlaps(predicted.store, true.store).iou == pytest.approx([8 / 12, 1], abs=1e-4)


def test_overlaps_in_degrees_are_those_in_metres(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.gpkg", [(house(0), "a")], to="EPSG:4326")
    predicted, true = read_both(write(tmp_path / "p.gpkg", [(house(0.1), "a")]), truth, columns=STATUS)
    assert true.crs == CRS("EPSG:4326")
    assert find_overlaps(predicted.store, true.store).iou == pytest.approx([8 / 12], abs=1e-4)


def test_a_column_that_is_not_there_is_told_with_those_that_are(truth: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p.gpkg has no column 'status': it has none"):
        read_both(write_layer(tmp_path / "p.gpkg", [house(0)]), truth, columns=STATUS)
    with pytest.raises(InputError, match=r"truth.gpkg has no column 'statsu'.*status") as caught:
        read_both(truth, truth, columns=(("status",), ("statsu",)))
    assert caught.value.hint == "did you mean 'status'?"


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_one_crs_is_not_enough(truth: Path, tmp_path: Path) -> None:
    nowhere = write(tmp_path / "n.shp", [(house(0), "added")], crs=None)
    with pytest.raises(InputError, match=r"n.shp has no CRS"):
        read_both(nowhere, truth, columns=STATUS)
    with pytest.raises(InputError, match=r"n.shp has no CRS, .*truth.gpkg is in WGS 84 / UTM zone 33N"):
        read_both(truth, nowhere, columns=STATUS)
    predicted, true = read_both(nowhere, nowhere, columns=STATUS)
    assert predicted.crs is true.crs is None


def test_layers_of_different_places_are_refused_with_both_extents(truth: Path, tmp_path: Path) -> None:
    far = write(tmp_path / "far.gpkg", [(house(1000), "added")])
    with pytest.raises(InputError, match=r"does not touch the ground of .*420000.*400000"):
        read_both(far, truth, columns=STATUS)


def test_a_layer_without_rows_is_a_prediction_too(truth: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.gpkg"
    gpd.GeoDataFrame({"status": np.array([], str)}, geometry=[], crs=UTM).to_file(
        nothing, geometry_type="Polygon"
    )
    predicted, true = read_both(nothing, truth, columns=STATUS)
    assert (len(predicted.store), len(predicted.columns["status"]), len(true.store)) == (0, 0, 3)


def test_a_layer_none_of_whose_rows_gives_a_polygon_is_refused(truth: Path, tmp_path: Path) -> None:
    lines = gpd.GeoDataFrame({"status": ["a"]}, geometry=[LineString([(X, Y), (X + 1, Y)])], crs=UTM)
    lines.to_file(tmp_path / "lines.gpkg", geometry_type="Unknown")
    with pytest.raises(InputError, match=r"none of 1 geometries gives a polygon"):
        read_both(tmp_path / "lines.gpkg", truth, columns=STATUS)


def counted(*polygons: Polygon, aoi: Path | None = None, bbox: object = None) -> list[bool]:
    store = PolygonStore.gather([np.array(polygons, object)])
    return lie_within(store, crs=CRS(UTM), aoi=aoi, bbox=bbox).tolist()  # type: ignore[arg-type]


def test_a_building_counts_where_a_point_inside_it_lies(tmp_path: Path) -> None:
    houses = [house(place) for place in range(4)]
    assert counted(*houses) == [True] * 4
    assert counted(*houses, bbox=(X + 18, Y, X + 52, Y + 20)) == [False, True, True, False]
    assert counted(*houses, bbox=(X, Y + 6, X + 100, Y + 20)) == [False] * 4
    area = [box(X, Y, X + 27, Y + 10), box(X + 58, Y, X + 90, Y + 10)]
    aoi = write_layer(
        tmp_path / "aoi.geojson", list(gpd.GeoSeries(area, crs=UTM).to_crs(4326)), crs="EPSG:4326"
    )
    assert counted(*houses, aoi=aoi) == [True, True, False, True]
    assert counted(*houses, aoi=aoi, bbox=(X + 18, Y, X + 52, Y + 20)) == [False, True, False, False]
    assert counted(aoi=aoi) == []


def test_without_a_crs_an_area_of_interest_that_has_one_is_refused(tmp_path: Path) -> None:
    store = PolygonStore.gather([np.array([house(0)], object)])
    aoi = write_layer(tmp_path / "aoi.gpkg", [box(X, Y, X + 50, Y + 10)])
    with pytest.raises(InputError, match=r"aoi\.gpkg is in WGS 84 / UTM zone 33N, what it is laid on has no"):
        lie_within(store, crs=None, aoi=aoi, bbox=None)


def test_an_area_of_interest_without_polygons_is_refused(tmp_path: Path) -> None:
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(tmp_path / "aoi.gpkg", geometry_type="Polygon")
    with pytest.raises(InputError, match=r"aoi.gpkg holds no polygons"):
        counted(house(0), aoi=tmp_path / "aoi.gpkg")
