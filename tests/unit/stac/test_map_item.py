"""Maps as Items: where they lie, when, and what made them."""

from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
from affine import Affine
from pyproj import CRS
from shapely.geometry import shape

from buildmap.provenance import Provenance
from buildmap.raster.about import RasterFacts
from buildmap.raster.grid import Grid
from buildmap.stac.map_item import code_of, layer_item, raster_item
from buildmap.vector.about import LayerFacts
from tests.scenes import ORIGIN, UTM
from tests.stac_rules import check_extensions, check_item

MADE = Provenance(
    verb="predict", source="a.tif", source_fingerprint="12" * 8, model="lite [34]", options="x=1"
)
RASTER = RasterFacts(
    format="GTiff",
    grid=Grid(width=400, height=200, transform=ORIGIN, crs=rasterio.CRS.from_string(UTM)),
    bands=1,
    dtype="uint8",
    nodata=255.0,
    date="2024-06-30",
    made="",
)
LAYER = LayerFacts(
    format="GPKG",
    layer="footprints",
    others=("valid",),
    count=7,
    columns=("footprint_id", "area_m2"),
    crs=CRS.from_user_input(UTM),
    bounds=(400_000.0, 4_999_900.0, 400_200.0, 5_000_000.0),
    dates=("2023-01-02", "2024-06-30"),
    made="",
)
NOWHERE = replace(RASTER, grid=Grid(width=4, height=2, transform=Affine.identity(), crs=None), date=None)
ITEMS = {
    "raster": raster_item(Path("some/out.tif"), RASTER, MADE, size_bytes=9),
    "raster without a place": raster_item(Path("out.tif"), NOWHERE, MADE, size_bytes=9),
    "layer": layer_item(Path("some/out.gpkg"), LAYER, MADE, size_bytes=9),
    "empty layer": layer_item(Path("out.gpkg"), replace(LAYER, bounds=None, dates=None), MADE, size_bytes=9),
    "layer of unknown make": layer_item(
        Path("o.geojsonl"), replace(LAYER, layer=None, count=None), None, size_bytes=9
    ),
}


@pytest.mark.parametrize("name", ITEMS)
def test_items_keep_the_rules(name: str) -> None:
    check_item(ITEMS[name])


@pytest.mark.parametrize("name", ITEMS)
def test_items_keep_the_rules_of_the_extensions(name: str) -> None:
    check_extensions(ITEMS[name])


def test_a_rasters_pixels_are_placed_as_by_its_transform() -> None:
    told = ITEMS["raster"]["properties"]
    assert told["proj:code"] == UTM
    assert told["proj:shape"] == [200, 400]
    assert Affine(*told["proj:transform"]) == ORIGIN
    assert told["datetime"] == "2024-06-30T00:00:00Z"
    (asset,) = ITEMS["raster"]["assets"].values()
    assert asset["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert (asset["href"], asset["data_type"], asset["nodata"]) == ("./out.tif", "uint8", 255)


def test_raster_and_layer_of_one_ground_lie_on_one_another() -> None:
    one, other = (shape(ITEMS[name]["geometry"]) for name in ("raster", "layer"))
    assert one.symmetric_difference(other).area < 1e-4 * one.area
    assert ITEMS["raster"]["bbox"] == pytest.approx(ITEMS["layer"]["bbox"], abs=1e-6)
    assert ITEMS["layer"]["properties"]["proj:bbox"] == list(LAYER.bounds or ())


def test_a_rotated_raster_is_no_box() -> None:
    turned = replace(RASTER, grid=replace(RASTER.grid, transform=ORIGIN @ Affine.rotation(30)))
    polygon = shape(raster_item(Path("out.tif"), turned, MADE, size_bytes=9)["geometry"])
    assert polygon.area < 0.7 * polygon.envelope.area


def test_what_made_it_is_told() -> None:
    told = ITEMS["layer"]["properties"]
    assert told["processing:software"] == {"buildmap": MADE.version}
    assert told["processing:lineage"] == "buildmap predict of a.tif with the model lite [34]"
    assert told["buildmap:source_fingerprint"] == "12" * 8
    assert told["buildmap:count"] == 7
    assert not [key for key in ITEMS["layer of unknown make"]["properties"] if key.startswith("processing:")]


def test_a_crs_without_a_code_is_written_out() -> None:
    own = CRS.from_proj4("+proj=laea +lat_0=45.1 +lon_0=13.2 +datum=WGS84 +units=m")
    assert code_of(own) is None
    item = layer_item(Path("o.gpkg"), replace(LAYER, crs=own, bounds=(0, 0, 10, 10)), MADE, size_bytes=9)
    assert CRS.from_wkt(item["properties"]["proj:wkt2"]).equals(own)
    assert item["properties"]["proj:code"] is None
    assert item["bbox"][:2] == pytest.approx([13.2, 45.1], abs=1e-6)
