import pytest
from pyproj import CRS
from rasterio import crs as rasterio_crs

from buildmap.errors import InputError
from buildmap.vector.crs import as_crs, needed_crs


@pytest.mark.parametrize(
    "named",
    ["EPSG:32633", 32633, CRS(32633), rasterio_crs.CRS.from_epsg(32633), CRS(32633).to_wkt()],
    ids=lambda v: type(v).__name__,
)
def test_a_crs_is_understood_however_it_is_named(named: object) -> None:
    assert as_crs(named) == CRS(32633)


@pytest.mark.parametrize("named", ["EPSG:1", "nonsense", ""])
def test_what_is_no_crs_is_refused_with_an_example(named: str) -> None:
    with pytest.raises(InputError, match="is not a CRS") as refusal:
        as_crs(named)
    assert "EPSG:32633" in str(refusal.value.hint)


def test_a_layer_needs_a_crs() -> None:
    assert needed_crs("EPSG:32633") == CRS(32633)
    with pytest.raises(InputError, match="a layer without a CRS") as refusal:
        needed_crs(None)
    assert "rio edit-info --crs" in str(refusal.value.hint)
