import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely.geometry import Polygon, box

from buildmap.changes.evidence import Everywhere, evidence_in, open_evidence
from buildmap.errors import InputError, MissingInput
from buildmap.vector.writing.layers import Layer, write_layers
from tests.scenes import UTM, write_layer, write_raster

METRES = CRS(UTM)
HOUSES = np.array([box(1, 0, 3, 2), box(4, 0, 6, 2), box(8, 0, 10, 2), box(20, 0, 22, 2)], np.object_)
"""Of which 1, 1/2, 0 and 0 lie left of x = 5, and above y = 1 half of each."""


def write(path: Path, *, crs: str = UTM, **layers: list[Polygon]) -> Path:
    made = {
        name: Layer(
            polygons=np.array(polygons, np.object_),
            columns={"footprint_id": np.arange(len(polygons))} if name == "footprints" else {},
        )
        for name, polygons in layers.items()
    }
    write_layers(path, made, crs=crs)
    return path


def share(path: Path, houses: NDArray[np.object_] = HOUSES, crs: CRS = METRES) -> list[float]:
    evidence = open_evidence(path, crs=crs)
    try:
        return [float(one) for one in evidence.share(houses)]
    finally:
        evidence.close()


def test_nobody_having_said_otherwise_all_was_seen() -> None:
    everywhere = Everywhere()
    assert everywhere.share(HOUSES).tolist() == [1, 1, 1, 1]
    everywhere.close()


def test_a_raster_is_evidence_by_its_valid_pixels(tmp_path: Path) -> None:
    pixels = np.ones((8, 8), np.uint8)
    pixels[:, 4:] = 0
    raster = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    house = np.array([box(400_001, 4_999_997, 400_003, 4_999_999)], np.object_)
    assert share(raster, house) == [0.5]


def test_a_raster_keeps_a_bounded_share_of_its_blocks_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_CACHEMAX", "9")
    monkeypatch.delenv("GDAL_CACHEMAX")
    open_evidence(write_raster(tmp_path / "a.tif", np.ones((8, 8), np.uint8)), crs=METRES).close()
    assert 0 < int(os.environ["GDAL_CACHEMAX"]) <= 256


def test_geoparquet_is_a_layer_of_ground_and_footprints_in_it_say_nothing_of_the_ground(
    tmp_path: Path,
) -> None:
    path = tmp_path / "seen.parquet"
    gpd.GeoDataFrame(geometry=[box(0, -5, 5, 5)], crs=UTM).to_parquet(path)
    assert share(path) == [1, 0.5, 0, 0]
    assert evidence_in(path, crs=METRES) is None


def test_the_layer_of_valid_ground_is_evidence_and_its_gaps_are_not(tmp_path: Path) -> None:
    seen = write(tmp_path / "a.gpkg", footprints=[box(0, 0, 30, 9)], valid=[box(0, -5, 5, 5)])
    assert share(seen) == [1, 0.5, 0, 0]
    lost = write(tmp_path / "b.gpkg", valid=[box(0, -5, 5, 5)], gaps=[box(0, 1, 30, 5)])
    assert share(lost) == [0.5, 0.25, 0, 0]


def test_an_empty_layer_of_valid_ground_says_that_nothing_was_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", footprints=[box(0, 0, 1, 1)], valid=[])
    evidence = evidence_in(path, crs=METRES)
    assert evidence is not None
    assert evidence.share(HOUSES).tolist() == [0, 0, 0, 0]


def test_a_layer_of_polygons_that_a_user_drew_is_evidence_whatever_it_is_called(tmp_path: Path) -> None:
    assert share(write_layer(tmp_path / "area.fgb", [box(0, -5, 5, 5)])) == [1, 0.5, 0, 0]


def test_ground_stays_where_it_is_and_polygons_move_to_it(tmp_path: Path) -> None:
    to_metres = Transformer.from_crs(4326, UTM, always_xy=True)
    west, north = box(10, 40, 15, 44), box(14, 43.5, 15, 44)
    path = write(tmp_path / "a.gpkg", crs="EPSG:4326", valid=[west], gaps=[north])
    degrees = [box(14.9, 42, 15.1, 42.1), box(12, 39.95, 12.001, 40.05), box(14.5, 43.4, 14.6, 43.6)]
    houses = np.array([shapely.transform(one, to_metres.transform, interleaved=False) for one in degrees])
    # five degrees long, the southern border is an arc in metres: it bends by kilometres
    np.testing.assert_allclose(share(path, houses), [0.5, 0.5, 0.5], atol=2e-3)


def test_footprints_tell_of_the_ground_only_where_they_have_a_layer_of_it(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.gpkg", footprints=[box(0, 0, 1, 1)])
    assert evidence_in(plain, crs=METRES) is None
    other = write(tmp_path / "b.gpkg", footprints=[box(0, 0, 1, 1)], roads=[box(0, 0, 1, 1)])
    assert evidence_in(other, crs=METRES) is None
    named = write_layer(tmp_path / "valid.fgb", [box(0, 0, 1, 1)])  # its only layer is called 'valid'
    assert evidence_in(named, crs=METRES) is None
    with pytest.raises(InputError, match="holds footprints and no layer 'valid'"):
        open_evidence(plain, crs=METRES)


def test_footprints_with_gaps_alone_saw_everything_else(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", footprints=[box(0, 0, 1, 1)], gaps=[box(5, -9, 10, 9)])
    evidence = evidence_in(path, crs=METRES)
    assert evidence is not None
    assert evidence.share(HOUSES).tolist() == [1, 0.5, 0, 1]


def test_the_evidence_in_a_file_of_footprints_is_that_of_its_ground(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.gpkg",
        footprints=[box(0, 0, 30, 9)],
        valid=[box(0, -5, 5, 5)],
        gaps=[box(0, 1, 30, 5)],
    )
    evidence = evidence_in(path, crs=METRES)
    assert evidence is not None
    assert evidence.share(HOUSES).tolist() == [0.5, 0.25, 0, 0]


@pytest.mark.parametrize("name", ["none.tif", "none.gpkg"])
def test_what_is_not_there_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingInput, match="does not exist"):
        open_evidence(tmp_path / name, crs=METRES)


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_ground_without_a_crs_is_refused(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.shp", [box(0, 0, 1, 1)], crs=None)
    with pytest.raises(InputError, match="has no CRS"):
        open_evidence(layer, crs=METRES)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_a_crs_is_refused_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr("buildmap.changes.evidence.RasterReader.close", lambda self: closed.append(self.name))
    raster = write_raster(tmp_path / "a.tif", np.ones((4, 4), np.uint8), crs=None)
    with pytest.raises(InputError, match="has no CRS"):
        open_evidence(raster, crs=METRES)
    assert closed == [str(raster)]
