from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from buildmap.changes.ground import common_ground, describe
from buildmap.errors import InputError
from tests.scenes import UTM, write_layer

HOUSES = [shapely.box(400_000 + 20 * n, 5_000_000, 400_010 + 20 * n, 5_000_010) for n in range(3)]


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return write_layer(tmp_path / "a.gpkg", HOUSES)


def in_crs(path: Path, crs: str) -> Path:
    moved = path.with_name(f"{crs.replace(':', '_')}.gpkg")
    gpd.read_file(path).to_crs(crs).to_file(moved)
    return moved


def test_a_layer_is_known_before_it_is_read(tmp_path: Path) -> None:
    table = gpd.GeoDataFrame({"source_date": ["2024-06", None, None]}, geometry=HOUSES, crs=UTM)
    table.to_file(tmp_path / "dated.gpkg")
    facts = describe(tmp_path / "dated.gpkg", None)
    assert (facts.columns, facts.count, facts.date) == (("source_date",), 3, "2024-06")
    assert facts.bounds == (400_000, 5_000_000, 400_050, 5_000_010)
    assert facts.crs.to_string() == UTM


def test_geoparquet_is_known_likewise(tmp_path: Path) -> None:
    gpd.GeoDataFrame({"building_id": ["a", "b", "c"]}, geometry=HOUSES, crs=UTM).to_parquet(
        tmp_path / "a.parquet"
    )
    facts = describe(tmp_path / "a.parquet", None)
    assert (facts.columns, facts.count, facts.crs.to_string()) == (("building_id",), 3, UTM)


@pytest.mark.parametrize(
    ("before", "after", "chosen", "unit_m"),
    [
        (UTM, "EPSG:3857", UTM, 1.0),
        ("EPSG:3857", UTM, "EPSG:3857", 0.708),
        ("EPSG:4326", "EPSG:3857", "EPSG:3857", 0.708),
        ("EPSG:4326", "EPSG:4326", UTM, 1.0),
        ("EPSG:2263", UTM, "EPSG:2263", None),
    ],
)
def test_the_first_projected_crs_is_taken_else_utm(
    layer: Path, before: str, after: str, chosen: str, unit_m: float | None
) -> None:
    ground = common_ground(describe(in_crs(layer, before), None), describe(in_crs(layer, after), None))
    assert ground.crs.to_string() == chosen
    if unit_m is not None:
        assert ground.unit_m == pytest.approx(unit_m, rel=5e-3)


def test_strips_hold_a_bounded_number_of_buildings(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildmap.changes.ground._BUILDINGS_PER_STRIP", 60)
    monkeypatch.setattr("buildmap.changes.ground._LOWEST_STRIP_M", 1.0)
    facts = describe(layer, None)
    assert common_ground(facts, facts).strip_height == pytest.approx(10 * 60 / 3, rel=1e-3)


def test_empty_layers_have_a_ground_too(tmp_path: Path, layer: Path) -> None:
    for crs in (UTM, "EPSG:4326"):
        gpd.read_file(layer).iloc[:0].to_crs(crs).to_file(tmp_path / "empty.gpkg")
        facts = describe(tmp_path / "empty.gpkg", None)
        assert common_ground(facts, facts).crs.is_projected


def test_a_layer_without_a_crs_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="crs"):
        write_layer(tmp_path / "nowhere.gpkg", HOUSES, crs=None)
    with pytest.raises(InputError, match="has no CRS"):
        describe(tmp_path / "nowhere.gpkg", None)
