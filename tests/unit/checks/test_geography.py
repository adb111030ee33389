"""Maps: the known place is right by a formula of our own, and what goes wrong with GDAL or PROJ is found."""

import math
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pyogrio
import pyproj
import pytest
import rasterio
import rasterio.warp

from buildmap.checks import geography
from buildmap.checks.fact import Fact, examine


def _utm(longitude: float, latitude: float, middle: float) -> tuple[float, float]:
    """Krueger's series of the transverse Mercator projection on WGS 84, to the fourth order in n."""
    flattening, axis_m, scale = 1 / 298.257223563, 6378137.0, 0.9996
    n = flattening / (2 - flattening)
    radius = axis_m / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    series = (
        n / 2 - 2 / 3 * n**2 + 5 / 16 * n**3 + 41 / 180 * n**4,
        13 / 48 * n**2 - 3 / 5 * n**3 + 557 / 1440 * n**4,
        61 / 240 * n**3 - 103 / 140 * n**4,
        49561 / 161280 * n**4,
    )
    phi, away = math.radians(latitude), math.radians(longitude - middle)
    e = 2 * math.sqrt(n) / (1 + n)
    t = math.sinh(math.atanh(math.sin(phi)) - e * math.atanh(e * math.sin(phi)))
    xi, eta = math.atan2(t, math.cos(away)), math.asinh(math.sin(away) / math.hypot(t, math.cos(away)))
    east = eta + sum(a * math.cos(2 * j * xi) * math.sinh(2 * j * eta) for j, a in enumerate(series, start=1))
    north = xi + sum(a * math.sin(2 * j * xi) * math.cosh(2 * j * eta) for j, a in enumerate(series, start=1))
    return 500_000 + scale * radius * east, scale * radius * north


def test_the_known_place_is_right_within_a_tenth_of_a_millimetre() -> None:
    expected = _utm(geography.LONGITUDE, geography.LATITUDE, 87)
    assert math.dist(expected, (geography.EASTING_M, geography.NORTHING_M)) < 1e-4


def test_three_projs_and_two_gdals_are_told_apart() -> None:
    assert rasterio.__gdal_version__ in geography.gdal_of_rasterio().detail
    assert pyogrio.__gdal_version_string__ in geography.gdal_of_pyogrio().detail
    assert geography.proj_of_rasterio().detail.startswith(rasterio.__proj_version__)
    assert geography.proj_of_pyproj().detail.startswith(pyproj.proj_version_str)


@pytest.mark.parametrize(
    "check",
    [
        geography.gdal_of_rasterio,
        geography.gdal_of_pyogrio,
        geography.proj_of_rasterio,
        geography.proj_of_pyproj,
        geography.proj_of_pyogrio,
        geography.geotiff,
        geography.geopackage,
    ],
)
def test_here_all_is_well(check: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GDAL_DATA", "PROJ_DATA", "PROJ_LIB"):
        monkeypatch.delenv(name, raising=False)
    (told,) = examine("x", check)  # type: ignore[arg-type]
    assert (told.status, told.hint) == ("ok", None), told.detail


@pytest.mark.parametrize(("off_m", "status"), [(0.0005, "ok"), (0.002, "failed"), (math.inf, "failed")])
def test_a_place_off_by_more_than_a_millimetre_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, off_m: float, status: str
) -> None:
    found = ([geography.EASTING_M + off_m], [geography.NORTHING_M])
    monkeypatch.setattr(rasterio.warp, "transform", lambda *_: found)
    assert geography.proj_of_rasterio().status == status


def test_the_place_is_compared_in_every_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geography, "NORTHING_M", geography.NORTHING_M + 0.01)
    checks = (geography.proj_of_rasterio, geography.proj_of_pyproj, geography.proj_of_pyogrio)
    assert [check().status for check in checks] == ["failed"] * 3
    assert "m off" in geography.proj_of_pyogrio().detail


@pytest.mark.parametrize("variable", ["PROJ_DATA", "PROJ_LIB"])
def test_foreign_data_of_proj_is_named_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "proj.db")) as database:
        database.execute("CREATE TABLE metadata (key TEXT, value TEXT)")
        database.execute("INSERT INTO metadata VALUES ('PROJ.VERSION', '7.2.1'), ('EPSG.VERSION', 'v9.8.15')")
        database.commit()
    monkeypatch.setenv(variable, str(tmp_path))
    assert f"PROJ 7.2.1 and EPSG v9.8.15 from {variable}={tmp_path}" in geography.proj_of_rasterio().detail
    (tmp_path / "proj.db").write_bytes(b"no database" * 100)
    assert "cannot be read" in geography.proj_of_rasterio().detail


def test_foreign_data_of_gdal_is_a_warning_where_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_DATA", str(tmp_path))
    told = geography.gdal_of_rasterio()
    assert (told.status, told.hint) == ("warning", "unset GDAL_DATA")
    (tmp_path / "gdalvrt.xsd").touch()
    assert geography.gdal_of_rasterio().status == "ok"


@pytest.mark.parametrize(("lacking", "status"), [("GPKG", "failed"), ("PMTiles", "warning")])
def test_a_format_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, lacking: str, status: str
) -> None:
    others = {name: mode for name, mode in pyogrio.list_drivers(write=True).items() if name != lacking}
    monkeypatch.setattr(pyogrio, "list_drivers", lambda **_: others)
    told = geography.gdal_of_pyogrio()
    assert (told.status, lacking in told.detail) == (status, True)


def _without_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: object) -> Fact:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    (told,) = examine("x", check)  # type: ignore[arg-type]
    return told


@pytest.mark.parametrize("check", [geography.geotiff, geography.geopackage])
def test_files_that_cannot_be_written_are_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: object
) -> None:
    told = _without_folder(tmp_path, monkeypatch, check)
    assert (told.status, "FileNotFoundError" in told.detail) == ("failed", True)


def test_a_geotiff_that_reads_back_other_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rasterio.open

    def spoiled(path: Path, mode: str = "r", **settings: object) -> object:
        if mode == "r":
            with whole(path, "r+") as file:
                file.write(file.read() // 2)
        return whole(path, mode, **settings)

    monkeypatch.setattr(rasterio, "open", spoiled)
    assert geography.geotiff().status == "failed"


def test_a_geopackage_that_reads_back_other_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pyogrio.raw.read

    def spoiled(*arguments: object, **settings: object) -> object:
        meta, rows, shapes, columns = whole(*arguments, **settings)
        return meta, rows, shapes, [columns[0] + 1]

    monkeypatch.setattr(pyogrio.raw, "read", spoiled)
    assert geography.geopackage().status == "failed"
